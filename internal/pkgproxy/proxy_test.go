package pkgproxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

// answering is a connection to a proxy that answers whatever it is asked, and
// then sends zeroes without end.
type answering struct {
	net.Conn
	answer *strings.Reader
	read   int // bytes
}

func (c *answering) Write(b []byte) (int, error) { return len(b), nil }

func (c *answering) Read(b []byte) (int, error) {
	n, err := c.answer.Read(b)
	if err == io.EOF {
		clear(b)
		n, err = len(b), nil
	}
	c.read += n
	return n, err
}

// FuzzProxyAnswer: no answer of a proxy is read without end, and only success
// opens the tunnel.
func FuzzProxyAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 Connection established\r\n\r\n")
	f.Add("HTTP/1.0 200 OK\r\nVia: a\r\n\r\n\x16\x03")
	f.Add("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nX: ")
	f.Fuzz(func(t *testing.T, answer string) {
		conn := &answering{answer: strings.NewReader(answer)}
		err := ask(conn, "192.0.2.1:7400", nil)
		if conn.read > maxAnswer {
			t.Errorf("%d bytes were read", conn.read)
		}
		line, _, _ := bytes.Cut([]byte(answer), []byte("\n"))
		if err == nil && !bytes.Contains(line, []byte("200")) {
			t.Errorf("%q opened a tunnel", line)
		}
	})
}
