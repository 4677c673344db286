package local

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/limits"
	"aloft/internal/drivers/local/names"
)

// Gap is something this host lacks, and what follows from it.
type Gap struct {
	Feature     string
	Consequence string
	Remedy      string
}

// Report says what this host lacks for light machines, and what they will be
// without.
type Report struct {
	Missing []Gap // any of these, and there are process machines only
	Limited []Gap // light machines work, with less
}

// Why tells in one line why there are no light machines, "" if there are.
func (r Report) Why() string {
	if len(r.Missing) == 0 {
		return ""
	}
	var parts []string
	for _, g := range r.Missing {
		part := g.Feature + ": " + g.Consequence
		if g.Remedy != "" {
			part += " (" + g.Remedy + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// Probe returns what this host lacks, as found when the driver was opened.
func (d *Driver) Probe() Report { return d.report }

// probe tries what light machines need, in a namespace of its own.
func probe(home string, id names.Home) Report {
	const none = "no light machines, process machines instead: software packages cannot be installed in them"
	var r Report
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		r.Missing = append(r.Missing, Gap{"superuser", none, "run aloft as root"})
		return r
	}
	if err := tryNamespaces(); err != nil {
		r.Missing = append(r.Missing, Gap{"namespaces", fmt.Sprintf("%s: %v", none, err), "give aloft the right CAP_SYS_ADMIN"})
	} else if err := tryOverlay(home, id); err != nil {
		r.Missing = append(r.Missing, Gap{
			"overlay file system", fmt.Sprintf("%s: %v", none, err),
			"put aloft's state folder on a disk of its own with --home",
		})
	}
	if err := tryLinks(); err != nil {
		r.Missing = append(r.Missing, Gap{"links between namespaces", fmt.Sprintf("%s: %v", none, err), "load the kernel modules veth and bridge"})
	}
	for _, n := range limits.Find().Notes() {
		r.Limited = append(r.Limited, Gap{"control groups", n, ""})
	}
	if b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables"); err == nil && strings.TrimSpace(string(b)) == "1" {
		r.Limited = append(r.Limited, Gap{
			"bridges without packet filter",
			"the host's packet filter sees traffic between machines; one that drops forwarded packets cuts them off from each other",
			"accept packets forwarded within bridges al" + string(id) + "b0 and so on",
		})
	}
	return r
}

// aside runs f on a thread with namespaces of its own, which ends with it. f
// must not start goroutines.
func aside(flags int, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread stands for the whole process in /proc and never ends:
			// it keeps its namespaces, and while it is held here another is taken.
			defer runtime.UnlockOSThread()
			result <- aside(flags, f)
			return
		}
		err := unix.Unshare(flags) // never unlocked: the thread ends with the goroutine
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

func tryNamespaces() error {
	return aside(unix.CLONE_FS|unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC, func() error { return nil })
}

// probePrefix begins the names of folders in which a mount is tried.
const probePrefix = ".probe-"

// tryOverlay mounts the host's root below a file system in home.
func tryOverlay(home string, id names.Home) error {
	dir, err := os.MkdirTemp(home, probePrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, part := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, part), 0o755); err != nil {
			return err
		}
	}
	return aside(unix.CLONE_FS|unix.CLONE_NEWNS, func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Chdir(dir); err != nil {
			return err
		}
		if err := unix.Mount(id.Source(), "root", "overlay", 0, "lowerdir=/,upperdir=upper,workdir=work"); err != nil {
			return fmt.Errorf("mount an overlay in %s: %w", home, err)
		}
		if err := unix.Mkdir("root/aloft-probe", 0o700); err != nil {
			return err
		}
		// A whiteout and a mark that hides what is below, as machines' disks have.
		if err := unix.Setxattr("upper/aloft-probe", "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("extended attributes in %s: %w", home, err)
		}
		if err := unix.Mknod("upper/aloft-whiteout", syscall.S_IFCHR, 0); err != nil {
			return fmt.Errorf("device files in %s: %w", home, err)
		}
		return unix.Unmount("root", unix.MNT_DETACH)
	})
}

// tryLinks makes the kinds of links that machines have, where nobody sees them.
func tryLinks() error {
	return aside(unix.CLONE_NEWNET, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "veth-probe"
		veth := netlink.NewVeth(attrs)
		veth.PeerName = "veth-peer"
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("veth: %w", err)
		}
		attrs = netlink.NewLinkAttrs()
		attrs.Name = "bridge-probe"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
		return nil
	})
}
