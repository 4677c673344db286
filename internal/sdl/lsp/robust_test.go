package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"go.lsp.dev/protocol"
)

// onDisk writes files, name and content in turn, into a new folder.
func onDisk(t *testing.T, files ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestShutdownEndsAnalysesUnderWay(t *testing.T) {
	e := start(t, Config{})
	dir := t.TempDir()
	e.initialize(dir)
	text, line := large(20_000)
	hovered := make(chan error)
	for i := range 3 {
		uri := fmt.Sprintf("file://%s/%d.sf", dir, i)
		e.open(uri, text)
		go func() {
			hovered <- e.call("textDocument/hover", map[string]any{"textDocument": map[string]any{"uri": uri}, "position": place{line, 3}}, nil)
		}()
	}
	if err := e.leave(); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-hovered; err != nil && errCode(err) != int(codeCancelled) && !strings.Contains(err.Error(), "shut down") && !strings.Contains(err.Error(), "closed pipe") && !strings.Contains(err.Error(), errEnded.Error()) {
			t.Error(err)
		}
	}
}

// What a key leaves behind is given up: snapshots do not hold one another.
func TestMemoryDoesNotGrowWithEdits(t *testing.T) {
	e := start(t, Config{})
	dir := onDisk(t, "other.sf", "#include? \"large.sf\"\nOther extends {}\n")
	e.initialize(dir)
	uri, other := "file://"+dir+"/large.sf", "file://"+dir+"/other.sf"
	text, line := large(4000)
	e.open(uri, text)
	e.open(other, "Other extends { a 1; }\n")
	version := 1
	used := func(keys int) uint64 {
		for range keys {
			version++
			e.change(uri, version, line, 0, 0, []string{" ", "}", "x "}[version%3])
			for _, u := range []string{uri, other} {
				e.must("textDocument/completion", map[string]any{"textDocument": map[string]any{"uri": u}, "position": place{0, 0}}, nil)
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used(9)
	if after := used(24); after > before+before/2 {
		t.Errorf("%d bytes after 9 keys, %d after 24 more", before, after)
	}
}

func TestClientIsAskedToWatchDescriptions(t *testing.T) {
	e := start(t, Config{})
	e.must("initialize", map[string]any{"capabilities": map[string]any{
		"workspace": map[string]any{"didChangeWatchedFiles": map[string]any{"dynamicRegistration": true}},
	}}, nil)
	e.notify("initialized", struct{}{})
	e.until("which files to watch", func() bool {
		return slices.ContainsFunc(e.notes, func(m message) bool {
			return m.Method == "client/registerCapability" && strings.Contains(string(m.Params), `"**/*.sf"`)
		})
	})
	if err := e.leave(); err != nil {
		t.Error(err)
	}
}

func TestFilesThatChangeOnDiskAreReadAgain(t *testing.T) {
	dir := onDisk(t, "part.sf", "Part extends { a 1; }\n", "main.sf", "#include \"part.sf\"\nsfConfig extends Part { b a; }\n")
	e := start(t, Config{})
	e.initialize(dir)
	uri := "file://" + dir + "/main.sf"
	e.open(uri, "#include \"part.sf\"\nsfConfig extends Part { b a; }\n")
	e.mistakes(uri)
	for _, c := range []struct {
		content string
		codes   []string
	}{{"Part extends { other 1; }\n", []string{"SDL801"}}, {"Part extends { a 22; }\n", nil}} {
		if err := os.WriteFile(filepath.Join(dir, "part.sf"), []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		e.notify("workspace/didChangeWatchedFiles", map[string]any{"changes": []any{map[string]any{"uri": "file://" + dir + "/part.sf", "type": 2}}})
		e.mistakes(uri, c.codes...)
	}
	if err := os.Remove(filepath.Join(dir, "part.sf")); err != nil {
		t.Fatal(err)
	}
	e.notify("workspace/didChangeWatchedFiles", map[string]any{"changes": []any{map[string]any{"uri": "file://" + dir + "/part.sf", "type": 3}}})
	e.mistakes(uri, "SDL301")
}

// applied makes the edits of a client, whose columns are units of UTF-16.
func applied(content string, edits []protocol.TextEdit) string {
	units := typed(utf16.Encode([]rune(content)))
	at := func(p protocol.Position) int {
		for i := range len(units) + 1 {
			if here := units.place(i); here.Line == int(p.Line) && here.Character == int(p.Character) {
				return i
			}
		}
		return -1
	}
	for i := len(edits) - 1; i >= 0; i-- { // in the order of the text
		from, to := at(edits[i].Range.Start), at(edits[i].Range.End)
		units = append(append(units[:from:from], utf16.Encode([]rune(edits[i].NewText))...), units[to:]...)
	}
	return string(utf16.Decode(units))
}

func TestRenameIsExactBehindWideCharactersAndInAnyKindOfLine(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		part := strings.ReplaceAll("/* \U0001F600 */ Part extends { x \"\U0001F600\u00e9\"; port 80; };;", ";;", end+end)
		main := strings.ReplaceAll("#include \"part.sf\";;sfConfig extends Part {;;  a \"\U0001F600\U0001F600\"; /* \u00e9 */ b port; c (port + 1);;};;", ";;", end)
		dir := onDisk(t, "part.sf", part, "main.sf", main)
		e := start(t, Config{})
		e.initialize(dir)
		uri, partURI := "file://"+dir+"/main.sf", "file://"+dir+"/part.sf"
		e.open(uri, main)
		char := len(utf16.Encode([]rune("  a \"\U0001F600\U0001F600\"; /* \u00e9 */ b ")))
		var edit protocol.WorkspaceEdit
		e.must("textDocument/rename", map[string]any{"textDocument": map[string]any{"uri": uri}, "position": place{2, char}, "newName": "listen"}, &edit)
		for u, content := range map[string]string{uri: main, partURI: part} {
			got, want := applied(content, edit.Changes[protocol.DocumentURI(u)]), strings.ReplaceAll(content, "port", "listen")
			if got != want {
				t.Errorf("lines ending in %q: %s became\n%q, want\n%q", end, u, got, want)
			}
		}
	}
}

func TestTooManyDescriptionsAreToldAndNotRenamed(t *testing.T) {
	dir := onDisk(t, "a.sf", "A extends { port 80; x port; }\n")
	for i := range maxReaders + 10 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("m%d.sf", i)), []byte("#include \"a.sf\"\nsfConfig extends A { y port; }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e := start(t, Config{})
	e.initialize(dir)
	uri := "file://" + dir + "/a.sf"
	e.open(uri, "A extends { port 80; x port; }\n")
	params := at(uri, 0, 13)
	params["context"] = map[string]any{"includeDeclaration": true}
	var places []protocol.Location
	e.must("textDocument/references", params, &places)
	if len(places) < maxReaders {
		t.Errorf("only %d references", len(places))
	}
	if shown := e.said("window/showMessage"); len(shown) != 1 || !strings.Contains(shown[0], "too many descriptions") {
		t.Errorf("told: %q", shown)
	}
	params["newName"] = "listen"
	if err := e.call("textDocument/rename", params, nil); err == nil || !strings.Contains(err.Error(), "too many descriptions") {
		t.Errorf("renamed with %v", err)
	}
}
