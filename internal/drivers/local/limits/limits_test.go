package limits

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// write makes a file that stands for one of the kernel's.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTreesAreFound(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/v2/cgroup.controllers", "cpuset cpu io memory pids")
	write(t, dir+"/v2/cgroup.subtree_control", "cpu memory")
	write(t, dir+"/bare/cgroup.controllers", "hugetlb")
	write(t, dir+"/cpu/tasks", "")
	write(t, dir+"/memory/tasks", "")
	tests := map[string]struct {
		mounts string
		tree   Tree
		notes  int
	}{
		"version 2": {
			mounts: "cgroup2 DIR/v2 cgroup2 rw 0 0",
			tree:   Tree{cpu: dir + "/v2", memory: dir + "/v2", v2: true},
		},
		"version 1": {
			mounts: "cgroup DIR/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup DIR/memory cgroup rw,memory 0 0",
			tree:   Tree{cpu: dir + "/cpu", memory: dir + "/memory"},
		},
		"hybrid": {
			mounts: "cgroup2 DIR/bare cgroup2 rw 0 0\ncgroup DIR/cpu cgroup rw,cpu 0 0\ncgroup DIR/memory cgroup rw,memory 0 0",
			tree:   Tree{cpu: dir + "/cpu", memory: dir + "/memory"},
		},
		"version 2 without controllers": {mounts: "cgroup2 DIR/bare cgroup2 rw 0 0", notes: 1},
		"only cpu":                      {mounts: "cgroup DIR/cpu cgroup rw,cpu 0 0", tree: Tree{cpu: dir + "/cpu"}, notes: 1},
		"may not be written":            {mounts: "cgroup DIR/cpu cgroup ro,cpu 0 0", notes: 1},
		"none":                          {mounts: "tmpfs /run tmpfs rw 0 0", notes: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := find(strings.ReplaceAll(test.mounts, "DIR", dir))
			if len(got.Notes()) != test.notes {
				t.Errorf("notes %q, want %d", got.Notes(), test.notes)
			}
			got.why = ""
			if got != test.tree {
				t.Errorf("found %+v, want %+v", got, test.tree)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	l := Limits{Cores: 2, Memory: 512}
	v1 := Tree{cpu: "/c", memory: "/m"}.settings(l)
	if len(v1) != 2 || v1["/c/cpu.cfs_quota_us"] != "200000" || v1["/m/memory.limit_in_bytes"] != "536870912" {
		t.Errorf("version 1: %v", v1)
	}
	v2 := Tree{cpu: "/u", memory: "/u", v2: true}.settings(l)
	if len(v2) != 2 || v2["/u/cpu.max"] != "200000 100000" || v2["/u/memory.max"] != "536870912" {
		t.Errorf("version 2: %v", v2)
	}
	if none := (Tree{cpu: "/c", memory: "/m"}).settings(Limits{}); len(none) != 0 {
		t.Errorf("no limits: %v", none)
	}
}

func TestGroupsOnThisHost(t *testing.T) {
	tree := Find()
	if notes := tree.Notes(); len(notes) > 0 {
		t.Skip(notes)
	}
	const parent = "aloft-ffffffff" // of no home: those in tests are random too, but this is nobody's
	if err := tree.Make(parent, "m", Limits{Cores: 1, Memory: 64}); err != nil {
		t.Fatal(err)
	}
	if groups, exists, err := tree.Groups(parent); err != nil || !exists || len(groups) != 1 || groups[0] != "m" {
		t.Errorf("groups %q, %t, %v", groups, exists, err)
	}
	for range 2 { // again is no error
		if err := tree.Remove(parent, "m"); err != nil {
			t.Error(err)
		}
	}
	if groups, exists, err := tree.Groups(parent); err != nil || exists {
		t.Errorf("after removal: groups %q, %t, %v", groups, exists, err)
	}
}

func TestGroupsComeAndGoAtOnce(t *testing.T) {
	tree := Find()
	if notes := tree.Notes(); len(notes) > 0 {
		t.Skip(notes)
	}
	const parent = "aloft-fffffffe"
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			name := fmt.Sprint("m", i)
			for range 20 {
				if err := tree.Make(parent, name, Limits{Cores: 1}); err != nil {
					return err
				}
				if err := tree.Remove(parent, name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if groups, exists, err := tree.Groups(parent); err != nil || exists {
		t.Errorf("left: %q, %t, %v", groups, exists, err)
	}
}
