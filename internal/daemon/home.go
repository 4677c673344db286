package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"aloft/internal/durable"
)

// home is a state folder, locked by this daemon.
type home struct {
	dir     string
	id      string // eight hexadecimal digits: in the names of everything made outside
	machine string // machine id (UUID) of this daemon
	lock    *os.File
}

// openHome locks the folder and reads its ids, or makes them.
func openHome(dir string) (*home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	h := &home{dir: dir}
	var err error
	h.lock, err = lockFile(h.path("daemon.lock"))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another daemon runs for %s: end it with 'aloft --home %s daemon stop'", dir, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	if err := h.identify(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// lockFile opens a file and locks it; unix.EWOULDBLOCK where another has.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openIDs reads the ids of a folder, or makes them, without locking it: its
// daemon may run.
func openIDs(dir string) (*home, error) {
	h := &home{dir: dir}
	return h, h.identify()
}

func (h *home) identify() (err error) {
	h.id, err = h.remember("home-id", func() string {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		return hex.EncodeToString(b[:])
	})
	if err == nil {
		h.machine, err = h.remember("machine-id", uuid.NewString)
	}
	return err
}

func (h *home) close() { h.lock.Close() }

func (h *home) path(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

// remember returns what a file holds, and writes it first where there is none.
func (h *home) remember(name string, make func() string) (string, error) {
	b, err := os.ReadFile(h.path(name))
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	text := make()
	return text, durable.WriteFile(h.path(name), []byte(text+"\n"))
}
