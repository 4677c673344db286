package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"aloft/component"
)

// Processes keeps the processes of components running. A process leads a
// session of its own, writes to a file, and outlives the daemon: the next one
// takes hold of it by pid and start time. Everything that must outlive the
// daemon is in the component's work folder, which also names the process in
// every method; calls for one folder must not overlap.
type Processes struct {
	log     *slog.Logger
	watches chan *watch
	stopped chan struct{} // closed when Run has returned
	pause   func(restarts int) time.Duration

	mu sync.Mutex
	// guarded by mu
	watched map[string]*watch
}

// Watcher is told what happens to a process after Start has returned. Its
// functions are called by one goroutine, never after Stop or the next Start
// for the folder has begun.
type Watcher struct {
	// Restarted tells that the process ended, why, and that it runs anew. Start
	// calls it, too, when it had to restart the process for its limits.
	Restarted func(r Running, reason string)
	// Ended tells that the process will not come back. Path and Host of the
	// record are the caller's to fill in.
	Ended func(component.Record)
	// Killed tells that a process had to be killed. Start and Stop call it.
	Killed func(Killed)
}

// Killed is how a process ended that did not do so when it was told to.
type Killed struct {
	Signal  syscall.Signal `json:"signal"`
	After   time.Duration  `json:"after"`
	Limited bool           `json:"limited,omitempty"` // by the operation's own limit, before its own patience was over
	Output  []string       `json:"output,omitempty"`  // the last lines, at most ten
}

// Running is a process that runs.
type Running struct {
	Pid      int
	Restarts int
	Adopted  bool // it ran before Start was called
}

// NewProcesses returns a supervisor; its Start works while Run runs.
func NewProcesses(log *slog.Logger) *Processes {
	return &Processes{
		log:     log,
		watches: make(chan *watch),
		stopped: make(chan struct{}),
		pause:   restartPause,
		watched: map[string]*watch{},
	}
}

// lookEvery is how often the sizes of output files are looked at: lines of
// several are told apart in time by no less.
const lookEvery = time.Second

// A process that writes little at a time has this many times noted, and then one
// for so many bytes: they take no more room than its output.
const (
	manyMarks = 50_000
	coarse    = 4 << 10
)

// Run watches over processes until ctx ends and then leaves them running.
func (p *Processes) Run(ctx context.Context) error {
	defer close(p.stopped)
	var watching sync.WaitGroup
	defer watching.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case w := <-p.watches:
			watching.Go(func() {
				defer close(w.done)
				defer context.AfterFunc(ctx, w.cancel)()
				p.supervise(w)
			})
		case <-tick.C:
			p.look()
		case <-ctx.Done():
			return nil
		}
	}
}

// look notes when processes have written, and rotates what they write.
func (p *Processes) look() {
	p.mu.Lock()
	folders := slices.Collect(maps.Keys(p.watched))
	p.mu.Unlock()
	for _, folder := range folders {
		path, grown, err := p.lookAt(folder)
		if err == nil && grown {
			err = rotate(folder, path, rotateAt)
		}
		if err != nil {
			p.log.Warn("output not rotated", "file", path, "error", err)
		}
	}
}

// lookAt notes whether the process of folder has written; grown says that it
// should be rotated.
func (p *Processes) lookAt(folder string) (path string, grown bool, err error) {
	p.mu.Lock()
	w := p.watched[folder]
	p.mu.Unlock()
	if w == nil {
		return "", false, nil
	}
	path = w.spec.Output
	st, err := os.Lstat(path) // may take long, where it is on a network
	if err != nil || !st.Mode().IsRegular() || st.Size() == w.written {
		return "", false, nil // it was removed, or is not ours to read, or nothing is new
	}
	p.mu.Lock() // so that nobody removes the folder meanwhile
	defer p.mu.Unlock()
	if p.watched[folder] != w {
		return "", false, nil
	}
	switch grew := st.Size() - w.written; {
	case grew < 0: // somebody else cuts it: what was noted is of what is gone
		err = RemoveFile(filepath.Join(folder, TimesFile))
	case w.marks > manyMarks && grew < coarse:
		return path, false, nil
	}
	w.written = st.Size()
	w.marks++
	return path, st.Size() > rotateAt, errors.Join(err, stampOutput(folder, st))
}

// Start makes the process of folder run as spec says and returns when it is
// ready. One that runs as spec says is adopted; one that runs otherwise is
// stopped first. If it does not become ready, nothing of it is left.
func (p *Processes) Start(ctx context.Context, folder string, spec Spec, watcher Watcher) (Running, error) {
	spec.complete(folder)
	p.unwatch(folder)
	j := &job{folder: folder, spec: spec, log: p.log, killed: watcher.Killed}
	adopted, err := j.adopt(ctx)
	if err != nil {
		return Running{}, err
	}
	if !adopted {
		if err := j.begin(ctx); err != nil {
			return Running{}, err
		}
	}
	if j.changed != "" {
		j.record.Count++ // settle writes it
	}
	if err := j.settle(ctx); err != nil {
		return Running{}, err
	}
	r := j.running()
	if j.changed != "" && watcher.Restarted != nil {
		watcher.Restarted(r, j.changed)
	}
	r.Adopted = adopted
	return r, p.watch(ctx, j, watcher)
}

// Replace makes the process run as next says instead of as old said. Before
// either is started, its configuration is put in place by its prepare. If next
// does not become ready, old runs again, and the error says why.
func (p *Processes) Replace(ctx context.Context, folder string, old, next Prepared, watcher Watcher) (Running, error) {
	r, err := p.startPrepared(ctx, folder, next, watcher)
	if err == nil {
		return r, nil
	}
	back, cancel := Outlive(ctx, 4*time.Second)
	defer cancel()
	if _, backErr := p.startPrepared(back, folder, old, watcher); backErr != nil {
		err = errors.Join(err, fmt.Errorf("back to what it was: %w", backErr))
	}
	return Running{}, err
}

// Outlive returns a context that ends so long after ctx does.
func Outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		_ = Sleep(out, grace)
		cancel()
	})
	return out, func() { stop(); cancel() }
}

// Prepared is a process with what has to be in place before it starts.
type Prepared struct {
	Spec
	Prepare func() error // may be nil
}

func (p *Processes) startPrepared(ctx context.Context, folder string, s Prepared, watcher Watcher) (Running, error) {
	if s.Prepare != nil {
		if err := s.Prepare(); err != nil {
			return Running{}, err
		}
	}
	return p.Start(ctx, folder, s.Spec, watcher)
}

// Stop ends the process of folder: a signal, a wait, and then the end of all
// that is left of its session. It succeeds when nothing runs. Killed, which may be
// nil, is told if the signal was not enough, and again if Stop is repeated.
func (p *Processes) Stop(ctx context.Context, folder string, sig syscall.Signal, patience time.Duration, killed func(Killed)) error {
	p.unwatch(folder)
	spec := Spec{StopSignal: sig, StopTimeout: patience}
	spec.complete(folder)
	rec, err := readRecord(folder)
	if err != nil || rec == nil {
		return err
	}
	if rec.Phase == phaseEnded {
		if rec.Killed != nil && killed != nil {
			killed(*rec.Killed)
		}
		return nil
	}
	j := &job{folder: folder, spec: spec, log: p.log, killed: killed, record: *rec}
	return j.stop(ctx)
}

// Signal sends sig to the process of folder.
func (p *Processes) Signal(folder string, sig syscall.Signal) error {
	c, err := current(folder)
	if err != nil {
		return err
	}
	defer c.release()
	return c.signal(sig)
}

// Alive returns nil if the process of folder runs.
func (p *Processes) Alive(folder string) error {
	c, err := current(folder)
	if err != nil {
		return err
	}
	c.release()
	return nil
}

// Ping returns nil if the process of folder runs, and
// component.ErrNoEnd while it is started anew: until it is ready it does not
// answer.
func (p *Processes) Ping(folder string) error {
	p.mu.Lock()
	w := p.watched[folder]
	p.mu.Unlock()
	if w != nil && w.reviving.Load() {
		return fmt.Errorf("the process is being restarted: %w", component.ErrNoEnd)
	}
	return p.Alive(folder)
}

// Pid returns the process of folder, or 0 if none runs.
func (p *Processes) Pid(folder string) int {
	c, err := current(folder)
	if err != nil {
		return 0
	}
	defer c.release()
	return c.pid
}

func current(folder string) (*child, error) {
	rec, err := readRecord(folder)
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.Phase != phaseRunning {
		return nil, errors.New("the process does not run")
	}
	c, ok := rec.hold()
	if !ok {
		return nil, fmt.Errorf("the process (pid %d) has ended", rec.Pid)
	}
	return c, nil
}

// watch hands a running process to Run.
func (p *Processes) watch(ctx context.Context, j *job, watcher Watcher) error {
	// A context of its own: unwatch ends one watch, Run all of them.
	wctx, cancel := context.WithCancel(context.Background())
	w := &watch{job: j, Watcher: watcher, ctx: wctx, cancel: cancel, done: make(chan struct{})}
	p.mu.Lock()
	p.watched[j.folder] = w
	p.mu.Unlock()
	var err error
	select {
	case p.watches <- w:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.stopped:
		err = errors.New("the daemon is stopping")
	}
	cancel()
	p.mu.Lock()
	delete(p.watched, j.folder)
	p.mu.Unlock()
	j.child.release()
	return err
}

// unwatch stops watching the process of folder and leaves it running.
func (p *Processes) unwatch(folder string) {
	p.mu.Lock()
	w := p.watched[folder]
	delete(p.watched, folder)
	p.mu.Unlock()
	if w != nil {
		w.cancel()
		<-w.done
	}
}

// Tail returns the last lines, at most ten, that the process of folder printed
// to OutputFile.
func Tail(folder string) []string {
	return tail(filepath.Join(folder, OutputFile), 0)
}

// ParseSignal reads the name of a signal, with or without SIG.
func ParseSignal(name string) (syscall.Signal, error) {
	if s, ok := stopSignals[strings.TrimPrefix(name, "SIG")]; ok {
		return s, nil
	}
	return 0, fmt.Errorf("signal %q is not one that ends a process; use TERM, INT, QUIT, HUP, USR1, USR2, WINCH or KILL", name)
}

var stopSignals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH, "KILL": syscall.SIGKILL,
}
