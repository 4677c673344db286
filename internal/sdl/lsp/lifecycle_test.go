package lsp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServerEndsWellAfterShutdownOnly(t *testing.T) {
	e := start(t, Config{})
	e.initialize("")
	if err := e.leave(); err != nil {
		t.Errorf("after shutdown and exit: %v", err)
	}

	e = start(t, Config{})
	e.initialize("")
	e.notify("exit", nil)
	if err := e.wait(); !errors.Is(err, ErrNoShutdown) {
		t.Errorf("after exit alone: %v", err)
	}

	e = start(t, Config{})
	e.initialize("")
	e.to.Close()
	if err := e.wait(); !errors.Is(err, ErrNoShutdown) {
		t.Errorf("after the client closed its stream: %v", err)
	}
}

func TestServerEndsWithItsClientsProcess(t *testing.T) {
	tick := make(chan time.Time)
	e := start(t, Config{
		After: func(time.Duration) <-chan time.Time { return tick },
		Alive: func(pid int) bool { return pid != 1 },
	})
	e.initialize("")
	tick <- time.Time{}
	if err := e.wait(); err == nil || !strings.Contains(err.Error(), "process 1 is gone") {
		t.Errorf("ended with %v", err)
	}
}

func TestRequestsOutOfTurnAreRefused(t *testing.T) {
	e := start(t, Config{})
	if code := errCode(e.call("textDocument/completion", nil, nil)); code != -32002 {
		t.Errorf("before initialize: code %d", code)
	}
	e.initialize("")
	if code := errCode(e.call("initialize", map[string]any{"capabilities": nil}, nil)); code != -32600 {
		t.Errorf("a second initialize: code %d", code)
	}
	if code := errCode(e.call("no/such", nil, nil)); code != -32601 {
		t.Errorf("an unknown method: code %d", code)
	}
	if code := errCode(e.call("textDocument/completion", 7, nil)); code != -32602 {
		t.Errorf("wrong parameters: code %d", code)
	}
	e.must("shutdown", nil, nil)
	if code := errCode(e.call("textDocument/completion", nil, nil)); code != -32600 {
		t.Errorf("after shutdown: code %d", code)
	}
}

func TestGarbageDoesNotEndTheSession(t *testing.T) {
	e := start(t, Config{})
	for _, junk := range []string{
		"hello from your shell\n",
		"Content-Length: 9\r\n\r\nnot JSON!",
		"Content-Length: 2\r\n\r\n[]",
		"Content-Type: text/plain\r\ncontent-length: 2\r\n\r\n{}",
		"Content-Length: 38\r\n\r\n" + `{"jsonrpc":"2.0","id":77,"result":[1]}`,
		"Content-Length: 200000\r\n\r\n" + strings.Repeat("[", 200000),
	} {
		if _, err := io.WriteString(e.to, junk); err != nil {
			t.Fatal(err)
		}
	}
	e.initialize("")
	if err := e.leave(); err != nil {
		t.Error(err)
	}
}

func TestHugeLengthEndsTheSessionWithoutMemory(t *testing.T) {
	for _, length := range []string{"99999999999999999999999", "4000000000", "-1"} {
		e := start(t, Config{})
		if _, err := fmt.Fprintf(e.to, "Content-Length: %s\r\n\r\n", length); err != nil {
			t.Fatal(err)
		}
		if err := e.wait(); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("a message of %s bytes: %v", length, err)
		}
	}
}

func TestEncodingIsTheOneTheClientWants(t *testing.T) {
	for _, c := range []struct {
		offered []string
		want    string
	}{
		{nil, "utf-16"},
		{[]string{"utf-16"}, "utf-16"},
		{[]string{"utf-32", "utf-8"}, "utf-8"},
	} {
		e := start(t, Config{})
		var got struct {
			Capabilities struct{ PositionEncoding string }
		}
		e.must("initialize", map[string]any{"capabilities": map[string]any{"general": map[string]any{"positionEncodings": c.offered}}}, &got)
		if got.Capabilities.PositionEncoding != c.want {
			t.Errorf("offered %v: %s, want %s", c.offered, got.Capabilities.PositionEncoding, c.want)
		}
	}
}

func TestOptionsThatCannotBeReadDoNotPreventService(t *testing.T) {
	for _, options := range []any{nil, []any{}, 7, map[string]any{"properties": []any{}, "include": []string{"parts"}}} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "parts"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "parts", "a.sf"), []byte("A extends {}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		e := start(t, Config{})
		e.must("initialize", map[string]any{"rootUri": "file://" + dir, "initializationOptions": options, "capabilities": map[string]any{}}, nil)
		uri := "file://" + dir + "/main.sf"
		e.open(uri, "#include? \"a.sf\"\nsfConfig extends A;\n")
		if _, isMap := options.(map[string]any); isMap {
			e.mistakes(uri)
		} else {
			e.mistakes(uri, "SDL401")
		}
	}
}

func TestPositionsAreInTheEncodingAgreedOn(t *testing.T) {
	for encoding, char := range map[string]uint32{"utf-16": 29, "utf-8": 31} {
		e := start(t, Config{})
		e.must("initialize", map[string]any{"capabilities": map[string]any{"general": map[string]any{"positionEncodings": []string{encoding}}}}, nil)
		const uri = "untitled:1"
		e.open(uri, "sfConfig extends { x \"\U0001F600\"; y nowhere; }\r\n")
		e.mistakes(uri, "SDL801")
		if at := e.mistake(uri).Range.Start; at.Character != char {
			t.Errorf("in %s the mistake is at %d, want %d", encoding, at.Character, char)
		}
	}
}

func TestMistakesAreToldWhileTyping(t *testing.T) {
	dir := t.TempDir()
	e := start(t, Config{})
	e.initialize(dir)
	uri := "file://" + dir + "/a.sf" // not on disk
	e.open(uri, "sfConfig extends {\n  a b;\n}\n")
	e.mistakes(uri, "SDL801")
	e.notify("textDocument/didChange", map[string]any{
		"textDocument": map[string]any{"uri": uri, "version": 2},
		"contentChanges": []any{map[string]any{
			"range": map[string]any{"start": map[string]int{"line": 1, "character": 4}, "end": map[string]int{"line": 1, "character": 5}},
			"text":  "1",
		}},
	})
	e.mistakes(uri)
	e.notify("textDocument/didChange", map[string]any{
		"textDocument": map[string]any{"uri": uri, "version": 3}, "contentChanges": []any{map[string]any{"text": "sfConfig 1 2"}},
	})
	e.mistakes(uri, "SDL201")
	e.notify("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": uri}})
	e.mistakes(uri)
	if err := e.leave(); err != nil {
		t.Error(err)
	}
}
