package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"aloft/api"

	"github.com/danielgtaylor/huma/v2"
)

// stdinAhead is how many frames of input wait for a command that does not read.
const stdinAhead = 16

// exec registers the one operation that leaves HTTP: the request names the
// command, and after the answer 101 both sides send frames.
func (s *Server) exec(mux guarded) {
	schema := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.ExecRequest](), true, "")
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "exec", Method: http.MethodPost, Path: "/v1/exec",
		Summary:     "Run a command on a machine",
		Description: "Answered with 101 and the protocol " + api.ExecProtocol + ": frames of a type byte, a length in four bytes (big endian), and the content.",
		Parameters: []*huma.Param{
			{Name: "machine", In: "query", Required: true, Schema: &huma.Schema{Type: huma.TypeString}},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}},
		Responses:   map[string]*huma.Response{"101": {Description: "frames follow"}},
	})
	mux.HandleFunc("POST /v1/exec", func(w http.ResponseWriter, r *http.Request) {
		var req api.ExecRequest
		err := json.NewDecoder(r.Body).Decode(&req)
		switch {
		case err != nil:
			s.fail(w, &api.Error{Kind: api.KindInvalid, Message: "exec request: " + err.Error()})
		case len(req.Command) == 0:
			s.fail(w, &api.Error{Kind: api.KindInvalid, Message: "exec request names no command"})
		case r.Header.Get("Upgrade") != api.ExecProtocol:
			s.fail(w, &api.Error{Kind: api.KindInvalid, Message: "exec needs an upgrade to " + api.ExecProtocol})
		default:
			s.upgrade(w, r, req)
		}
	})
}

// leaveTime is how long a caller has to close the connection of a command that
// has ended.
const leaveTime = 5 * time.Second

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, req api.ExecRequest) {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.fail(w, err)
		return
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+api.ExecProtocol+"\r\n\r\n")
	if err != nil {
		return // the caller left
	}
	// The request's ctx does not see the caller leave once hijacked; the
	// reader of frames does.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := &frames{conn: conn, broken: cancel}
	stdin, toStdin := io.Pipe()
	resize := make(chan api.WindowSize, 1)
	var readers sync.WaitGroup
	chunks := make(chan []byte, stdinAhead)
	readers.Go(func() {
		for c := range chunks {
			// An error means that the command reads no more; it may run on.
			_, _ = toStdin.Write(c)
		}
		toStdin.Close()
	})
	readers.Go(func() {
		defer cancel()
		input(ctx, buf.Reader, chunks, resize)
	})
	status, err := s.cfg.Service.Exec(ctx, r.URL.Query().Get("machine"), req, api.ExecStreams{
		Stdin:  stdin,
		Stdout: out.as(api.FrameStdout),
		Stderr: out.as(api.FrameStderr),
		Resize: resize,
	})
	if err != nil {
		if text, e := json.Marshal(s.problem(err).Problem); e == nil {
			_ = out.write(api.FrameProblem, text)
		}
	} else {
		_ = out.write(api.FrameExit, binary.BigEndian.AppendUint32(nil, uint32(status)))
	}
	cancel()
	stdin.Close()
	if half, can := conn.(interface{ CloseWrite() error }); can && half.CloseWrite() == nil {
		// Closed with input unread, a connection is reset, and who is between us
		// and the caller drops what has not been passed on: the caller closes first.
		_ = conn.SetReadDeadline(time.Now().Add(leaveTime))
		readers.Wait()
		_, _ = io.Copy(io.Discard, buf.Reader)
		return
	}
	conn.Close()
	readers.Wait()
}

// input hands on what the caller sends until the connection ends or makes no
// sense. Bytes for a command that does not read wait in chunks, so that input
// still sees the caller leave.
func input(ctx context.Context, r *bufio.Reader, chunks chan<- []byte, resize chan api.WindowSize) {
	open := true
	end := func() {
		if open {
			open = false
			close(chunks)
		}
	}
	defer end()
	for {
		t, content, err := api.ReadFrame(r)
		if err != nil {
			return
		}
		switch {
		case t == api.FrameStdin && open:
			select {
			case chunks <- content:
			case <-ctx.Done():
				return
			}
		case t == api.FrameStdinEOF:
			end()
		case t == api.FrameResize:
			var size api.WindowSize
			if json.Unmarshal(content, &size) != nil {
				return
			}
			select { // only the newest size counts
			case <-resize:
			default:
			}
			resize <- size
		default:
			return
		}
	}
}

// frames writes frames to a connection, one at a time, and calls broken when
// that fails: the caller has left.
type frames struct {
	broken func()

	mu sync.Mutex
	// under mu:
	conn net.Conn
}

func (f *frames) write(t api.FrameType, content []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := api.WriteFrame(f.conn, t, content)
	if err != nil {
		f.broken()
	}
	return err
}

// as returns a writer whose bytes go out as frames of type t.
func (f *frames) as(t api.FrameType) io.Writer { return frameWriter{f, t} }

type frameWriter struct {
	f *frames
	t api.FrameType
}

func (w frameWriter) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		k := min(len(p), api.MaxFrame)
		if err := w.f.write(w.t, p[:k]); err != nil {
			return n, err
		}
		n, p = n+k, p[k:]
	}
	return n, nil
}
