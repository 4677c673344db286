package initd

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// HL2: a daemon that says a deadline and then hangs is ended at it, with all
// that it started; its successor, of which nothing runs longer than it may, is
// left alone.
func TestHL2WhatADaemonThatHangsHasStartedEndsAtItsDeadline(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	said := sinceBoot() + 500*time.Millisecond
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(said))
	if err := os.WriteFile(path("deadline"), b[:], 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `cat "$1/deadline" >&$ALOFT_LEASH
if [ -e "$1/component" ]; then echo $$ > "$1/next"; exec sleep 1000; fi
setsid sleep 1000 & echo $! > "$1/component"
kill -STOP $$`
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	signals := notify()
	defer signal.Reset()
	l, err := newLeash()
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{
		command: []string{"/bin/sh", "-c", script, "sh", dir}, env: os.Environ(), dir: dir, log: path("log"),
		kill: killDescendants, clock: time.Now, leash: l,
	}
	k.start()
	ended := make(chan error, 1)
	go func() { ended <- k.run(signals) }()
	component := await(t, path("component"))
	for runs(component) {
		if now := sinceBoot(); now > said+20*time.Second {
			t.Fatalf("it runs %s after its deadline", now-said)
		}
		time.Sleep(time.Millisecond)
	}
	if now := sinceBoot(); now < said {
		t.Errorf("it ended %s before the deadline", said-now)
	}
	next := await(t, path("next"))
	time.Sleep(200 * time.Millisecond) // in which it would be ended
	if !runs(next) {
		t.Error("the next daemon was ended for a deadline that had passed for all")
	}
	if err := unix.Kill(os.Getpid(), unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the keeper does not end")
	}
}

// await returns the process whose id is in a file, once it is.
func await(t *testing.T, file string) int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return pid
		}
	}
	t.Fatalf("not within 20 s: %s", file)
	return 0
}

func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestLeashKnowsWhatWasSaidLast(t *testing.T) {
	l, err := newLeash()
	if err != nil {
		t.Fatal(err)
	}
	now := 100 * time.Second
	l.boot = func() time.Duration { return now }
	say := func(at time.Duration) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(at))
		if _, err := l.write.Write(b[:]); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(wantOver bool, wantLook time.Duration) {
		t.Helper()
		if over, look := l.pull(); over != wantOver || look != wantLook {
			t.Errorf("after %s: over %v, look again after %s; want %v, %s", now, over, look, wantOver, wantLook)
		}
	}
	expect(false, 0)
	say(130 * time.Second)
	expect(false, lookAgain)
	for n := range 1000 {
		say(time.Duration(131+n) * time.Second)
	}
	say(160 * time.Second)
	now = 159500 * time.Millisecond
	expect(false, 500*time.Millisecond)
	say(165 * time.Second)
	now = 162 * time.Second
	expect(false, lookAgain) // it was said in time
	say(0)
	now = 170 * time.Second
	expect(false, 0)
	say(169 * time.Second)
	expect(true, 0)
	expect(false, 0)
	say(170 * time.Second)
	expect(false, 0) // what was to end by then has ended
	say(171 * time.Second)
	now = 200 * time.Second
	expect(true, 0)
}
