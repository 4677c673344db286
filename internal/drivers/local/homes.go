package local

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"aloft/internal/drivers/local/ident"
	"aloft/internal/drivers/local/names"
)

// HomeExistsError says that a home is there, so that nothing of it is left
// over for others to remove.
type HomeExistsError struct {
	ID   string
	Path string // of its state folder
}

func (e *HomeExistsError) Error() string {
	return fmt.Sprintf("home %s exists, in %s: what it left over is its own daemon's to remove", e.ID, e.Path)
}

// Gone returns the ids of homes that exist no more and of which something is
// left on this host, sorted. It looks at what anybody can see; Residue finds
// all of it.
func (d *Driver) Gone(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	note := func(id string) {
		if h, err := names.ParseHome(id); err == nil && h != d.id {
			found[id] = true
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if id, ok := names.OfLink(l.Name); ok {
			note(string(id))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		source, _, _ := strings.Cut(line, " ")
		if id, ok := names.OfSource(source); ok {
			note(string(id))
		}
	}
	groups, err := d.tree.Parents()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if id, ok := names.OfSource(g); ok {
			note(string(id))
		}
	}
	all, err := ident.All()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if len(p.Args) > 1 {
			// Keepers deeper down are of homes inside a machine, and not ours to judge.
			if id, _, _, ok := names.ParseInit(p.Args[1:]); ok && depth(p.PID) <= 2 {
				note(string(id))
			}
		}
	}
	for _, id := range d.homes.Gone() {
		note(string(id))
	}
	for _, id := range d.homes.There() {
		delete(found, string(id))
	}
	return slices.Sorted(maps.Keys(found)), ctx.Err()
}

// depth returns in how many process namespaces, from ours on, a process has a
// number.
func depth(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(numbers))
		}
	}
	return 0
}
