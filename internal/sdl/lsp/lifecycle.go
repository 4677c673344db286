package lsp

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"

	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/jsonrpc2"
	"go.lsp.dev/protocol"
)

// initializeParams are the parameters of initialize that the server reads.
// Those of protocol lack the encodings of 3.17.
type initializeParams struct {
	ProcessID        int                        `json:"processId"`
	RootPath         string                     `json:"rootPath"`
	RootURI          protocol.DocumentURI       `json:"rootUri"`
	WorkspaceFolders []protocol.WorkspaceFolder `json:"workspaceFolders"`
	Options          json.RawMessage            `json:"initializationOptions"`
	Capabilities     struct {
		General struct {
			PositionEncodings []string `json:"positionEncodings"`
		} `json:"general"`
		Workspace struct {
			WatchedFiles struct {
				Dynamic bool `json:"dynamicRegistration"`
			} `json:"didChangeWatchedFiles"`
		} `json:"workspace"`
		Window struct {
			WorkDoneProgress bool `json:"workDoneProgress"`
		} `json:"window"`
		TextDocument struct {
			Completion struct {
				CompletionItem struct {
					SnippetSupport bool `json:"snippetSupport"`
				} `json:"completionItem"`
			} `json:"completion"`
			DocumentSymbol struct {
				Hierarchical bool `json:"hierarchicalDocumentSymbolSupport"`
			} `json:"documentSymbol"`
			PublishDiagnostics struct {
				RelatedInformation bool `json:"relatedInformation"`
			} `json:"publishDiagnostics"`
		} `json:"textDocument"`
	} `json:"capabilities"`
}

// options are what users can set. An editor in whose language an empty table
// is a list may send one of these as [].
type options struct {
	Include     []string          `json:"include"`
	Properties  map[string]string `json:"properties"`
	Environment map[string]string `json:"environment"`
}

// capabilities are protocol's, with what 3.17 adds.
type capabilities struct {
	protocol.ServerCapabilities
	PositionEncoding string `json:"positionEncoding"`
}

// semanticTokensOptions and the legend are not in protocol.
type semanticTokensOptions struct {
	Legend semanticTokensLegend `json:"legend"`
	Range  bool                 `json:"range"`
	Full   bool                 `json:"full"`
}

type semanticTokensLegend struct {
	TokenTypes     []string `json:"tokenTypes"`
	TokenModifiers []string `json:"tokenModifiers"`
}

type initializeResult struct {
	Capabilities capabilities        `json:"capabilities"`
	ServerInfo   protocol.ServerInfo `json:"serverInfo"`
}

func (s *server) initialize(params json.RawMessage) (any, error) {
	if s.phase != starting {
		return nil, jsonrpc2.NewError(jsonrpc2.InvalidRequest, "initialized already")
	}
	p, err := decode[initializeParams](params)
	if err != nil {
		return nil, err
	}
	s.phase = serving
	s.client = client{
		pid:       p.ProcessID,
		snippets:  p.Capabilities.TextDocument.Completion.CompletionItem.SnippetSupport,
		progress:  p.Capabilities.Window.WorkDoneProgress,
		hierarchy: p.Capabilities.TextDocument.DocumentSymbol.Hierarchical,
		related:   p.Capabilities.TextDocument.PublishDiagnostics.RelatedInformation,
		watches:   p.Capabilities.Workspace.WatchedFiles.Dynamic,
	}
	encoding := "utf-16"
	if slices.Contains(p.Capabilities.General.PositionEncodings, "utf-8") {
		encoding, s.client.encoding = "utf-8", text.UTF8
	}
	s.current = s.current.WithOptions(s.options(p))
	s.requests.Go(func() { s.known() }) // so that the first completion need not wait for it
	return initializeResult{
		Capabilities: capabilities{s.capabilities(), encoding},
		ServerInfo:   protocol.ServerInfo{Name: "aloft", Version: s.Version},
	}, nil
}

func (s *server) options(p initializeParams) workspace.Options {
	var set options
	if empty := len(p.Options) == 0 || string(p.Options) == "[]"; !empty {
		// What can be read counts; the rest is told, and no reason to serve nothing.
		if err := json.Unmarshal(p.Options, &set); err != nil {
			s.Log.Warn("initializationOptions read in part", "error", err)
		}
	}
	o := workspace.Options{Properties: set.Properties, Environment: set.Environment}
	add := func(u protocol.DocumentURI) {
		if name := s.nameOf(u); filepath.IsAbs(name) && !slices.Contains(o.Folders, name) {
			o.Folders = append(o.Folders, name)
		}
	}
	for _, f := range p.WorkspaceFolders {
		add(protocol.DocumentURI(f.URI))
	}
	if len(o.Folders) == 0 && p.RootURI != "" {
		add(p.RootURI)
	}
	if len(o.Folders) == 0 && filepath.IsAbs(p.RootPath) {
		o.Folders = []string{filepath.Clean(p.RootPath)}
	}
	for _, dir := range set.Include {
		if !filepath.IsAbs(dir) {
			if len(o.Folders) == 0 {
				continue // relative to nothing
			}
			dir = filepath.Join(o.Folders[0], dir)
		}
		o.Include = append(o.Include, filepath.Clean(dir))
	}
	return o
}

func (s *server) capabilities() protocol.ServerCapabilities {
	return protocol.ServerCapabilities{
		TextDocumentSync: protocol.TextDocumentSyncOptions{
			OpenClose: true, Change: protocol.TextDocumentSyncKindIncremental, Save: &protocol.SaveOptions{},
		},
		CompletionProvider:              &protocol.CompletionOptions{TriggerCharacters: answer.Triggers},
		HoverProvider:                   true,
		DefinitionProvider:              true,
		ReferencesProvider:              true,
		RenameProvider:                  protocol.RenameOptions{PrepareProvider: true},
		DocumentSymbolProvider:          true,
		FoldingRangeProvider:            true,
		DocumentFormattingProvider:      true,
		DocumentRangeFormattingProvider: true,
		CodeLensProvider:                &protocol.CodeLensOptions{},
		ExecuteCommandProvider:          &protocol.ExecuteCommandOptions{Commands: commandNames},
		SemanticTokensProvider: semanticTokensOptions{
			Legend: semanticTokensLegend{TokenTypes: answer.TokenNames, TokenModifiers: []string{"declaration"}},
			Full:   true, Range: true,
		},
		Workspace: &protocol.ServerCapabilitiesWorkspace{
			WorkspaceFolders: &protocol.ServerCapabilitiesWorkspaceFolders{Supported: true, ChangeNotifications: true},
		},
	}
}

// notification carries out what needs no answer. What cannot be read is
// dropped, since there is nobody to tell.
func (s *server) notification(ctx context.Context, m message) error {
	switch m.Method {
	case "exit":
		return errExit
	case "$/cancelRequest":
		s.cancel(m.Params)
		return nil
	}
	if s.phase != serving {
		return nil
	}
	var err error
	switch m.Method {
	case "initialized":
		s.watch(ctx)
	case "textDocument/didOpen":
		err = s.didOpen(ctx, m.Params)
	case "textDocument/didChange":
		err = s.didChange(ctx, m.Params)
	case "textDocument/didClose":
		err = s.didClose(ctx, m.Params)
	case "textDocument/didSave", "workspace/didChangeWatchedFiles":
		s.checkAll(ctx)
	case "workspace/didChangeWorkspaceFolders":
		err = s.didChangeFolders(ctx, m.Params)
	}
	if err != nil {
		s.Log.Warn("notification ignored", "method", m.Method, "error", err)
	}
	return nil
}

// watch asks the client to tell of descriptions that change on disk. Without
// that they are read again at the next edit.
func (s *server) watch(ctx context.Context) {
	if !s.client.watches {
		return
	}
	params := map[string]any{"registrations": []any{map[string]any{
		"id": "descriptions", "method": "workspace/didChangeWatchedFiles",
		"registerOptions": map[string]any{"watchers": []any{map[string]string{"globPattern": "**/*.sf"}}},
	}}}
	s.requests.Go(func() {
		if err := s.call(ctx, "client/registerCapability", params, nil); err != nil {
			s.Log.Debug("files are not watched", "error", err)
		}
	})
}

// cancel ends the request that params name, if it is still worked on.
func (s *server) cancel(params json.RawMessage) {
	p, err := decode[struct {
		ID json.RawMessage `json:"id"`
	}](params)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop, runs := s.running[string(p.ID)]; runs {
		stop()
	}
}

func (s *server) didChangeFolders(ctx context.Context, params json.RawMessage) error {
	p, err := decode[protocol.DidChangeWorkspaceFoldersParams](params)
	if err != nil {
		return err
	}
	o := s.current.Options()
	o.Folders = slices.Clone(o.Folders)
	for _, f := range p.Event.Removed {
		name := s.nameOf(protocol.DocumentURI(f.URI))
		o.Folders = slices.DeleteFunc(o.Folders, func(dir string) bool { return dir == name })
	}
	for _, f := range p.Event.Added {
		if name := s.nameOf(protocol.DocumentURI(f.URI)); filepath.IsAbs(name) && !slices.Contains(o.Folders, name) {
			o.Folders = append(o.Folders, name)
		}
	}
	s.current = s.current.WithOptions(o)
	s.checkAll(ctx)
	return nil
}
