package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"aloft/component"
	"aloft/internal/host/launch"
)

// job is one component's process: what is wanted, what is recorded, and the
// hold on what runs. One goroutine at a time has it: the one in Start or Stop,
// or between them the one that watches.
type job struct {
	folder string
	spec   Spec
	record processRecord
	child  *child // nil if nothing runs
	log    *slog.Logger

	killed  func(Killed) // may be nil
	changed string       // why a process that ran gave way to another with new limits
}

func (j *job) running() Running { return Running{Pid: j.record.Pid, Restarts: j.record.Count} }

// hold takes hold of the recorded process, if it still runs.
func (r *processRecord) hold() (*child, bool) {
	boot, err := bootID()
	if err != nil || r.Phase != phaseRunning || r.Boot != boot || r.Pid == 0 {
		return nil, false
	}
	return hold(r.Pid, r.Start)
}

// adopt takes hold of what the record says runs if it is what spec wants or can
// become it, and else ends it, leaving the way free for begin.
func (j *job) adopt(ctx context.Context) (bool, error) {
	rec, err := readRecord(j.folder)
	if err != nil || rec == nil {
		return false, err
	}
	j.record = *rec
	if rec.Phase == phaseEnded {
		return false, nil
	}
	c, ok := rec.hold()
	if !ok {
		if c, ok = j.found(); ok {
			j.record.Phase, j.record.Pid, j.record.Start = phaseRunning, c.pid, c.start
			if err := j.record.write(j.folder); err != nil {
				c.release()
				return false, err
			}
		}
	}
	switch {
	case ok && rec.Spec == j.spec.digest():
		j.child = c
		if err := j.limit(); err != nil {
			j.changed = fmt.Sprintf("%s (pid %d) was ended to run with new limits, which it could not have while it ran: %v", j.spec.Command[0], c.pid, err)
			return false, j.stop(ctx)
		}
		return true, nil
	case ok:
		c.release()
	}
	return false, j.stop(ctx)
}

// found takes hold of the process that a daemon made and died before it wrote
// down its pid: the one that bears the mark and leads a session. Where that is
// not sure there is none, and what bears the mark is ended.
func (j *job) found() (*child, bool) {
	boot, err := bootID()
	if err != nil || j.record.Phase != phaseStarting || j.record.Boot != boot || j.record.Spec != j.spec.digest() {
		return nil, false
	}
	var leaders []procStat
	for _, st := range (family{mark: familyOf(j.folder).mark}).members() {
		if st.session == st.pid && !launch.Waits(st.pid) {
			leaders = append(leaders, st)
		}
	}
	if len(leaders) != 1 {
		return nil, false
	}
	return hold(leaders[0].pid, leaders[0].start)
}

// begin makes the process. The record comes first: were this daemon to die
// before the pid is written, its successor finds the process by its marks.
func (j *job) begin(ctx context.Context) (err error) {
	l, err := j.spec.program(j.spec.Command)
	if err != nil {
		return err
	}
	for _, address := range j.spec.Ready.Ports {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("ready port: %w", err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return fmt.Errorf("ready port: %w", err)
		}
		if err := CheckPort(host, n); err != nil {
			return err
		}
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	out, err := openOutput(j.spec.Output, l.user)
	if err != nil {
		return err
	}
	defer out.Close()
	st, err := out.Stat()
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()

	j.record.Phase, j.record.Pid, j.record.Start, j.record.Boot = phaseStarting, 0, 0, boot
	j.record.Log, j.record.Killed = j.spec.Output, nil
	j.record.Spec, j.record.Ready, j.record.Output, j.record.Limits = j.spec.digest(), false, st.Size(), j.spec.Limits
	if err := j.record.write(j.folder); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.end(context.WithoutCancel(ctx)))
		}
	}()
	pid, waiting, err := j.fork(l, [3]uintptr{null.Fd(), out.Fd(), out.Fd()})
	if err != nil {
		return fmt.Errorf("start %s in %s: %w", l.path, j.spec.Dir, explain(err))
	}
	if waiting != nil {
		defer waiting.Close()
	}
	c, err := grasp(pid) // it is ours and unreaped, so the pid is its
	if err != nil {
		return fmt.Errorf("watch %s (pid %d): %w", l.path, pid, err)
	}
	j.child = c
	j.record.Phase, j.record.Pid, j.record.Start = phaseRunning, pid, c.start
	if err := j.record.write(j.folder); err != nil {
		return err
	}
	if waiting == nil {
		return nil
	}
	err = waiting.Become(launch.Request{
		Path: l.path, Args: j.spec.Command, Env: j.environ(l), Dir: j.spec.Dir, Limits: j.spec.Limits, User: l.cred,
	})
	if err != nil {
		return fmt.Errorf("start %s in %s: %w", l.path, j.spec.Dir, j.spec.Limits.refused(err))
	}
	return nil
}

// environ is the environment of the process: with the mark to find it by.
func (j *job) environ(l program) []string { return append(l.env, familyOf(j.folder).mark) }

// fork makes the process. One that is to have limits waits to be told what it
// becomes.
func (j *job) fork(l program, files [3]uintptr) (pid int, waiting *launch.Child, err error) {
	if len(j.spec.Limits) == 0 {
		pid, err = syscall.ForkExec(l.path, j.spec.Command, &syscall.ProcAttr{
			Dir: j.spec.Dir, Env: j.environ(l), Files: files[:], Sys: l.attr(),
		})
		return pid, nil, err
	}
	waiting, err = launch.Start(familyOf(j.folder).mark, files)
	if err != nil {
		return 0, nil, err
	}
	return waiting.Pid, waiting, nil
}

// limit gives a process that runs its limits, or says why it cannot.
func (j *job) limit() error {
	if maps.Equal(j.spec.Limits, j.record.Limits) {
		return nil
	}
	if err := j.spec.Limits.change(j.child.pid, j.record.Limits); err != nil {
		return err
	}
	j.record.Limits = j.spec.Limits
	return j.record.write(j.folder)
}

// settle waits until the process is ready. If it ends first, or does not get
// ready in time, or ctx ends, nothing of it is left.
func (j *job) settle(ctx context.Context) error {
	if j.record.Ready {
		return nil
	}
	rctx, cancel := context.WithTimeout(ctx, j.spec.Ready.Timeout)
	defer cancel()
	died := make(chan exit, 1)
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		if e, err := j.child.wait(rctx); err == nil {
			died <- e
			cancel()
		}
	}()
	err := j.spec.Ready.await(rctx, &j.spec, j.spec.Output, j.record.Output)
	var rival error
	if err == nil {
		rival = j.rival()
	}
	cancel()
	<-waited
	if rival != nil {
		return errors.Join(rival, j.end(context.WithoutCancel(ctx)))
	}
	select {
	case e := <-died:
		err = j.failure(e.String()+" before it was ready", nil)
	default:
		switch {
		case err == nil:
			j.record.Ready = true
			if err = j.record.write(j.folder); err == nil {
				return nil
			}
		case ctx.Err() != nil:
			err = fmt.Errorf("%s was not ready yet: %w", j.spec.Command[0], ctx.Err())
		default:
			err = j.failure(fmt.Sprintf("was not ready within %s", j.spec.Ready.Timeout), err)
		}
	}
	return errors.Join(err, j.end(context.WithoutCancel(ctx)))
}

// failure says what the process did, with the end of its output.
func (j *job) failure(what string, cause error) error {
	err := fmt.Errorf("%s %s", j.spec.Command[0], what)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &component.Failure{Err: err, Output: tail(j.spec.Output, j.record.Output)}
}

// stop asks the process to end, waits, and ends what is left.
func (j *job) stop(ctx context.Context) error {
	if j.child == nil {
		j.child, _ = j.record.hold()
	}
	if j.child != nil {
		begun := time.Now()
		j.record.Killed = nil // it runs: a daemon that noted this did not come to it
		if err := j.child.signal(j.spec.StopSignal); err != nil {
			return err
		}
		// One that was stopped (SIGSTOP) hears of it only when it goes on.
		if err := j.child.signal(syscall.SIGCONT); err != nil {
			return err
		}
		patience, cancel := context.WithTimeout(ctx, j.spec.StopTimeout)
		_, err := j.child.wait(patience)
		cancel()
		if err != nil {
			j.log.Info("process did not end in time, killing it", "pid", j.child.pid, "after", j.spec.StopTimeout)
			k := Killed{Signal: j.spec.StopSignal, After: time.Since(begun).Round(time.Second), Limited: errors.Is(ctx.Err(), context.DeadlineExceeded), Output: tail(j.record.Log, j.record.Output)}
			// Noted before it is done: a daemon that ends in between tells it when
			// it repeats this, rather twice than never.
			j.record.Killed = &k
			if err := j.record.write(j.folder); err != nil {
				j.log.Warn("not noted that the process is killed", "error", err)
			}
		}
	}
	if err := j.end(ctx); err != nil {
		return err
	}
	if j.record.Killed != nil && j.killed != nil {
		j.killed(*j.record.Killed)
	}
	return nil
}

// end kills what is left of the process and records that nothing is.
func (j *job) end(ctx context.Context) error {
	session := 0
	if j.child != nil {
		session = j.child.pid
	} else if c, ok := j.record.hold(); ok {
		session = c.pid
		c.release()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if err := j.spec.family(j.folder, session).kill(ctx); err != nil {
		return err
	}
	if j.child != nil {
		j.child.release()
		j.child = nil
	}
	j.record.Phase, j.record.Pid, j.record.Start, j.record.Ready = phaseEnded, 0, 0, false
	return j.record.write(j.folder)
}

// killTime is how long the kernel may take to end killed processes.
const killTime = 4 * time.Second

// watch is a job in the hands of Run.
type watch struct {
	*job
	Watcher
	ctx    context.Context // ends with the watch; stored because Run, which starts it, is elsewhere
	cancel context.CancelFunc
	done   chan struct{}

	// Run alone uses these two.
	written  int64       // size of its output when it was last looked at
	marks    int         // how often it was noted since it is watched
	reviving atomic.Bool // the process has ended, and is started anew
}

// supervise answers the ends of a process by the restart policy, until the
// policy gives up or the watch ends.
func (p *Processes) supervise(w *watch) {
	for {
		e, err := w.child.wait(w.ctx)
		if err != nil { // no longer watched; the process goes on
			w.child.release()
			return
		}
		what := fmt.Sprintf("%s (pid %d) %s", w.spec.Command[0], w.child.pid, e)
		w.reviving.Store(true)
		revived := p.revive(w, e, what)
		w.reviving.Store(false)
		if !revived {
			return
		}
		w.Restarted(w.running(), what)
	}
}

// revive starts a process that ended anew, as often as the policy says. It
// returns false when the process stays down.
func (p *Processes) revive(w *watch, e exit, what string) bool {
	output := tail(w.spec.Output, w.record.Output)
	for {
		if err := w.end(w.ctx); err != nil {
			p.log.Error("process not cleared away", "folder", w.folder, "error", err)
		}
		now := time.Now()
		if end, description := w.verdict(e, what, now); end != "" {
			w.Ended(component.Record{Type: end, Description: description, Cause: what, Output: output, Time: now})
			return false
		}
		if Sleep(w.ctx, p.pause(len(w.record.Restarts))) != nil {
			return false
		}
		w.record.Restarts = append(w.record.Restarts, time.Now())
		w.record.Count++
		err := w.begin(w.ctx)
		if err == nil {
			err = w.settle(w.ctx)
		}
		if err == nil {
			return true
		}
		if w.ctx.Err() != nil {
			return false
		}
		if lines, _ := component.Detail(err); lines != nil {
			output = lines
		}
		e, what = exit{}, err.Error()
	}
}

// verdict says whether a process that ended stays down, and how that counts;
// "" means it is started anew. It forgets restarts older than the window.
func (j *job) verdict(e exit, what string, now time.Time) (component.RecordType, string) {
	end := component.Abnormal
	if e.ok() {
		end = component.Normal
	}
	j.record.Restarts = slices.DeleteFunc(j.record.Restarts, func(t time.Time) bool {
		return now.Sub(t) > j.spec.RestartWindow
	})
	switch {
	case j.spec.Restart == RestartNever, j.spec.Restart == RestartOnFailure && e.ok():
		return end, what
	case len(j.record.Restarts) >= j.spec.MaxRestarts:
		return component.Abnormal, fmt.Sprintf("%s; given up after %d restarts within %s", what, len(j.record.Restarts), j.spec.RestartWindow)
	}
	return "", ""
}

// restartPause grows from 1 s, doubling, to 5 min.
func restartPause(restarts int) time.Duration {
	return min(time.Second<<min(restarts, 9), 5*time.Minute)
}
