// Package lsp is the language server: what editors show about a description
// while it is written. It speaks LSP 3.17 over two streams and keeps three
// things apart: this package is the edge, which knows the protocol and the life
// of a connection; package workspace holds immutable snapshots of the open
// files and what was found out about them; package answer computes, from such a
// snapshot and a place in it, what to show. It decides nothing about
// descriptions that the command line would not decide too, and deploys only by
// running the program itself. Run starts all goroutines and ends them.
package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"aloft/component"
	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/jsonrpc2"
)

// Config is what a server needs to know.
type Config struct {
	In  io.ReadCloser // closed when Run ends
	Out io.Writer

	Version string // of the build
	Log     *slog.Logger
	// Now and After are the clock.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
	// Alive reports whether the process pid, the client's, still runs.
	Alive func(pid int) bool

	// Classes lists the component classes; may be nil.
	Classes func() []component.Class
	// LibraryDir is the folder into which the built-in library is written to
	// be shown, or "" to show none of it.
	LibraryDir string
	// Self is the program that carries out plan, deploy and terminate, and
	// Flags are what it gets before the name of a command.
	Self  string
	Flags []string
}

// debounce is how long the server waits after an edit before it looks for
// mistakes: longer than the time between two keys of a held key.
const debounce = 40 * time.Millisecond

// concurrent is how many requests are worked on at a time.
const concurrent = 4

// ErrNoShutdown is how Run ends when the client says exit, or closes the
// stream, without having said shutdown before.
var ErrNoShutdown = errors.New("the client ended without shutting the server down")

// server is one run. Its loop alone reads messages and changes the state below
// it; requests run beside it on the snapshot that was current when they came.
type server struct {
	Config
	*conn
	requests sync.WaitGroup
	slots    chan struct{}

	phase    phase
	client   client
	current  *workspace.Snapshot
	checks   map[string]context.CancelFunc // by document: looking for mistakes
	versions map[string]int32              // of open documents, as the client counts

	mu      sync.Mutex
	running map[string]context.CancelFunc // requests by id
	shown   published
	// progresses counts what was shown to go on.
	progresses int
	knows      func() *answer.Known
}

// phase is how far the connection has come.
type phase uint8

const (
	starting phase = iota
	serving
	shutDown
)

// client is what the client said about itself.
type client struct {
	pid       int
	encoding  text.Encoding
	snippets  bool
	progress  bool
	hierarchy bool // nested document symbols
	related   bool // related places in diagnostics
	watches   bool // files on disk, if asked to
}

// Run serves the client until it says exit, goes away, or ctx ends. It returns
// nil if the client had said shutdown before.
func Run(ctx context.Context, c Config) error {
	defer runtime.KeepAlive(slack())
	s := &server{
		Config: c, conn: newConn(c.In, c.Out), slots: make(chan struct{}, concurrent),
		current: workspace.New(c.Now), checks: map[string]context.CancelFunc{}, versions: map[string]int32{},
		running: map[string]context.CancelFunc{},
	}
	s.knows = sync.OnceValue(s.makeKnown)
	ctx, cancel := context.WithCancel(ctx)
	incoming := make(chan message)
	var readErr error
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(incoming)
		readErr = s.receive(ctx, incoming)
	})
	err := s.serve(ctx, incoming)
	cancel()
	s.end()
	c.In.Close() // the reader may wait in it; there is nothing to lose
	reader.Wait()
	s.requests.Wait()
	switch {
	case err != nil || s.phase == shutDown:
		return err
	case readErr != nil && !errors.Is(readErr, io.EOF):
		return fmt.Errorf("read from the client: %w", readErr)
	}
	return ErrNoShutdown
}

// receive hands on what the client sends until the stream ends.
func (s *server) receive(ctx context.Context, incoming chan<- message) error {
	for {
		m, err := s.read()
		if bad, ok := errors.AsType[errMalformed](err); ok {
			if err := s.reply(nil, nil, jsonrpc2.NewError(jsonrpc2.ParseError, bad.Error())); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		select {
		case incoming <- m:
		case <-ctx.Done():
			return nil
		}
	}
}

// slack is memory that nothing is ever written to, so that it costs none; but
// the collector counts it. What each key leaves behind is then collected when
// there is as much of it again, not after every few keys, and a description
// that needs far more than this is collected as in any other program, which a
// percentage for all sizes would not do. It is made once in a process: memory
// used again would have to be cleared.
var slack = sync.OnceValue(func() []byte { return make([]byte, 96<<20) })

// errExit ends the loop.
var errExit = errors.New("exit")

// alivePeriod is how often the server looks whether its client still runs.
const alivePeriod = 5 * time.Second

// serve is the loop. It returns nil when the client has gone as it should.
func (s *server) serve(ctx context.Context, incoming <-chan message) error {
	look := s.After(alivePeriod)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look:
			if s.client.pid > 0 && !s.Alive(s.client.pid) {
				return fmt.Errorf("the client's process %d is gone", s.client.pid)
			}
			look = s.After(alivePeriod)
		case m, ok := <-incoming:
			if !ok {
				return nil
			}
			if err := s.dispatch(ctx, m); err != nil {
				if errors.Is(err, errExit) {
					if s.phase == shutDown {
						return nil
					}
					return ErrNoShutdown
				}
				return err
			}
		}
	}
}

// dispatch carries out one message, or begins to.
func (s *server) dispatch(ctx context.Context, m message) error {
	switch {
	case m.Method == "" && m.ID != nil:
		s.answered(m)
		return nil
	case m.Method == "":
		return s.reply(nil, nil, jsonrpc2.NewError(jsonrpc2.InvalidRequest, "neither a request nor an answer"))
	case m.ID == nil:
		return s.notification(ctx, m)
	}
	switch {
	case m.Method == "initialize":
		result, err := s.initialize(m.Params)
		return s.reply(m.ID, result, err)
	case s.phase == starting:
		return s.reply(m.ID, nil, jsonrpc2.NewError(codeNotInitialized, "the first request must be initialize"))
	case s.phase == shutDown:
		return s.reply(m.ID, nil, jsonrpc2.NewError(jsonrpc2.InvalidRequest, "the server is shut down"))
	case m.Method == "shutdown":
		s.phase = shutDown
		for _, stop := range s.checks {
			stop()
		}
		return s.reply(m.ID, nil, nil)
	}
	if m.Method == "workspace/executeCommand" {
		o := s.current.Options()
		s.begin(ctx, m, func(ctx context.Context) (any, error) { return s.execute(ctx, o, m.Params) })
		return nil
	}
	handle, known := requests[m.Method]
	if !known {
		return s.reply(m.ID, nil, jsonrpc2.NewError(jsonrpc2.MethodNotFound, "unknown method "+m.Method))
	}
	w := s.current
	s.begin(ctx, m, func(ctx context.Context) (any, error) {
		return s.guarded(ctx, func() (any, error) { return handle(ctx, s, w, m.Params) }, m.Method)
	})
	return nil
}

// handler answers a request from the snapshot w.
type handler func(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error)

// begin works on a request beside the loop.
func (s *server) begin(ctx context.Context, m message, work func(context.Context) (any, error)) {
	ctx, cancel := context.WithCancel(ctx)
	id := string(m.ID)
	s.mu.Lock()
	s.running[id] = cancel
	s.mu.Unlock()
	s.requests.Go(func() {
		defer func() {
			cancel()
			s.mu.Lock()
			delete(s.running, id)
			s.mu.Unlock()
		}()
		result, err := work(ctx)
		if ctx.Err() != nil {
			result, err = nil, context.Canceled
		}
		if err := s.reply(m.ID, result, err); err != nil {
			s.Log.Debug("answer not sent", "method", m.Method, "error", err)
		}
	})
}

// guarded runs work when there is a slot for it. A panic is a mistake of ours
// that must not cost the client its session: it is logged and becomes an error.
func (s *server) guarded(ctx context.Context, work func() (any, error), what string) (result any, err error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		<-s.slots
		if p := recover(); p != nil {
			s.Log.Error("request panicked", "method", what, "panic", p, "stack", string(debug.Stack()))
			result, err = nil, jsonrpc2.NewError(jsonrpc2.InternalError, fmt.Sprintf("%s: internal error: %v", what, p))
		}
	}()
	return work()
}

// decode reads the parameters of a request.
func decode[T any](params json.RawMessage) (T, error) {
	var v T
	if len(params) == 0 {
		params = null
	}
	if err := json.Unmarshal(params, &v); err != nil {
		return v, jsonrpc2.NewError(jsonrpc2.InvalidParams, err.Error())
	}
	return v, nil
}
