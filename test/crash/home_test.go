package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is the program under test, with the instants at which it can be ended.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary = filepath.Join(dir, "aloft")
	build := exec.Command("go", "build", "-tags", "crash", "-o", binary, "aloft/cmd/aloft")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// nobody is the user that has process machines, whoever runs the tests.
const nobody = 65534

// home is a state folder of nobody's.
type home struct {
	t   *testing.T
	dir string
}

func newHome(t *testing.T) *home {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("to become nobody needs root")
	}
	dir, err := os.MkdirTemp("", "aloft") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: dir}
	t.Cleanup(h.end)
	for _, d := range []string{dir, h.path("crash.d"), h.path("effects")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(d, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *home) path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

// end removes what a failed test has left.
func (h *home) end() {
	h.disarm()
	if h.t.Failed() {
		log, _ := os.ReadFile(h.path("daemon.log"))
		lines := strings.Split(string(log), "\n")
		h.t.Logf("daemon.log:\n%s", strings.Join(lines[max(0, len(lines)-40):], "\n"))
		_ = h.start() // it may have been the failure
	}
	if out, err := h.command("down", system, "-y", "--now").CombinedOutput(); err != nil && h.t.Failed() {
		h.t.Logf("clean up: %v\n%s", err, out)
	}
	if out, err := h.command("daemon", "stop").CombinedOutput(); err != nil {
		h.t.Errorf("stop the daemon: %v\n%s", err, out)
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Error(err)
	}
}

func (h *home) command(args ...string) *exec.Cmd {
	// No command takes that long, whatever crashes.
	argv := append([]string{"60", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "--home", h.dir}, args...)
	cmd := exec.Command("timeout", argv...)
	cmd.Dir = h.dir
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (h *home) do(args ...string) string {
	h.t.Helper()
	out, err := h.command(args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("aloft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (h *home) json(into any, args ...string) error {
	var stderr bytes.Buffer
	cmd := h.command(append(args, "-o", "json")...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("aloft %v: %w\n%s", args, err, stderr.String())
	}
	return json.Unmarshal(out, into)
}

// start starts the managing daemon; it may end again while it starts.
func (h *home) start() error {
	var out []byte
	var err error
	for range 4 {
		if out, err = h.command("daemon", "start").CombinedOutput(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("start the daemon: %w\n%s", err, out)
}

// arm has a daemon end at its n-th instant from now, and again at the m-th of
// the one that takes its place.
func (h *home) arm(daemon string, counts ...int) {
	h.t.Helper()
	text := strings.Trim(fmt.Sprint(counts), "[]")
	file := h.path("crash.d", daemon)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chown(file, nobody, nobody); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) disarm() {
	files, _ := filepath.Glob(h.path("crash.d", "*")) // the pattern is right
	for _, f := range files {
		if filepath.Ext(f) == "" {
			_ = os.Remove(f) // it may be gone
		}
	}
}

// killed is how often a daemon was ended.
func (h *home) killed(daemon string) (n int) {
	for _, line := range h.instants(daemon) {
		if line == "killed" {
			n++
		}
	}
	return n
}

// survive runs a command, and starts the managing daemon whenever it was ended
// meanwhile. A machine's daemon its first process starts.
func (h *home) survive(cmd *exec.Cmd) (out []byte, err error) {
	started := h.killed("manager")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out, err = cmd.CombinedOutput()
	}()
	for {
		select {
		case <-ended:
			if h.killed("manager") == started {
				return out, err
			}
		case <-time.After(20 * time.Millisecond):
		}
		if n := h.killed("manager"); n > started {
			started = n
			if err := h.start(); err != nil {
				h.t.Error(err)
			}
		}
	}
}

// instants are what a daemon has passed until now.
func (h *home) instants(daemon string) []string {
	text, _ := os.ReadFile(h.path("crash.d", daemon+".log")) // none yet
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[:strings.Count(string(text), "\n")]
}
