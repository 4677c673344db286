// Package durable writes files of which a crash leaves the old content or the
// new one, never a part of either.
package durable

import (
	"errors"
	"os"
	"path/filepath"

	"aloft/internal/crash"
)

// WriteFile replaces a file of mode 0600 whole. It is on the disk when
// WriteFile returns.
func WriteFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	crash.Here("before " + filepath.Base(path) + " has its place")
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	crash.Here("after " + filepath.Base(path) + " has its place")
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
