package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyADaemonsOwnLogIsRotated(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	if got, want := logFile(open("daemon.log", os.O_APPEND)), filepath.Join(dir, "daemon.log"); got != want {
		t.Errorf("the daemon's log is %q, want %q", got, want)
	}
	if got := logFile(open("daemon.log", 0)); got != "" {
		t.Errorf("%s would be cut under a writer that goes on at its old end", got)
	}
	if got := logFile(open("mine.log", os.O_APPEND)); got != "" {
		t.Errorf("%s is its user's", got)
	}
	if got := logFile(&bytes.Buffer{}); got != "" {
		t.Errorf("%s is no file", got)
	}
}
