package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper runs a process as a user until the end of the test.
func sleeper(t *testing.T, uid uint32) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

// What a file says of a process is believed of root, of its own user, and of
// nobody who could only wish it ended.
func TestNoteOfAProcessIsNotBelievedOfAnybody(t *testing.T) {
	const user, other = 4711, 4712
	roots, users := sleeper(t, 0), sleeper(t, user)
	dir := t.TempDir()
	write := func(text string, owner int, age time.Duration) string {
		t.Helper()
		file := filepath.Join(dir, "pid")
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, tt := range map[string]struct {
		text    string
		owner   int
		age     time.Duration
		refused string
	}{
		"root of root's":        {fmt.Sprintln(roots), 0, 0, ""},
		"root of a user's":      {fmt.Sprint(users), 0, 0, ""},
		"a user of his own":     {fmt.Sprintln(users), user, 0, ""},
		"a user of root's":      {fmt.Sprint(roots), user, 0, "the process is user 0's, the file user 4711's"},
		"a user of the daemon":  {fmt.Sprint(os.Getpid()), user, 0, "the process is user 0's"},
		"a user of another's":   {fmt.Sprint(users), other, 0, "the process is user 4711's, the file user 4712's"},
		"one that is older":     {fmt.Sprint(roots), 0, time.Hour, "the process began later"},
		"his own that is older": {fmt.Sprint(users), user, time.Hour, "the process began later"},
		"of all":                {"-1", 0, 0, `says "-1"`},
		"of its own group":      {"0", 0, 0, `says "0"`},
		"no number":             {"1; reboot", 0, 0, `says "1; reboot"`},
		"nothing":               {"", 0, 0, `says ""`},
	} {
		p, err := HoldNoted(write(tt.text, tt.owner, tt.age))
		if err == nil {
			p.Release()
		}
		if (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s: %v", name, err)
		}
	}

	file := write(fmt.Sprint(roots), 0, 0)
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		link: "is a link", pipe: "no regular file", dir: "no regular file", filepath.Join(dir, "none"): "there is no",
	} {
		if p, err := HoldNoted(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", file, p, err)
		}
	}
}
