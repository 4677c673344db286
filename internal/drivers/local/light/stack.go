package light

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// stacked are the parts of the host's root whose own file systems belong to a
// machine's root too. Others, as /home or a data disk, stay out.
var stacked = []string{"/usr", "/var", "/opt", "/etc"}

// Stack returns the layers a machine's root is made of on this host: / and the
// file systems mounted in what stacked names, parents first.
func Stack() ([]Layer, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return stack(f, func(path string) bool {
		fi, err := os.Stat(path)
		return err == nil && fi.IsDir()
	})
}

// stack reads mount points from r in the form of /proc/self/mountinfo.
func stack(r io.Reader, isDir func(string) bool) ([]Layer, error) {
	points := []string{"/"}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		sep := slices.Index(fields, "-")
		if len(fields) < 5 || sep < 0 || sep+1 >= len(fields) {
			return nil, fmt.Errorf("mount table: line %q", lines.Text())
		}
		point, err := unescape(fields[4])
		if err != nil {
			return nil, err
		}
		in := func(dir string) bool { return within(point, dir) }
		if !slices.ContainsFunc(stacked, in) || slices.ContainsFunc(Masked, in) ||
			virtual(fields[sep+1]) || slices.Contains(points, point) || !isDir(point) {
			continue
		}
		points = append(points, point)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(points, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	points = append([]string{"/"}, slices.DeleteFunc(points, func(p string) bool { return p == "/" })...)
	var layers []Layer
	for i, p := range points {
		layers = append(layers, Layer{Point: p, Name: strconv.Itoa(i)})
	}
	return layers, nil
}

// virtual reports whether a type of file system holds no files of a root.
func virtual(fstype string) bool {
	switch fstype {
	case "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs", "tracefs", "securityfs",
		"pstore", "bpf", "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs", "rpc_pipefs", "nsfs", "efivarfs":
		return true
	}
	return strings.HasPrefix(fstype, "fuse.")
}

// unescape reads the octal escapes of the mount table.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+3 >= len(s) {
			return "", fmt.Errorf("mount table: path %q ends in an escape", s)
		}
		n, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			return "", fmt.Errorf("mount table: path %q: %w", s, err)
		}
		b.WriteByte(byte(n))
		i += 3
	}
	return b.String(), nil
}
