package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"aloft/api"
)

// Exec runs a command on a machine and returns its exit status. Cancelling ctx
// ends the command. A read of s.Stdin that is under way when the command ends
// is left behind; its bytes are lost.
func (c *Client) Exec(ctx context.Context, machine string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	conn, err := c.ways.connect(ctx)
	if err != nil {
		return 0, unwrapURL(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	req, err := c.request(ctx, http.MethodPost, "/v1/exec?"+url.Values{"machine": {machine}}.Encode(), bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", api.ExecProtocol)
	if err := req.Write(conn); err != nil {
		return 0, cut(ctx, err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return 0, cut(ctx, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		if e := problem(resp.Body); e != nil {
			return 0, e
		}
		return 0, fmt.Errorf("exec on %s: the daemon answered %s", machine, resp.Status)
	}

	ended := make(chan struct{})
	defer close(ended)
	send(conn, s, ended)
	return receive(ctx, in, s)
}

// send hands on input and sizes until the command has ended. The goroutine
// that reads Stdin may outlive the call: a read of a terminal cannot be
// interrupted.
func send(conn io.Writer, s api.ExecStreams, ended <-chan struct{}) {
	var mu sync.Mutex
	frame := func(t api.FrameType, content []byte) error {
		mu.Lock()
		defer mu.Unlock()
		return api.WriteFrame(conn, t, content)
	}
	go func() {
		if s.Stdin != nil {
			buf := make([]byte, 32<<10)
			for {
				n, err := s.Stdin.Read(buf)
				if n > 0 && frame(api.FrameStdin, buf[:n]) != nil {
					return
				}
				if err != nil {
					break
				}
			}
		}
		_ = frame(api.FrameStdinEOF, nil) // fails only when the command has ended
	}()
	if s.Resize == nil {
		return
	}
	go func() {
		for {
			select {
			case <-ended:
				return
			case size, ok := <-s.Resize:
				if !ok {
					return
				}
				if text, err := json.Marshal(size); err != nil || frame(api.FrameResize, text) != nil {
					return
				}
			}
		}
	}()
}

// receive writes out what the command writes, until its status comes.
func receive(ctx context.Context, in io.Reader, s api.ExecStreams) (int, error) {
	for {
		t, content, err := api.ReadFrame(in)
		if err != nil {
			return 0, cut(ctx, err)
		}
		switch t {
		case api.FrameStdout:
			_, err = s.Stdout.Write(content)
		case api.FrameStderr:
			_, err = s.Stderr.Write(content)
		case api.FrameExit:
			if len(content) != 4 {
				return 0, fmt.Errorf("exit status of %d bytes", len(content))
			}
			return int(binary.BigEndian.Uint32(content)), nil
		case api.FrameProblem:
			var p api.Problem
			if err := json.Unmarshal(content, &p); err != nil {
				return 0, fmt.Errorf("problem of a command: %w", err)
			}
			return 0, p.Err()
		default:
			return 0, fmt.Errorf("the daemon sent a frame of type %d", t)
		}
		if err != nil {
			return 0, fmt.Errorf("output of the command: %w", err)
		}
	}
}

// cut explains a connection that ended before the command did.
func cut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &api.Error{Kind: api.KindUnavailable, Message: "the daemon ended while the command ran", Remedy: "the command may run on"}
	}
	return err
}
