package sysctl

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRecord: a record that was damaged is told of, or read as one that can be
// added to and written again.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"before":{"net.core.somaxconn":"128"}}`))
	f.Add([]byte(`{"before":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readRecord(dir)
		if err != nil {
			return
		}
		r.Before["kernel.x"] = "1"
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
		if again, err := readRecord(dir); err != nil || !maps.Equal(again.Before, r.Before) {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}
