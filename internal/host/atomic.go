package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"aloft/component"
)

// writeAtomic writes content beside path and renames it over path, durable
// when it returns. A negative uid or gid keeps the writer's.
func writeAtomic(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	f, err := createBeside(path)
	if err != nil {
		return explain(err)
	}
	return replaceDurably(f, path, mode, uid, gid, bytesTo(content))
}

// replaceDurably is replace, on the disk when it returns.
func replaceDurably(f *os.File, path string, mode fs.FileMode, uid, gid int, fill func(*os.File) error) error {
	if err := replace(f, path, mode, uid, gid, fill, (*os.File).Sync); err != nil {
		return err
	}
	return explain(syncDir(filepath.Dir(path)))
}

func bytesTo(content []byte) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.Write(content)
		return err
	}
}

// writeUnsynced writes content beside path and renames it over path. A crash of
// the writer leaves the old content or the new, one of the host may leave none.
func writeUnsynced(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".unsynced-*.aloft-new")
	if err != nil {
		return explain(err)
	}
	// A name of its own: two daemons may tell of one process at the same time,
	// one that ends it and one that sees it end.
	return replace(f, path, mode, -1, -1, bytesTo(content), func(*os.File) error { return nil })
}

// replace fills f and renames it over path; f goes if that fails.
func replace(f *os.File, path string, mode fs.FileMode, uid, gid int, fill, sync func(*os.File) error) (err error) {
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = explain(err)
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil { // after chown, which clears set-id bits
		return err
	}
	if err := sync(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// besideName names what is written before it is renamed to path. It is the same
// each time, so that what a crash leaves is found by whoever writes or deletes
// path next; two never write one path at a time.
func besideName(path string) string {
	dir, base := filepath.Split(path)
	if len(base) > 200 { // names may have 255 bytes
		sum := sha256.Sum256([]byte(base))
		base = hex.EncodeToString(sum[:])
	}
	return filepath.Join(dir, "."+base+".aloft-new")
}

// createBeside makes that file anew: one that is there is not ours to trust.
func createBeside(path string) (*os.File, error) {
	name := besideName(path)
	if err := os.Remove(name); err != nil && !absent(err) {
		return nil, err
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// explain adds the remedy to errors whose text alone helps nobody.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return &component.Failure{Err: fmt.Errorf("the disk is full: %w", err), Remedy: "free space on the machine or give it a larger disk, then run up again"}
	case errors.Is(err, syscall.EROFS):
		return &component.Failure{Err: fmt.Errorf("the file system is read-only: %w", err), Remedy: "choose a path on a writable file system"}
	case errors.Is(err, fs.ErrPermission):
		return &component.Failure{Err: err, Remedy: "run the daemon as a user with the right to do this, or choose another path"}
	}
	return err
}

// WriteFile writes a file of the daemon's own atomically and durably.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	return writeAtomic(path, content, mode, -1, -1)
}

// RemoveFile deletes a file, and what a write that was cut off left beside it;
// that there is none, or can be none of that name, is no error.
func RemoveFile(path string) error {
	for _, p := range []string{path, besideName(path)} {
		if err := os.Remove(p); err != nil && !absent(err) {
			return explain(err)
		}
	}
	return nil
}

func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// WriteFileFor is WriteFile for a file that belongs to somebody else.
func WriteFileFor(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	return writeAtomic(path, content, mode, uid, gid)
}

// CopyFile is WriteFile with the content of another file.
func CopyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return explain(err)
	}
	defer in.Close()
	f, err := createBeside(to)
	if err != nil {
		return explain(err)
	}
	return replaceDurably(f, to, mode, -1, -1, func(f *os.File) error {
		_, err := io.Copy(f, in)
		return err
	})
}
