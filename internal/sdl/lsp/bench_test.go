package lsp

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.lsp.dev/protocol"
)

// large returns a description of about n lines: components that extend two
// levels, with links, an operator and a schema, and a place in the middle where
// something is being typed.
func large(n int) (text string, line int) {
	var b strings.Builder
	b.WriteString("#include \"org/smartfrog/components.sf\"\n")
	b.WriteString("Base extends { sfClass \"Process\"; port 80; host \"h\"; command [| \"x\" |]; }\nApp extends Base { url (\"http://\" ++ host); }\nsfConfig extends {\n")
	for i := range n / 7 {
		if i == n/14 {
			line = 4 + 7*i
		}
		fmt.Fprintf(&b, "  c%d extends App {\n    port %d;\n    other PARENT:c%d:port;\n    peer LAZY c%d:url;\n    sum (port + 1);\n    inner extends { depth PARENT:port; }\n  }\n", i, i, max(0, i-1), (i+1)%(n/7))
	}
	b.WriteString("}\n")
	return b.String(), line
}

// typist opens a large file in a server and types in the middle of it.
func typist(b *testing.B) (e *editor, uri string, line int) {
	e = start(b, Config{})
	dir := b.TempDir()
	e.initialize(dir)
	uri = "file://" + dir + "/large.sf"
	text, line := large(5000)
	e.open(uri, text)
	e.mistakes(uri)
	return e, uri, line
}

// cpu reports the processor time that each round took, of client and server
// together: what others do on the machine does not count.
func cpu(b *testing.B) {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.Cleanup(func() { b.ReportMetric(float64((used()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op") })
}

func (e *editor) change(uri string, version, line, from, to int, text string) {
	e.t.Helper()
	e.notify("textDocument/didChange", map[string]any{
		"textDocument": map[string]any{"uri": uri, "version": version},
		"contentChanges": []any{map[string]any{
			"range": map[string]any{"start": place{line, from}, "end": place{line, to}}, "text": text,
		}},
	})
}

type place struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

// BenchmarkCompletionWhileTyping measures from a key that makes the text broken
// to the completions that follow from it.
func BenchmarkCompletionWhileTyping(b *testing.B) {
	e, uri, line := typist(b)
	e.change(uri, 2, line, 0, 0, "  fresh extends App { x PARENT: }\n")
	at := len("  fresh extends App { x PARENT:")
	cpu(b)
	b.ResetTimer()
	for i := range b.N {
		e.change(uri, 3+i, line, at, at+i%2, strings.Repeat("c", (i+1)%2))
		var list protocol.CompletionList
		e.must("textDocument/completion", map[string]any{
			"textDocument": map[string]any{"uri": uri}, "position": place{line, at + (i+1)%2},
		}, &list)
		if len(list.Items) < 700 {
			b.Fatalf("only %d completions", len(list.Items))
		}
	}
}

// BenchmarkDiagnosticsAfterAKey measures from a key to the mistakes that are
// told after it, the wait for further keys included.
func BenchmarkDiagnosticsAfterAKey(b *testing.B) {
	e, uri, line := typist(b)
	e.change(uri, 2, line, 0, 0, "  fresh extends App { x nowhere; }\n")
	e.mistakes(uri, "SDL801")
	at := len("  fresh extends App { x nowhere")
	cpu(b)
	b.ResetTimer()
	for i := range b.N {
		e.mu.Lock()
		before := e.told
		e.mu.Unlock()
		e.change(uri, 3+i, line, at, at+i%2, strings.Repeat("s", (i+1)%2))
		e.until("what is wrong", func() bool { return e.told > before })
	}
}

func BenchmarkHover(b *testing.B) {
	e, uri, line := typist(b)
	cpu(b)
	for b.Loop() {
		var h protocol.Hover
		e.must("textDocument/hover", map[string]any{"textDocument": map[string]any{"uri": uri}, "position": place{line + 2, 12}}, &h)
		if h.Contents.Value == "" {
			b.Fatal("nothing to tell")
		}
	}
}

func BenchmarkSemanticTokens(b *testing.B) {
	e, uri, _ := typist(b)
	cpu(b)
	for b.Loop() {
		var tokens protocol.SemanticTokens
		e.must("textDocument/semanticTokens/full", map[string]any{"textDocument": map[string]any{"uri": uri}}, &tokens)
		if len(tokens.Data) == 0 {
			b.Fatal("no tokens")
		}
	}
}

func BenchmarkRename(b *testing.B) {
	e, uri, line := typist(b)
	cpu(b)
	for b.Loop() {
		var edit protocol.WorkspaceEdit
		e.must("textDocument/rename", map[string]any{
			"textDocument": map[string]any{"uri": uri}, "position": place{line, 3}, "newName": "another",
		}, &edit)
	}
}
