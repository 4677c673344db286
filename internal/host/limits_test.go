package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"aloft/component"
)

// limitsOf reads the soft and hard limit of a running process.
func limitsOf(t *testing.T, pid int, name string) (soft, hard string) {
	t.Helper()
	b, err := os.ReadFile(procPath(pid, "limits"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			f := strings.Fields(rest)
			return f[0], f[1]
		}
	}
	t.Fatalf("no %s in\n%s", name, b)
	return "", ""
}

func wantLimit(t *testing.T, pid int, name, soft, hard string) {
	t.Helper()
	if s, h := limitsOf(t, pid, name); s != soft || h != hard {
		t.Errorf("%s of pid %d: %s soft, %s hard; want %s and %s", name, pid, s, h, soft, hard)
	}
}

func limited(t *testing.T, s Spec, limits map[string]int) Spec {
	t.Helper()
	s.Limits = Limits{}
	for name, n := range limits {
		if err := s.Limits.Set(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// other is a user who is not the daemon's, and a folder of its own.
func other(t *testing.T) (user, folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a process as another user")
	}
	folder, err := os.MkdirTemp("", "host")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return "nobody", folder
}

func stop(t *testing.T, d *daemon, folder string) {
	t.Helper()
	if err := d.Stop(t.Context(), folder, 0, 0, nil); err != nil {
		t.Error(err)
	}
	noneLeft(t, folder)
}

func TestLimitsHoldFromTheFirstInstruction(t *testing.T) {
	user, folder := other(t)
	tests := []struct{ user, who string }{{"", strconv.Itoa(os.Getuid())}, {user, "65534"}}
	for _, tt := range tests {
		t.Run("user "+tt.user, func(t *testing.T) {
			d := newDaemon(t)
			_, w := newEvents()
			// What the program itself sees first; and that it has not become another since.
			s := limited(t, shell(`echo "pid $$ $(id -u) $(id -G) $(ulimit -n) $(ulimit -v) $0 $WORD in $(pwd)"; exec sleep 100`),
				map[string]int{"openFiles": 77, "memory": 512, "fileSize": 3, "core": 0, "processes": 4000})
			s.User, s.Ready.Line = tt.user, "pid"
			s.Env = map[string]string{"WORD": "not \xff UTF-8"}
			r := start(t, d, folder, s, w)
			want := fmt.Sprintf("pid %d %s %s 77 524288 sh not \uFFFD UTF-8 in %s", r.Pid, tt.who, tt.who, folder)
			if got := tail(filepath.Join(folder, OutputFile), 0); got[len(got)-1] != want {
				t.Errorf("the program saw %q, want %q", got, want)
			}
			wantLimit(t, r.Pid, "Max open files", "77", "77")
			wantLimit(t, r.Pid, "Max address space", "536870912", "536870912")
			wantLimit(t, r.Pid, "Max file size", "3145728", "3145728")
			wantLimit(t, r.Pid, "Max core file size", "0", "0")
			wantLimit(t, r.Pid, "Max processes", "4000", "4000")
			// What is not named is as without limits.
			_, h := limitsOf(t, os.Getpid(), "Max stack size")
			if _, got := limitsOf(t, r.Pid, "Max stack size"); got != h {
				t.Errorf("stack %s, want the daemon's %s", got, h)
			}
			if env, err := os.ReadFile(procPath(r.Pid, "environ")); err != nil || strings.Count(string(env), markName+"=") != 1 {
				t.Errorf("environment %q, %v", env, err)
			}
			if _, err := os.Readlink(procPath(r.Pid, "fd/3")); err == nil {
				t.Error("the program has the connection to its maker")
			}
			d.quit()
			next := newDaemon(t)
			if again := start(t, next, folder, s, w); again.Pid != r.Pid || !again.Adopted {
				t.Errorf("made %+v, then found %+v: want the same process", r, again)
			}
			stop(t, next, folder)
		})
	}
}

// Go raises the daemon's limit of open files; its children must not see that.
func TestUnnamedLimitIsAsWithoutLimits(t *testing.T) {
	d := newDaemon(t)
	_, w := newEvents()
	bare, memory := t.TempDir(), t.TempDir()
	one := start(t, d, bare, shell("exec sleep 100"), w)
	two := start(t, d, memory, limited(t, shell("exec sleep 100"), map[string]int{"memory": 512}), w)
	soft, hard := limitsOf(t, one.Pid, "Max open files")
	wantLimit(t, two.Pid, "Max open files", soft, hard)
	stop(t, d, bare)
	stop(t, d, memory)
}

func TestMemoryThatIsTooMuchIsRefusedToTheProgram(t *testing.T) {
	d := newDaemon(t)
	_, w := newEvents()
	folder := t.TempDir()
	s := limited(t, shell(`head -c 200M /dev/zero | tail -c 200M | wc -c; echo tried; exec sleep 100`), map[string]int{"memory": 64})
	s.Ready.Line = "tried"
	start(t, d, folder, s, w)
	if got := Tail(folder); got[len(got)-2] == "209715200" {
		t.Errorf("it had 200 MiB under a limit of 64: %q", got)
	}
	stop(t, d, folder)
}

func TestRestartedProcessHasItsLimits(t *testing.T) {
	user, folder := other(t)
	d := newDaemon(t)
	e, w := newEvents()
	s := limited(t, shell("exec sleep 100"), map[string]int{"openFiles": 77})
	s.User = user
	r := start(t, d, folder, s, w)
	if err := unix.Kill(r.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.restarted
	wantLimit(t, d.Pid(folder), "Max open files", "77", "77")
	stop(t, d, folder)
}

// mayChange reports whether this process may raise hard limits, and change
// those of other users' processes.
func mayChange(t *testing.T) bool {
	t.Helper()
	var caps [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]); err != nil {
		t.Fatal(err)
	}
	return caps[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func TestChangedLimitsHoldWithARestartWhereItTakesOne(t *testing.T) {
	user, folder := other(t)
	tests := []struct {
		name     string
		user     string
		from, to map[string]int
		open     [2]string // "": as without limits
		keeps    bool      // without CAP_SYS_RESOURCE
	}{
		{"lowered", "", map[string]int{"openFiles": 77}, map[string]int{"openFiles": 66}, [2]string{"66", "66"}, true},
		{"raised", "", map[string]int{"openFiles": 77}, map[string]int{"openFiles": 88}, [2]string{"88", "88"}, false},
		{"the same", user, map[string]int{"openFiles": 77}, map[string]int{"openFiles": 77}, [2]string{"77", "77"}, true},
		{"lowered of another user", user, map[string]int{"openFiles": 77}, map[string]int{"openFiles": 66}, [2]string{"66", "66"}, false},
		{"raised of another user", user, map[string]int{"openFiles": 77}, map[string]int{"openFiles": 88}, [2]string{"88", "88"}, false},
		{"given to another user", user, nil, map[string]int{"openFiles": 88}, [2]string{"88", "88"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t)
			e, w := newEvents()
			s := shell("exec sleep 100")
			s.User = tt.user
			one := start(t, d, folder, limited(t, s, tt.from), w)
			two := start(t, d, folder, limited(t, s, tt.to), w)
			wantLimit(t, two.Pid, "Max open files", tt.open[0], tt.open[1])
			keeps := tt.keeps || mayChange(t)
			if (one.Pid == two.Pid) != keeps {
				t.Errorf("pid %d, then %d; want the same: %t", one.Pid, two.Pid, keeps)
			}
			if keeps != (len(e.restarted) == 0) {
				t.Errorf("%d restarts were told", len(e.restarted))
			}
			if !keeps {
				want := fmt.Sprintf("sh (pid %d) was ended to run with new limits, which it could not have while it ran: limit openFiles: operation not permitted", one.Pid)
				if got := <-e.restarted; got != want || two.Restarts != one.Restarts+1 {
					t.Errorf("told %q, restarts %d; want %q", got, two.Restarts, want)
				}
			}
			stop(t, d, folder)
			if err := os.Remove(filepath.Join(folder, recordFile)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The original number of open files is known only to new children.
func TestLimitOfOpenFilesIsGivenBackByARestart(t *testing.T) {
	folder := t.TempDir()
	d := newDaemon(t)
	e, w := newEvents()
	free := start(t, d, folder, shell("exec sleep 100"), w)
	soft, hard := limitsOf(t, free.Pid, "Max open files")
	start(t, d, folder, limited(t, shell("exec sleep 100"), map[string]int{"openFiles": 77}), w)
	again := start(t, d, folder, shell("exec sleep 100"), w)
	wantLimit(t, again.Pid, "Max open files", soft, hard)
	if len(e.restarted) != 1 || again.Pid == free.Pid {
		t.Errorf("%d restarts told, pid %d after %d", len(e.restarted), again.Pid, free.Pid)
	}
	stop(t, d, folder)
}

func TestLimitAboveTheHardOneIsRefusedWithTheMost(t *testing.T) {
	if mayChange(t) {
		return // TestLimitsWithoutTheRight sees to it
	}
	folder := t.TempDir()
	d := newDaemon(t)
	_, w := newEvents()
	_, hard := limitsOf(t, os.Getpid(), "Max open files")
	most, err := strconv.Atoi(hard)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Start(t.Context(), folder, limited(t, shell("exec sleep 100"), map[string]int{"openFiles": most + 1}), w)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("limit openFiles to %d: this machine allows at most %d", most+1, most)) {
		t.Errorf("error %v", err)
	}
	if _, remedy := component.Detail(err); remedy == "" {
		t.Error("no remedy")
	}
	noneLeft(t, folder)
}

func TestProgramThatCannotBeRunUnderLimitsIsToldAsWithout(t *testing.T) {
	user, folder := other(t)
	script := filepath.Join(folder, "script")
	if err := os.WriteFile(script, []byte("#!/no/such/shell\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(folder, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		spec Spec
	}{
		{"no interpreter", Spec{Command: []string{script}}},
		{"no way to the folder", Spec{Command: []string{"sleep", "100"}, Dir: closed, User: user}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t)
			_, w := newEvents()
			_, plain := d.Start(t.Context(), folder, tt.spec, w)
			_, under := d.Start(t.Context(), folder, limited(t, tt.spec, map[string]int{"openFiles": 77}), w)
			if plain == nil || under == nil || plain.Error() != under.Error() {
				t.Errorf("without limits: %v; with: %v", plain, under)
			}
			noneLeft(t, folder)
		})
	}
}

// TestLimitsWithoutTheRight runs this file's tests once more without
// CAP_SYS_RESOURCE where this process has it.
func TestLimitsWithoutTheRight(t *testing.T) {
	if !mayChange(t) {
		return // they have run without it
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("there is no setpriv")
	}
	cmd := exec.CommandContext(t.Context(), setpriv, "--bounding-set=-sys_resource", "--inh-caps=-sys_resource",
		os.Args[0], "-test.run=Limit", "-test.timeout=2m")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
