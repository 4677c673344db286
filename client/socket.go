package client

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocket is the longest path, in bytes, that a socket is given; the kernel
// takes 107.
const maxSocket = 100

// socketRecord is the file in a home that says where its daemon listens when
// that is not in the home itself.
const socketRecord = "socket"

// SocketPath returns where the daemon of home listens: aloft.sock in the home,
// or if that path is too long a name made from the home's in $XDG_RUNTIME_DIR
// or in a folder of this user in /tmp. A daemon records the last with
// RecordSocket, so that callers with another environment find it.
func SocketPath(home string, getenv func(string) string) string {
	if text, err := os.ReadFile(filepath.Join(home, socketRecord)); err == nil {
		if path := strings.TrimSpace(string(text)); filepath.IsAbs(path) {
			return path
		}
	}
	path := filepath.Join(home, "aloft.sock")
	if len(path) <= maxSocket {
		return path
	}
	sum := sha256.Sum256([]byte(home))
	name := hex.EncodeToString(sum[:8]) + ".sock"
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		if path := filepath.Join(dir, "aloft", name); len(path) <= maxSocket {
			return path
		}
	}
	return filepath.Join("/tmp", "aloft-"+strconv.Itoa(os.Geteuid()), name)
}

// RecordSocket notes in home where its daemon listens. The daemon calls it,
// holding the home's lock, before it listens.
func RecordSocket(home, path string) error {
	record := filepath.Join(home, socketRecord)
	if filepath.Dir(path) == filepath.Clean(home) {
		if err := os.Remove(record); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("record of the socket: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(record, []byte(path+"\n"), 0o600); err != nil {
		return fmt.Errorf("record of the socket: %w", err)
	}
	return nil
}
