package initd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPausesGrowAndBeginAnewAfterASteadyRun(t *testing.T) {
	now := time.Unix(1000, 0)
	k := &keeper{clock: func() time.Time { return now }}
	var got []time.Duration
	for range 9 {
		k.started = now
		now = now.Add(time.Second) // it ran for a second
		got = append(got, k.next())
	}
	want := firstPause
	for i, pause := range got {
		if pause != want {
			t.Errorf("pause %d is %s, want %s", i, pause, want)
		}
		want = min(2*want, longPause)
	}
	k.started = now
	now = now.Add(steady)
	if pause := k.next(); pause != firstPause {
		t.Errorf("after a steady run: %s", pause)
	}
}

func TestLogThatHasGrownIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "daemon.log")
	for i, size := range []int64{0, logLimit + 1, 0} {
		f, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi, _ := f.Stat(); fi.Size() != 0 {
			t.Errorf("log %d begins with %d bytes", i, fi.Size())
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if fi, err := os.Stat(path + ".1"); err != nil || fi.Size() != logLimit+1 {
		t.Errorf("the old log: %v, %v", fi, err)
	}
}

func TestKillReachesDescendants(t *testing.T) {
	c := exec.Command("sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if !killDescendants(0) {
		t.Error("no descendants found")
	}
	killDescendants(unix.SIGKILL)
	_ = c.Wait()
	// The other end of the pipe closes with the last of them.
	if n, err := out.Read(make([]byte, 16)); n > 0 || err == nil {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestInitRefusesToBeStartedByHand(t *testing.T) {
	for _, args := range [][]string{nil, {"--machine", "m"}, {"--home-id", "x", "--machine", "m"}} {
		if code := Main(args); code != 1 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
