package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"aloft/internal/drivers/local/ident"
	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/names"
	"aloft/provider"
)

// world is a home with a driver, and what it made. At its end the host must be
// as it was.
type world struct {
	t       testing.TB
	d       *Driver
	config  Config
	account provider.Account
}

func newID() string { return fmt.Sprintf("%08x", rand.Uint32()) }

func newWorld(t testing.TB, form Form) *world {
	t.Helper()
	if form == Light && os.Geteuid() != 0 {
		t.Skip("light machines need the superuser")
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, config: Config{
		Home: t.TempDir(), ID: newID(), Binary: binary, HostID: "host",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}}
	w.account = provider.Account{Name: "local", Settings: map[string]string{FormSetting: string(form)}}
	w.open()
	if form == Light && w.d.report.Why() != "" {
		t.Skip(w.d.report.Why())
	}
	t.Cleanup(w.close)
	return w
}

// open opens the home's driver, as a daemon that starts does.
func (w *world) open() {
	w.t.Helper()
	d, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.d = d
}

// close destroys what is left and looks for what should not be.
func (w *world) close() {
	background := context.Background() // the test's own has ended
	left, _, err := w.d.List(background, w.account, provider.Mark{}, "")
	if err != nil {
		w.t.Error(err)
	}
	for _, r := range left {
		if err := w.d.Destroy(background, w.account, r.Ref); err != nil {
			w.t.Error(err)
		}
	}
	if err := w.d.Close(); err != nil {
		w.t.Error(err)
	}
	if traces := w.traces(); len(traces) > 0 {
		w.t.Errorf("left behind: %q", traces)
	}
}

// traces lists everything on the host that bears the home's id, looked for by
// other means than the driver's own.
func (w *world) traces() []string {
	w.t.Helper()
	var found []string
	links, err := net.Interfaces()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range links {
		if strings.Contains(l.Name, w.config.ID) {
			found = append(found, "link "+l.Name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, w.config.ID) || strings.Contains(line, w.config.Home) {
			found = append(found, "mount "+line)
		}
	}
	all, err := ident.All()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range all {
		if slices.Contains(p.Args, w.config.ID) || slices.Contains(p.Environ(), names.HomeIDVar+"="+w.config.ID) {
			found = append(found, fmt.Sprintf("process %d %q", p.PID, p.Args))
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/*" + w.config.ID + "*")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range groups {
		found = append(found, "group "+g)
	}
	folders, err := filepath.Glob(filepath.Join(w.config.Home, "machines", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return append(found, folders...)
}

// tracesOf lists the traces of one kind.
func (w *world) tracesOf(kind string) []string {
	w.t.Helper()
	return slices.DeleteFunc(w.traces(), func(s string) bool { return !strings.HasPrefix(s, kind+" ") })
}

func (w *world) request(name string) provider.Request {
	return provider.Request{
		Kind: provider.Compute, Token: "t-" + name, Name: name, UserData: []byte("token-" + name),
		Mark: provider.Mark{Home: w.config.ID, System: "s", Path: name, Machine: uuid.NewString()},
		Spec: provider.Proposal{Need: name, Provider: Name},
	}
}

func (w *world) create(name string) provider.Resource {
	w.t.Helper()
	r, err := w.d.Create(w.t.Context(), w.account, w.request(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// dial connects to a machine's daemon, which may be starting.
func (w *world) dial(address string) (net.Conn, error) {
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := w.tryDial(address)
		if err == nil || time.Now().After(until) {
			return c, err
		}
	}
}

func (w *world) tryDial(address string) (net.Conn, error) {
	return net.DialTimeout("tcp", net.JoinHostPort(address, port), time.Second)
}

// ask has a machine tell about itself. A daemon that is being ended may still
// take the question; then the next one is asked.
func (w *world) ask(r provider.Resource) answer {
	w.t.Helper()
	for range 100 {
		c, err := w.dial(r.Address)
		if err != nil {
			break
		}
		var a answer
		_, _ = c.Write([]byte("tell\n"))
		err = json.NewDecoder(c).Decode(&a)
		c.Close()
		if err == nil {
			return a
		}
	}
	w.log(r)
	w.t.Fatalf("machine %s does not answer", r.Name)
	return answer{}
}

// run runs a command in a machine.
func (w *world) run(r provider.Resource, command string) string {
	w.t.Helper()
	c, err := w.dial(r.Address)
	if err != nil {
		w.log(r)
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("run " + command)); err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// killDaemon has a machine's daemon kill itself. One that is being ended may
// still take the connection; then the next one is told.
func (w *world) killDaemon(r provider.Resource) {
	w.t.Helper()
	for range 100 {
		c, err := w.dial(r.Address)
		if err != nil {
			w.t.Fatal(err)
		}
		_, err = c.Write([]byte("run kill -9 $PPID"))
		if err == nil {
			_, _ = io.ReadAll(c) // ends with the daemon
		}
		c.Close()
		if err == nil {
			return
		}
	}
	w.t.Fatalf("the daemon of machine %s cannot be reached", r.Name)
}

// log shows what the machine's keeper and daemon wrote.
func (w *world) log(r provider.Resource) {
	dir := w.d.folderOf(r.Ref)
	for _, f := range []string{initLog, "daemon.log", filepath.Join("upper0", light.LogPath)} {
		if b, err := os.ReadFile(filepath.Join(dir, f)); err == nil {
			w.t.Logf("%s:\n%s", f, b)
		}
	}
}

// listen serves one greeting on an address of the host, and returns where.
func (w *world) listen(address string) string {
	w.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 64))
			fmt.Fprintln(c, "hello from the host")
		}
	}()
	return l.Addr().String()
}

// keeper returns the process that keeps a machine.
func (w *world) keeper(r provider.Resource) ident.Process {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return w.d.machines[r.Ref].rec.Run
}
