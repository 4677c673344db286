package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"aloft/component"
	"aloft/internal/stamp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is one life of a supervisor; ending it leaves the processes running.
type daemon struct {
	*Processes
	quit func()
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	p := NewProcesses(slog.New(slog.DiscardHandler))
	p.pause = func(int) time.Duration { return time.Millisecond }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	d := &daemon{Processes: p, quit: func() { cancel(); <-done }}
	t.Cleanup(d.quit)
	return d
}

// events collects what a Watcher is told.
type events struct {
	restarted chan string
	ended     chan component.Record
}

func newEvents() (events, Watcher) {
	e := events{make(chan string, 100), make(chan component.Record, 1)}
	return e, Watcher{
		Restarted: func(r Running, reason string) { e.restarted <- reason },
		Ended:     func(r component.Record) { e.ended <- r },
	}
}

func shell(script string) Spec {
	return Spec{Command: []string{"sh", "-c", script}, StopTimeout: 5 * time.Second}
}

// untilTold has a script go on until tell is called: one that went on for a
// time of its own might end before it is looked at.
const untilTold = "until test -e told; do sleep 0.05; done; "

func tell(t *testing.T, folder string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "told"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, d *daemon, folder string, s Spec, w Watcher) Running {
	t.Helper()
	r, err := d.Start(t.Context(), folder, s, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { familyOf(folder).kill(context.Background()) })
	return r
}

func noneLeft(t *testing.T, folder string) {
	t.Helper()
	if left := familyOf(folder).members(); len(left) > 0 {
		t.Errorf("%d processes of %s are left", len(left), folder)
	}
}

func TestProcessOutlivesTheDaemonAndIsAdopted(t *testing.T) {
	folder := t.TempDir()
	_, w := newEvents()
	first := newDaemon(t)
	made := start(t, first, folder, shell("exec sleep 100"), w)
	first.quit()
	second := newDaemon(t)
	kept := start(t, second, folder, shell("exec sleep 100"), w)
	if kept.Pid != made.Pid || !kept.Adopted || made.Adopted {
		t.Errorf("made %+v, then found %+v: want the same process", made, kept)
	}
	if err := second.Stop(t.Context(), folder, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	noneLeft(t, folder)
	if err := second.Stop(t.Context(), folder, 0, 0, nil); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestProcessWithAnotherSpecIsReplaced(t *testing.T) {
	folder := t.TempDir()
	_, w := newEvents()
	d := newDaemon(t)
	one := start(t, d, folder, shell("exec sleep 100"), w)
	two := start(t, d, folder, shell("exec sleep 101"), w)
	if one.Pid == two.Pid {
		t.Error("the old process goes on")
	}
	if n := len(familyOf(folder).members()); n != 1 {
		t.Errorf("%d processes, want 1", n)
	}
	d.Stop(t.Context(), folder, 0, 0, nil)
	noneLeft(t, folder)
}

// The daemon may die between making a process and recording its pid.
func TestProcessMadeJustBeforeACrashIsFoundAndNotBegunTwice(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script string // that the next daemon wants
		kept   bool
	}{
		{"the same", "echo begun >> effects; exec sleep 100", true},
		{"another by now", "echo begun >> effects; exec sleep 101", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			_, w := newEvents()
			wanted := func(script string) Spec {
				s := shell(untilTold + script)
				s.Dir = folder
				return s
			}
			first := newDaemon(t)
			start(t, first, folder, wanted("echo begun >> effects; exec sleep 100"), w)
			first.quit()
			rec, err := readRecord(folder)
			if err != nil {
				t.Fatal(err)
			}
			lost := rec.Pid
			rec.Phase, rec.Pid, rec.Start, rec.Ready = phaseStarting, 0, 0, false
			if err := rec.write(folder); err != nil {
				t.Fatal(err)
			}
			second := newDaemon(t)
			r := start(t, second, folder, wanted(tt.script), w)
			if kept := r.Pid == lost; kept != tt.kept || r.Adopted != tt.kept {
				t.Errorf("%+v after pid %d: kept %t, want %t", r, lost, kept, tt.kept)
			}
			tell(t, folder)
			effects := filepath.Join(folder, "effects")
			for { // until the one that is there has begun
				if text, _ := os.ReadFile(effects); len(text) > 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if text, err := os.ReadFile(effects); err != nil || string(text) != "begun\n" {
				t.Errorf("%q, %v: want one beginning", text, err)
			}
			if err := second.Stop(t.Context(), folder, 0, 0, nil); err != nil {
				t.Error(err)
			}
			noneLeft(t, folder)
		})
	}
}

func TestProcessIsRestartedByPolicy(t *testing.T) {
	tests := []struct {
		policy  Restart
		script  string
		end     component.RecordType
		restart bool
	}{
		{RestartOnFailure, "exit 3", "", true},
		{RestartOnFailure, "exit 0", component.Normal, false},
		{RestartAlways, "exit 0", "", true},
		{RestartNever, "exit 3", component.Abnormal, false},
		{RestartNever, "exit 0", component.Normal, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.policy, " ", tt.script), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			e, w := newEvents()
			d := newDaemon(t)
			s := shell("test -e ended && exec sleep 100; " + untilTold + "touch ended; " + tt.script)
			s.Restart = tt.policy
			start(t, d, folder, s, w)
			tell(t, folder)
			select {
			case reason := <-e.restarted:
				if !tt.restart {
					t.Errorf("restarted: %s", reason)
				}
			case r := <-e.ended:
				if tt.restart || r.Type != tt.end {
					t.Errorf("ended: %+v", r)
				}
			case <-time.After(time.Minute):
				t.Fatal("nothing happened")
			}
			d.Stop(t.Context(), folder, 0, 0, nil)
			noneLeft(t, folder)
		})
	}
}

func TestRestartsAreGivenUpWithTheOutput(t *testing.T) {
	folder := t.TempDir()
	e, w := newEvents()
	d := newDaemon(t)
	// Each life goes on until the marker is there, and then ends at once.
	s := shell(`test -e dead && { echo no database; exit 7; }; ` + untilTold + `touch dead; exit 7`)
	s.MaxRestarts = 3
	start(t, d, folder, s, w)
	tell(t, folder)
	r := <-e.ended
	if r.Type != component.Abnormal || !strings.Contains(r.Description, "given up after 3 restarts") ||
		!strings.Contains(r.Cause, "status 7") || strings.Join(r.Output, "|") != "no database" {
		t.Errorf("record %+v", r)
	}
	noneLeft(t, folder)
}

func TestAdoptedProcessIsRestartedWhenItDies(t *testing.T) {
	folder := t.TempDir()
	first := newDaemon(t)
	_, w := newEvents()
	made := start(t, first, folder, shell("exec sleep 100"), w)
	first.quit()
	second := newDaemon(t)
	e, w := newEvents()
	start(t, second, folder, shell("exec sleep 100"), w)
	syscall.Kill(made.Pid, syscall.SIGKILL)
	if reason := <-e.restarted; !strings.Contains(reason, "killed") {
		t.Errorf("reason %q", reason)
	}
	second.Stop(t.Context(), folder, 0, 0, nil)
	noneLeft(t, folder)
}

func TestExitBeforeReadyFailsStartWithTheLastTenLines(t *testing.T) {
	folder := t.TempDir()
	_, w := newEvents()
	d := newDaemon(t)
	s := shell("for i in $(seq 1 30); do echo line $i; done; exit 5")
	s.Ready.Line = "never printed"
	_, err := d.Start(t.Context(), folder, s, w)
	output, _ := component.Detail(err)
	if err == nil || !strings.Contains(err.Error(), "exited with status 5 before it was ready") {
		t.Errorf("error %v", err)
	}
	if len(output) != 10 || output[0] != "line 21" || output[9] != "line 30" {
		t.Errorf("output %q", output)
	}
	noneLeft(t, folder)
}

func TestReadyChecks(t *testing.T) {
	port := freePort(t)
	tests := []struct {
		name   string
		script string
		ready  Ready
		err    string // "" if it becomes ready
	}{
		{"line", "sleep 0.1; echo now serving things; exec sleep 100", Ready{Line: "serving"}, ""},
		{"no line", "exec sleep 100", Ready{Line: "serving", Timeout: time.Second}, `no line with "serving"`},
		{"command", "sleep 0.1; touch up; exec sleep 100", Ready{Command: []string{"test", "-e", "up"}}, ""},
		{"no command", "exec sleep 100", Ready{Command: []string{"false"}, Timeout: 3 * time.Second}, "exit status 1"},
		{"no port", "exec sleep 100", Ready{Ports: []string{"127.0.0.1:" + port}, Timeout: time.Second}, "nothing listens"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			d := newDaemon(t)
			_, w := newEvents()
			s := shell(tt.script)
			s.Ready = tt.ready
			_, err := d.Start(t.Context(), folder, s, w)
			switch {
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q in it", err, tt.err)
			case tt.err != "":
				noneLeft(t, folder)
			}
			d.Stop(t.Context(), folder, 0, 0, nil)
		})
	}
}

// Start ends when the page answers with a status below 400, and no sooner; an
// answer of another kind is quoted when the time is over.
func TestReadyURL(t *testing.T) {
	var ready atomic.Bool
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" && !ready.Load() || r.URL.Path == "/never" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer page.Close()
	try := func(url string, limit time.Duration) error {
		folder := t.TempDir()
		d := newDaemon(t)
		_, w := newEvents()
		s := shell("exec sleep 100")
		s.Ready = Ready{URL: url, Timeout: limit}
		_, err := d.Start(t.Context(), folder, s, w)
		if err != nil {
			noneLeft(t, folder)
		}
		d.Stop(t.Context(), folder, 0, 0, nil)
		return err
	}
	time.AfterFunc(300*time.Millisecond, func() { ready.Store(true) })
	if err := try(page.URL+"/late", time.Minute); err != nil || !ready.Load() {
		t.Errorf("a page that comes late: %v; it was there when start had ended: %t", err, ready.Load())
	}
	if err := try(page.URL+"/never", time.Second); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "/never") {
		t.Errorf("a page that does not come: %v", err)
	}
	if err := try("http://127.0.0.1:"+freePort(t)+"/", time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port where nothing listens: %v", err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestPortInUseNamesTheHolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := newDaemon(t)
	_, w := newEvents()
	s := shell("exec sleep 100")
	s.Ready.Ports = []string{l.Addr().String()}
	_, err = d.Start(t.Context(), t.TempDir(), s, w)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("error %v does not name this process", err)
	}
	if _, remedy := component.Detail(err); remedy == "" {
		t.Error("no remedy")
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	if err := CheckPort("127.0.0.2", n); err != nil {
		t.Errorf("another address: %v", err)
	}
}

func TestStopEndsTheWholeSessionAndWhatLeftIt(t *testing.T) {
	folder := t.TempDir()
	d := newDaemon(t)
	_, w := newEvents()
	s := shell(`trap '' TERM; sleep 100 & setsid sleep 100 & echo all three; wait; wait`)
	s.Ready.Line = "all three"
	s.StopTimeout = 100 * time.Millisecond
	start(t, d, folder, s, w)
	if n := len(familyOf(folder).members()); n != 3 {
		t.Fatalf("%d processes before, want 3", n)
	}
	if err := d.Stop(t.Context(), folder, syscall.SIGTERM, 100*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	noneLeft(t, folder)
}

func TestStopTellsThatItHadToKillAndAgainWhenRepeated(t *testing.T) {
	folder := t.TempDir()
	d := newDaemon(t)
	_, w := newEvents()
	s := shell(`trap '' TERM; echo deaf; while :; do sleep 1; done`)
	s.Ready.Line = "deaf"
	start(t, d, folder, s, w)
	var told []Killed
	for range 2 { // as after a daemon that ended before it was heard
		err := d.Stop(t.Context(), folder, syscall.SIGTERM, 100*time.Millisecond, func(k Killed) { told = append(told, k) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 2 || told[0].Limited || told[1].Signal != syscall.SIGTERM || !slices.Equal(told[1].Output, []string{"deaf"}) {
		t.Errorf("told %+v", told)
	}
}

func TestFailedReconfigureLeavesTheProcessAsItWas(t *testing.T) {
	folder := t.TempDir()
	d := newDaemon(t)
	_, w := newEvents()
	old := shell("exec sleep 100")
	start(t, d, folder, old, w)
	next := shell("exit 1")
	next.Ready.Line = "never printed"
	if _, err := d.Replace(t.Context(), folder, Prepared{Spec: old}, Prepared{Spec: next}, w); err == nil {
		t.Error("no error")
	}
	if rec, _ := readRecord(folder); rec.Spec != func() string { old.complete(folder); return old.digest() }() {
		t.Error("another process runs")
	}
	if err := d.Alive(folder); err != nil {
		t.Error(err)
	}
	d.Stop(t.Context(), folder, 0, 0, nil)
	noneLeft(t, folder)
}

func TestProcessRunsWithItsEnvironmentUserAndFolder(t *testing.T) {
	folder := t.TempDir()
	d := newDaemon(t)
	_, w := newEvents()
	s := shell(`echo "$GREETING in $(pwd) as $USER with $ALOFT_SECRET"; exec sleep 100`)
	s.Env = map[string]string{"GREETING": `$(touch pwned) "hello"`}
	s.Ready.Line = "hello"
	t.Setenv("ALOFT_SECRET", "leaked")
	start(t, d, folder, s, w)
	u, _ := LookupUser("")
	want := fmt.Sprintf(`$(touch pwned) "hello" in %s as %s with `, folder, u.Name)
	if got := strings.Join(Tail(folder), "\n"); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("printed %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(folder, "pwned")); err == nil {
		t.Error("the environment was run")
	}
	d.Stop(t.Context(), folder, 0, 0, nil)
}

func TestOutputIsRotatedUnderTheProcess(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, OutputFile)
	f, err := openOutput(path, User{UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := range 4 {
		fmt.Fprintf(f, "generation %d\n", n)
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stampOutput(folder, st), rotate(folder, path, 5)); err != nil {
			t.Fatal(err)
		}
		if marks, err := stamp.Read(filepath.Join(folder, TimesFile) + ".1"); err != nil || !marks.At(1).Equal(st.ModTime().Truncate(time.Millisecond)) {
			t.Errorf("times: %v, %v", marks, err)
		}
	}
	fmt.Fprintln(f, "now")
	for name, want := range map[string]string{"": "now", ".1": "generation 3", ".2": "generation 2"} {
		if got := strings.Join(tail(path+name, 0), "|"); got != want {
			t.Errorf("%s: %q, want %q", path+name, got, want)
		}
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("a fourth file is kept")
	}
	if err := RemoveOutput(path); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) (c) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := parseStat(b); err == nil && st.state == 0 {
			t.Errorf("%q has no state", b)
		}
	})
}

func FuzzParseSocketAddress(f *testing.F) {
	f.Add("0100007F:1F90")
	f.Fuzz(func(t *testing.T, s string) {
		if at, ok := parseSocketAddress(s); ok && !at.IsValid() {
			t.Errorf("%q: invalid", s)
		}
	})
}
