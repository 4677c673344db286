package light

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/names"
)

// EnterRoot turns the calling process, the first of its mount and process
// namespaces, round to the machine's root. It needs no network yet.
func EnterRoot(s Spec) error {
	unix.Umask(0)
	defer unix.Umask(0o022)
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// From here on the machine's folder is reached by relative paths only: the
	// folder it lies in is covered, in this namespace, by one in memory. That is a
	// file system of its own because the kernel refuses layers that lie in each
	// other, and all that is on disk lies in /.
	if err := os.Chdir(s.Folder); err != nil {
		return err
	}
	cover := filepath.Dir(s.Folder)
	if err := mount(names.Home(s.Home).Source(), cover, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	mask, err := Mask(s)
	if err != nil {
		return err
	}
	maskFolder := func(l Layer) string { return filepath.Join(cover, "mask"+l.Name) }
	if err := mask.Write(maskFolder); err != nil {
		return err
	}
	root := filepath.Join(cover, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	for _, l := range s.Stack {
		// What is below may be other at the next boot: no marks that depend on it.
		options := fmt.Sprintf("index=off,redirect_dir=off,lowerdir=%s:%s,upperdir=%s,workdir=%s",
			escape(maskFolder(l)), escape(l.Point), l.upper(), l.work())
		if err := mount(names.Home(s.Home).Source(), filepath.Join(root, l.Point), "overlay", 0, options); err != nil {
			return err
		}
	}
	// The binary is reached by its path on the host as long as that is there.
	target := filepath.Join(root, BinaryPath)
	if err := mount(s.Binary, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := kernelMounts(s, root); err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot to %s: %w", root, err)
	}
	// Both roots are at / now, the host's on top.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	return nil
}

// escape writes a path as an option of overlay.
func escape(path string) string {
	var out []byte
	for i := range len(path) {
		if path[i] == '\\' || path[i] == ':' || path[i] == ',' {
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}

// kernelMounts mounts what the kernel shows of itself and of the machine.
func kernelMounts(s Spec, root string) error {
	in := func(path string) string { return filepath.Join(root, path) }
	source := names.Home(s.Home).Source()
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := mount(source, in("/proc"), "proc", plain, ""); err != nil {
		return err
	}
	// The machine may set what is its own, the network's; the rest is the host's.
	if err := mount(in("/proc/sys"), in("/proc/sys"), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := mount(in("/proc/sys/net"), in("/proc/sys/net"), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := mount("", in("/proc/sys"), "", plain|unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := mount("/dev/null", in("/proc/sysrq-trigger"), "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := mount(source, in("/sys"), "sysfs", plain|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := mount(source, in("/run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := os.Mkdir(in("/run/lock"), 0o1777|os.ModeSticky); err != nil {
		return err
	}
	if err := mount(source, in("/dev"), "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return err
	}
	return devices(source, in("/dev"))
}

// devices makes a machine's /dev.
func devices(source, dev string) error {
	nodes := []struct {
		name         string
		major, minor uint32
	}{
		{"null", 1, 3},
		{"zero", 1, 5},
		{"full", 1, 7},
		{"random", 1, 8},
		{"urandom", 1, 9},
		{"tty", 5, 0},
	}
	for _, n := range nodes {
		if err := unix.Mknod(filepath.Join(dev, n.name), unix.S_IFCHR|0o666, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", n.name, err)
		}
	}
	links := map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx", "core": "/proc/kcore",
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dev, name), 0o755); err != nil {
			return err
		}
	}
	const plain = unix.MS_NOSUID | unix.MS_NOEXEC
	if err := mount(source, filepath.Join(dev, "pts"), "devpts", plain, "newinstance,ptmxmode=0666,mode=0620,gid=5"); err != nil {
		return err
	}
	return mount(source, filepath.Join(dev, "shm"), "tmpfs", plain|unix.MS_NODEV, "mode=1777")
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		what := fstype
		if what == "" {
			what = source
		}
		return fmt.Errorf("mount %s on %s: %w", what, target, err)
	}
	return nil
}

// EnterNet gives the machine's end of the link its address. The link is there
// already, made by the managing daemon, under its final name.
func EnterNet(s Spec) error {
	// One address is enough; the search for others' would be a packet to every
	// machine of the bridge. A kernel without IPv6 has no such setting.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+nic+"/disable_ipv6", []byte("1"), 0)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	link, err := netlink.LinkByName(nic)
	if err != nil {
		return fmt.Errorf("interface %s: %w", nic, err)
	}
	addr := &net.IPNet{IP: s.Address.Addr().AsSlice(), Mask: net.CIDRMask(s.Address.Bits(), 32)}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: addr}); err != nil {
		return fmt.Errorf("address %s: %w", s.Address, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("interface %s: %w", nic, err)
	}
	return neighbour(link, s.Gateway)
}

// privileges that a machine's processes never need and that reach beyond it.
var withheld = []uintptr{
	unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SYS_TIME, unix.CAP_SYS_BOOT, unix.CAP_SYSLOG, unix.CAP_WAKE_ALARM,
}

// Withhold takes privileges from whatever the calling thread starts.
func Withhold() error {
	for _, c := range withheld {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop privilege %d: %w", c, err)
		}
	}
	return nil
}
