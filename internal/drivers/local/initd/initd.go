// Package initd is `aloft init`: the process that keeps a machine. In a light
// machine it is process 1; of a process machine it is a small supervisor to
// which orphans of the machine fall. It does four things: it releases
// processes that ended, keeps the machine's daemon running, ends all that runs
// when the daemon has let its own deadline pass, and ends the machine when told
// to. It starts nothing else, and knows nothing of components: those live in
// sessions of their own and outlast the daemon.
//
// Main runs in the process's first goroutine, bound to its thread, until the
// machine ends; it starts no other.
package initd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/boot"
	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/names"
)

// Process is what the keeper of a process machine is told.
type Process struct {
	Folder  string `json:"folder"` // of the machine
	Binary  string `json:"binary"`
	Address string `json:"address"`
	Path    string `json:"path"` // where programs are looked for
}

// StateFolder is where a process machine's daemon keeps its state; its user
// data lies there too.
func (p Process) StateFolder() string { return filepath.Join(p.Folder, "home") }

// DataPath is the user data of a process machine.
func (p Process) DataPath() string { return filepath.Join(p.StateFolder(), "userdata.json") }

// Main runs `aloft init` with the arguments that follow the word init, and
// returns the exit code of the process. It is made to be called by a manager
// with orders on descriptor 3 and a report on 4, not by people.
func Main(args []string) int {
	home, machine, process, ok := names.ParseInit(append([]string{names.Init}, args...))
	if !ok {
		fmt.Fprintln(os.Stderr, "aloft init: is started by the daemon that makes a machine, not by hand")
		return 1
	}
	// The daemon is to end with this very thread, and what is taken from it is
	// taken from what it starts.
	runtime.LockOSThread()
	heedReserved()
	run := enter
	if process {
		run = supervise
	}
	if err := run(home, machine); err != nil {
		fmt.Fprintf(os.Stderr, "aloft init: machine %s: %v\n", machine, err)
		return 1
	}
	return 0
}

// enter becomes process 1 of a light machine.
func enter(home names.Home, machine string) error {
	var spec light.Spec
	orders, err := boot.Receive(&spec)
	if err != nil {
		return err
	}
	signals := notify()
	l, err := newLeash()
	if err == nil {
		err = light.EnterRoot(spec)
	}
	if err == nil {
		err = orders.Await()
	}
	if err == nil {
		err = light.EnterNet(spec)
	}
	if err == nil {
		err = light.Withhold()
	}
	if err != nil {
		orders.Done(err)
		return err
	}
	k := &keeper{
		command: []string{light.BinaryPath, "daemon", "run", "--machine"},
		log:     light.LogPath,
		env: environment(home, machine, spec.Address.Addr().String(), light.StatePath, light.DataPath,
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"+filepath.Dir(light.BinaryPath),
			"HOME=/root", "LANG=C.UTF-8"),
		dir:   "/",
		kill:  func(sig unix.Signal) bool { return unix.Kill(-1, sig) == nil },
		clock: time.Now,
		leash: l,
	}
	k.start()
	orders.Done(nil)
	return k.run(signals)
}

// supervise becomes the keeper of a process machine.
func supervise(home names.Home, machine string) error {
	var spec Process
	orders, err := boot.Receive(&spec)
	if err != nil {
		return err
	}
	signals := notify()
	unix.Umask(0o022)
	if err = orders.Await(); err == nil {
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	l, failed := newLeash()
	if err = errors.Join(err, failed); err != nil {
		orders.Done(err)
		return err
	}
	k := &keeper{
		command: []string{spec.Binary, "daemon", "run", "--machine"},
		log:     filepath.Join(spec.Folder, "daemon.log"),
		env: environment(home, machine, spec.Address, spec.StateFolder(), spec.DataPath(),
			"PATH="+spec.Path, "HOME="+spec.Folder, "LANG=C.UTF-8"),
		dir:   spec.Folder,
		kill:  killDescendants,
		clock: time.Now,
		leash: l,
	}
	k.start()
	orders.Done(nil)
	return k.run(signals)
}

func environment(home names.Home, machine, address, state, data string, more ...string) []string {
	return append(more,
		names.HomeIDVar+"="+string(home), names.MachineVar+"="+machine, names.AddressVar+"="+address,
		names.StateVar+"="+state, names.DataVar+"="+data)
}

// notify catches what a keeper must hear of. That it catches SIGHUP, and does
// nothing about it, keeps the machine when its maker's terminal closes; and
// what is caught, unlike what is ignored, is as usual in the processes it starts.
func notify() <-chan os.Signal {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGIO)
	return signals
}

// killDescendants sends sig to every process that comes from this one and
// reports whether there is any. What they start meanwhile is found by the next
// call: whose parent ended falls to this process.
func killDescendants(sig unix.Signal) bool {
	children, err := parents()
	if err != nil {
		return true // not known to be gone
	}
	todo, found := []int{os.Getpid()}, false
	for len(todo) > 0 {
		next := children[todo[0]]
		todo = append(todo[1:], next...)
		for _, pid := range next {
			found = true
			_ = unix.Kill(pid, sig) // one that ended meanwhile
		}
	}
	return found
}

// parents lists, by parent, the processes that have not ended.
func parents() (map[int][]int, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		// After the name in brackets: state and parent.
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	return children, nil
}
