package service

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// FuzzRecord: a record that was damaged is told of, or read as one that names
// who runs the service, and is the same when it was written again.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"by":"OpenRC","name":"cron","active":true,"levels":["default"]}`))
	f.Add([]byte(`{"by":"systemd","name":"--all"}`))
	f.Add([]byte(`{"by":"command"}`))
	f.Add([]byte(`{"by":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, recordFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, met, err := readRecord(dir)
		if err != nil || !met {
			return
		}
		if keepers[r.By] == nil && r.By != byCommand {
			t.Fatalf("run by %q", r.By)
		}
		if r.By != byCommand && checkName(r.Name) != nil {
			t.Fatalf("%s is to know %q", r.By, r.Name)
		}
		if err := r.write(dir); err != nil {
			t.Fatal(err)
		}
		again, _, err := readRecord(dir)
		if len(r.Levels) == 0 {
			r.Levels, again.Levels = nil, nil
		}
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}
