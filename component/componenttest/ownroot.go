package componenttest

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

// ownRootFolder names, to a test binary that runs itself again, the folder to
// build its root file system in.
const ownRootFolder = "COMPONENTTEST_OWN_ROOT"

// ownRootTime bounds a test in a root of its own.
const ownRootTime = 15 * time.Minute

// OwnRoot makes the rest of a test run, as root, on a copy-on-write clone of
// the machine's root file system, with processes of its own: it may install
// and break what it likes. In the process that go test started, it runs the
// test again over there and returns false; over there it returns true. more are
// further namespaces of its own, such as syscall.CLONE_NEWNET. TestMain must
// call EnterOwnRoot first.
func OwnRoot(t *testing.T, more ...uintptr) bool {
	t.Helper()
	if os.Getenv(ownRootFolder) != "" {
		return true
	}
	if testing.Short() {
		t.Skip("installs packages")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a root file system of its own")
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.timeout=" + ownRootTime.String()}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), ownRootFolder+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	for _, namespace := range more {
		cmd.SysProcAttr.Cloneflags |= namespace
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in a root of its own:\n%s", out)
	if err != nil {
		t.Errorf("in a root of its own: %v", err)
	}
	return false
}

// EnterOwnRoot is the other half of OwnRoot. It does nothing in a process that
// OwnRoot did not start.
func EnterOwnRoot() {
	dir := os.Getenv(ownRootFolder)
	if dir == "" {
		return
	}
	if err := enterRoot(dir); err != nil {
		fmt.Fprintln(os.Stderr, "own root:", err)
		os.Exit(1)
	}
}

// enterRoot runs in a mount namespace of its own; nothing it mounts is seen
// outside, and all of it goes with the process.
func enterRoot(dir string) error {
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := syscall.Mount("own-root", dir, "tmpfs", 0, "size=2g"); err != nil {
		return fmt.Errorf("tmpfs: %w", err)
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	opts := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)
	if err := syscall.Mount("own-root", root, "overlay", 0, opts); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	for _, m := range []struct{ what, fstype string }{{"/proc", "proc"}, {"/dev", ""}, {"/tmp", "tmpfs"}, {"/run", "tmpfs"}} {
		if m.what == "/tmp" && strings.HasPrefix(cwd, "/tmp/") {
			continue
		}
		to := filepath.Join(root, m.what)
		if m.fstype == "" {
			err = syscall.Mount(m.what, to, "", syscall.MS_BIND|syscall.MS_REC, "")
		} else {
			err = syscall.Mount(m.fstype, to, m.fstype, 0, "")
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.what, err)
		}
	}
	if err := bringExecutable(root); err != nil {
		return fmt.Errorf("the test's own program: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(root, os.TempDir()), 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir(cwd)
}

// bringExecutable makes the running program appear in root under the path that
// os.Executable tells, which go test chooses below /tmp.
func bringExecutable(root string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	to := filepath.Join(root, exe)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o755)
	if err != nil {
		return err
	}
	f.Close()
	return syscall.Mount(exe, to, "", syscall.MS_BIND, "")
}
