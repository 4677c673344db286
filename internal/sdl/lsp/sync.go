package lsp

import (
	"context"
	"encoding/json"
	"fmt"

	"aloft/internal/sdl/lsp/text"

	"go.lsp.dev/protocol"
)

// didChangeParams are those of protocol, whose range cannot be absent, which
// means the whole text.
type didChangeParams struct {
	TextDocument struct {
		URI     protocol.DocumentURI `json:"uri"`
		Version int32                `json:"version"`
	} `json:"textDocument"`
	ContentChanges []struct {
		Range *protocol.Range `json:"range"`
		Text  string          `json:"text"`
	} `json:"contentChanges"`
}

func (s *server) didOpen(ctx context.Context, params json.RawMessage) error {
	p, err := decode[protocol.DidOpenTextDocumentParams](params)
	if err != nil {
		return err
	}
	name := s.nameOf(p.TextDocument.URI)
	s.current = s.current.With(name, text.New(p.TextDocument.Text))
	s.versions[name] = p.TextDocument.Version
	s.checkAll(ctx)
	return nil
}

func (s *server) didChange(ctx context.Context, params json.RawMessage) error {
	if err := s.applyChange(params); err != nil {
		return err
	}
	s.checkAll(ctx)
	return nil
}

// applyChange makes the changes of the client in the current snapshot.
func (s *server) applyChange(params json.RawMessage) error {
	p, err := decode[didChangeParams](params)
	if err != nil {
		return err
	}
	name := s.nameOf(p.TextDocument.URI)
	if _, open := s.versions[name]; !open {
		return fmt.Errorf("%s is not open", p.TextDocument.URI)
	}
	t := s.current.Document(name).Text
	for _, c := range p.ContentChanges {
		if c.Range == nil {
			t = text.New(c.Text)
			continue
		}
		t = t.Replace(s.offset(t, c.Range.Start), s.offset(t, c.Range.End), c.Text)
	}
	s.current = s.current.With(name, t)
	s.versions[name] = p.TextDocument.Version
	return nil
}

func (s *server) didClose(ctx context.Context, params json.RawMessage) error {
	p, err := decode[protocol.DidCloseTextDocumentParams](params)
	if err != nil {
		return err
	}
	name := s.nameOf(p.TextDocument.URI)
	if _, open := s.versions[name]; !open {
		return fmt.Errorf("%s is not open", p.TextDocument.URI)
	}
	s.current = s.current.Without(name)
	delete(s.versions, name)
	if stop := s.checks[name]; stop != nil {
		stop()
		delete(s.checks, name)
	}
	s.forget(name)
	s.checkAll(ctx)
	return nil
}

// offset returns where p, of the client, is in t.
func (s *server) offset(t *text.Text, p protocol.Position) int {
	return t.Offset(text.Position{Line: int(p.Line), Char: int(p.Character)}, s.client.encoding)
}

// position is the inverse of offset.
func (s *server) position(t *text.Text, off int) protocol.Position {
	p := t.Position(off, s.client.encoding)
	return protocol.Position{Line: uint32(p.Line), Character: uint32(p.Char)}
}

// span returns the range from offset from to offset to in t.
func (s *server) span(t *text.Text, from, to int) protocol.Range {
	return protocol.Range{Start: s.position(t, from), End: s.position(t, to)}
}
