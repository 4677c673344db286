// Package boot is the first talk between the managing daemon and the process
// that is to keep a machine. The daemon starts that process, hands it a
// document, does its own part meanwhile, and writes down who the process is;
// only then it says go. A process that has not been told to go when the other
// end closes ends itself: a daemon killed at any instant leaves none behind
// that is not in its books. The package has no goroutines.
package boot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/ident"
)

// endLimit is how long the kernel may take to end a machine's processes.
const endLimit = 10 * time.Second

// past is a deadline that has gone by.
var past = time.Unix(1, 0)

// Starting is a machine whose process 1 exists and waits for the word to go on.
// Exactly one of Go and Abandon is called.
type Starting struct {
	Process ident.Process
	orders  *os.File // to process 1
	report  *os.File // from it
}

// Start runs binary with args in a session of its own, with the given clone
// flags, hands it spec as JSON and lets it begin. Its messages go to log.
func Start(spec any, binary string, args []string, flags uintptr, log *os.File) (st *Starting, err error) {
	doc, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	theirIn, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	report, theirOut, err := os.Pipe()
	if err != nil {
		orders.Close()
		return nil, err
	}
	defer theirOut.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		orders.Close()
		report.Close()
		return nil, err
	}
	defer null.Close()
	proc, err := os.StartProcess(binary, append([]string{"aloft"}, args...), &os.ProcAttr{
		Dir: "/",
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
			"GOMAXPROCS=1", // it waits nearly always, and there may be a thousand
		},
		Files: []*os.File{null, log, log, theirIn, theirOut},
		Sys:   &syscall.SysProcAttr{Cloneflags: flags, Setsid: true},
	})
	if err != nil {
		orders.Close()
		report.Close()
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	st = &Starting{orders: orders, report: report}
	st.Process, err = ident.Of(proc.Pid)
	_ = proc.Release() // it outlives us; what it becomes is looked up, not waited for
	if err == nil {
		_, err = orders.Write(append(doc, '\n'))
	}
	if err != nil {
		st.Abandon()
		return nil, fmt.Errorf("process 1: %w", err)
	}
	return st, nil
}

// Go lets process 1 go on and returns when the machine is up: its mounts and
// network are made, and its daemon is being started.
func (st *Starting) Go(ctx context.Context) error {
	defer st.orders.Close()
	defer st.report.Close()
	// A deadline on a pipe wakes the read below when ctx ends.
	defer context.AfterFunc(ctx, func() { st.report.SetReadDeadline(past) })()
	if _, err := io.WriteString(st.orders, "go\n"); err != nil && !errors.Is(err, unix.EPIPE) {
		return err
	}
	answer, err := io.ReadAll(st.report)
	switch text := strings.TrimSpace(string(answer)); {
	case text == "ok":
		return nil
	case text != "":
		return errors.New(text)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	return errors.New("process 1 ended before the machine was up; see its init.log")
}

// Abandon ends process 1 and with it all of the machine that is not on disk.
func (st *Starting) Abandon() {
	st.orders.Close()
	st.report.Close()
	_ = st.Process.End(context.Background(), unix.SIGKILL, endLimit) // it ends by itself too: its orders have ended
}

// Orders is the other end of the talk, in the process that was started.
type Orders struct {
	lines  *bufio.Reader
	report *os.File
}

// Descriptors of the pipes in the started process.
const (
	ordersFD = 3
	reportFD = 4
)

// Receive reads the document into spec.
func Receive(spec any) (*Orders, error) {
	unix.CloseOnExec(ordersFD)
	unix.CloseOnExec(reportFD)
	o := &Orders{bufio.NewReader(os.NewFile(ordersFD, "orders")), os.NewFile(reportFD, "report")}
	line, err := o.lines.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	if err := json.Unmarshal(line, spec); err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	return o, nil
}

// Await returns once the other side has said go; an error if it never will.
func (o *Orders) Await() error {
	if line, err := o.lines.ReadString('\n'); err != nil || line != "go\n" {
		return fmt.Errorf("the managing daemon ended before this machine was in its books: %w", err)
	}
	return nil
}

// Done reports the end of the talk: that the machine is up, or why it is not.
func (o *Orders) Done(err error) {
	answer := "ok"
	if err != nil {
		answer = err.Error()
	}
	_, _ = io.WriteString(o.report, answer) // nobody listens: the machine goes on
	o.report.Close()
}
