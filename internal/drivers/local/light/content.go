package light

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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

// Fill writes the content of a new machine's disk. hidden are further folders
// to mask: the state folders known on this host.
func (d *Disk) Fill(s Spec, userData []byte, hidden []string) error {
	for _, path := range append(append([]string{}, Masked...), hidden...) {
		if err := d.Empty(path); err != nil {
			return err
		}
	}
	for _, pattern := range maskedFiles {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := d.Hide(path); err != nil {
				return err
			}
		}
	}
	if err := d.Skeleton("/var/log"); err != nil {
		return err
	}
	id := strings.ReplaceAll(s.Machine, "-", "") + "\n"
	files := []struct {
		path    string
		mode    os.FileMode
		content string
	}{
		{"/etc/machine-id", 0o444, id},
		{"/etc/shadow", 0o640, shadow("/etc/passwd", func(name string, _ []string) string { return name + ":*:19000:0:99999:7:::" })},
		{"/etc/gshadow", 0o640, shadow("/etc/group", func(name string, f []string) string { return name + ":*::" + f[len(f)-1] })},
		// No service manager runs: installing a package must not try to start one.
		{"/usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\nexit 101\n"},
		// A disk that is thrown away with its machine need not survive a power cut in every state.
		{"/etc/dpkg/dpkg.cfg.d/aloft", 0o644, "force-unsafe-io\n"},
		{BinaryPath, 0o755, ""}, // what the binary is mounted on
		{filepath.Join(filepath.Dir(LogPath), ".keep"), 0o644, ""},
	}
	if fi, err := os.Lstat("/var/lib/dbus/machine-id"); err == nil && fi.Mode().IsRegular() {
		files = append(files, struct {
			path    string
			mode    os.FileMode
			content string
		}{"/var/lib/dbus/machine-id", 0o444, id})
	}
	for _, f := range files {
		if err := d.File(f.path, f.mode, []byte(f.content)); err != nil {
			return err
		}
	}
	for _, path := range []string{"/etc/shadow", "/etc/gshadow"} {
		if err := d.ownedLike(path); err != nil {
			return err
		}
	}
	if err := d.File(DataPath, 0o600, userData); err != nil {
		return err
	}
	if err := os.Chmod(d.upper(StatePath), 0o700); err != nil {
		return err
	}
	return d.Address(s)
}

// Address writes what depends on the machine's address; again when a machine
// gets another one.
func (d *Disk) Address(s Spec) error {
	proxy := fmt.Sprintf("http://%s", netip.AddrPortFrom(s.Gateway, ProxyPort))
	apt := fmt.Sprintf(`// Packages come through the host's caching proxy; machines need no other route.
Acquire::http::Proxy %q;
Acquire::https::Proxy %q;
#clear Acquire::http::Proxy-Auto-Detect;
#clear Acquire::https::Proxy-Auto-Detect;
Acquire::Languages "none";
`, proxy, proxy)
	files := map[string]string{
		"/etc/hostname":                   s.Hostname + "\n",
		"/etc/hosts":                      fmt.Sprintf("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n%s\t%s\n", s.Address.Addr(), s.Hostname),
		"/etc/resolv.conf":                "# This machine has no name service; packages come through the proxy on " + s.Gateway.String() + ".\noptions timeout:1 attempts:1\n",
		"/etc/apt/apt.conf.d/zz99aloft":   apt,
		"/etc/profile.d/aloft-machine.sh": "export ALOFT_HOME=" + StatePath + "\nPATH=$PATH:" + filepath.Dir(BinaryPath) + "\n",
	}
	// The main file is read last and would win over ours.
	if main, err := os.ReadFile("/etc/apt/apt.conf"); err == nil {
		files["/etc/apt/apt.conf"] = string(main) + "\n" + apt
	}
	for path, content := range files {
		if err := d.File(path, 0o644, []byte(content)); err != nil {
			return err
		}
	}
	return nil
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
