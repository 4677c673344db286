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

// Tree is what a machine's root has otherwise than the host's, as a list in
// the order in which it is written.
type Tree struct {
	Stack   []Layer
	Entries []Entry
}

// Entry is one difference.
type Entry struct {
	Kind    Kind
	Path    string      // in the machine
	Mode    os.FileMode // of a File, or of a Folder that is to have another than the host's
	Content []byte      // of a File
}

// Kind is what is different about a path.
type Kind string

// The kinds of entries.
const (
	Empty  Kind = "empty"  // a folder of the host has nothing in it
	Absent Kind = "absent" // a file of the host is not there
	Folder Kind = "folder" // there is a folder, with the host's mode and owner if the host has it
	File   Kind = "file"   // there is this file, with the host's owner if the host has it
)

// Write writes the tree, what belongs to each layer into the folder that to
// names.
func (t Tree) Write(to func(Layer) string) error {
	w := writer{t.Stack, to}
	for _, l := range t.Stack {
		if err := os.MkdirAll(to(l), 0o755); err != nil {
			return err
		}
	}
	for _, e := range t.Entries {
		if err := w.entry(e); err != nil {
			return fmt.Errorf("%s %s: %w", e.Kind, e.Path, err)
		}
	}
	return nil
}

type writer struct {
	stack []Layer
	to    func(Layer) string
}

// at returns where the machine's path is written.
func (w writer) at(path string) string {
	best := w.stack[0]
	for _, l := range w.stack[1:] {
		if within(path, l.Point) && len(l.Point) > len(best.Point) {
			best = l
		}
	}
	rel, _ := filepath.Rel(best.Point, path)
	return filepath.Join(w.to(best), rel)
}

// within reports whether path is dir or in it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

func (w writer) entry(e Entry) error {
	at := w.at(e.Path)
	if e.Kind == Empty || e.Kind == Folder {
		if err := w.folder(e.Path); err != nil {
			return err
		}
		if e.Mode != 0 {
			if err := os.Chmod(at, e.Mode); err != nil {
				return err
			}
		}
		if e.Kind == Empty {
			return unix.Lsetxattr(at, "trusted.overlay.opaque", []byte("y"), 0)
		}
		return nil
	}
	if err := w.folder(filepath.Dir(e.Path)); err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if e.Kind == Absent {
		return unix.Mknod(at, unix.S_IFCHR, 0)
	}
	if err := os.WriteFile(at, e.Content, e.Mode); err != nil {
		return err
	}
	if err := os.Chmod(at, e.Mode); err != nil { // whatever the umask
		return err
	}
	var st unix.Stat_t
	if unix.Stat(e.Path, &st) != nil || st.Uid == 0 && st.Gid == 0 {
		return nil // the superuser's, as is what the host has not
	}
	return os.Lchown(at, int(st.Uid), int(st.Gid))
}

// folder makes a folder and those it is in, each with mode and owner of the
// host's where the host has it.
func (w writer) folder(path string) error {
	at := w.at(path)
	if _, err := os.Lstat(at); err == nil {
		return nil
	}
	if err := w.folder(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil // the host has none
	}
	if st.Uid != 0 || st.Gid != 0 {
		if err := os.Lchown(at, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return unix.Chmod(at, st.Mode&0o7777)
}
