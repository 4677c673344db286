package lsp

import (
	"context"
	"encoding/json"

	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/workspace"
	"go.lsp.dev/protocol"
)

// requests are the methods the server answers.
var requests = map[string]handler{
	"textDocument/completion": completion,
}

func completion(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	if _, err := decode[protocol.CompletionParams](params); err != nil {
		return nil, err
	}
	items := []protocol.CompletionItem{}
	for _, k := range answer.Keywords() {
		items = append(items, protocol.CompletionItem{Label: k, Kind: protocol.CompletionItemKindKeyword})
	}
	return protocol.CompletionList{Items: items}, nil
}
