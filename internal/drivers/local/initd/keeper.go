package initd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pauses before a daemon that ended is started again, and how long one must
// have run for its pauses to begin anew.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 10 * time.Second
	steady     = 30 * time.Second
)

// grace is how long the machine's processes have between the request to end
// and their end.
const grace = 5 * time.Second

// again is the time after which what does not end is killed once more.
const again = 20 * time.Millisecond

// logLimit is the size above which the daemon's log is put aside at the start
// of a daemon; one old log is kept.
const logLimit = 8 << 20

// keeper keeps one daemon running and releases whatever else ends.
type keeper struct {
	command []string
	env     []string
	dir     string
	log     string
	kill    func(unix.Signal) bool // all of the machine but the keeper; false if nothing is left
	clock   func() time.Time
	leash   *leash // nil: the machine's daemon has none

	pid     int // of the daemon, 0 while none runs
	started time.Time
	pause   time.Duration
}

// run keeps the machine until it is told to end: SIGTERM gives its processes
// time, SIGINT none.
func (k *keeper) run(signals <-chan os.Signal) error {
	var due, force <-chan time.Time
	ending, killing := false, false
	felling := false // what ran when a deadline passed has not ended yet
	for {
		k.release()
		over, look := k.leash.pull()
		if over {
			k.say(errors.New("the daemon's deadline has passed: all that runs here is ended"))
			felling = true
		}
		if killing || felling {
			k.kill(unix.SIGKILL) // whatever was started, or fell to us, since the last time
			felling = felling && k.kill(0)
		}
		if felling {
			look = again
		}
		var next <-chan time.Time
		if look > 0 {
			next = time.After(look)
		}
		switch {
		case ending && !k.kill(0):
			return nil
		case !ending && !felling && k.pid == 0 && due == nil:
			due = time.After(k.next())
		}
		select {
		case <-next:
		case sig := <-signals:
			switch {
			case sig == unix.SIGTERM && !ending:
				ending, force = true, time.After(grace)
				k.kill(unix.SIGTERM)
				k.kill(unix.SIGCONT)
			case sig == unix.SIGINT && !killing:
				ending, killing, force = true, true, time.After(again)
			}
		case <-due:
			due = nil
			if !ending && !felling {
				k.start()
			}
		case <-force:
			killing, force = true, time.After(again)
		}
	}
}

// next returns the pause before the next start.
func (k *keeper) next() time.Duration {
	switch {
	case k.pause == 0 || k.clock().Sub(k.started) >= steady:
		k.pause = firstPause
	default:
		k.pause = min(2*k.pause, longPause)
	}
	return k.pause
}

// start starts the daemon. One that cannot be started counts as one that ended
// at once.
func (k *keeper) start() {
	k.started = k.clock()
	log, err := openLog(k.log)
	if err != nil {
		k.say(err)
		log = os.Stderr
	} else {
		defer log.Close()
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		k.say(err)
		return
	}
	defer null.Close()
	env, files := k.leash.hand(k.env, []*os.File{null, log, log})
	proc, err := os.StartProcess(k.command[0], append([]string{"aloft"}, k.command[1:]...), &os.ProcAttr{
		Dir: k.dir, Env: env, Files: files,
		// Two daemons of one machine must never run: this one ends with its keeper.
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		k.say(fmt.Errorf("start %s: %w", k.command[0], err))
		return
	}
	k.pid = proc.Pid
	_ = proc.Release()
}

// release takes all that ended out of the kernel's table.
func (k *keeper) release() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if pid == k.pid {
			k.pid = 0
			k.say(fmt.Errorf("daemon %d ended after %s: %s", pid, k.clock().Sub(k.started).Round(time.Millisecond), ending(status)))
		}
	}
}

func (k *keeper) say(err error) {
	fmt.Fprintf(os.Stderr, "%s aloft init: %v\n", k.clock().UTC().Format(time.RFC3339), err)
}

// ending tells how a process ended.
func ending(s unix.WaitStatus) string {
	if s.Signaled() {
		return unix.SignalName(s.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

// openLog opens a log for appending, and puts one that has grown aside.
func openLog(path string) (*os.File, error) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
}
