package light

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk writes the increment of a machine: what its root has otherwise than the
// host's.
type Disk struct {
	folder string
	stack  []Layer
}

// NewDisk makes the empty increment of the machine in folder, one layer for
// each entry of stack. What an interrupted attempt left there is removed.
func NewDisk(folder string, stack []Layer) (*Disk, error) {
	d := &Disk{folder, stack}
	if err := os.RemoveAll(filepath.Join(folder, diskFolder)); err != nil {
		return nil, err
	}
	for _, l := range stack {
		for _, part := range []string{"upper", "work"} {
			if err := os.MkdirAll(filepath.Join(folder, diskFolder, l.Name, part), 0o755); err != nil {
				return nil, err
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, rootFolder), 0o755); err != nil {
		return nil, err
	}
	return d, nil
}

// OpenDisk returns the increment that NewDisk made earlier.
func OpenDisk(folder string, stack []Layer) *Disk { return &Disk{folder, stack} }

// upper returns where the increment keeps the machine's path.
func (d *Disk) upper(path string) string {
	best := d.stack[0]
	for _, l := range d.stack[1:] {
		if within(path, l.Point) && len(l.Point) > len(best.Point) {
			best = l
		}
	}
	rel, _ := filepath.Rel(best.Point, path)
	return filepath.Join(d.folder, diskFolder, best.Name, "upper", rel)
}

// within reports whether path is dir or in it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// Dir makes the folder path; those it is in and it itself get mode and owner
// of the host's where the host has them.
func (d *Disk) Dir(path string) error {
	up := d.upper(path)
	if _, err := os.Lstat(up); err == nil {
		return nil
	}
	if path != "/" {
		if err := d.Dir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(up, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil //nolint:nilerr // the host has no such folder: it is a new one
	}
	if err := os.Lchown(up, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	return unix.Chmod(up, st.Mode&0o7777)
}

// Empty makes path an empty folder whatever the host has there, or leaves it
// out where the host has nothing.
func (d *Disk) Empty(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil //nolint:nilerr // nothing to hide, or a link that leads to what is hidden itself
	}
	if err := d.Dir(path); err != nil {
		return err
	}
	return opaque(d.upper(path))
}

// opaque marks a folder of an increment as hiding the one below it.
func opaque(up string) error {
	if err := unix.Lsetxattr(up, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		return fmt.Errorf("hide what is below %s: %w", up, err)
	}
	return nil
}

// Hide takes the host's file path out of the machine's root.
func (d *Disk) Hide(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return nil //nolint:nilerr // nothing to hide
	}
	if err := d.Dir(filepath.Dir(path)); err != nil {
		return err
	}
	err := unix.Mknod(d.upper(path), unix.S_IFCHR, 0)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("hide %s: %w", path, err)
	}
	return nil
}

// File writes a file, in the place of whatever the host has there.
func (d *Disk) File(path string, mode os.FileMode, content []byte) error {
	if err := d.Dir(filepath.Dir(path)); err != nil {
		return err
	}
	up := d.upper(path)
	if err := os.Remove(up); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(up, content, mode); err != nil {
		return err
	}
	return os.Chmod(up, mode) // whatever the umask
}

// ownedLike gives a file of the increment the owner of the host's file.
func (d *Disk) ownedLike(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil //nolint:nilerr // the host has none: root's
	}
	return os.Lchown(d.upper(path), int(st.Uid), int(st.Gid))
}

// Skeleton makes the folders which the host has right in path, without what is
// in them: packages expect theirs in /var/log.
func (d *Disk) Skeleton(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil //nolint:nilerr // the host has no such folder
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := d.Dir(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
