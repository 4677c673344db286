package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// Exec runs a command on the machine and streams what goes in and out. The
// command ends with its stream.
func (a *Agent) Exec(stream grpc.BidiStreamingServer[peerpb.ExecInput, peerpb.ExecOutput]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if len(first.Command) == 0 {
		return status.Error(codes.InvalidArgument, "exec: no command")
	}
	cmd := exec.CommandContext(stream.Context(), first.Command[0], first.Command[1:]...)
	cmd.Dir = a.cfg.Machine("").Folder
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "HOME="+homeFolder())
	// Everything the command starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := &outputs{stream: stream}
	var session *execution
	if first.Terminal {
		session, err = withTerminal(cmd, out, first)
	} else {
		session, err = withPipes(cmd, out)
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		session.close()
		return out.send(&peerpb.ExecOutput{Failure: notRun(first.Command[0], err)})
	}
	session.started()
	go session.feed(stream, cmd)
	session.reading.Wait()
	err = cmd.Wait()
	session.close()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.send(&peerpb.ExecOutput{Exited: true})
	case errors.As(err, &exit):
		return out.send(&peerpb.ExecOutput{Exited: true, Status: exitStatus(exit)})
	default:
		return out.send(&peerpb.ExecOutput{Failure: err.Error()})
	}
}

func homeFolder() string {
	if os.Geteuid() == 0 {
		return "/root"
	}
	return os.Getenv("HOME")
}

func notRun(command string, err error) string {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Sprintf("%s: no such command on this machine", command)
	}
	return err.Error()
}

// exitStatus returns a command's status; one ended by signal n has 128+n.
func exitStatus(e *exec.ExitError) int32 {
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int32(ws.Signal())
	}
	return int32(e.ExitCode())
}

// outputs sends from several goroutines to one stream.
type outputs struct {
	stream interface {
		Send(*peerpb.ExecOutput) error
	}
	mu sync.Mutex
}

func (o *outputs) send(m *peerpb.ExecOutput) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stream.Send(m)
}

// execution is a command's ends: where its input goes and its output comes
// from.
type execution struct {
	in       io.WriteCloser
	terminal *os.File   // nil with pipes
	child    []*os.File // the command's ends, closed here once it has started
	reading  sync.WaitGroup
	read     []func()
}

func withPipes(cmd *exec.Cmd, out *outputs) (*execution, error) {
	e := &execution{}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return e, err
	}
	e.in = stdin
	for _, to := range []struct {
		w    *io.Writer
		wrap func([]byte) *peerpb.ExecOutput
	}{
		{&cmd.Stdout, func(b []byte) *peerpb.ExecOutput { return &peerpb.ExecOutput{Stdout: b} }},
		{&cmd.Stderr, func(b []byte) *peerpb.ExecOutput { return &peerpb.ExecOutput{Stderr: b} }},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			return e, err
		}
		*to.w = w
		e.child = append(e.child, w)
		e.copy(r, out, to.wrap)
	}
	return e, nil
}

// withTerminal gives the command a terminal of its own.
func withTerminal(cmd *exec.Cmd, out *outputs, first *peerpb.ExecInput) (*execution, error) {
	e := &execution{}
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return e, fmt.Errorf("terminal: %w", err)
	}
	e.terminal, e.in = ptm, ptm
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return e, fmt.Errorf("terminal: %w", err)
	}
	pts, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return e, fmt.Errorf("terminal: %w", err)
	}
	e.child = append(e.child, pts)
	e.resize(first.Rows, first.Columns)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pts, pts, pts
	cmd.SysProcAttr.Setctty = true
	e.copy(ptm, out, func(b []byte) *peerpb.ExecOutput { return &peerpb.ExecOutput{Stdout: b} })
	return e, nil
}

func (e *execution) resize(rows, columns int32) {
	if e.terminal != nil && rows > 0 && columns > 0 {
		_ = unix.IoctlSetWinsize(int(e.terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}) // only looks suffer
	}
}

// copy prepares to send what is read from r.
func (e *execution) copy(r *os.File, out *outputs, wrap func([]byte) *peerpb.ExecOutput) {
	e.read = append(e.read, func() {
		if r != e.terminal {
			defer r.Close()
		}
		for {
			buf := make([]byte, 16<<10)
			n, err := r.Read(buf)
			if n > 0 && out.send(wrap(buf[:n])) != nil {
				return
			}
			if err != nil {
				return // a terminal ends with EIO, a pipe with EOF
			}
		}
	})
}

// started lets go of the command's ends and begins to read its output.
func (e *execution) started() {
	for _, f := range e.child {
		f.Close()
	}
	e.child = nil
	for _, f := range e.read {
		e.reading.Go(f)
	}
}

// feed passes on what comes from the caller until the stream ends.
func (e *execution) feed(stream grpc.BidiStreamingServer[peerpb.ExecInput, peerpb.ExecOutput], cmd *exec.Cmd) {
	for {
		m, err := stream.Recv()
		if err != nil {
			if e.terminal == nil {
				e.in.Close()
			}
			return
		}
		if len(m.Stdin) > 0 {
			if _, err := e.in.Write(m.Stdin); err != nil {
				return
			}
		}
		if m.CloseStdin && e.terminal == nil {
			e.in.Close()
		}
		e.resize(m.Rows, m.Columns)
		if s := unix.SignalNum(m.Signal); s != 0 {
			_ = syscall.Kill(-cmd.Process.Pid, s) // it may have ended
		}
	}
}

func (e *execution) close() {
	for _, f := range e.child {
		f.Close()
	}
	if e.terminal != nil {
		e.terminal.Close()
	}
}
