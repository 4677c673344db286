package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// procStat is what the package needs of /proc/PID/stat.
type procStat struct {
	pid     int
	state   byte
	parent  int
	session int
	threads int    // that have not ended
	start   uint64 // clock ticks after boot: with the boot id, it makes a pid unique
}

// dead reports whether the process has ended, reaped or not. The state is that of
// its first thread: what the others have open, as a port, is open while they last.
func (s procStat) dead() bool { return (s.state == 'Z' || s.state == 'X') && s.threads <= 1 }

func readStat(pid int) (procStat, error) {
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(b)
}

// parseStat reads a line of /proc/PID/stat. The second field is the program's
// name in parentheses and may hold anything, parentheses included.
func parseStat(b []byte) (procStat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return procStat{}, errors.New("malformed stat line")
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return procStat{}, errors.New("short stat line")
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	parent, err2 := strconv.Atoi(fields[1])
	session, err3 := strconv.Atoi(fields[3])
	threads, err4 := strconv.Atoi(fields[17])
	start, err5 := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return procStat{}, fmt.Errorf("malformed stat line: %w", err)
	}
	return procStat{pid: pid, state: fields[0][0], parent: parent, session: session, threads: threads, start: start}, nil
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// Catches reports whether a process does something of its own at a signal.
func Catches(pid int, sig syscall.Signal) bool {
	b, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && set&(1<<(sig-1)) != 0
		}
	}
	return false
}

// allPids lists the processes of this PID namespace.
func allPids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// family is what tells the processes of one component from all others. Three
// marks, because programs leave sessions and overwrite their environments.
type family struct {
	session int    // the session its process leads; 0 if that process is gone
	mark    string // a variable in the environment of what it started; "" if there is none
	output  string // a file only it writes to; "" if there is none
}

// members lists the live processes of the family, never the calling one.
func (f family) members() []procStat {
	var found []procStat
	for _, pid := range allPids() {
		st, err := readStat(pid)
		if err != nil || st.dead() || pid == os.Getpid() {
			continue
		}
		if f.session != 0 && st.session == f.session || hasMark(pid, f.mark) || f.output != "" && writesTo(pid, f.output) {
			found = append(found, st)
		}
	}
	return found
}

func hasMark(pid int, mark string) bool {
	if mark == "" {
		return false
	}
	env, err := os.ReadFile(procPath(pid, "environ"))
	return err == nil && (bytes.HasPrefix(env, []byte(mark+"\x00")) || bytes.Contains(env, []byte("\x00"+mark+"\x00")))
}

// writesTo reports whether the process has path as its standard output.
func writesTo(pid int, path string) bool {
	got, err := os.Readlink(procPath(pid, "fd/1"))
	return err == nil && got == path
}

// programOf names the program a process runs, for messages.
func programOf(pid int) string {
	if b, err := os.ReadFile(procPath(pid, "comm")); err == nil {
		return strings.TrimSpace(string(b))
	}
	return "an unknown program"
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
