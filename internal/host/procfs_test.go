package host

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const firstThreadEnds = "ALOFT_TEST_FIRST_THREAD_ENDS"

// init is a program that goes on in other threads than its first, and has a
// port open.
func init() {
	address := os.Getenv(firstThreadEnds)
	if address == "" {
		return
	}
	runtime.LockOSThread()
	if _, err := net.Listen("tcp", address); err != nil {
		os.Exit(1)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

// A program whose first thread has ended is a zombie by its state, and has all
// open that it had.
func TestWhoseFirstThreadHasEndedIsEndedToo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), firstThreadEnds+"="+at.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if st, err := readStat(cmd.Process.Pid); err != nil || time.Since(begun) > 20*time.Second {
			t.Fatalf("%+v, %v", st, err)
		} else if st.state == 'Z' {
			break
		}
	}
	if CheckPort("127.0.0.1", at.Port) == nil {
		t.Fatal("the port is free: the program has ended as a whole")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := (family{session: cmd.Process.Pid}).kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := CheckPort("127.0.0.1", at.Port); err != nil {
		t.Error(err)
	}
}
