package componenttest

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// HTTPS returns a client that trusts what is issued in this process, and nobody
// else. Without keep each request has a connection of its own.
func HTTPS(keep bool) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: !keep,
			TLSClientConfig:   &tls.Config{RootCAs: Trust()},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Shown returns the serial number of the certificate that is shown at an address
// to a new client, who believes it to be name.
func Shown(t testing.TB, address, name string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: Trust(), ServerName: name})
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// Clients ask for a page over and over, over connections that last and new ones,
// until end is called, which reports every request that was not answered with
// 200, but for errors with one of the texts in but, which it only tells.
func Clients(t testing.TB, uri string, but ...string) (end func()) {
	t.Helper()
	var asked, failed, excused atomic.Int64
	var first atomic.Value
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range 2 {
		client := HTTPS(i == 0)
		all.Go(func() {
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
				err := ask(client, uri)
				switch {
				case err == nil:
				case slices.ContainsFunc(but, func(text string) bool { return strings.Contains(err.Error(), text) }):
					excused.Add(1)
				default:
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	for begun := time.Now(); asked.Load() < 20 && time.Since(begun) < time.Minute; {
		time.Sleep(time.Millisecond)
	}
	return func() {
		close(stop)
		all.Wait()
		if n := excused.Load(); n > 0 {
			t.Logf("%d of %d requests failed for a known reason: %q", n, asked.Load(), but)
		}
		if failed.Load() > 0 {
			t.Errorf("%d of %d requests failed; the first: %v", failed.Load(), asked.Load(), first.Load())
		}
	}
}

func ask(client *http.Client, uri string) error {
	resp, err := client.Get(uri)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
