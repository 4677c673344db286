package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/ident"
	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/names"
)

// What an Item is.
const (
	ItemProcess = "process"
	ItemLink    = "link"
	ItemGroup   = "control group"
	ItemMount   = "mount"
	ItemFolder  = "folder"
	ItemEntry   = "entry among the homes"
)

// Item is something on this host that bears a home's id and belongs to no
// machine of it.
type Item struct {
	Kind    string // one of the kinds above
	Name    string // of a link or a group, path of a mount, folder or entry, arguments of a process
	Home    string // the home's id
	Process ident.Process
}

// String tells what the item is, for people.
func (i Item) String() string {
	if i.Kind == ItemProcess {
		return fmt.Sprintf("%s %d (%s)", i.Kind, i.Process.PID, i.Name)
	}
	return i.Kind + " " + i.Name
}

// Residue lists what is left over on this host of the home with the id, "" for
// the driver's own: all that bears it and that no record of a machine explains.
// Of another home, which must not exist any more (else HomeExistsError), all
// that bears its id is.
func (d *Driver) Residue(ctx context.Context, id string) ([]Item, error) {
	home := d.id
	if id != "" {
		var err error
		if home, err = names.ParseHome(id); err != nil {
			return nil, err
		}
	}
	if home != d.id {
		others, err := d.homes.Others()
		if err != nil {
			return nil, err
		}
		for _, e := range others {
			if e.ID == home {
				return nil, &HomeExistsError{ID: string(home), Path: e.Path}
			}
		}
		return d.leftOf(ctx, home, books{})
	}
	found, err := d.leftOf(ctx, home, d.books())
	if err != nil || len(found) == 0 {
		return nil, err
	}
	// A machine may have been made between the look into the books and that at
	// the host, and one is always in the books before: what two looks find is left
	// over.
	again, err := d.leftOf(ctx, home, d.books())
	return slices.DeleteFunc(again, func(i Item) bool { return !slices.Contains(found, i) }), err
}

// leftOf lists what bears the home's id and is not in the books.
func (d *Driver) leftOf(ctx context.Context, home names.Home, known books) ([]Item, error) {
	var found []Item
	for _, look := range []func(names.Home, books) ([]Item, error){leftProcesses, leftLinks, d.leftGroups, leftMounts, d.leftFolders} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		items, err := look(home, known)
		if err != nil {
			return nil, err
		}
		found = append(found, items...)
	}
	for _, file := range d.homes.Left(home) {
		found = append(found, Item{Kind: ItemEntry, Name: file, Home: string(home)})
	}
	return found, nil
}

// books are what explains things of a home.
type books struct {
	machines map[string]record
	links    map[string]bool // of machines; bridges are explained by any light machine
	working  map[string]bool // machines somebody is changing
	bridges  bool
}

func (d *Driver) books() books {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := books{machines: map[string]record{}, links: map[string]bool{}, working: map[string]bool{}}
	_, b.bridges = d.networks[Light] // somebody may listen on its address
	for ref, m := range d.machines {
		b.machines[ref] = m.rec
		b.working[ref] = m.inWork()
		if m.rec.Form == Light {
			b.links[d.id.Link(m.rec.Offset)] = true
			b.bridges = true
		}
	}
	return b
}

// leftProcesses finds keepers that keep no machine in the books, and what
// keepers that are gone have left.
func leftProcesses(home names.Home, b books) ([]Item, error) {
	all, err := ident.All()
	if err != nil {
		return nil, err
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, err
	}
	var found []Item
	for _, p := range all {
		item := Item{Kind: ItemProcess, Name: strings.Join(p.Args, " "), Home: string(home), Process: p.Process}
		if len(p.Args) > 1 {
			if id, machine, _, ok := names.ParseInit(p.Args[1:]); ok {
				rec, known := b.machines[machine]
				if id == home && !b.working[machine] && (!known || rec.Run != p.Process) {
					found = append(found, item)
				}
				continue
			}
		}
		env := p.Environ()
		if p.PID == os.Getpid() || !slices.Contains(env, names.HomeIDVar+"="+string(home)) {
			continue
		}
		machine := ""
		for _, v := range env {
			if id, ok := strings.CutPrefix(v, names.MachineVar+"="); ok {
				machine = id
			}
		}
		// Those of a light machine go with its process 1.
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", p.PID))
		if _, known := b.machines[machine]; machine != "" && !known && err == nil && ns == ours {
			found = append(found, item)
		}
	}
	return found, nil
}

func leftLinks(home names.Home, b books) ([]Item, error) {
	links, err := light.Links(home)
	if err != nil {
		return nil, err
	}
	var found []Item
	for _, name := range links {
		if _, machine := home.Offset(name); machine && b.links[name] || !machine && b.bridges {
			continue
		}
		found = append(found, Item{Kind: ItemLink, Name: name, Home: string(home)})
	}
	return found, nil
}

func (d *Driver) leftGroups(home names.Home, b books) ([]Item, error) {
	groups, exists, err := d.tree.Groups(home.Group())
	if err != nil {
		return nil, err
	}
	var found []Item
	for _, g := range groups {
		if _, known := b.machines[g]; !known {
			found = append(found, Item{Kind: ItemGroup, Name: home.Group() + "/" + g, Home: string(home)})
		}
	}
	if exists && len(groups) == 0 {
		found = append(found, Item{Kind: ItemGroup, Name: home.Group() + "/", Home: string(home)})
	}
	return found, nil
}

// leftMounts finds mounts in the host's own namespace, where no machine has any.
func leftMounts(home names.Home, _ books) ([]Item, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountsOf(home, f), nil
}

// mountsOf finds a home's mounts in the table of a namespace, the last first:
// what is mounted in another goes first.
func mountsOf(home names.Home, table io.Reader) (found []Item) {
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 1 && fields[0] == home.Source() {
			found = append(found, Item{Kind: ItemMount, Name: fields[1], Home: string(home)})
		}
	}
	slices.Reverse(found)
	return found
}

// leftFolders finds folders of machines that were not yet, or are no more, in
// the books. Those of another home went with it.
func (d *Driver) leftFolders(home names.Home, b books) ([]Item, error) {
	if home != d.id {
		return nil, nil
	}
	var found []Item
	dirs, err := os.ReadDir(d.folder())
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if _, known := b.machines[dir.Name()]; !known {
			found = append(found, Item{Kind: ItemFolder, Name: filepath.Join(d.folder(), dir.Name()), Home: string(home)})
		}
	}
	probes, err := filepath.Glob(filepath.Join(d.config.Home, probePrefix+"*"))
	for _, p := range probes {
		found = append(found, Item{Kind: ItemFolder, Name: p, Home: string(home)})
	}
	return found, err
}

// Remove removes items that Residue found. It looks at each again: a process
// that ended, or a thing that is gone, is removed. All are tried.
func (d *Driver) Remove(ctx context.Context, items []Item) error {
	var errs []error
	for _, i := range items {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := d.remove(ctx, i); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) remove(ctx context.Context, i Item) error {
	home, err := names.ParseHome(i.Home)
	if err != nil {
		return err
	}
	switch i.Kind {
	case ItemProcess:
		return i.Process.End(ctx, unix.SIGKILL, endLimit)
	case ItemLink:
		if !home.Owns(i.Name) {
			return fmt.Errorf("is not of home %s", home)
		}
		return light.RemoveLink(i.Name)
	case ItemGroup:
		group, ok := strings.CutPrefix(i.Name, home.Group()+"/")
		if !ok {
			return fmt.Errorf("is not of home %s", home)
		}
		return d.tree.Remove(home.Group(), group)
	case ItemMount:
		if err := unix.Unmount(i.Name, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	case ItemEntry:
		if !slices.Contains(d.homes.Left(home), i.Name) {
			return nil // gone, or its home is there again
		}
		return os.Remove(i.Name)
	case ItemFolder:
		dir, name := filepath.Split(i.Name)
		if home != d.id || filepath.Clean(dir) != d.folder() && !strings.HasPrefix(name, probePrefix) {
			return fmt.Errorf("is not of home %s", d.id)
		}
		return os.RemoveAll(i.Name)
	}
	return fmt.Errorf("no such kind of thing: %s", i.Kind)
}
