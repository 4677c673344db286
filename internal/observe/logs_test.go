package observe

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/stamp"
	"aloft/value"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTailReadsAsFarBackAsItMust(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	write(t, log+".2", "1\n2\n")
	write(t, log+".1", "3\r\n4\n")
	write(t, log, "5\n6\nhalf")
	for tail, want := range map[int]string{
		0: "1 2 3 4 5 6 half", 2: "6 half", 3: "5 6 half", 5: "3 4 5 6 half", 99: "1 2 3 4 5 6 half",
	} {
		var got []string
		err := Tail([]LogFile{{Path: "a", File: log}, {Path: "b", File: log + ".none"}}, Past{Lines: tail}, func(l Line) error {
			got = append(got, l.Text)
			return nil
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("tail %d: %q, %v; want %q", tail, got, err, want)
		}
	}
	stop := errors.New("enough")
	if err := Tail([]LogFile{{File: log}}, Past{}, func(Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestLinesOfSeveralLogsComeInTheOrderOfTime: those of one log keep their order,
// and one whose time nobody noted has that of its file.
func TestLinesOfSeveralLogsComeInTheOrderOfTime(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) LogFile {
		return LogFile{value.Path(name), filepath.Join(dir, name), filepath.Join(dir, name+".times")}
	}
	grow := func(name, text string, second int64) {
		write(t, filepath.Join(dir, name), text)
		st, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			err = stamp.Append(filepath.Join(dir, name+".times"), stamp.Mark{At: time.Unix(second, 0), Size: st.Size()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	grow("a", "1\n1b\n", 1)
	grow("b", "2\n3", 2)
	grow("a", "5\n", 5)
	for _, name := range []string{"a", "a.times"} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+".1")); err != nil {
			t.Fatal(err)
		}
	}
	grow("b", "\n", 3)
	grow("a", "7\n", 7)
	write(t, filepath.Join(dir, "c"), "6\n")
	if err := os.Chtimes(filepath.Join(dir, "c"), time.Time{}, time.Unix(6, 0)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		past Past
		want string
	}{
		{Past{}, "a1 a1b b2 b3 a5 c6 a7"},
		{Past{Lines: 1}, "b3 c6 a7"},
		{Past{Lines: 2}, "b2 b3 a5 c6 a7"},
		{Past{Since: time.Unix(3, 0)}, "b3 a5 c6 a7"},
		{Past{Since: time.Unix(8, 0)}, ""},
	} {
		var got []string
		var last time.Time
		err := Tail([]LogFile{file("c"), file("b"), file("a")}, c.past, func(l Line) error {
			if l.Time.Before(last) {
				t.Errorf("%s is from %s, after one from %s", l.Text, l.Time, last)
			}
			last = l.Time
			got = append(got, string(l.Path)+l.Text)
			return nil
		})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.past, got, err, c.want)
		}
	}
}

// TestALinkOrAPipeIsNoLog: neither shows what only the daemon may read, nor
// keeps a reader for ever.
func TestALinkOrAPipeIsNoLog(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "other"), "secret\n")
	for _, err := range []error{os.Symlink("other", filepath.Join(dir, "link")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "log"), "line\n")
	if err := os.Symlink("other", filepath.Join(dir, "log.1")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "pipe", "log"} {
		err := Tail([]LogFile{{File: filepath.Join(dir, name)}}, Past{}, func(l Line) error {
			if l.Text == "secret" {
				t.Errorf("%s shows what it leads to", name)
			}
			return nil
		})
		if err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestFollowSurvivesRotationCuttingAndAFileThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		log, late := filepath.Join(dir, "log"), filepath.Join(dir, "late")
		write(t, log, "old\nlast\n")
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error)
		go func() {
			done <- Follow(ctx, []LogFile{{"a", log, ""}, {"b", late, ""}}, Past{Lines: 1}, func(l Line) error {
				got = append(got, string(l.Path)+":"+l.Text)
				return nil
			}, func() error {
				got = append(got, "live")
				return nil
			})
		}()
		pass := func() { time.Sleep(2 * pause); synctest.Wait() }
		pass()
		write(t, log, "one\ntw")
		pass()
		write(t, log, "o\n")
		write(t, late, "here\n")
		pass()
		if err := os.Rename(log, log+".1"); err != nil {
			t.Fatal(err)
		}
		write(t, log+".1", "into the old\n")
		write(t, log, "into the new\n")
		pass()
		if err := rotateAt(log, 5); err != nil { // by copying and cutting
			t.Fatal(err)
		}
		pass()
		write(t, log, "after\n")
		pass()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{"a:last", "live", "a:one", "a:two", "b:here", "a:into the old", "a:into the new", "a:after"}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestLineWithoutEndIsCut(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	write(t, log, strings.Repeat("x", 3*longestLine)+"\nend\n")
	var n, size int
	if err := Tail([]LogFile{{File: log}}, Past{}, func(l Line) error {
		n++
		size += len(l.Text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n < 4 || size != 3*longestLine+3 {
		t.Errorf("%d lines, %d bytes", n, size)
	}
}

func TestRotateLeavesTheProcessItsFile(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	process, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	for i := range 4 {
		fmt.Fprintf(process, "line %d\n", i)
		if err := rotateAt(log, 14); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(process, "line 4\n")
	now, _ := os.ReadFile(log)
	old, _ := os.ReadFile(log + ".1")
	older, _ := os.ReadFile(log + ".2")
	if string(older)+"|"+string(old)+"|"+string(now) != "line 0\nline 1\n|line 2\nline 3\n|line 4\n" {
		t.Errorf("%q %q %q", older, old, now)
	}
	if err := Rotate(log + ".none"); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreThereToScrape(t *testing.T) {
	m := NewMetrics("1.2.3")
	m.Step("deploy", "done", 20*time.Millisecond)
	m.Session(1)
	m.Session(1)
	m.Session(-1)
	m.Machines(map[string]int{"running": 3, "lost": 1})
	m.Machines(map[string]int{"running": 4})
	m.Event("step.done")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`aloft_build{version="1.2.3"} 1`,
		`aloft_step_seconds_count{action="deploy",outcome="done"} 1`,
		`aloft_step_seconds_bucket{action="deploy",outcome="done",le="0.05"} 1`,
		"aloft_sessions 1",
		`aloft_machines{state="running"} 4`,
		`aloft_events_total{kind="step.done"} 1`,
		"process_resident_memory_bytes",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") && !strings.Contains(w.Body.String(), want+" ") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(w.Body.String(), "lost") {
		t.Error("a state that no machine is in any more is told")
	}
}
