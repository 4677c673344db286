package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzBlockRecord: whatever the record of lines in a file says of a file, what is
// not the component's stays in it.
func FuzzBlockRecord(f *testing.F) {
	f.Add([]byte(`{"path":"PATH","existed":true,"ended":false,"made":[]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, hosts := t.TempDir(), filepath.Join(t.TempDir(), "hosts")
		b = []byte(strings.ReplaceAll(string(b), "PATH", hosts))
		if !strings.Contains(string(b), hosts) && strings.Contains(string(b), "/") {
			return // another file of this host is not for a test to change
		}
		if err := os.WriteFile(hosts, []byte("theirs\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, blockFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = RemoveBlock(dir, "aloft-x")
		if text, err := os.ReadFile(hosts); err != nil || !strings.HasPrefix(string(text), "theirs") {
			t.Errorf("%q, %v", text, err)
		}
	})
}

// FuzzTaskRecord: a damaged record of a program that ran is told of, and ends
// nobody else's.
func FuzzTaskRecord(f *testing.F) {
	f.Add([]byte(`{"mark":"ALOFT_TASK=x"}`))
	f.Add([]byte(`{"mark":""}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "mark") && !strings.Contains(string(b), taskMark) && !strings.Contains(string(b), `""`) {
			return // processes of this host are not for a test to end
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, taskFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		err := endCutOff(t.Context(), dir)
		if _, gone := os.Lstat(filepath.Join(dir, taskFile)); (err == nil) != (gone != nil) {
			t.Errorf("%v, and the record: %v", err, gone)
		}
	})
}
