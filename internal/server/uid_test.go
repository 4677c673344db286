package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"aloft/api"
	"aloft/client"
)

// nobody is a user other than the test's.
const nobody = 65534

// TestAsNobody is no test: it is what other tests run as another user.
func TestAsNobody(t *testing.T) {
	path := os.Getenv("ALOFT_TEST_SOCKET")
	switch os.Getenv("ALOFT_TEST_ROLE") {
	case "ask":
		_, err := client.New(path).Machines(t.Context())
		fmt.Printf("answer: %s\n", api.KindOf(err))
	case "listen":
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		fmt.Println("answer: listening")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
	}
}

// asNobody runs TestAsNobody as another user and returns its answer, and what
// ends it.
func asNobody(t *testing.T, role, socket string) (answer string, end func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to act as two users")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test's own binary stands in a folder that nobody may not enter.
	file, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestAsNobody$")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Dir = "/"
	cmd.Env = []string{"ALOFT_TEST_ROLE=" + role, "ALOFT_TEST_SOCKET=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // its status is go test's
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if answer, ok := strings.CutPrefix(lines.Text(), "answer: "); ok {
			return answer, end
		}
	}
	end()
	t.Fatal("no answer")
	return "", nil
}

// openFolder returns a folder that every user may use.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "aloft-uid-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDaemonRefusesAnotherUserThatReachesItsSocket(t *testing.T) {
	path := filepath.Join(openFolder(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // as if the mode had not held
		t.Fatal(err)
	}
	s := &stub{}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- New(Config{Service: s, Log: discard()}).ServeSocket(ctx, l) }()
	answer, end := asNobody(t, "ask", path)
	end()
	if answer != string(api.KindDenied) {
		t.Errorf("another user was answered %q", answer)
	}
	cl := client.New(path)
	if _, err := cl.Machines(ctx); err != nil {
		t.Errorf("we are refused: %v", err)
	}
	cl.Close()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestClientRefusesAnotherUsersDaemon(t *testing.T) {
	path := filepath.Join(openFolder(t), "s")
	_, end := asNobody(t, "listen", path)
	defer end()
	if _, err := client.New(path).Machines(t.Context()); api.KindOf(err) != api.KindDenied {
		t.Errorf("got %v", err)
	}
}
