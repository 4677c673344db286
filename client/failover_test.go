package client

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// served returns a way to a daemon that answers by h; one without an h takes
// whatever comes and says nothing.
func served(h func()) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			if h == nil {
				_, _ = io.Copy(io.Discard, there)
				return
			}
			in := bufio.NewReader(there)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				answer := &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, ContentLength: 2, Body: io.NopCloser(strings.NewReader("[]"))}
				if r.URL.Path != "/healthz" {
					h()
				}
				if answer.Write(there) != nil {
					return
				}
			}
		}()
		return here, nil
	}
}

func TestStoppedDaemonIsLeftForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := &Client{}
		c.ways.socket(served(nil))
		c.ways.socket(served(func() { asked++ }))
		c.http = &http.Client{Transport: &c.ways}
		defer c.Close()
		begun := time.Now()
		// A change, too: it bears a key and has one effect.
		if _, err := call[[]string](t.Context(), c, http.MethodPost, "/v1/x", "y"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 2*pingTime || asked != 1 {
			t.Errorf("asked %d times after %s", asked, took)
		}
	})
}

func TestDaemonThatThinksIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := 0, 0
		c := &Client{}
		c.ways.socket(served(func() {
			first++
			time.Sleep(time.Minute)
		}))
		c.ways.socket(served(func() { second++ }))
		c.http = &http.Client{Transport: &c.ways}
		defer c.Close()
		if _, err := call[[]string](t.Context(), c, http.MethodPost, "/v1/x", "y"); err != nil || first != 1 || second != 0 {
			t.Errorf("asked %d times, another %d times: %v", first, second, err)
		}
	})
}
