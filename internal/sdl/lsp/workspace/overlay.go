package workspace

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"aloft/internal/sdl/lsp/text"
)

// overlay is a folder in which open documents take the place of the files on
// disk. It notes what was read, so that a change is found later.
type overlay struct {
	base     fs.FS  // refuses what leads out by symbolic links; nil if there is no folder
	dir      string // its absolute path
	snapshot *Snapshot
	seen     *record
}

// record is what an analysis read.
type record struct {
	stamps map[string]string     // by path
	texts  map[string]*text.Text // by path, as read
}

func newRecord() *record {
	return &record{stamps: map[string]string{}, texts: map[string]*text.Text{}}
}

// fresh reports whether everything read is still the same.
func (r *record) fresh(s *Snapshot) bool {
	for p, stamp := range r.stamps {
		if s.stamp(p) != stamp {
			return false
		}
	}
	return true
}

// stamp tells one content of the file p from another.
func (s *Snapshot) stamp(p string) string {
	if d := s.Document(p); d != nil {
		return d.stamp
	}
	if !filepath.IsAbs(p) {
		return ""
	}
	info, err := os.Stat(p)
	if err != nil {
		return "absent"
	}
	return strconv.FormatInt(info.Size(), 10) + " " + info.ModTime().Format(time.RFC3339Nano)
}

func (o overlay) find(op, name string) (*Document, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	p := filepath.Join(o.dir, filepath.FromSlash(name))
	o.seen.stamps[p] = o.snapshot.stamp(p)
	d := o.snapshot.Document(p)
	if d == nil || o.base == nil {
		return d, nil
	}
	// A link out of the folder is refused, open or not.
	if _, err := fs.Stat(o.base, name); err != nil && strings.Contains(err.Error(), "escapes") {
		return nil, err
	}
	return d, nil
}

// Stat implements fs.StatFS.
func (o overlay) Stat(name string) (fs.FileInfo, error) {
	d, err := o.find("stat", name)
	switch {
	case err != nil:
		return nil, err
	case d != nil:
		return docInfo{name: filepath.Base(name), size: int64(len(d.Text.String()))}, nil
	case o.base == nil:
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return fs.Stat(o.base, name)
}

// ReadFile implements fs.ReadFileFS.
func (o overlay) ReadFile(name string) ([]byte, error) {
	d, err := o.find("open", name)
	p := filepath.Join(o.dir, filepath.FromSlash(name))
	switch {
	case err != nil:
		return nil, err
	case d != nil:
		o.seen.texts[p] = d.Text
		return []byte(d.Text.String()), nil
	case o.base == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	content, err := fs.ReadFile(o.base, name)
	if err == nil {
		o.seen.texts[p] = text.New(string(content))
	}
	return content, err
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	d, err := o.find("open", name)
	switch {
	case err != nil:
		return nil, err
	case d != nil:
		info := docInfo{name: filepath.Base(name), size: int64(len(d.Text.String()))}
		return &docFile{Reader: strings.NewReader(d.Text.String()), info: info}, nil
	case o.base == nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return o.base.Open(name)
}

// docInfo describes an open document as a file.
type docInfo struct {
	name string
	size int64
}

func (i docInfo) Name() string       { return i.name }
func (i docInfo) Size() int64        { return i.size }
func (i docInfo) Mode() fs.FileMode  { return 0o444 }
func (i docInfo) ModTime() time.Time { return time.Time{} }
func (i docInfo) IsDir() bool        { return false }
func (i docInfo) Sys() any           { return nil }

// docFile is an open document as a file.
type docFile struct {
	*strings.Reader
	info docInfo
}

func (f *docFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *docFile) Close() error               { return nil }
