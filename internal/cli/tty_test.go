package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"aloft/api"
	"aloft/client"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a terminal: what the user has, and what
// a program gets.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	if err := unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 90}); err != nil {
		t.Fatal(err)
	}
	return user, program
}

// daemonOf serves f in a home of its own until the test ends.
func daemonOf(t *testing.T, f *fake) (home string, cl *client.Client) {
	t.Helper()
	home = filepath.Join(t.TempDir(), "h")
	socket := client.SocketPath(home, os.Getenv)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.serve(ctx, socket) }()
	cl = client.New(socket)
	t.Cleanup(func() {
		cl.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	for {
		if _, err := cl.Daemon(ctx); err == nil {
			return home, cl
		}
		select {
		case err := <-served:
			served <- err
			t.Fatal(err)
		default:
		}
	}
}

// aloft is the command line in a process of its own.
func aloft(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"aloft"}, args...)
	return cmd
}

// onTerminal runs cmd on a terminal of its own and returns what a user sees.
// With raw the user types once the program has taken over the keys.
func onTerminal(t *testing.T, cmd *exec.Cmd, raw bool, typed string) (seen string, err error) {
	t.Helper()
	user, program := openTerminal(t)
	before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for raw {
		now, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		raw = now.Lflag&unix.ICANON != 0
	}
	if _, err := io.WriteString(user, typed); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&out, user) // ends with EIO when nobody has the terminal
	}()
	err = cmd.Wait()
	after, e := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if e != nil {
		t.Fatal(e)
	}
	if *before != *after {
		t.Error("the terminal is not as it was")
	}
	program.Close()
	<-read
	return out.String(), err
}

// terminalFake answers an exec with what it was asked for.
type terminalFake struct{ *fake }

func (f terminalFake) Exec(_ context.Context, _ string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	buf := make([]byte, 1)
	_, err := io.ReadFull(s.Stdin, buf)
	fmt.Fprintf(s.Stdout, "tty %v, %d rows, %d columns, %s, key %d\r\n", r.TTY, r.Size.Rows, r.Size.Cols, r.Env[0], buf[0])
	return 5, err
}

func TestExecOnATerminalPassesKeysAndSize(t *testing.T) {
	f, err := loadFake("")
	if err != nil {
		t.Fatal(err)
	}
	f.played = terminalFake{f}
	home, _ := daemonOf(t, f)
	seen, err := onTerminal(t, aloft(t, "--home", home, "exec", "shop/web", "--", "sh"), true, "\x04")
	if want := "tty true, 30 rows, 90 columns, TERM=xterm, key 4"; !strings.Contains(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
	if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 5 {
		t.Errorf("ended with %v", err)
	}
}

func TestUpOnATerminalShowsProgressInPlaceAndColours(t *testing.T) {
	f, err := loadFake("")
	if err != nil {
		t.Fatal(err)
	}
	f.script.Plan = api.Plan{ID: "p", Revision: 1, Steps: []api.Step{{ID: "1", Path: "web", Action: "create", Change: api.ChangeAdd}}}
	f.script.Deployment = api.Deployment{Plan: "p", Revision: 1, State: api.DeploymentDone}
	f.script.Status = map[string]api.Status{"shop": {System: "shop", Revision: 1, State: api.SystemRunning, Components: []api.Component{
		{Path: "web", Class: "VM", State: api.ComponentRunning, Address: "10.88.0.2"},
	}}}
	f.script.Events = []api.Event{
		{Cursor: "1", Kind: api.EventComponent, System: "shop", Path: "web", State: api.ComponentDeploying},
		{Cursor: "2", Kind: api.EventPlan, System: "shop", Plan: "p", State: api.DeploymentDone},
	}
	home, _ := daemonOf(t, f)
	file := filepath.Join(t.TempDir(), "shop.sf")
	if err := os.WriteFile(file, []byte("sfConfig extends { x 1; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	seen, err := onTerminal(t, aloft(t, "--home", home, "up", file), false, "y\n")
	if err != nil {
		t.Errorf("%v:\n%s", err, seen)
	}
	for _, want := range []string{"\x1b[32m  +\x1b[0m web", "Do this? [y/N]", "\x1b[32mrunning\x1b[0m", "shop runs: revision 1"} {
		if !strings.Contains(seen, want) {
			t.Errorf("not seen: %q in %q", want, seen)
		}
	}
	// Drawing only: no question whose answer would reach the shell, no other
	// code for keys.
	for _, seq := range regexp.MustCompile("\x1b[[][^A-Za-z]*[A-Za-z]").FindAllString(seen, -1) {
		if drawing := regexp.MustCompile("^\x1b[[]([0-9;]*[mABCDGHJK]|[?]25[hl])$"); !drawing.MatchString(seq) {
			t.Errorf("the terminal got %q", seq)
		}
	}
	if strings.Contains(seen, "web deploying") {
		t.Error("a line per event, on a terminal")
	}
}
