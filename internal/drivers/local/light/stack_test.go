package light

import (
	"slices"
	"strings"
	"testing"
)

func TestFileSystemsThatBelongToTheRootAreStacked(t *testing.T) {
	table := strings.Join([]string{
		"20 1 8:1 / / rw - ext4 /dev/a rw",
		"21 20 0:5 / /proc rw - proc proc rw",
		"22 20 8:2 / /var/lib rw shared:1 - ext4 /dev/b rw",
		"23 20 8:3 / /var rw - ext4 /dev/c rw",
		"24 20 8:4 / /home rw - ext4 /dev/d rw",
		"25 20 8:5 / /usr/with\\040space rw - xfs /dev/e rw",
		"26 20 0:9 / /run rw - tmpfs tmpfs rw",
		"27 20 0:9 / /var/log rw - ext4 /dev/f rw",
		"28 20 0:9 /f /etc/resolv.conf rw - ext4 /dev/a rw",
		"29 20 0:9 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw",
		"30 20 0:9 / /var/libother rw - ext4 /dev/g rw",
		"31 20 0:9 / /data rw - ext4 /dev/h rw",
	}, "\n")
	layers, err := stack(strings.NewReader(table), func(path string) bool { return path != "/etc/resolv.conf" })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range layers {
		got = append(got, l.Point)
	}
	want := []string{"/", "/var", "/var/lib", "/usr/with space", "/var/libother"}
	slices.Sort(got[1:])
	slices.Sort(want[1:])
	if !slices.Equal(got, want) {
		t.Errorf("stacked %q, want %q", got, want)
	}
	for i, l := range layers { // parents before what is mounted in them
		for _, later := range layers[i+1:] {
			if within(l.Point, later.Point) {
				t.Errorf("%s comes before %s", l.Point, later.Point)
			}
		}
	}
}

func FuzzStack(f *testing.F) {
	f.Add("20 1 8:1 / / rw - ext4 /dev/a rw\n22 20 8:2 / /var\\040x rw - ext4 /dev/b rw")
	f.Fuzz(func(t *testing.T, table string) {
		layers, err := stack(strings.NewReader(table), func(string) bool { return true })
		if err == nil && (len(layers) == 0 || layers[0].Point != "/") {
			t.Errorf("%q: %v does not begin with the root", table, layers)
		}
	})
}
