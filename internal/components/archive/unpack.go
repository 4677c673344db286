package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"aloft/component"
)

// choice says which entries are wanted, and what they are called.
type choice struct {
	strip int      // leading folders that are left out
	only  []string // patterns (path.Match) of files and folders; none: all
}

// name returns what an entry is called, "" if it is not wanted. It refuses
// names that lead out of the destination.
func (c choice) name(entry string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(entry, `\`, "/"))
	if clean == "." {
		return "", nil
	}
	if !filepath.IsLocal(clean) || strings.ContainsRune(clean, 0) {
		return "", outside(entry)
	}
	parts := strings.Split(clean, "/")
	if len(parts) <= c.strip {
		return "", nil
	}
	parts = parts[c.strip:]
	if len(c.only) == 0 {
		return path.Join(parts...), nil
	}
	for n := range parts {
		for _, pattern := range c.only {
			if ok, _ := path.Match(pattern, path.Join(parts[:n+1]...)); ok { // bad patterns are refused while planning
				return path.Join(parts...), nil
			}
		}
	}
	return "", nil
}

func outside(entry string) error {
	return &component.Failure{
		Err:    fmt.Errorf("the archive has the entry %q, which leads outside of it", entry),
		Remedy: "do not use this archive; nothing of it was unpacked",
	}
}

// entry is one file, folder or link of an archive.
type entry struct {
	name string // in the archive
	mode fs.FileMode
	link string // what a symbolic link holds, or the entry a hard link is to
	hard bool
}

// maxEntries bounds what an archive can make of a few bytes.
const maxEntries = 1_000_000

// unpack writes the wanted entries of the archive into the empty folder to, and
// nothing outside of it.
func unpack(ctx context.Context, f *os.File, to string, c choice) error {
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	count := 0
	made := 0
	err = walk(f, func(e entry, content io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if count++; count > maxEntries {
			return fmt.Errorf("the archive has more than %d entries", maxEntries)
		}
		name, err := c.name(e.name)
		if name == "" || err != nil {
			return err
		}
		made++
		return put(root, name, e, content, c)
	})
	if err == nil && made == 0 {
		return &component.Failure{
			Err:    fmt.Errorf("nothing of the archive's %d entries is wanted", count),
			Remedy: "look at what strip and only say",
		}
	}
	return err
}

func put(root *os.Root, name string, e entry, content io.Reader, c choice) error {
	if e.mode.IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // the last entry of a name counts
		return err
	}
	switch {
	case e.hard:
		old, err := c.name(e.link)
		if err != nil {
			return err
		}
		if old == "" {
			return fmt.Errorf("the archive's entry %q is a link to %q, which is not wanted", e.name, e.link)
		}
		return root.Link(old, name)
	case e.mode&fs.ModeSymlink != 0:
		if path.IsAbs(e.link) || !filepath.IsLocal(path.Join(path.Dir(name), e.link)) {
			return outside(e.name + " -> " + e.link)
		}
		return root.Symlink(e.link, name)
	case !e.mode.IsRegular():
		return fmt.Errorf("the archive's entry %q is neither a file, a folder nor a link", e.name)
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	// Set-id bits are not taken from an archive.
	return errors.Join(err, file.Chmod(e.mode.Perm()|0o200), file.Close())
}

// walk calls visit for each entry, in the order of the archive.
func walk(f *os.File, visit func(entry, io.Reader) error) error {
	head := make([]byte, 264)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	head = head[:n]
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), 1<<16)
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return walkZip(f, visit)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return broken(err)
		}
		return walkTar(z, visit)
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		z, err := xz.NewReader(r)
		if err != nil {
			return broken(err)
		}
		return walkTar(z, visit)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return broken(err)
		}
		defer z.Close()
		return walkTar(z, visit)
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return walkTar(r, visit)
	}
	return &component.Failure{
		Err:    errors.New("it is no archive that is known"),
		Remedy: "use tar, plain or with gzip, xz or zstd, or zip",
	}
}

func broken(err error) error {
	return &component.Failure{Err: fmt.Errorf("the archive is broken: %w", err), Remedy: "get it anew, and compare its digest"}
}

func walkTar(r io.Reader, visit func(entry, io.Reader) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			if _, err := io.Copy(io.Discard, r); err != nil { // to the checksum at the end
				return broken(err)
			}
			return nil
		}
		if err != nil {
			return broken(err)
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		}
		e := entry{name: h.Name, mode: h.FileInfo().Mode(), link: h.Linkname, hard: h.Typeflag == tar.TypeLink}
		if err := visit(e, reading{t}); err != nil {
			return err
		}
	}
}

// reading tells errors of the archive from those of the disk.
type reading struct{ io.Reader }

func (r reading) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = broken(err)
	}
	return n, err
}

// maxLink is the longest that a symbolic link can be.
const maxLink = 4096

func walkZip(f *os.File, visit func(entry, io.Reader) error) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return broken(err)
	}
	for _, one := range z.File {
		e := entry{name: one.Name, mode: one.Mode()}
		if e.mode.Perm() == 0 { // made where files have no modes
			e.mode |= 0o644
		}
		content, err := one.Open()
		if err != nil {
			return broken(err)
		}
		if e.mode&fs.ModeSymlink != 0 {
			b, err := io.ReadAll(io.LimitReader(content, maxLink))
			if err != nil {
				content.Close()
				return broken(err)
			}
			e.link = string(b)
		}
		err = visit(e, reading{content})
		content.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
