package host

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Ready says how to tell that a process serves. All checks that are given must
// pass. Without any, a process is ready when it has lived for 200 ms.
type Ready struct {
	Ports   []string // "host:port"; one that accepts is enough
	Line    string   // text that a line of the output contains
	Command []string // a program that exits 0
	URL     string   // answers with a status below 400
	Timeout time.Duration
}

const (
	aliveFor       = 200 * time.Millisecond
	readyInterval  = 20 * time.Millisecond
	readyProbeTime = 5 * time.Second
)

func (r Ready) none() bool {
	return len(r.Ports) == 0 && r.Line == "" && len(r.Command) == 0 && r.URL == ""
}

// await returns nil when every check has passed, or what the last one lacked
// when ctx ends. since is where the process's output begins.
func (r Ready) await(ctx context.Context, s *Spec, output string, since int64) error {
	if r.none() {
		return Sleep(ctx, aliveFor)
	}
	pause := readyInterval
	var lacks error
	for {
		err := r.try(ctx, s, output, since)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || lacks == nil { // one that ctx cut off says nothing
			lacks = err
		}
		if Sleep(ctx, pause) != nil {
			return lacks
		}
		pause = min(pause*5/4, 500*time.Millisecond)
	}
}

func (r Ready) try(ctx context.Context, s *Spec, output string, since int64) error {
	ctx, cancel := context.WithTimeout(ctx, readyProbeTime)
	defer cancel()
	if len(r.Ports) > 0 {
		if err := Dial(ctx, r.Ports); err != nil {
			return err
		}
	}
	if r.Line != "" && !hasLine(output, since, r.Line) {
		return fmt.Errorf("its output has no line with %q", r.Line)
	}
	if len(r.Command) > 0 {
		if err := s.probe(ctx, r.Command); err != nil {
			return err
		}
	}
	if r.URL != "" {
		return getURL(ctx, r.URL)
	}
	return nil
}

// Dial returns nil if one of addresses ("host:port") accepts a connection.
func Dial(ctx context.Context, addresses []string) error {
	var d net.Dialer
	for _, a := range addresses {
		if conn, err := d.DialContext(ctx, "tcp", a); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("nothing listens on %s", strings.Join(addresses, " or "))
}

func getURL(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// No proxy and no connection kept: the question is whether this machine answers now.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func hasLine(path string, since int64, text string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	if since <= int64(len(b)) {
		b = b[since:]
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// probe runs a check program as the process itself would be run.
func (s *Spec) probe(ctx context.Context, command []string) error {
	l, err := s.program(command)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, l.path)
	cmd.Args, cmd.Dir, cmd.Env = command, s.Dir, l.env
	cmd.SysProcAttr = l.attr()
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		text := strings.TrimSpace(string(out))
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
		return fmt.Errorf("%s: %w %s", command[0], err, text)
	}
	return nil
}

// Sleep returns nil after d, or why ctx ended before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
