package real

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"aloft/api"
	"aloft/client"
	"aloft/internal/identity"

	"golang.org/x/sys/unix"
)

// strangers: somebody with a certificate of his own making calls every port.
func (w *badWorld) strangers() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "manager"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range w.managers {
		for _, port := range []string{"7400", "7401"} {
			raw, err := w.host.dial(w.t.Context(), "tcp", net.JoinHostPort(m.address, port))
			if err != nil {
				w.t.Fatal(err)
			}
			_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
			conn := tls.Client(raw, &tls.Config{
				InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"},
				Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			})
			_, err = fmt.Fprintf(conn, "GET /v1/systems HTTP/1.1\r\nHost: x\r\n\r\n")
			answer, _ := io.ReadAll(io.LimitReader(conn, 1<<20))
			if strings.Contains(string(answer), "200 OK") || strings.Contains(string(answer), "ten") {
				w.t.Errorf("a stranger was told at %s:%s (%v): %q", m.name, port, err, answer)
			}
			raw.Close()
		}
	}
}

// watchers: a thousand follow the events of one manager.
func (w *badWorld) watchers() {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	c := client.New(w.managers[0].socket())
	defer c.Close()
	now := w.cursor(c)
	var heard atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			events, err := c.Events(ctx, api.EventQuery{System: "ten", After: now, Follow: true})
			if err != nil {
				return
			}
			for _, err := range events {
				if err == nil {
					heard.Add(1)
				}
				break
			}
		})
	}
	eventually(w.t, 60*time.Second, "all thousand hear of the update", func() bool { return heard.Load() == 1000 })
	cancel()
	wg.Wait()
}

// cursor returns where the events that a manager keeps end.
func (w *badWorld) cursor(c *client.Client) (at string) {
	w.t.Helper()
	past, err := c.Events(w.t.Context(), api.EventQuery{System: "ten"})
	if err != nil {
		w.t.Fatal(err)
	}
	for e, err := range past {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Cursor != "" {
			at = e.Cursor
		}
	}
	return at
}

// neverReads: some ask for all that will happen and never read it. What it
// returns waits until their manager has cut them.
func (w *badWorld) neverReads() (cut func()) {
	m := w.managers[0]
	c := client.New(m.socket())
	defer c.Close()
	now := w.cursor(c)
	var all []*net.UnixConn
	for range 20 {
		conn, err := net.Dial("unix", m.socket())
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v1/events?follow=true&after=%s HTTP/1.1\r\nHost: daemon\r\n\r\n", url.QueryEscape(now))
		all = append(all, conn.(*net.UnixConn))
	}
	pid := m.daemonPID()
	return func() {
		eventually(w.t, 90*time.Second, "the daemon ends the streams that nobody reads", func() bool {
			return !slices.ContainsFunc(all, func(c *net.UnixConn) bool { return !hungUp(c) })
		})
		for _, c := range all {
			c.Close()
		}
		if m.daemonPID() != pid {
			w.t.Errorf("another daemon runs: what it cut is not known")
		}
	}
}

// hungUp reports whether the other end has closed a connection, whatever there
// is still to be read.
func hungUp(c *net.UnixConn) (is bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, _ := unix.Poll(p, 0)
		is = n == 1 && p[0].Revents&(unix.POLLHUP|unix.POLLRDHUP) != 0
	})
	return is
}

// malformed: what nobody can read, and what is too large, at every port.
func (w *badWorld) malformed() {
	m := w.managers[0]
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	texts := map[string]string{
		"noise":        string(noise),
		"long header":  "GET /v1/systems HTTP/1.1\r\nHost: daemon\r\nX: " + strings.Repeat("x", 4<<20) + "\r\n\r\n",
		"long path":    "GET /" + strings.Repeat("x", 4<<20) + " HTTP/1.1\r\nHost: daemon\r\n\r\n",
		"large body":   "POST /v1/plans HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\nContent-Length: 1099511627776\r\n\r\n{",
		"no JSON":      "POST /v1/plans HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{",
		"no such call": "BREW /v1/../../etc/passwd HTTP/1.1\r\nHost: daemon\r\n\r\n",
		"half a frame": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
	}
	for name, text := range texts {
		for _, where := range []string{"socket", "7400", "7401"} {
			var conn net.Conn
			var err error
			if where == "socket" {
				conn, err = net.Dial("unix", m.socket())
			} else {
				conn, err = w.host.dial(w.t.Context(), "tcp", net.JoinHostPort(m.address, where))
			}
			if err != nil {
				w.t.Fatalf("%s at %s: %v", name, where, err)
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			_, _ = io.WriteString(conn, text)
			answer := make([]byte, 256)
			n, _ := conn.Read(answer)
			if strings.Contains(string(answer[:n]), " 200 ") {
				w.t.Errorf("%s at %s was answered %q", name, where, answer[:n])
			}
			conn.Close()
		}
	}
}

// answer is what a daemon answered.
type answer struct {
	status int
	header http.Header
	text   string
}

// ask sends a request to a node's own daemon, and to no other.
func (n *node) ask(method, path, body string, header http.Header) answer {
	n.t.Helper()
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", n.socket())
	}}}
	return request(&c, method, "http://daemon"+path, body, header)
}

// request sends a request; the status is 0 where nothing was answered.
func request(c *http.Client, method, url, body string, header http.Header) answer {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{text: err.Error()}
	}
	r.Header.Set("Content-Type", "application/json")
	maps.Copy(r.Header, header)
	res, err := c.Do(r)
	if err != nil {
		return answer{text: err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return answer{text: err.Error()}
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// tokens: somebody comes with a token that is none, was used, or has expired.
func (w *badWorld) tokens() {
	a := w.managers[0]
	late := w.host.lan.node("late", 5, false)
	w.t.Cleanup(func() {
		if pid, ok := late.daemon(); ok {
			kill(w.t, pid)
		}
	})
	var expired api.JoinToken
	if said := a.ask("POST", "/v1/cluster/tokens", aChange, nil); json.Unmarshal([]byte(said.text), &expired) != nil {
		w.t.Fatalf("a token: %+v", said)
	}
	eventually(w.t, 10*time.Second, "the token expires", func() bool { return time.Now().After(expired.Expires) })
	for token, why := range map[string]string{"nonsense": "join token", w.used: "was used before", expired.Token: "expired"} {
		out, status := late.try("join", a.address+":7400", "--role", "host", "--token", token, "--listen", late.address+":7400", "--name", "late")
		if status != 1 || !strings.Contains(out, why) {
			w.t.Errorf("join with a token that is not good (%s): exit %d\n%s", why, status, out)
		}
	}
	if n := len(a.members()); n != 4 {
		w.t.Errorf("%d members after refusals, want 4", n)
	}
}

// repeated: requests come twice, at once and late, and out of order.
func (w *badWorld) repeated() {
	key := http.Header{"Idempotency-Key": {"bad-day"}}
	body := `{"role":"host","ttl":60}`
	answers := make([]answer, 12)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = w.managers[i%3].ask("POST", "/v1/cluster/tokens", body, key) })
	}
	wg.Wait()
	answers = append(answers, w.managers[1].ask("POST", "/v1/cluster/tokens", body, key))
	for i, a := range answers {
		if a.status/100 != 2 || a.text != answers[0].text {
			w.t.Errorf("repetition %d was answered %d %s, the first %s", i, a.status, a.text, answers[0].text)
		}
	}
	a := w.managers[0]
	var then, now api.Deployment
	if d := a.ask("GET", "/v1/systems/ten/deployment", "", nil); json.Unmarshal([]byte(d.text), &then) != nil || then.Plan == "" {
		w.t.Fatalf("the deployment: %+v", d)
	}
	w.updated()
	said := a.ask("POST", "/v1/systems/ten/deployment", fmt.Sprintf(`{"plan":%q}`, then.Plan), nil)
	if d := a.ask("GET", "/v1/systems/ten/deployment", "", nil); json.Unmarshal([]byte(d.text), &now) != nil || now.Plan == then.Plan {
		w.t.Errorf("a request to carry out an old plan came late, and was done: %+v, then %+v", said, d)
	}
	if said.status < 400 {
		w.t.Errorf("a request to carry out an old plan came late, and was answered %+v", said)
	}
}

// machineCalls: who has taken over a machine calls the managers as that machine.
func (w *badWorld) machineCalls() {
	const machine = "m3"
	id, err := w.identityOf("ten/" + machine)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range w.managers {
		c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: w.host.dial,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*id.Certificate()}},
		}}
		for _, r := range []struct{ method, path, body string }{
			{"GET", "/v1/systems", ""},
			{"GET", "/v1/systems/ten", ""},
			{"GET", "/v1/secrets", ""},
			{"POST", "/v1/cluster/tokens", aChange},
			{"POST", "/v1/exec", `{"machine":"ten/m4","command":["id"]}`},
		} {
			said := request(&c, r.method, "https://"+m.address+":7400"+r.path, r.body, nil)
			if said.status != http.StatusUnauthorized && said.status != http.StatusForbidden {
				w.t.Errorf("%s as %s at %s: %d %s", r.path, machine, m.name, said.status, said.text)
			}
		}
	}
}

// identityOf reads the identity of a machine, keys and all, from its disk.
func (w *badWorld) identityOf(name string) (*identity.Machine, error) {
	var machines []api.Machine
	w.managers[0].json(&machines, "machines")
	i := slices.IndexFunc(machines, func(m api.Machine) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no machine %s in %+v", name, machines)
	}
	id := machines[i].ID
	for _, pid := range bearers(w.t, w.host.id()) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(args), id) {
			dir := filepath.Join(w.t.TempDir(), "identity")
			if err := os.CopyFS(dir, os.DirFS(fmt.Sprintf("/proc/%d/root/var/lib/aloft/identity", pid))); err != nil {
				return nil, err
			}
			return identity.OpenMachine(dir, id, "", nil)
		}
	}
	return nil, fmt.Errorf("no process of machine %s", id)
}
