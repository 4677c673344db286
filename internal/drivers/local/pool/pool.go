// Package pool chooses the networks of a home's machines so that no two homes
// on a host, nor anything else there, have the same: a /20 of 10.88.0.0/13 for
// light machines, a /24 of 127.0.0.0/8 for process machines. Homes tell each
// other what they have by one file each in a folder that all on the host can
// read; the folder of superusers is not writable by others, and everybody reads
// both. A file whose home is gone counts for nothing. The package has no
// goroutines.
package pool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/names"
)

// Folders in which homes tell each other of themselves.
const (
	rootFolder = "/run/aloft"
	userFolder = "/tmp/.aloft"
)

// Kinds of networks.
const (
	Light    = "light"
	Loopback = "loopback"
)

// Entry is what a home tells the others.
type Entry struct {
	ID       names.Home              `json:"id"`
	Path     string                  `json:"path"` // of the state folder
	Networks map[string]netip.Prefix `json:"networks,omitempty"`
}

// Registry is one home's view of the homes on this host.
type Registry struct {
	own   Entry
	write string   // the folder our entry lies in
	read  []string // the folders others' lie in
}

// Open returns the view of the home id with the state folder path. It writes
// nothing.
func Open(id names.Home, path string) *Registry {
	r := &Registry{own: Entry{ID: id, Path: path}, write: userFolder, read: []string{rootFolder, userFolder}}
	if os.Geteuid() == 0 {
		r.write = rootFolder
	}
	return r
}

// Claim returns the home's network of the kind, chosen now if it has none yet.
// The preferred one, if valid, is taken unless it is another's by now.
func (r *Registry) Claim(kind string, preferred netip.Prefix) (netip.Prefix, error) {
	var chosen netip.Prefix
	err := r.locked(func() error {
		used, err := r.used(kind)
		if err != nil {
			return err
		}
		chosen, err = choose(kind, r.own.ID, preferred, used)
		if err != nil {
			return err
		}
		e := r.own
		if old, err := read(r.file()); err == nil {
			e.Networks = old.Networks
		}
		if e.Networks == nil {
			e.Networks = map[string]netip.Prefix{}
		}
		e.Networks[kind] = chosen
		return r.put(e)
	})
	return chosen, err
}

// Register tells the others that the home exists, without a network.
func (r *Registry) Register() error {
	return r.locked(func() error {
		if _, err := os.Lstat(r.file()); err == nil {
			return nil
		}
		return r.put(r.own)
	})
}

// Leave takes the home's entry back.
func (r *Registry) Leave() error {
	if _, err := os.Stat(r.write); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return r.locked(func() error {
		if err := os.Remove(r.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = os.Remove(r.write) // unless others have entries in it
		return nil
	})
}

// Others returns the entries of all other homes that exist.
func (r *Registry) Others() ([]Entry, error) {
	var all []Entry
	for _, dir := range r.read {
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), ".json") {
				continue
			}
			e, err := read(filepath.Join(dir, f.Name()))
			if err != nil || e.ID == r.own.ID {
				continue // not an entry, or gone meanwhile, or its home is
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// Left returns the files of entries with the id that count for nothing, because
// their home is gone.
func (r *Registry) Left(id names.Home) []string {
	var left []string
	for _, dir := range r.read {
		file := filepath.Join(dir, string(id)+".json")
		if _, err := os.Lstat(file); err != nil {
			continue
		}
		if _, err := read(file); err != nil {
			left = append(left, file)
		}
	}
	return left
}

func (r *Registry) file() string { return filepath.Join(r.write, string(r.own.ID)+".json") }

// locked runs f while no other home of the same kind of user does.
func (r *Registry) locked(f func() error) error {
	for {
		mode := os.FileMode(0o755)
		if r.write == userFolder {
			mode = 0o1777
		}
		if err := os.Mkdir(r.write, mode); err == nil {
			if err := unix.Chmod(r.write, uint32(mode)); err != nil {
				return err
			}
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		dir, err := os.Open(r.write)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the last to leave took it away
		} else if err != nil {
			return err
		}
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err == nil && same(dir, r.write) {
			err = f()
			dir.Close()
			return err
		}
		dir.Close()
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// same reports whether the open folder still is the one at path.
func same(dir *os.File, path string) bool {
	a, err := dir.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

func (r *Registry) put(e Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	tmp := r.file() + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close(), os.Rename(tmp, r.file()))
}

// read returns the entry in a file. It must belong to whoever owns the state
// folder it names: nobody can speak for another's folder.
func read(file string) (Entry, error) {
	var e Entry
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return e, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return e, err
	}
	b := make([]byte, 4096)
	n, err := f.Read(b)
	if err != nil {
		return e, err
	}
	if e, err = parse(b[:n]); err != nil {
		return e, fmt.Errorf("entry %s: %w", file, err)
	}
	home, err := os.Lstat(e.Path)
	if err != nil {
		return e, err
	}
	if !fi.Mode().IsRegular() || !home.IsDir() || owner(fi) != owner(home) {
		return e, fmt.Errorf("entry %s: not by the owner of %s", file, e.Path)
	}
	return e, nil
}

// parse reads an entry as another home wrote it.
func parse(b []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return e, err
	}
	if _, err := names.ParseHome(string(e.ID)); err != nil {
		return e, err
	}
	if !filepath.IsAbs(e.Path) {
		return e, fmt.Errorf("state folder %q: not a full path", e.Path)
	}
	for kind, p := range e.Networks {
		if !p.IsValid() || !p.Addr().Is4() {
			return e, fmt.Errorf("network %s for %s: not one of IPv4", p, kind)
		}
	}
	return e, nil
}

func owner(fi os.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// used returns the networks that a claim of the kind must not overlap.
func (r *Registry) used(kind string) ([]netip.Prefix, error) {
	var used []netip.Prefix
	others, err := r.Others()
	if err != nil {
		return nil, err
	}
	for _, e := range others {
		for _, p := range e.Networks {
			used = append(used, p)
		}
	}
	if kind == Loopback {
		return used, nil
	}
	ours := map[int]bool{}
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		ours[l.Attrs().Index] = r.own.ID.Owns(l.Attrs().Name)
	}
	routes, err := whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, rt := range routes {
		if rt.Dst != nil && !ours[rt.LinkIndex] {
			if ones, _ := rt.Dst.Mask.Size(); ones > 0 { // the default route is no network
				ip, _ := netip.AddrFromSlice(rt.Dst.IP.To4())
				used = append(used, netip.PrefixFrom(ip, ones))
			}
		}
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if !ours[a.LinkIndex] {
			ip, _ := netip.AddrFromSlice(a.IP.To4())
			ones, _ := a.Mask.Size()
			used = append(used, netip.PrefixFrom(ip, ones).Masked())
		}
	}
	return used, nil
}

// whole asks the kernel for a list again when it changed meanwhile.
func whole[T any](list func() ([]T, error)) ([]T, error) {
	for try := 0; ; try++ {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 100 {
			return all, err
		}
	}
}

// Machines holds the light machines of all homes of a host.
var Machines = netip.MustParsePrefix("10.88.0.0/13")

// ErrNone says that every network of a kind is somebody's.
var ErrNone = errors.New("every network is taken")

// choose returns preferred if it is free, else the first free candidate.
func choose(kind string, id names.Home, preferred netip.Prefix, used []netip.Prefix) (netip.Prefix, error) {
	free := func(p netip.Prefix) bool { return !slices.ContainsFunc(used, p.Overlaps) }
	if preferred.IsValid() && free(preferred) {
		return preferred, nil
	}
	for _, p := range candidates(kind, id) {
		if free(p) {
			return p, nil
		}
	}
	whole := Machines
	if kind == Loopback {
		whole = netip.MustParsePrefix("127.0.0.0/8")
	}
	return netip.Prefix{}, fmt.Errorf("%w: routes, interfaces and other homes of this host cover all of %s", ErrNone, whole)
}

// candidates lists the networks of a kind in the order in which they are tried.
func candidates(kind string, id names.Home) []netip.Prefix {
	var all []netip.Prefix
	if kind == Light {
		for n := range 128 {
			addr := netip.AddrFrom4([4]byte{10, byte(88 + n/16), byte(n % 16 * 16), 0})
			all = append(all, netip.PrefixFrom(addr, 20))
		}
		return all
	}
	// Homes begin at different places, for those that cannot see each other's
	// files. 127.0.0.0/16 and 127.255.0.0/16 are left to the host's own.
	var seed int
	fmt.Sscanf(string(id), "%x", &seed)
	const blocks = 254 * 256
	for n := range blocks {
		k := (seed + n) % blocks
		addr := netip.AddrFrom4([4]byte{127, byte(1 + k/256), byte(k % 256), 0})
		all = append(all, netip.PrefixFrom(addr, 24))
	}
	return all
}

// Nth returns address number n of a network.
func Nth(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// Size returns how many addresses a network has, its first and last among them.
func Size(p netip.Prefix) int { return 1 << (32 - p.Bits()) }
