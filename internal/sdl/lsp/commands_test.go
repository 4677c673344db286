package lsp

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.lsp.dev/protocol"
)

// program writes a program that tells how it was called and ends with status.
func program(t *testing.T, status int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "aloft")
	script := fmt.Sprintf("#!/bin/sh\necho \"called $*\"\necho trouble >&2\nexit %d\n", status)
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// said returns what the server said by the method, in order.
func (e *editor) said(method string) (texts []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.notes {
		if m.Method != method {
			continue
		}
		var p struct {
			Message string `json:"message"`
			Value   struct {
				Kind string `json:"kind"`
			} `json:"value"`
		}
		if err := json.Unmarshal(m.Params, &p); err != nil {
			e.t.Error(err)
		}
		texts = append(texts, p.Message+p.Value.Kind)
	}
	return texts
}

func TestPlanIsShown(t *testing.T) {
	e := start(t, Config{Self: program(t, 2)}) // there are changes
	dir := t.TempDir()
	e.initialize(dir)
	var got outcome
	e.must("workspace/executeCommand", map[string]any{"command": "aloft.plan", "arguments": []string{"file://" + dir + "/shop.sf"}}, &got)
	want := "called plan " + dir + "/shop.sf"
	if got.Status != 2 || !strings.Contains(got.Output, want) {
		t.Errorf("plan: %+v", got)
	}
	if shown := e.said("window/showMessage"); len(shown) != 1 || !strings.Contains(shown[0], want) {
		t.Errorf("shown: %q", shown)
	}
	if logged := e.said("window/logMessage"); !slices.Contains(logged, want) || !slices.Contains(logged, "trouble") {
		t.Errorf("logged: %q", logged)
	}
	if p := e.said("$/progress"); len(p) != 4 || p[0] != "begin" || p[3] != "end" {
		t.Errorf("progress: %q", p)
	}
	if asked := e.said("window/showMessageRequest"); len(asked) != 0 {
		t.Errorf("asked %q", asked)
	}
}

func TestDeployAndTerminateAskFirst(t *testing.T) {
	for _, c := range []struct{ command, yes, want string }{
		{"aloft.deploy", "Deploy", "called up -y DIR/shop.sf"},
		{"aloft.terminate", "Terminate", "called down -y shop"},
	} {
		e := start(t, Config{Self: program(t, 0)})
		dir := t.TempDir()
		e.initialize(dir)
		do := map[string]any{"command": c.command, "arguments": []string{"file://" + dir + "/shop.sf"}}

		e.answers["window/showMessageRequest"] = protocol.MessageActionItem{Title: "Cancel"}
		e.must("workspace/executeCommand", do, nil)
		if logged := e.said("window/logMessage"); len(logged) != 0 {
			t.Errorf("%s without consent: %q", c.command, logged)
		}
		e.mu.Lock()
		e.answers["window/showMessageRequest"] = protocol.MessageActionItem{Title: c.yes}
		e.mu.Unlock()
		e.must("workspace/executeCommand", do, nil)
		if logged := e.said("window/logMessage"); !slices.Contains(logged, strings.ReplaceAll(c.want, "DIR", dir)) {
			t.Errorf("%s: %q", c.command, logged)
		}
	}
}

func TestFailuresOfCommandsAreShown(t *testing.T) {
	e := start(t, Config{Self: program(t, 1)})
	dir := t.TempDir()
	e.initialize(dir)
	e.must("workspace/executeCommand", map[string]any{"command": "aloft.plan", "arguments": []string{"file://" + dir + "/shop.sf"}}, nil)
	if shown := e.said("window/showMessage"); len(shown) != 1 || !strings.Contains(shown[0], "failed") || !strings.Contains(shown[0], "trouble") {
		t.Errorf("shown: %q", shown)
	}
	for _, params := range []map[string]any{
		{"command": "aloft.plan"},
		{"command": "aloft.plan", "arguments": []any{7}},
		{"command": "aloft.plan", "arguments": []string{"untitled:1"}},
		{"command": "other", "arguments": []string{"file:///x.sf"}},
	} {
		if code := errCode(e.call("workspace/executeCommand", params, nil)); code != -32602 {
			t.Errorf("%v: code %d", params, code)
		}
	}
}

func TestCommandsReadDescriptionsAsTheEditorDoes(t *testing.T) {
	root, home := t.TempDir(), t.TempDir()
	e := start(t, Config{Self: program(t, 0), Flags: []string{"--home", home}})
	e.must("initialize", map[string]any{
		"rootUri":      "file://" + root,
		"capabilities": map[string]any{},
		"initializationOptions": map[string]any{
			"include": []string{"parts"}, "properties": map[string]string{"b": "2", "a": "1"}, "environment": map[string]string{"USER": "me"},
		},
	}, nil)
	for command, want := range map[string]string{
		"aloft.plan":      "--home HOME plan ROOT/in/shop.sf -I ROOT/parts -D a=1 -D b=2 -E USER=me",
		"aloft.deploy":    "--home HOME up -y ROOT/in/shop.sf -I ROOT/parts -D a=1 -D b=2 -E USER=me",
		"aloft.terminate": "--home HOME down -y shop",
	} {
		e.mu.Lock()
		e.answers["window/showMessageRequest"] = protocol.MessageActionItem{Title: actions[command].yes}
		e.mu.Unlock()
		var got outcome
		e.must("workspace/executeCommand", map[string]any{"command": command, "arguments": []string{"file://" + root + "/in/shop.sf"}}, &got)
		want = "called " + strings.NewReplacer("ROOT", root, "HOME", home).Replace(want)
		if first, _, _ := strings.Cut(got.Output, "\n"); first != want {
			t.Errorf("%s\ngot  %s\nwant %s", command, first, want)
		}
	}
}
