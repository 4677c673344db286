package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"aloft/component"
)

// writeAtomic writes content beside path and renames it over path, durable
// when it returns. A negative uid or gid keeps the writer's.
func writeAtomic(path string, content []byte, mode fs.FileMode, uid, gid int) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return explain(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = explain(err)
		}
	}()
	if _, err := f.Write(content); err != nil {
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
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
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

// RemoveFile deletes a file; that there is none, or can be none of that name,
// is no error.
func RemoveFile(path string) error {
	if err := os.Remove(path); err != nil && !absent(err) {
		return explain(err)
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
