package lsp

import (
	"context"
	"encoding/json"
	"fmt"

	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"
	"aloft/internal/sdl/resolve"

	"go.lsp.dev/jsonrpc2"
	"go.lsp.dev/protocol"
)

// requests are the methods the server answers, beside those that belong to the
// life of the connection.
var requests = map[string]handler{
	"textDocument/completion":           completion,
	"textDocument/hover":                hover,
	"textDocument/definition":           definition,
	"textDocument/references":           references,
	"textDocument/prepareRename":        prepareRename,
	"textDocument/rename":               rename,
	"textDocument/documentSymbol":       symbols,
	"textDocument/foldingRange":         folds,
	"textDocument/semanticTokens/full":  semanticTokens,
	"textDocument/semanticTokens/range": semanticTokensRange,
	"textDocument/formatting":           formatting,
	"textDocument/rangeFormatting":      rangeFormatting,
	"textDocument/codeLens":             lenses,
}

// document returns the name and text of a document that a request is about.
func (s *server) document(w *workspace.Snapshot, u protocol.DocumentURI) (string, *text.Text, error) {
	name := s.nameOf(u)
	t := w.Text(name)
	if t == nil {
		return "", nil, jsonrpc2.NewError(jsonrpc2.InvalidParams, fmt.Sprintf("%s is not open and no file", u))
	}
	return name, t, nil
}

// view returns the document of a request with what is known of the description
// it is part of, and the offset of a position in it.
func (s *server) view(ctx context.Context, w *workspace.Snapshot, p protocol.TextDocumentPositionParams) (*answer.View, int, error) {
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, 0, err
	}
	whole, err := w.Main(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	tree, err := w.Inspect(ctx, whole)
	if err != nil {
		return nil, 0, err
	}
	v := &answer.View{Name: name, Text: t, Tree: tree, Source: w.Text, Known: s.known()}
	return v, s.offset(t, p.Position), nil
}

func completion(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.CompletionParams](params)
	if err != nil {
		return nil, err
	}
	name, t, err := s.document(w, p.TextDocument.URI)
	if err != nil {
		return nil, err
	}
	list := protocol.CompletionList{Items: []protocol.CompletionItem{}}
	q := answer.Ask(answer.View{Name: name, Text: t, Source: w.Text, Known: s.known()}, s.offset(t, p.Position))
	if !q.Wanted() {
		return list, nil
	}
	var files []string
	if prefix, ok := q.IncludePrefix(); ok {
		files = w.Paths(name, prefix)
	}
	tree, read, err := s.completionTree(ctx, w, name, t, q)
	if err != nil {
		return nil, err
	}
	for _, c := range q.Completions(tree, read, files) {
		item := protocol.CompletionItem{
			Label: c.Label, Kind: completionKinds[c.Kind], Detail: c.Detail,
			SortText: fmt.Sprintf("%02d %s", c.Rank, c.Label), FilterText: c.Edit.Text,
			TextEdit: &protocol.TextEdit{Range: s.span(t, c.Edit.From, c.Edit.To), NewText: c.Edit.Text},
		}
		if c.Doc != "" {
			item.Documentation = protocol.MarkupContent{Kind: protocol.Markdown, Value: c.Doc}
		}
		for _, e := range c.Also {
			item.AdditionalTextEdits = append(item.AdditionalTextEdits, protocol.TextEdit{Range: s.span(t, e.From, e.To), NewText: e.Text})
		}
		list.Items = append(list.Items, item)
	}
	return list, nil
}

var completionKinds = map[answer.CompletionKind]protocol.CompletionItemKind{
	answer.KeywordCompletion:   protocol.CompletionItemKindKeyword,
	answer.AttributeCompletion: protocol.CompletionItemKindProperty,
	answer.ComponentCompletion: protocol.CompletionItemKindModule,
	answer.PrototypeCompletion: protocol.CompletionItemKindClass,
	answer.OutputCompletion:    protocol.CompletionItemKindEvent,
	answer.ValueCompletion:     protocol.CompletionItemKindEnumMember,
	answer.FileCompletion:      protocol.CompletionItemKindFile,
	answer.FolderCompletion:    protocol.CompletionItemKindFolder,
	answer.ClassCompletion:     protocol.CompletionItemKindClass,
	answer.TagCompletion:       protocol.CompletionItemKindKeyword,
}

// completionTree returns the description to complete in, and the text of the
// document in it: as it is if it can be read, or else without what is being
// written.
func (s *server) completionTree(ctx context.Context, w *workspace.Snapshot, name string, t *text.Text, q *answer.Question) (*resolve.Inspection, *text.Text, error) {
	whole := name
	if main, err := w.Main(ctx, name); err == nil {
		whole = main
	}
	if !w.Broken(name) {
		tree, err := w.Inspect(ctx, whole)
		return tree, t, err
	}
	t = q.Without()
	tree, err := w.InspectText(ctx, whole, name, t)
	return tree, t, err
}
