package lsp

import (
	"context"

	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/lsp/answer"
)

// known returns what is known beside descriptions. It is made once: neither the
// library nor the classes change while the program runs.
func (s *server) known() *answer.Known { return s.knows() }

func (s *server) makeKnown() *answer.Known {
	k := &answer.Known{}
	if s.Classes != nil {
		k.Classes = s.Classes()
	}
	c, err := catalog.Load(context.Background())
	if err != nil {
		s.Log.Warn("catalogue not read", "error", err)
		return k
	}
	k.Catalogue = c
	return k
}
