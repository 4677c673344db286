package download

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzRecord: a record that was damaged is told of, or read as one that can be
// written again.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"source":"a","digest":"sha256:b"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readRecord(dir)
		if err != nil {
			return
		}
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
		if again, err := readRecord(dir); err != nil || again != r {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}
