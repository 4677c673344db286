package lsp

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.lsp.dev/protocol"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// editor is a client that speaks the real protocol to a server in this
// process.
type editor struct {
	t     testing.TB
	conn  *conn
	to    io.WriteCloser
	done  chan error
	ended bool
	err   error

	mu          sync.Mutex
	changed     *sync.Cond
	diagnostics map[protocol.DocumentURI][]protocol.Diagnostic
	told        int // times that diagnostics came
	notes       []message
	answers     map[string]any // to requests of the server, by method
	held        chan struct{}  // answers wait for it to be closed; may be nil
	reading     sync.WaitGroup
}

// start runs a server and a client without anything said.
func start(t testing.TB, c Config) *editor {
	t.Helper()
	fromClient, toServer := io.Pipe()
	fromServer, toClient := io.Pipe()
	c.In, c.Out = fromClient, toClient
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Alive == nil {
		c.Alive = func(int) bool { return true }
	}
	e := &editor{
		t: t, conn: newConn(fromServer, toServer), to: toServer, done: make(chan error, 1),
		diagnostics: map[protocol.DocumentURI][]protocol.Diagnostic{}, answers: map[string]any{},
	}
	e.changed = sync.NewCond(&e.mu)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := Run(ctx, c)
		toClient.Close()
		e.done <- err
	}()
	e.reading.Go(e.read)
	t.Cleanup(func() {
		cancel()
		toServer.Close()
		e.wait()
		e.reading.Wait()
	})
	return e
}

// read takes what the server sends until it ends.
func (e *editor) read() {
	defer e.conn.end()
	for {
		m, err := e.conn.read()
		if err != nil {
			return
		}
		switch {
		case m.Method == "":
			e.conn.answered(m)
		case m.ID != nil:
			e.mu.Lock()
			answer := e.answers[m.Method]
			e.notes = append(e.notes, m)
			e.changed.Broadcast()
			held := e.held
			e.mu.Unlock()
			e.reading.Go(func() {
				if held != nil {
					<-held
				}
				// The server may be gone.
				_ = e.conn.reply(m.ID, answer, nil)
			})
		default:
			e.mu.Lock()
			if m.Method == "textDocument/publishDiagnostics" {
				var p protocol.PublishDiagnosticsParams
				if err := json.Unmarshal(m.Params, &p); err != nil {
					e.t.Error(err)
				}
				e.diagnostics[p.URI] = p.Diagnostics
				e.told++
			}
			e.notes = append(e.notes, m)
			e.changed.Broadcast()
			e.mu.Unlock()
		}
	}
}

// wait returns how the server ended.
func (e *editor) wait() error {
	if !e.ended {
		e.err, e.ended = <-e.done, true
	}
	return e.err
}

func (e *editor) call(method string, params, result any) error {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return e.conn.call(ctx, method, params, result)
}

func (e *editor) must(method string, params, result any) {
	e.t.Helper()
	if err := e.call(method, params, result); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

func (e *editor) notify(method string, params any) {
	e.t.Helper()
	if err := e.conn.notify(method, params); err != nil {
		e.t.Fatalf("%s: %v", method, err)
	}
}

// initialize says hello as an editor with the folder root would.
func (e *editor) initialize(root string) (result struct {
	Capabilities map[string]any `json:"capabilities"`
},
) {
	e.t.Helper()
	params := map[string]any{"processId": 1, "capabilities": map[string]any{
		"textDocument": map[string]any{"publishDiagnostics": map[string]any{"relatedInformation": true}},
		"window":       map[string]any{"workDoneProgress": true},
	}}
	if root != "" {
		params["rootUri"] = "file://" + root
	}
	e.must("initialize", params, &result)
	e.notify("initialized", struct{}{})
	return result
}

func (e *editor) open(uri, text string) {
	e.t.Helper()
	e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": uri, "languageId": "sf", "version": 1, "text": text}})
}

// until waits until ok, which is asked whenever the server said something.
func (e *editor) until(what string, ok func() bool) {
	e.t.Helper()
	alarm := time.AfterFunc(time.Minute, func() { e.changed.Broadcast() })
	defer alarm.Stop()
	deadline := time.Now().Add(time.Minute)
	e.mu.Lock()
	defer e.mu.Unlock()
	for !ok() {
		if time.Now().After(deadline) {
			e.t.Fatalf("the server never said %s", what)
		}
		e.changed.Wait()
	}
}

// mistakes waits until the server finds the mistakes with these codes in a
// document.
func (e *editor) mistakes(uri string, codes ...string) {
	e.t.Helper()
	e.until(uri+" has "+strings.Join(codes, " "), func() bool {
		list, told := e.diagnostics[protocol.DocumentURI(uri)]
		var found []string
		for _, d := range list {
			found = append(found, d.Code.(string))
		}
		return told && strings.Join(found, " ") == strings.Join(codes, " ")
	})
}

// mistake returns the first mistake in a document.
func (e *editor) mistake(uri string) protocol.Diagnostic {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.diagnostics[protocol.DocumentURI(uri)][0]
}

// leave says goodbye and returns how the server ended.
func (e *editor) leave() error {
	e.t.Helper()
	e.must("shutdown", nil, nil)
	e.notify("exit", nil)
	return e.wait()
}

// errCode returns the code of an error that the server answered with.
func errCode(err error) int {
	if err == nil {
		return 0
	}
	return int(asError(err).Code)
}
