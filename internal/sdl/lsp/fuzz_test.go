package lsp

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"
)

// pieces are what a random typist types.
var pieces = []string{
	"a", " ", "\n", "\r\n", "\r", "extends ", "{", "}", ";", ":", "PARENT:", "LAZY ", "b extends A { x 1; }\n", "\"", "##", "#", "(", ")",
	"[", "]", "[|", "|]", " ++ ", ",", "sfConfig extends {", "a:b:c 5;", "#include \"", "aloft/vm.sf\"\n", "IF ", "THEN ", "ELSE ", "FI ",
	"SWITCH ", "\u00e9", "\U0001F600", "//", "/*", "*/", "OPTIONAL (", "DATA ", "--", "\\u0041", "sfClass \"", "VM", "-- 5;", "ATTRIB ", "HERE ",
}

// typed is the text as an editor holds it: in units of UTF-16.
type typed []uint16

// place returns the line and column of unit i.
func (t typed) place(i int) place {
	var p place
	for j := range i {
		switch {
		case t[j] == '\n', t[j] == '\r' && (j+1 == len(t) || t[j+1] != '\n'):
			p.Line++
			p.Character = 0
		default:
			p.Character++
		}
	}
	return p
}

// boundary moves i to where a client's cursor can be.
func (t typed) boundary(i int) int {
	i = min(i, len(t))
	for i > 0 && i < len(t) && (utf16.IsSurrogate(rune(t[i])) && t[i] >= 0xDC00 || t[i-1] == '\r' && t[i] == '\n') {
		i--
	}
	return i
}

// FuzzEdits types at random and asks everything on the way: the server's text
// stays the client's, and no request fails by a mistake of ours.
func FuzzEdits(f *testing.F) {
	f.Add("sfConfig extends { a 1; }\n", []byte{0, 5, 3, 9, 20, 7, 200, 1, 4})
	f.Add("A extends { b 1; }\r\nsfConfig extends A { c b; }", []byte{12, 0, 17, 14, 3, 40, 90, 22, 33, 80, 0, 1})
	f.Add("\U0001F600", []byte{1, 1, 1, 2, 2, 2})
	f.Fuzz(func(t *testing.T, content string, moves []byte) {
		if !utf8.ValidString(content) || len(content) > 2000 || len(moves) > 60 {
			t.Skip()
		}
		now := func() time.Time { return time.Unix(0, 0) }
		s := &server{
			Config: Config{Now: now, Log: slog.New(slog.DiscardHandler), After: func(time.Duration) <-chan time.Time { return nil }},
			conn:   newConn(nil, nil), slots: make(chan struct{}, 1), current: workspace.New(now), versions: map[string]int32{},
		}
		s.knows = sync.OnceValue(s.makeKnown)
		const uri = "untitled:1"
		s.current = s.current.With(s.nameOf(uri), text.New(content))
		s.versions[s.nameOf(uri)] = 1
		mine := typed(utf16.Encode([]rune(content)))
		for len(moves) >= 3 {
			from := mine.boundary(int(moves[0]) * max(1, len(mine)) / 255)
			to := mine.boundary(min(from+int(moves[1])%8, len(mine)))
			to = max(from, to)
			piece := pieces[int(moves[2])%len(pieces)]
			changed, err := json.Marshal(map[string]any{
				"textDocument": map[string]any{"uri": uri, "version": 2},
				"contentChanges": []any{map[string]any{
					"range": map[string]any{"start": mine.place(from), "end": mine.place(to)}, "text": piece,
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.applyChange(changed); err != nil {
				t.Fatal(err)
			}
			mine = slices.Concat(mine[:from], typed(utf16.Encode([]rune(piece))), mine[to:])
			if got := s.current.Document(s.nameOf(uri)).Text.String(); got != string(utf16.Decode(mine)) {
				t.Fatalf("the server has %q, the client %q", got, string(utf16.Decode(mine)))
			}
			at := mine.place(mine.boundary(int(moves[1]) * max(1, len(mine)) / 255))
			params, err := json.Marshal(map[string]any{
				"textDocument": map[string]any{"uri": uri}, "position": at, "newName": "other",
				"range": map[string]any{"start": place{}, "end": at}, "context": map[string]any{"includeDeclaration": true},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, handle := range requests {
				// Refusals are right; only panics and endless work are not.
				_, _ = handle(t.Context(), s, s.current, params)
			}
			moves = moves[3:]
		}
	})
}
