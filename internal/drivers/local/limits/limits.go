// Package limits bounds the processor time and memory of light machines by
// control groups, version 1 or 2, as far as the kernel and our rights give
// them. Where they do not it says so, and the machine is made without: it never
// tries to change how the host's groups are laid out beyond switching on a
// controller at the root. It has no goroutines.
package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of one machine; 0 is none.
type Limits struct {
	Cores  int
	Memory int // MiB
}

// Tree is where this host's control groups are.
type Tree struct {
	cpu, memory string // folders in which groups are made, "" if not to be had
	v2          bool
	why         string
}

// Find looks at the host's control groups.
func Find() Tree {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return Tree{why: err.Error()}
	}
	return find(string(b))
}

// find looks for control groups among mounts in the form of /proc/mounts.
func find(mounts string) Tree {
	t := Tree{why: "the kernel offers no control groups here"}
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		point, options := f[1], strings.Split(f[3], ",")
		switch {
		case slices.Contains(options, "ro"):
		case f[2] == "cgroup" && slices.Contains(options, "cpu"):
			t.cpu = point
		case f[2] == "cgroup" && slices.Contains(options, "memory"):
			t.memory = point
		case f[2] == "cgroup2" && t.cpu == "" && t.memory == "":
			if err := enable(point); err != nil {
				t.why = err.Error()
				continue
			}
			t.cpu, t.memory, t.v2 = point, point, true
		}
	}
	if t.v2 && t.cpu != t.memory { // hybrid: a controller is in one hierarchy only
		t.v2 = false
	}
	for _, dir := range []*string{&t.cpu, &t.memory} {
		if *dir != "" && unix.Access(*dir, unix.W_OK) != nil {
			t.why = "control groups may not be made in " + *dir
			*dir = ""
		}
	}
	return t
}

// enable switches the controllers on for the groups of a version 2 hierarchy.
func enable(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	have := strings.Fields(string(b))
	for _, c := range []string{"cpu", "memory"} {
		if !slices.Contains(have, c) {
			return fmt.Errorf("%s has no controller %s", dir, c)
		}
	}
	on, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	if f := strings.Fields(string(on)); slices.Contains(f, "cpu") && slices.Contains(f, "memory") {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +memory"), 0)
}

// Notes says which limits would not be enforced and why; none if all are.
func (t Tree) Notes() []string {
	switch {
	case t.cpu == "" && t.memory == "":
		return []string{"limits are not enforced: " + t.why}
	case t.cpu == "":
		return []string{"the limit of cores is not enforced: " + t.why}
	case t.memory == "":
		return []string{"the limit of memory is not enforced: " + t.why}
	}
	return nil
}

// Make makes the group parent/name with the limits; again changes them.
func (t Tree) Make(parent, name string, l Limits) error {
	for _, dir := range t.dirs() {
		if err := t.group(filepath.Join(dir, parent), name); err != nil {
			return fmt.Errorf("make control group %s/%s: %w", parent, name, err)
		}
	}
	for file, value := range t.settings(l) {
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), parent, name, filepath.Base(file)), []byte(value), 0); err != nil {
			return fmt.Errorf("set limit: %w", err)
		}
	}
	return nil
}

// group makes a group in parent, and parent; again if the last group of another
// machine took parent away meanwhile.
func (t Tree) group(parent, name string) error {
	for try := 0; ; try++ {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return err
		}
		var err error
		if t.v2 {
			err = enable(parent)
		}
		if err == nil {
			err = os.Mkdir(filepath.Join(parent, name), 0o755)
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) || try == 100 {
			return err
		}
	}
}

// settings are the files of limits, as if in the hierarchy's root, and their
// content.
func (t Tree) settings(l Limits) map[string]string {
	const period = 100_000 // µs
	s := map[string]string{}
	if l.Cores > 0 && t.cpu != "" {
		if t.v2 {
			s[filepath.Join(t.cpu, "cpu.max")] = fmt.Sprintf("%d %d", l.Cores*period, period)
		} else {
			s[filepath.Join(t.cpu, "cpu.cfs_quota_us")] = strconv.Itoa(l.Cores * period)
		}
	}
	if l.Memory > 0 && t.memory != "" {
		file := "memory.limit_in_bytes"
		if t.v2 {
			file = "memory.max"
		}
		s[filepath.Join(t.memory, file)] = strconv.Itoa(l.Memory << 20)
	}
	return s
}

// Add puts a process, and all it will start, into the group.
func (t Tree) Add(parent, name string, pid int) error {
	for _, dir := range t.dirs() {
		if err := os.WriteFile(filepath.Join(dir, parent, name, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("put process %d under its limits: %w", pid, err)
		}
	}
	return nil
}

// Remove removes the group, "" for none, and parent with its last one. The processes have
// ended; the kernel may need a moment to know.
func (t Tree) Remove(parent, name string) error {
	for _, dir := range t.dirs() {
		for until := time.Now().Add(2 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			if name == "" {
				break
			}
			err := unix.Rmdir(filepath.Join(dir, parent, name))
			if err == nil || errors.Is(err, unix.ENOENT) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
				return fmt.Errorf("remove control group %s/%s: %w", parent, name, err)
			}
		}
		if err := unix.Rmdir(filepath.Join(dir, parent)); err != nil &&
			!errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("remove control group %s: %w", parent, err)
		}
	}
	return nil
}

// Groups lists the groups in parent, and whether parent exists.
func (t Tree) Groups(parent string) (groups []string, exists bool, err error) {
	for _, dir := range t.dirs() {
		entries, err := os.ReadDir(filepath.Join(dir, parent))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, false, err
		}
		exists = true
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(groups, e.Name()) {
				groups = append(groups, e.Name())
			}
		}
	}
	return groups, exists, nil
}

func (t Tree) dirs() []string {
	var dirs []string
	for _, d := range []string{t.cpu, t.memory} {
		if d != "" && !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}
