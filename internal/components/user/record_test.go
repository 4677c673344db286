package user

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzRecord: a record that was damaged is told of, or read as one that can be
// written again.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"name":"a","existed":true,"account":{"UID":1,"GID":2,"home":"/home/a","shell":"/bin/sh","groups":["b"]}}`))
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
		if again, err := readRecord(dir); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}
