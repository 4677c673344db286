package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"aloft/api"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

// A stream that broke is taken up again at its cursor while the daemon is
// restarted, for so long.
const (
	firstPause = 50 * time.Millisecond
	longPause  = time.Second
	patience   = 10 * time.Second
)

// maxMessage bounds one server-sent event in bytes.
const maxMessage = 4 << 20

// Events returns the events that q chooses. When the connection breaks, the
// sequence goes on behind the last event seen; it ends with an error when the
// daemon stays away.
func (c *Client) Events(ctx context.Context, q api.EventQuery) (iter.Seq2[api.Event, error], error) {
	v := url.Values{}
	set(v, "system", q.System)
	set(v, "path", q.Path)
	set(v, "plan", q.Plan)
	set(v, "after", q.After)
	if q.Follow {
		v.Set("follow", "true")
	}
	seq, err := follow(ctx, c, "/v1/events", v, func(e api.Event) string { return e.Cursor })
	if err != nil {
		return nil, err
	}
	return func(yield func(api.Event, error) bool) {
		// What came after the last cursor is told again when a stream is taken
		// up: each event is passed on once.
		seen := map[string]int64{} // by origin
		for e, err := range seq {
			if err == nil && e.Sequence != 0 {
				if e.Sequence <= seen[e.Origin] {
					continue
				}
				seen[e.Origin] = e.Sequence
			}
			if !yield(e, err) {
				return
			}
		}
	}, nil
}

// Logs returns the output of components likewise.
func (c *Client) Logs(ctx context.Context, q api.LogQuery) (iter.Seq2[api.LogLine, error], error) {
	v := url.Values{}
	set(v, "path", q.Path)
	set(v, "after", q.After)
	if q.Lines > 0 {
		v.Set("lines", strconv.Itoa(q.Lines))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return follow(ctx, c, at(q.System)+"/logs", v, func(l api.LogLine) string { return l.Cursor })
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

// follow opens a stream, so that errors of the request show at once, and
// ranges over its items, opening it again at the last cursor when it breaks.
func follow[T any](ctx context.Context, c *Client, path string, v url.Values, cursor func(T) string) (iter.Seq2[T, error], error) {
	first, err := c.open(ctx, path, v)
	if err != nil {
		return nil, err
	}
	// The connection is ours until somebody ranges; nobody may.
	release := context.AfterFunc(ctx, func() { first.Close() })
	return func(yield func(T, error) bool) {
		body := first
		defer func() { body.Close() }()
		defer release()
		for {
			var stopped bool
			err := messages(body, func(data []byte) error {
				var item T
				if err := json.Unmarshal(data, &item); err != nil {
					return fmt.Errorf("item of %s: %w", path, err)
				}
				if cur := cursor(item); cur != "" {
					v.Set("after", cur)
				}
				if !yield(item, nil) {
					stopped = true
					return io.EOF
				}
				return nil
			})
			if stopped || err == nil || ctx.Err() != nil {
				return
			}
			if errors.Is(err, errCut) {
				body.Close()
				var again io.ReadCloser
				if again, err = c.reopen(ctx, path, v); err == nil {
					body = again
					continue
				}
				body = io.NopCloser(strings.NewReader(""))
				if ctx.Err() != nil {
					return
				}
			}
			var none T
			yield(none, err)
			return
		}
	}, nil
}

func (c *Client) open(ctx context.Context, path string, v url.Values) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodGet, path+"?"+v.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// reopen opens a stream again, with patience for a daemon that is restarted.
func (c *Client) reopen(ctx context.Context, path string, v url.Values) (io.ReadCloser, error) {
	policy := retrypolicy.NewBuilder[io.ReadCloser]().
		HandleIf(func(_ io.ReadCloser, err error) bool {
			return errors.Is(err, ErrNoDaemon) || api.KindOf(err) == api.KindUnavailable
		}).
		WithBackoff(firstPause, longPause).
		WithMaxAttempts(-1).
		WithMaxDuration(patience).
		ReturnLastFailure().
		Build()
	return failsafe.With(policy).WithContext(ctx).Get(func() (io.ReadCloser, error) {
		return c.open(ctx, path, v)
	})
}

// errCut is a stream that ended without saying so.
var errCut = errors.New("the stream of the daemon was cut")

// messages reads server-sent events and hands the data of each to item. It
// returns nil at the end that the server announced, the server's error, what
// item returned, or errCut.
func messages(r io.Reader, item func(data []byte) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 4096), maxMessage)
	event, data := "", ""
	for in.Scan() {
		field, text, _ := strings.Cut(in.Text(), ":")
		text = strings.TrimPrefix(text, " ")
		switch field {
		case "event":
			event = text
		case "data":
			if data != "" {
				data += "\n"
			}
			data += text
		case "": // the end of a message, or a comment
			if text != "" || in.Text() != "" {
				continue
			}
			switch {
			case event == "end":
				return nil
			case event == "error":
				var p api.Problem
				if err := json.Unmarshal([]byte(data), &p); err != nil {
					return fmt.Errorf("error of a stream: %w", err)
				}
				return p.Err()
			case data != "":
				if err := item([]byte(data)); err != nil {
					return err
				}
			}
			event, data = "", ""
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return in.Err()
	}
	return errCut
}
