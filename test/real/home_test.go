package real

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// binary is the program under test, built once without the race detector.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "real")
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
	build := exec.Command("go", "build", "-o", binary, "aloft/cmd/aloft")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	return m.Run()
}

// home is a state folder with its daemon.
type home struct {
	t    *testing.T
	dir  string
	user []string // before the command, to run it as somebody else
	disk bool     // the home is a file system of its own

	binary string // the program, if not that of the other tests
}

// newHome returns a home that leaves nothing behind.
func newHome(t *testing.T) *home {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("machines with a root file system of their own need root")
	}
	dir, err := os.MkdirTemp("", "aloft") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: dir}
	t.Cleanup(h.end)
	return h
}

// end terminates what a failed test has left and stops the daemon.
func (h *home) end() {
	if h.disk {
		h.makeRoom()
	}
	if h.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(h.dir, "daemon.log"))
		h.t.Logf("daemon.log:\n%s", tail(string(log), 60))
	}
	var systems []api.System
	if out, err := h.command("systems", "-o", "json").Output(); err == nil && json.Unmarshal(out, &systems) == nil {
		for _, s := range systems {
			if out, err := h.command("down", s.Name, "-y", "--now").CombinedOutput(); err != nil {
				h.t.Errorf("clean up %s: %v\n%s", s.Name, err, out)
			}
		}
	}
	if out, err := h.command("daemon", "stop").CombinedOutput(); err != nil {
		h.t.Errorf("stop the daemon: %v\n%s", err, out)
	}
	if h.disk {
		h.unmount()
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Error(err)
	}
}

func (h *home) command(args ...string) *exec.Cmd {
	program := binary
	if h.binary != "" {
		program = h.binary
	}
	argv := append(append([]string{}, h.user...), program, "--home", h.dir)
	argv = append(argv, args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = h.dir
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// try runs a command and returns its output and exit status.
func (h *home) try(args ...string) (string, int) {
	h.t.Helper()
	out, err := h.command(args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	default:
		h.t.Fatalf("aloft %v: %v", args, err)
		return "", -1
	}
}

// do runs a command that must succeed and returns its output.
func (h *home) do(args ...string) string {
	h.t.Helper()
	out, status := h.try(args...)
	if status != 0 {
		h.t.Fatalf("aloft %v: exit %d\n%s", args, status, out)
	}
	return out
}

// write puts a description into the home and returns its path.
func (h *home) write(name, text string) string {
	h.t.Helper()
	dir := filepath.Join(h.dir, "descriptions")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	path := filepath.Join(dir, name+".sf")
	if err := os.WriteFile(path, []byte("#include \"aloft/components.sf\"\n"+text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// status returns what a system looks like.
func (h *home) status(system string) api.Status {
	h.t.Helper()
	var st api.Status
	h.json(&st, "status", system)
	return st
}

func (h *home) json(into any, args ...string) {
	h.t.Helper()
	var stderr bytes.Buffer
	cmd := h.command(append(args, "-o", "json")...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("aloft %v: %v\n%s", args, err, stderr.String())
	}
	if err := json.Unmarshal(out, into); err != nil {
		h.t.Fatalf("aloft %v: %v\n%s", args, err, out)
	}
}

// component returns one component of a status.
func component(t *testing.T, st api.Status, path string) api.Component {
	t.Helper()
	for _, c := range st.Components {
		if c.Path == path {
			return c
		}
	}
	t.Fatalf("no component %s in %+v", path, st)
	return api.Component{}
}

// address returns the address of a machine.
func (h *home) address(system, path string) string {
	h.t.Helper()
	return component(h.t, h.status(system), path).Address
}

// pid returns the daemon's process id.
func (h *home) pid() int {
	h.t.Helper()
	var st api.DaemonStatus
	h.json(&st, "daemon", "status")
	return st.PID
}

// id returns the home's id.
func (h *home) id() string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, "home-id"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// kill ends a process as a crash would.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
	eventually(t, 5*time.Second, "the process is gone", func() bool { return !alive(pid) })
}

// alive reports whether a process runs; one that nobody has waited for yet has
// ended all the same, once the last of its threads has: its files are closed then.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	if threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); err == nil && len(threads) > 1 {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

// eventually waits, within bounds, for what another process brings about.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %s: %s", limit, what)
}

// get fetches a page.
func get(t *testing.T, url string) string {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second}
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s\n%s", url, res.Status, body)
	}
	return string(body)
}

// bearers returns the processes that belong to a home: those whose arguments
// or environment name its id, and those in the process namespace of one of its
// machines.
func bearers(t *testing.T, id string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	spaces := map[string]bool{} // of the home's machines
	var others []string
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() || !alive(pid) {
			continue
		}
		args, _ := os.ReadFile(dir + "/cmdline")
		env, _ := os.ReadFile(dir + "/environ")
		if !bytes.Contains(args, []byte(id)) && !bytes.Contains(env, []byte("ALOFT_HOST_HOME="+id)) {
			others = append(others, dir)
			continue
		}
		pids = append(pids, pid)
		if space, err := os.Readlink(dir + "/ns/pid"); err == nil && space != own {
			spaces[space] = true
		}
	}
	for _, dir := range others {
		if space, err := os.Readlink(dir + "/ns/pid"); err == nil && spaces[space] {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}

// left returns everything on this host that bears a home's id.
func left(t *testing.T, id string) (things []string) {
	t.Helper()
	for _, pid := range bearers(t, id) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		things = append(things, fmt.Sprintf("process %d %s", pid, bytes.ReplaceAll(args, []byte{0}, []byte{' '})))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, id) {
			things = append(things, "mount "+line)
		}
	}
	for _, pattern := range []string{"/sys/class/net/*" + id + "*", "/sys/fs/cgroup/*" + id + "*", "/sys/fs/cgroup/*/*" + id + "*", "/sys/fs/cgroup/*/*/*" + id + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		things = append(things, found...)
	}
	return things
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
