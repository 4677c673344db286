package real

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"aloft/api"

	"golang.org/x/sys/unix"
)

// newDisk returns a home on a file system of its own, whose size the test
// changes. It is memory: only what is written to it counts.
func newDisk(t *testing.T) *home {
	t.Helper()
	h := newHome(t)
	if err := unix.Mount("aloft-test", h.dir, "tmpfs", 0, "size=20g,mode=0700"); err != nil {
		t.Fatal(err)
	}
	h.disk = true
	return h
}

func (h *home) unmount() {
	if err := unix.Unmount(h.dir, unix.MNT_DETACH); err != nil {
		h.t.Error(err)
	}
}

// fill leaves so many bytes free. What is being written meanwhile can make the
// kernel refuse, so it is asked again.
func (h *home) fill(free uint64) {
	h.t.Helper()
	eventually(h.t, 10*time.Second, "the disk is full", func() bool {
		var st unix.Statfs_t
		if err := unix.Statfs(h.dir, &st); err != nil {
			h.t.Fatal(err)
		}
		used := (st.Blocks - st.Bfree) * uint64(st.Bsize)
		return unix.Mount("aloft-test", h.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", used+free)) == nil
	})
}

func (h *home) makeRoom() {
	if err := unix.Mount("aloft-test", h.dir, "tmpfs", unix.MS_REMOUNT, "size=20g"); err != nil {
		h.t.Error(err)
	}
}

const smallest = `sfConfig extends {
  m1 extends VM {
    cloudProvider "local";
    software extends VirtualSoftwareComponent {
      sfProcessHost LAZY PARENT:ip;
      p extends Process { command [| "sleep", "infinity" |]; }
    }
  }
}
`

// remedy is what commands tell people to do about a full disk.
var remedy = regexp.MustCompile(`free (some )?space`)

// TestFullHomeIsSaidAndNothingIsLost fills the disk of the home at moments of
// a deployment. What the commands say names the disk and what to do; with
// room again the same deployment ends, with one machine.
func TestFullHomeIsSaidAndNothingIsLost(t *testing.T) {
	h := newDisk(t)
	file := h.write("s", smallest)
	h.do("daemon", "start")
	for _, moment := range []struct{ name, line, says string }{
		{"before it begins", "", "has 0 GB free"},
		{"while the machine is made", "m1 deploying", "is full"},
		{"while the machine gets its part", "m1 deployed", "is full"},
	} {
		t.Run(moment.name, func(t *testing.T) {
			out, status := h.upUntil(t, file, moment.line, func() { h.fill(0) })
			waited := status == 0 && strings.Contains(out, "s waiting: ") // and went on
			said := status == 1 && strings.Contains(out, moment.says) && remedy.MatchString(out)
			if !waited && !said {
				t.Errorf("up on a full disk: exit %d\n%s", status, out)
			}
			h.makeRoom()
			// A store that found no room takes writes again by itself, soon.
			eventually(t, 20*time.Second, "the system runs with room again", func() bool {
				_, status := h.try("up", file, "-y")
				return status == 0
			})
			st := h.status("s")
			if st.State != api.SystemRunning || len(st.Machines) != 1 {
				t.Errorf("with room again: %+v", st)
			}
			if folders, err := os.ReadDir(filepath.Join(h.dir, "machines")); err != nil || len(folders) != 1 {
				t.Errorf("folders of machines: %v, %v", folders, err)
			}
			if kinds, _ := of(h.doctor(), h.id()); len(kinds) > 0 {
				t.Errorf("left over: %v", kinds)
			}
			h.do("down", "s", "-y")
		})
	}
}

// upUntil runs up, calls then when a line is printed (before it all for ""),
// and returns what up said. When up says that it waits for room, it gets some:
// it must go on by itself.
func (h *home) upUntil(t *testing.T, file, line string, then func()) (string, int) {
	t.Helper()
	cmd := h.command("up", file, "-y")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if line == "" {
		then()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	late := time.AfterFunc(40*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var said strings.Builder
	for in := bufio.NewScanner(r); in.Scan(); {
		said.WriteString(in.Text() + "\n")
		if line != "" && strings.HasPrefix(in.Text(), line) {
			then()
		}
		if strings.HasPrefix(in.Text(), "s waiting: ") && strings.Contains(in.Text(), "free some space") {
			h.makeRoom()
		}
	}
	_ = cmd.Wait()
	return said.String(), cmd.ProcessState.ExitCode()
}

// TestMachineWithAFullDiskFailsThatComponentAlone has a file that the home has
// room for once, where the daemon keeps it, and not a second time, where the
// machine puts it.
func TestMachineWithAFullDiskFailsThatComponentAlone(t *testing.T) {
	h := newDisk(t)
	const size = 20 << 20
	text := `sfConfig extends {
  m extends VM {
    %s
    small extends File { path "small"; content "fits"; }
    p extends Process { command [| "sleep", "infinity" |]; }
  }
}
`
	h.do("up", h.write("s", strings.Replace(text, "%s", "", 1)), "-y")
	file := h.write("s", strings.NewReplacer("%s", `big extends File { path "big"; source "big.bin"; }`, "fits", "fits too").Replace(text))
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "big.bin"), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	h.fill(size + 14<<20) // below 8 MB the daemon takes no change
	out, status := h.try("up", file, "-y")
	if status != 1 || !strings.Contains(out, "failed: m:big, deploy on s/m") ||
		!strings.Contains(out, "no space left on device: free some space on the disk of") {
		t.Errorf("exit %d\n%s", status, out)
	}
	st := h.status("s")
	for path, want := range map[string]string{"m:big": api.ComponentFailed, "m:small": api.ComponentRunning, "m:p": api.ComponentRunning} {
		if got := component(t, st, path); got.State != want {
			t.Errorf("%s is %s: %s", path, got.State, got.Reason)
		}
	}
	if out := h.do("get", "s", "m:small:content"); strings.TrimSpace(out) != "fits too" {
		t.Errorf("what did not need the room was left: %q", out)
	}
	h.makeRoom()
	if out := h.do("up", file, "-y"); !strings.Contains(out, "Components: 1 to add.") {
		t.Errorf("up with room again\n%s", out)
	}
	h.do("down", "s", "-y")
}

func TestFullHomeIsSaidByTheStart(t *testing.T) {
	h := newDisk(t)
	h.write("s", smallest) // a file system of nothing has no size
	h.fill(0)
	out, status := h.try("daemon", "start")
	if status != 1 || !strings.Contains(out, "the disk of "+h.dir+" is full") || !strings.Contains(out, "free some space") {
		t.Errorf("exit %d\n%s", status, out)
	}
	h.makeRoom()
	h.fill(10 << 20)
	if out, status := h.try("daemon", "start"); status != 1 || !strings.Contains(out, "/store is full: ") || !strings.Contains(out, "the store needs") {
		t.Errorf("with less room than a new store takes: exit %d\n%s", status, out)
	}
	h.makeRoom()
	h.do("daemon", "start")
}
