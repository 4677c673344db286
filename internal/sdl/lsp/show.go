package lsp

import (
	"context"
	"encoding/json"
	"slices"

	"aloft/internal/sdl/format"
	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/jsonrpc2"
	"go.lsp.dev/protocol"
)

func symbols(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.DocumentSymbolParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	outline := answer.Outline(name, t)
	if s.client.hierarchy {
		return s.nested(t, outline), nil
	}
	flat := []protocol.SymbolInformation{}
	var add func(list []answer.Symbol, container string)
	add = func(list []answer.Symbol, container string) {
		for _, x := range list {
			flat = append(flat, protocol.SymbolInformation{
				Name: x.Name, Kind: symbolKinds[x.Kind], ContainerName: container,
				Location: protocol.Location{URI: p.TextDocument.URI, Range: s.span(t, x.At.From, x.At.To)},
			})
			add(x.Inside, x.Name)
		}
	}
	add(outline, "")
	return flat, nil
}

var symbolKinds = map[answer.SymbolKind]protocol.SymbolKind{
	answer.AttributeSymbol: protocol.SymbolKindProperty,
	answer.ComponentSymbol: protocol.SymbolKindModule,
	answer.PrototypeSymbol: protocol.SymbolKindClass,
}

func (s *server) nested(t *text.Text, list []answer.Symbol) []protocol.DocumentSymbol {
	out := make([]protocol.DocumentSymbol, len(list))
	for i, x := range list {
		out[i] = protocol.DocumentSymbol{
			Name: x.Name, Detail: x.Detail, Kind: symbolKinds[x.Kind],
			Range: s.span(t, x.At.From, x.At.To), SelectionRange: s.span(t, x.NameAt.From, x.NameAt.To),
			Children: s.nested(t, x.Inside),
		}
	}
	return out
}

func folds(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.FoldingRangeParams](params)
	if err != nil {
		return nil, err
	}
	_, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	list := []protocol.FoldingRange{}
	for _, f := range answer.Folds(t) {
		list = append(list, protocol.FoldingRange{StartLine: uint32(f.From), EndLine: uint32(f.To), Kind: foldKinds[f.Kind]})
	}
	return list, nil
}

var foldKinds = map[answer.FoldKind]protocol.FoldingRangeKind{
	answer.RegionFold:  protocol.RegionFoldingRange,
	answer.CommentFold: protocol.CommentFoldingRange,
	answer.ImportFold:  protocol.ImportsFoldingRange,
}

func semanticTokens(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.SemanticTokensParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	return s.encode(t, answer.Colours(name, t)), nil
}

func semanticTokensRange(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.SemanticTokensRangeParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	from, to := s.offset(t, p.Range.Start), s.offset(t, p.Range.End)
	list := slices.DeleteFunc(answer.Colours(name, t), func(c answer.Coloured) bool { return c.To < from || c.From > to })
	return s.encode(t, list), nil
}

// encode writes tokens as the protocol does: each relative to the one before.
func (s *server) encode(t *text.Text, list []answer.Coloured) protocol.SemanticTokens {
	data := make([]uint32, 0, 5*len(list))
	var last protocol.Position
	for _, c := range list {
		at := s.span(t, c.From, c.To)
		char := at.Start.Character
		if at.Start.Line == last.Line {
			char -= last.Character
		}
		var modifiers uint32
		if c.Given {
			modifiers = 1
		}
		data = append(data, at.Start.Line-last.Line, char, at.End.Character-at.Start.Character, uint32(c.Kind), modifiers)
		last = at.Start
	}
	return protocol.SemanticTokens{Data: data}
}

func formatting(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.DocumentFormattingParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	out, mistakes := format.Source(name, []byte(t.String()))
	if mistakes.Errors() > 0 {
		return nil, jsonrpc2.NewError(codeRequestFailed, "not formatted: the text has mistakes")
	}
	return s.edits(t, 0, len(t.String()), string(out)), nil
}

func rangeFormatting(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.DocumentRangeFormattingParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	last := int(p.Range.End.Line) + 1
	if p.Range.End.Character == 0 && p.Range.End.Line > p.Range.Start.Line {
		last-- // it ends before that line
	}
	e, mistakes := format.Lines(name, []byte(t.String()), int(p.Range.Start.Line)+1, last)
	if mistakes.Errors() > 0 {
		return nil, jsonrpc2.NewError(codeRequestFailed, "not formatted: the text has mistakes")
	}
	return s.edits(t, t.At(e.From, 1), t.At(e.To, 1), string(e.Text)), nil
}

// edits returns the edit that makes the bytes of t from offset from to offset
// to become out, or none; what is equal at both ends is left alone.
func (s *server) edits(t *text.Text, from, to int, out string) []protocol.TextEdit {
	old := t.String()[from:to]
	if old == out {
		return []protocol.TextEdit{}
	}
	n := 0 // whole lines that are equal
	for i := 0; i < min(len(old), len(out)) && old[i] == out[i]; i++ {
		if old[i] == '\n' {
			n = i + 1
		}
	}
	end := 0
	for i := 1; i <= min(len(old), len(out))-n && old[len(old)-i] == out[len(out)-i]; i++ {
		if i < min(len(old), len(out))-n && old[len(old)-i-1] == '\n' && out[len(out)-i-1] == '\n' {
			end = i
		}
	}
	return []protocol.TextEdit{{Range: s.span(t, from+n, to-end), NewText: out[n : len(out)-end]}}
}

func lenses(_ context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.CodeLensParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	list := []protocol.CodeLens{}
	for _, l := range answer.Lenses(name, t) {
		list = append(list, protocol.CodeLens{
			Range:   s.span(t, l.At.From, l.At.To),
			Command: &protocol.Command{Title: l.Title, Command: "aloft." + l.Action, Arguments: []any{p.TextDocument.URI}},
		})
	}
	return list, nil
}
