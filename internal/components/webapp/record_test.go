package webapp

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"aloft/internal/host/catalina"
)

// FuzzRecord: a record that was damaged is told of, or read as one that can be
// written again.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"source":"a","serial":2,"placed":[{"tomcat":{"Home":"/h","URI":"u","Log":"l"},"path":"/p","source":"a","drain":1,"serial":2}]}`))
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
		again, err := readRecord(dir)
		one, _ := json.Marshal(r)
		if two, _ := json.Marshal(again); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s, %v, want %s", two, err, one)
		}
	})
}

// FuzzWAR: whatever comes for a WAR is refused, or has a descriptor that can be
// placed.
func FuzzWAR(f *testing.F) {
	f.Add([]byte("PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), warFile)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		war, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer war.Close()
		descriptor, err := checkWAR(t.Context(), war)
		if err == nil {
			err = (catalina.Context{Own: descriptor}).Check()
			if err != nil {
				t.Error(err)
			}
		}
	})
}
