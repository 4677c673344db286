package light

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Masked are the folders of the host that are empty in a machine.
var Masked = []string{
	"/root", "/home", "/tmp", "/var/tmp", "/run", "/mnt", "/media", "/var/log",
	"/var/lib/docker", "/var/lib/containerd", "/var/lib/lxd", "/var/lib/incus", "/var/lib/libvirt",
	"/etc/ssl/private", StatePath,
}

// maskedFiles are patterns of the host's files that a machine has not.
var maskedFiles = []string{
	"/etc/ssh/ssh_host_*", "/etc/shadow*", "/etc/gshadow*", "/etc/passwd-", "/etc/group-",
}

// manualIndex is the file by which man-db's package says that its index is to be
// made anew whenever a package is installed.
const manualIndex = "/var/lib/man-db/auto-update"

// Mask returns what a machine has otherwise than the host from its boot on, as
// the host is now. What the machine writes to its disk goes before it.
func Mask(s Spec) (Tree, error) {
	t := Tree{Stack: s.Stack}
	for _, path := range Masked {
		t.empty(path)
	}
	for _, path := range s.Hidden {
		if !slices.ContainsFunc(Masked, func(m string) bool { return within(path, m) }) {
			t.empty(path)
		}
	}
	for _, pattern := range maskedFiles {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return t, err
		}
		for _, path := range paths {
			t.Entries = append(t.Entries, Entry{Kind: Absent, Path: path})
		}
	}
	// Packages that are installed already expect their folders for logs.
	logs, err := os.ReadDir("/var/log")
	if err == nil {
		for _, e := range logs {
			if e.IsDir() {
				t.Entries = append(t.Entries, Entry{Kind: Folder, Path: filepath.Join("/var/log", e.Name())})
			}
		}
	}
	proxy := fmt.Sprintf("http://%s", netip.AddrPortFrom(s.Gateway, ProxyPort))
	apt := fmt.Sprintf(`// Packages come through the host's caching proxy; machines need no other route.
Acquire::http::Proxy %q;
Acquire::https::Proxy %q;
#clear Acquire::http::Proxy-Auto-Detect;
#clear Acquire::https::Proxy-Auto-Detect;
Acquire::Languages "none";
`, proxy, proxy)
	id := strings.ReplaceAll(s.Machine, "-", "") + "\n"
	t.file("/etc/machine-id", 0o444, id)
	if fi, err := os.Lstat("/var/lib/dbus/machine-id"); err == nil && fi.Mode().IsRegular() {
		t.file("/var/lib/dbus/machine-id", 0o444, id)
	}
	t.file("/etc/hostname", 0o644, s.Hostname+"\n")
	t.file("/etc/hosts", 0o644, fmt.Sprintf(
		"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t%s\n", s.Address.Addr(), s.Hostname))
	t.file("/etc/shadow", 0o640, shadow("/etc/passwd", func(name string, _ []string) string { return name + ":*:19000:0:99999:7:::" }))
	t.file("/etc/gshadow", 0o640, shadow("/etc/group", func(name string, f []string) string { return name + ":*::" + f[len(f)-1] }))
	t.file("/etc/resolv.conf", 0o644,
		fmt.Sprintf("# This machine has no name service; packages come through the proxy on %s.\noptions timeout:1 attempts:1\n", s.Gateway))
	t.file("/etc/apt/apt.conf.d/zz99aloft", 0o644, apt)
	if main, err := os.ReadFile("/etc/apt/apt.conf"); err == nil {
		t.file("/etc/apt/apt.conf", 0o644, string(main)+"\n"+apt) // it is read last and would win over ours
	}
	// A disk that goes with its machine need not survive a power cut at every
	// instant of an installation.
	t.file("/etc/dpkg/dpkg.cfg.d/aloft", 0o644, "force-unsafe-io\n")
	// No service manager runs: installing a package must not try to start one.
	t.file("/usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\nexit 101\n")
	// Nobody reads manuals there, and indexing them anew takes longer than most
	// installations.
	if _, err := os.Lstat(manualIndex); err == nil {
		t.Entries = append(t.Entries, Entry{Kind: Absent, Path: manualIndex})
	}
	t.file("/etc/profile.d/aloft-machine.sh", 0o644, "export ALOFT_HOME="+StatePath+"\nPATH=$PATH:"+filepath.Dir(BinaryPath)+"\n")
	t.file(BinaryPath, 0o755, "") // what the binary is mounted on
	return t, nil
}

// empty masks a folder, if the host has it. A link is not followed: what it
// leads to is masked by itself or not at all.
func (t *Tree) empty(path string) {
	if fi, err := os.Lstat(path); err == nil && fi.IsDir() {
		t.Entries = append(t.Entries, Entry{Kind: Empty, Path: path})
	}
}

func (t *Tree) file(path string, mode os.FileMode, content string) {
	t.Entries = append(t.Entries, Entry{Kind: File, Path: path, Mode: mode, Content: []byte(content)})
}

// shadow makes the lines of a password file without any password: one for each
// line of the host's file at path.
func shadow(path string, line func(name string, fields []string) string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var out bytes.Buffer
	for l := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSpace(l), ":")
		if len(fields) > 3 && fields[0] != "" {
			fmt.Fprintln(&out, line(fields[0], fields))
		}
	}
	return out.String()
}

// NewDisk makes the disk of a new machine in its folder, with nothing on it
// but the machine's user data. What an interrupted attempt left is removed.
func NewDisk(folder string, stack []Layer, userData []byte) error {
	for _, l := range stack {
		for _, dir := range []string{l.upper(), l.work()} {
			if err := os.RemoveAll(filepath.Join(folder, dir)); err != nil {
				return err
			}
		}
		if err := os.Mkdir(filepath.Join(folder, l.work()), 0o755); err != nil {
			return err
		}
	}
	t := Tree{Stack: stack}
	t.Entries = append(t.Entries,
		Entry{Kind: Empty, Path: StatePath, Mode: 0o700},
		Entry{Kind: File, Path: DataPath, Mode: 0o600, Content: userData})
	return t.Write(func(l Layer) string { return filepath.Join(folder, l.upper()) })
}
