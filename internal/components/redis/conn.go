package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn speaks the Redis protocol, as much of it as the manager needs.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// replyTime bounds a command whose context has no earlier deadline.
const replyTime = 5 * time.Second

// dial connects and presents the first of passwords that the server takes; ""
// is none.
func dial(ctx context.Context, s settings, passwords ...string) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", s.address())
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(replyTime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	nc.SetDeadline(deadline)
	c := &conn{nc, bufio.NewReader(nc)}
	for _, p := range passwords {
		if p != "" {
			if _, err = c.do("AUTH", p); err != nil {
				continue
			}
		}
		if _, err = c.do("PING"); err == nil || strings.HasPrefix(err.Error(), "LOADING") {
			return c, nil
		}
	}
	c.close()
	return nil, fmt.Errorf("redis at %s: %w", s.address(), err)
}

func (c *conn) close() { c.Close() }

// do sends a command and returns its reply: a string, or "" for none.
func (c *conn) do(words ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return "", err
	}
	return readReply(c.r)
}

// maxReply bounds a reply: the manager asks for nothing large.
const maxReply = 1 << 20

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n > maxReply {
			return "", fmt.Errorf("malformed reply %q", line)
		}
		if n < 0 {
			return "", nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		return string(b[:n]), nil
	default:
		return "", fmt.Errorf("unexpected reply %q", line)
	}
}

func (c *conn) expect(want string, words ...string) error {
	got, err := c.do(words...)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("redis answers %q to %s", got, words[0])
	}
	return nil
}

// set takes the server from one set of dynamic settings to another.
func (c *conn) set(from, to settings) error {
	old := from.dynamic()
	for i, kv := range to.dynamic() {
		if kv[1] == old[i][1] {
			continue
		}
		if err := c.expect("OK", "CONFIG", "SET", kv[0], kv[1]); err != nil {
			return fmt.Errorf("set %s: %w", kv[0], err)
		}
	}
	switch {
	case to.master != nil && (from.master == nil || *from.master != *to.master):
		return c.expect("OK", "REPLICAOF", to.master.host, strconv.Itoa(to.master.port))
	case to.master == nil && from.master != nil:
		return c.expect("OK", "REPLICAOF", "NO", "ONE")
	}
	return nil
}

// loaded waits until the server has read its data from disk and answers.
func (s settings) loaded(ctx context.Context) error {
	for {
		c, err := dial(ctx, s, s.password)
		if err != nil {
			return err
		}
		err = c.expect("PONG", "PING")
		c.close()
		if err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
