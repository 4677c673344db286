package lsp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/component"

	"go.lsp.dev/protocol"
)

// at are the parameters of a request about a place.
func at(uri string, line, char int) map[string]any {
	return map[string]any{"textDocument": map[string]any{"uri": uri}, "position": place{line, char}}
}

func about(uri string) map[string]any {
	return map[string]any{"textDocument": map[string]any{"uri": uri}}
}

func labels(list protocol.CompletionList) (names []string) {
	for _, i := range list.Items {
		names = append(names, i.Label)
	}
	return names
}

const twoFiles = `#include "parts.sf"
sfConfig extends {
  a extends Part { port 90; }
  b extends { x a:port; }
}
`

const partsFile = "Part extends { port 80; }\n"

// opened starts a session with twoFiles open, and parts.sf on disk.
func opened(t *testing.T, c Config) (e *editor, dir, uri string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "parts.sf"), []byte(partsFile), 0o644); err != nil {
		t.Fatal(err)
	}
	e = start(t, c)
	e.initialize(dir)
	uri = "file://" + dir + "/main.sf"
	e.open(uri, twoFiles)
	e.mistakes(uri)
	return e, dir, uri
}

func TestRequestsAreAnswered(t *testing.T) {
	e, dir, uri := opened(t, Config{})
	parts := "file://" + dir + "/parts.sf"

	var list protocol.CompletionList
	e.must("textDocument/completion", at(uri, 3, 18), &list)
	if got := labels(list); !slices.Contains(got, "port") {
		t.Errorf("completions of a: %v", got)
	}
	var h protocol.Hover
	e.must("textDocument/hover", at(uri, 3, 19), &h)
	if !strings.Contains(h.Contents.Value, "port 90") {
		t.Errorf("hover: %q", h.Contents.Value)
	}
	var places []protocol.Location
	e.must("textDocument/definition", at(uri, 2, 13), &places)
	if len(places) != 1 || string(places[0].URI) != parts || places[0].Range.End != (protocol.Position{Character: 4}) {
		t.Errorf("definition: %v", places)
	}
	refs := at(uri, 3, 19)
	refs["context"] = map[string]any{"includeDeclaration": true}
	e.must("textDocument/references", refs, &places)
	if len(places) != 3 {
		t.Errorf("references: %v", places)
	}
	var prepared struct{ Placeholder string }
	e.must("textDocument/prepareRename", at(uri, 2, 20), &prepared)
	if prepared.Placeholder != "port" {
		t.Errorf("prepareRename: %v", prepared)
	}
	re := at(uri, 2, 20)
	re["newName"] = "listen"
	var edit protocol.WorkspaceEdit
	e.must("textDocument/rename", re, &edit)
	if len(edit.Changes[protocol.DocumentURI(uri)]) != 2 || len(edit.Changes[protocol.DocumentURI(parts)]) != 1 {
		t.Errorf("rename: %v", edit.Changes)
	}
	re["newName"] = "extends"
	if err := e.call("textDocument/rename", re, nil); err == nil || !strings.Contains(err.Error(), "keyword") {
		t.Errorf("rename to a keyword: %v", err)
	}
	var flat []protocol.SymbolInformation
	e.must("textDocument/documentSymbol", about(uri), &flat)
	if len(flat) != 5 || flat[1].ContainerName != "sfConfig" {
		t.Errorf("symbols: %v", flat)
	}
	var folds []protocol.FoldingRange
	e.must("textDocument/foldingRange", about(uri), &folds)
	if len(folds) != 1 || folds[0].StartLine != 1 || folds[0].EndLine != 3 {
		t.Errorf("folds: %v", folds)
	}
	var tokens protocol.SemanticTokens
	e.must("textDocument/semanticTokens/full", about(uri), &tokens)
	if len(tokens.Data) == 0 || len(tokens.Data)%5 != 0 {
		t.Errorf("tokens: %v", tokens)
	}
	part := about(uri)
	part["range"] = map[string]any{"start": place{2, 0}, "end": place{3, 0}}
	var few protocol.SemanticTokens
	e.must("textDocument/semanticTokens/range", part, &few)
	if len(few.Data) == 0 || len(few.Data) >= len(tokens.Data) {
		t.Errorf("tokens of a line: %v", few)
	}
	var lenses []protocol.CodeLens
	e.must("textDocument/codeLens", about(uri), &lenses)
	if len(lenses) != 3 || lenses[0].Command.Command != "aloft.plan" || lenses[0].Range.Start.Line != 1 {
		t.Errorf("lenses: %v", lenses)
	}
}

func TestFormattingChangesWhatIsNotAsUsual(t *testing.T) {
	e, _, uri := opened(t, Config{})
	var edits []protocol.TextEdit
	e.must("textDocument/formatting", about(uri), &edits)
	if len(edits) != 0 {
		t.Errorf("a formatted text: %v", edits)
	}
	e.change(uri, 2, 3, 0, 2, "      ")
	e.must("textDocument/formatting", about(uri), &edits)
	if len(edits) != 1 || edits[0].Range.Start != (protocol.Position{Line: 3}) || edits[0].NewText != "  b extends { x a:port; }\n" {
		t.Errorf("a line too far in: %v", edits)
	}
	lines := about(uri)
	lines["range"] = map[string]any{"start": place{3, 0}, "end": place{4, 0}}
	e.must("textDocument/rangeFormatting", lines, &edits)
	if len(edits) != 1 {
		t.Errorf("that line alone: %v", edits)
	}
	e.change(uri, 3, 0, 0, 1, "{")
	if err := e.call("textDocument/formatting", about(uri), nil); err == nil {
		t.Error("a text with mistakes is formatted")
	}
}

func TestIncludesAreReadAsTheyAreOpen(t *testing.T) {
	e, dir, uri := opened(t, Config{})
	parts := "file://" + dir + "/parts.sf"
	e.open(parts, "Other extends { port 80; }\n") // not saved
	e.mistakes(uri, "SDL401")
	e.mistakes(parts)
	var list protocol.CompletionList
	e.must("textDocument/completion", at(uri, 2, 12), &list)
	if got := labels(list); !slices.Contains(got, "Other") || slices.Contains(got, "Part") {
		t.Errorf("prototypes: %v", got)
	}
	e.notify("textDocument/didClose", about(parts))
	e.mistakes(uri)
	// A mistake in an included file is told there, by whoever includes it.
	e.open(parts, "Part extends { port ; url nowhere; x extends Missing; }\n")
	e.mistakes(parts, "SDL401")
}

func TestFilesOpenedThroughLinksAreTheSameFile(t *testing.T) {
	e, dir, uri := opened(t, Config{})
	if err := os.Symlink("parts.sf", filepath.Join(dir, "alias.sf")); err != nil {
		t.Fatal(err)
	}
	e.open("file://"+dir+"/alias.sf", "Other extends {}\n")
	e.mistakes(uri, "SDL401")
}

func TestTextsInNoFileAreServed(t *testing.T) {
	e := start(t, Config{})
	e.initialize("")
	const uri = "untitled:Untitled-1"
	e.open(uri, "#include \"aloft/components.sf\"\nsfConfig extends { a b; }\n")
	e.mistakes(uri, "SDL801")
	var places []protocol.Location
	e.must("textDocument/definition", at(uri, 1, 20), &places)
	if len(places) != 1 || string(places[0].URI) != uri {
		t.Errorf("definition: %v", places)
	}
}

func TestLibraryIsShownAsReadOnlyFiles(t *testing.T) {
	lib := filepath.Join(t.TempDir(), "library")
	e := start(t, Config{LibraryDir: lib})
	dir := t.TempDir()
	e.initialize(dir)
	uri := "file://" + dir + "/main.sf"
	e.open(uri, "#include \"aloft/vm.sf\"\nsfConfig extends { a extends VM; }\n")
	var places []protocol.Location
	e.must("textDocument/definition", at(uri, 1, 30), &places)
	if len(places) != 1 || string(places[0].URI) != "file://"+lib+"/aloft/vm.sf" {
		t.Fatalf("definition: %v", places)
	}
	info, err := os.Stat(filepath.Join(lib, "aloft", "vm.sf"))
	if err != nil || info.Mode().Perm() != 0o444 {
		t.Fatalf("the library's file: %v %v", info, err)
	}
	text, err := os.ReadFile(filepath.Join(lib, "aloft", "vm.sf"))
	if err != nil {
		t.Fatal(err)
	}
	shown := string(places[0].URI)
	e.open(shown, string(text))
	line := int(places[0].Range.Start.Line)
	e.must("textDocument/definition", at(shown, line, len("VM extends C")), &places)
	if len(places) != 1 || !strings.HasSuffix(string(places[0].URI), "compound.sf") {
		t.Errorf("from there on: %v", places)
	}
}

func TestClassesAreCompleted(t *testing.T) {
	e := start(t, Config{Classes: func() []component.Class { return []component.Class{{Name: "Pump"}} }})
	e.initialize("")
	const uri = "untitled:1"
	e.open(uri, "sfConfig extends { sfClass \"\"; }\n")
	var list protocol.CompletionList
	e.must("textDocument/completion", at(uri, 0, 28), &list)
	if got := labels(list); !slices.Equal(got, []string{"Pump"}) {
		t.Errorf("classes: %v", got)
	}
}

func TestCancelledRequestsAreAnswered(t *testing.T) {
	e := start(t, Config{Self: "true"})
	e.initialize("")
	e.answers["window/showMessageRequest"] = nil
	block := make(chan struct{})
	e.held = block // the question is not answered before
	done := make(chan error, 1)
	go func() {
		done <- e.conn.call(t.Context(), "workspace/executeCommand", map[string]any{
			"command": "aloft.deploy", "arguments": []string{"file:///x.sf"},
		}, nil)
	}()
	e.until("what is to be deployed", func() bool {
		return slices.ContainsFunc(e.notes, func(m message) bool { return m.Method == "window/showMessageRequest" })
	})
	e.notify("$/cancelRequest", map[string]any{"id": 2})
	if code := errCode(<-done); code != -32800 {
		t.Errorf("cancelled: code %d", code)
	}
	close(block)
}

func TestNewerEditsEndOlderAnalyses(t *testing.T) {
	timers := make(chan chan time.Time, 100)
	e := start(t, Config{After: func(d time.Duration) <-chan time.Time {
		c := make(chan time.Time, 1)
		if d == debounce {
			timers <- c
		}
		return c
	}})
	e.initialize("")
	const uri = "untitled:1"
	e.open(uri, "sfConfig extends { a b; }\n")
	first := <-timers
	e.change(uri, 2, 0, 21, 22, "1")
	second := <-timers
	first <- time.Time{} // too late
	second <- time.Time{}
	e.mistakes(uri)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.told != 1 {
		t.Errorf("mistakes were told %d times, want once", e.told)
	}
}

func TestDiagnosticsTellAllThatIsKnown(t *testing.T) {
	e, _, uri := opened(t, Config{})
	e.change(uri, 2, 3, 18, 19, "q") // a:port becomes a:qort
	e.mistakes(uri, "SDL801")
	d := e.mistake(uri)
	if !strings.Contains(d.Message, "did you mean a:port?") || d.Range.Start != (protocol.Position{Line: 3, Character: 16}) {
		t.Errorf("told %+v", d)
	}
	if text, err := json.Marshal(d); err != nil || !strings.Contains(string(text), `"source":"aloft"`) {
		t.Errorf("told as %s %v", text, err)
	}
}

// Nothing is looked at for mistakes here, since that time never comes.
func TestHoverStraightAfterOpeningTellsTheValue(t *testing.T) {
	e := start(t, Config{After: func(time.Duration) <-chan time.Time { return nil }})
	dir := t.TempDir()
	e.initialize(dir)
	uri := "file://" + dir + "/large.sf"
	text, line := large(700)
	e.open(uri, text)
	var h protocol.Hover
	e.must("textDocument/hover", map[string]any{"textDocument": map[string]any{"uri": uri}, "position": place{line + 4, 5}}, &h)
	if want := fmt.Sprint("sum ", line/7+1); !strings.Contains(h.Contents.Value, want) || strings.Contains(h.Contents.Value, "not resolved") {
		t.Errorf("want %q in %q", want, h.Contents.Value)
	}
}
