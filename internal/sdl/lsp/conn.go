package lsp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"go.lsp.dev/jsonrpc2"
)

// maxMessage bounds one message in bytes. A longer one means that the framing
// is lost, since no editor sends it.
const maxMessage = 128 << 20

// maxHeader bounds the lines before a message's content.
const maxHeader = 64 << 10

// The codes of LSP beside those of JSON-RPC.
const (
	codeNotInitialized jsonrpc2.Code = -32002
	codeCancelled      jsonrpc2.Code = -32800
	codeModified       jsonrpc2.Code = -32801
	codeRequestFailed  jsonrpc2.Code = -32803
)

// message is any message of JSON-RPC. A request has a method and an id, a
// notification only a method, a response only an id. An id is kept as it was
// written, and compared so.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *jsonrpc2.Error `json:"error,omitempty"`
}

var null = json.RawMessage("null")

// conn sends and receives messages. The connection of jsonrpc2 ends at the
// first message that is not JSON, waits for ever when a client answers twice,
// and its decoder has no limit of depth; so this is written anew, on its errors
// and codes.
type conn struct {
	in *bufio.Reader

	write sync.Mutex // held while a message is written
	out   io.Writer

	mu      sync.Mutex
	last    int // id of the last request of ours
	pending map[string]chan message
	ended   bool // no answer comes any more
}

func newConn(in io.Reader, out io.Writer) *conn {
	return &conn{in: bufio.NewReader(in), out: out, pending: map[string]chan message{}}
}

// errMalformed is a message that is framed but cannot be read.
type errMalformed struct{ error }

// read returns the next message. After an errMalformed the next one can be
// read, after any other error none.
func (c *conn) read() (message, error) {
	length, err := c.header()
	if err != nil {
		return message{}, err
	}
	content := make([]byte, 0, min(length, 1<<20)) // it may be a lie
	for len(content) < length {
		n := min(length-len(content), 1<<20)
		from := len(content)
		content = append(content, make([]byte, n)...)
		if _, err := io.ReadFull(c.in, content[from:]); err != nil {
			return message{}, fmt.Errorf("message of %d bytes: %w", length, err)
		}
	}
	var m message
	if err := json.Unmarshal(content, &m); err != nil {
		return message{}, errMalformed{err}
	}
	if string(m.ID) == "null" {
		m.ID = nil
	}
	return m, nil
}

// header reads up to the content of a message and returns its length. What is
// no header is skipped: it may be the output of a program that the client
// started before.
func (c *conn) header() (length int, err error) {
	length = -1
	skipped := 0
	for {
		line, err := c.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if skipped += len(line); skipped > maxHeader {
				return 0, errors.New("no message begins in what the client sent")
			}
			continue
		case err != nil:
			return 0, err
		}
		text := strings.TrimSpace(string(line))
		if text == "" {
			if length >= 0 {
				return length, nil
			}
			continue
		}
		name, number, isHeader := strings.Cut(text, ":")
		if !isHeader || !strings.EqualFold(strings.TrimSpace(name), jsonrpc2.HdrContentLength) {
			if skipped += len(line); skipped > maxHeader {
				return 0, errors.New("no message begins in what the client sent")
			}
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 63)
		if err != nil || n > maxMessage {
			return 0, fmt.Errorf("message of %.40s bytes: at most %d are allowed", strings.TrimSpace(number), maxMessage)
		}
		length = int(n)
	}
}

func (c *conn) send(m message) error {
	m.Version = jsonrpc2.Version
	content, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return c.put(content)
}

// put writes the content of one message.
func (c *conn) put(content []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if _, err := fmt.Fprintf(c.out, "%s: %d\r\n\r\n", jsonrpc2.HdrContentLength, len(content)); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if _, err := c.out.Write(content); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// reply answers the request id. A nil result is null.
func (c *conn) reply(id json.RawMessage, result any, err error) error {
	if id == nil {
		id = null
	}
	if err == nil {
		// A list of completions is long: it is written once, as it is.
		var content []byte
		content, err = json.Marshal(struct {
			Version string          `json:"jsonrpc"`
			ID      json.RawMessage `json:"id"`
			Result  any             `json:"result"`
		}{jsonrpc2.Version, id, result})
		if err == nil {
			return c.put(content)
		}
	}
	return c.send(message{ID: id, Error: asError(err)})
}

func asError(err error) *jsonrpc2.Error {
	if e, ok := errors.AsType[*jsonrpc2.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return jsonrpc2.NewError(codeCancelled, "cancelled")
	}
	return jsonrpc2.NewError(codeRequestFailed, err.Error())
}

func (c *conn) notify(method string, params any) error {
	text, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("write %s: %w", method, err)
	}
	return c.send(message{Method: method, Params: text})
}

// errEnded is what calls get when the client is gone.
var errEnded = errors.New("the client has ended the connection")

// call asks the client and waits for its answer, which it stores in result.
func (c *conn) call(ctx context.Context, method string, params, result any) error {
	text, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("write %s: %w", method, err)
	}
	answer := make(chan message, 1)
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return errEnded
	}
	c.last++
	id := strconv.Itoa(c.last)
	c.pending[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
	}()
	if err := c.send(message{ID: json.RawMessage(id), Method: method, Params: text}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m, ok := <-answer:
		switch {
		case !ok:
			return errEnded
		case m.Error != nil:
			return fmt.Errorf("%s: %w", method, m.Error)
		case result == nil || len(m.Result) == 0:
			return nil
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			return fmt.Errorf("answer to %s: %w", method, err)
		}
		return nil
	}
}

// answered hands an answer of the client to the call that waits for it. One
// that nobody waits for is dropped.
func (c *conn) answered(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, waits := c.pending[string(m.ID)]; waits {
		delete(c.pending, string(m.ID))
		answer <- m
	}
}

// end makes all calls under way and to come fail.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for id, answer := range c.pending {
		delete(c.pending, id)
		close(answer)
	}
}
