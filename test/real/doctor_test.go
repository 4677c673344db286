package real

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/api"
)

// strange is a machine that no home has.
const strange = "00000000-0000-4000-8000-00000000dead"

// strays are things made by hand that bear a home's id.
type strays struct {
	link   string
	mount  string
	groups []string
	folder string
	sleep  *exec.Cmd
	ended  chan struct{} // closed when sleep has been waited for
}

// makeStrays makes one thing of each kind for a home that has a machine.
func makeStrays(t *testing.T, h *home) *strays {
	t.Helper()
	id := h.id()
	s := &strays{link: "al" + id + "mffe", mount: filepath.Join(h.dir, "stray"), folder: filepath.Join(h.dir, "machines", strange), ended: make(chan struct{})}
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "delete", s.link).Run() // it should be gone
		_ = syscall.Unmount(s.mount, syscall.MNT_DETACH)       // likewise
	})
	if out, err := exec.Command("ip", "link", "add", s.link, "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, dir := range []string{s.mount, s.folder} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("aloft-"+id, s.mount, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/aloft-" + id, "/sys/fs/cgroup/*/aloft-" + id} {
		parents, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, parent := range parents {
			group := filepath.Join(parent, strange)
			if err := os.Mkdir(group, 0o755); err != nil {
				t.Fatal(err)
			}
			s.groups = append(s.groups, group)
			t.Cleanup(func() { _ = syscall.Rmdir(group) }) // it should be gone
		}
	}
	s.sleep = exec.Command("sleep", "600")
	s.sleep.Env = []string{"ALOFT_HOST_HOME=" + id, "ALOFT_MACHINE=" + strange}
	if err := s.sleep.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		_ = s.sleep.Wait() // killed, by the doctor or in the end
	}()
	t.Cleanup(func() {
		_ = s.sleep.Process.Kill() // it should be gone
		<-s.ended
	})
	return s
}

// kinds returns what the doctor should call the strays.
func (s *strays) kinds() []string {
	k := []string{"folder", "link", "mount", "process"}
	if len(s.groups) > 0 {
		k = append(k, "cgroup")
	}
	slices.Sort(k)
	return k
}

// remain returns those of the strays that are there.
func (s *strays) remain(t *testing.T) (there []string) {
	t.Helper()
	for _, path := range append([]string{"/sys/class/net/" + s.link, s.folder}, s.groups...) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			there = append(there, path)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), " "+s.mount+" ") {
		there = append(there, s.mount)
	}
	if alive(s.sleep.Process.Pid) {
		there = append(there, fmt.Sprintf("process %d", s.sleep.Process.Pid))
	}
	return there
}

// doctor runs the doctor and returns its report.
func (h *home) doctor(args ...string) api.DoctorReport {
	h.t.Helper()
	var r api.DoctorReport
	h.json(&r, append([]string{"doctor"}, args...)...)
	return r
}

// of returns the kinds of what a report says is left over of a home, and how
// many of those are removed.
func of(r api.DoctorReport, id string) (kinds []string, removed int) {
	for _, l := range r.LeftOver {
		if l.HomeID == id {
			kinds = append(kinds, l.Kind)
			if l.Removed {
				removed++
			}
		}
	}
	slices.Sort(kinds)
	return kinds, removed
}

func TestDoctorRemovesWhatIsLeftOverAndNothingElse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h, other := newHome(t), newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	other.do("up", other.write("one", sleepers(1)), "-y")
	if kinds, _ := of(h.doctor(), h.id()); len(kinds) > 0 {
		t.Errorf("left over of a home in order: %v", kinds)
	}
	ours, theirs := makeStrays(t, h), makeStrays(t, other)

	report := h.doctor()
	if kinds, removed := of(report, h.id()); !slices.Equal(kinds, ours.kinds()) || removed != 0 {
		t.Errorf("found %v, %d of them removed; want %v", kinds, removed, ours.kinds())
	}
	if kinds, _ := of(report, other.id()); len(kinds) > 0 {
		t.Errorf("called left over of a home that exists: %v", kinds)
	}
	if report.HomeID != h.id() {
		t.Errorf("the report is of home %q", report.HomeID)
	}
	for _, c := range report.Checks {
		if c.State == api.CheckError {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
		if c.Name == "ledger" && !strings.HasPrefix(c.Detail, "1 machines created: 1 in use") {
			t.Errorf("ledger: %s", c.Detail)
		}
	}
	if n := len(ours.remain(t)); n != 4+len(ours.groups) {
		t.Errorf("looking has removed something: %d are there", n)
	}

	if kinds, removed := of(h.doctor("--fix", "-y"), h.id()); !slices.Equal(kinds, ours.kinds()) || removed != len(kinds) {
		t.Errorf("removed %d of %v", removed, kinds)
	}
	if there := ours.remain(t); len(there) > 0 {
		t.Errorf("still there: %v", there)
	}
	if n := len(theirs.remain(t)); n != 4+len(theirs.groups) {
		t.Errorf("of another home's strays %d are there", n)
	}
	for _, one := range []*home{h, other} {
		if m, s := processes(t, one.id()); m != 1 || s != 1 {
			t.Errorf("%d machines and %d processes go on", m, s)
		}
		one.do("exec", "one/m1", "--", "true")
	}
	if kinds, _ := of(h.doctor(), h.id()); len(kinds) > 0 {
		t.Errorf("left over after the repair: %v", kinds)
	}

	// A daemon that starts repairs by itself.
	other.do("daemon", "stop")
	other.do("daemon", "start")
	eventually(t, 10*time.Second, "the strays are gone", func() bool { return len(theirs.remain(t)) == 0 })
	eventually(t, 10*time.Second, "the machine answers", func() bool {
		_, status := other.try("exec", "one/m1", "--", "true")
		return status == 0
	})
}

func TestMachinesOfADeletedHomeGoByItsID(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h, deleted := newHome(t), newHome(t)
	h.do("up", h.write("one", sleepers(1)), "-y")
	deleted.do("up", deleted.write("one", sleepers(1)), "-y")
	id := deleted.id()
	if out, status := h.try("doctor", "--fix", "-y", "--home-id", id); status == 0 || !strings.Contains(out, "exists, in "+deleted.dir) {
		t.Errorf("a home that exists was not refused: exit %d\n%s", status, out)
	}
	t.Cleanup(func() {
		for _, pid := range bearers(t, id) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // there should be none
		}
		_ = os.Mkdir(deleted.dir, 0o700) // the end of the home runs commands in it
	})
	kill(t, deleted.pid())
	if err := os.RemoveAll(deleted.dir); err != nil {
		t.Fatal(err)
	}

	kinds, _ := of(h.doctor("--fix", "-y"), id)
	if !slices.Contains(kinds, "process") || !slices.Contains(kinds, "link") {
		t.Errorf("found of the deleted home: %v", kinds)
	}
	if m, _ := processes(t, id); m != 1 {
		t.Errorf("%d machines of the deleted home run; nobody has named it yet", m)
	}
	if kinds, removed := of(h.doctor("--fix", "-y", "--home-id", id), id); len(kinds) == 0 || removed != len(kinds) {
		t.Errorf("removed %d of %v", removed, kinds)
	}
	if things := left(t, id); len(things) > 0 {
		t.Errorf("left behind: %v", things)
	}
	if kinds, _ := of(h.doctor(), id); len(kinds) > 0 {
		t.Errorf("left over after the repair: %v", kinds)
	}
	if m, s := processes(t, h.id()); m != 1 || s != 1 {
		t.Errorf("of the home itself %d machines and %d processes go on", m, s)
	}
}

func TestDoctorWithoutADaemonSaysHowToHaveOne(t *testing.T) {
	h := newHome(t)
	out, status := h.try("doctor")
	if status != 1 || !strings.Contains(out, "no daemon is running") || !strings.Contains(out, "doctor --fix") {
		t.Errorf("exit %d\n%s", status, out)
	}
	if _, err := os.Lstat(filepath.Join(h.dir, "home-id")); err == nil {
		t.Error("a daemon was started")
	}
}
