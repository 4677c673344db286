package host

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"aloft/component"
)

// kept writes text where a record lies and returns the folder.
func kept(t *testing.T, file string, text []byte) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, file), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// damaged fails unless err names the file and nothing else was returned.
func damaged(t *testing.T, file string, rest any, err error) {
	t.Helper()
	if !strings.Contains(err.Error(), file) || !reflect.ValueOf(rest).IsZero() {
		t.Errorf("%+v, %v: want nothing, and an error that names %s", rest, err, file)
	}
}

func records(f *testing.F, all ...any) {
	f.Helper()
	for _, r := range all {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{`null`, `{}`, `[]`, `{`, `{"names":null,"made":[""],"pid":-1}`} {
		f.Add([]byte(text))
	}
}

// asRead fails unless two readings of a record say the same.
func asRead[T any](t *testing.T, was T, is T, err error) {
	t.Helper()
	one, _ := json.Marshal(was)
	if two, _ := json.Marshal(is); err != nil || !bytes.Equal(one, two) {
		t.Errorf("%s became %s, %v", one, two, err)
	}
}

// FuzzProcessRecord: a torn record is none, any other is written the same, and
// none makes us take hold of a process that another's start or boot tells of.
func FuzzProcessRecord(f *testing.F) {
	records(f, processRecord{Phase: phaseRunning, Pid: 1, Start: 9, Boot: "b", Spec: "s", Ready: true, Output: 4, Restarts: []time.Time{time.Unix(1, 0).UTC()}, Count: 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := kept(t, recordFile, text)
		rec, err := readRecord(folder)
		if err != nil {
			t.Fatal(err)
		}
		if rec == nil {
			if valid := json.Unmarshal(text, new(processRecord)); valid == nil {
				t.Errorf("%q was not read", text)
			}
			return
		}
		if c, ok := rec.hold(); ok {
			c.release()
			t.Errorf("took hold of process %d", rec.Pid)
		}
		if rec.write(folder) != nil {
			return // a time that JSON cannot tell
		}
		again, err := readRecord(folder)
		asRead(t, rec, again, err)
	})
}

// FuzzInstallRecord: a record of packages is read whole, or refused by name.
func FuzzInstallRecord(f *testing.F) {
	records(f, installRecord{Names: []string{"nginx"}, New: []string{"nginx", "nginx-common"}})
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := kept(t, installedFile, text)
		r, err := readInstallRecord(folder)
		if err != nil {
			damaged(t, filepath.Join(folder, installedFile), r, err)
			return
		}
		if err := r.write(folder); err != nil {
			t.Fatal(err)
		}
		again, err := readInstallRecord(folder)
		asRead(t, r, again, err)
	})
}

// FuzzFolderRecord: the record of a folder is read whole, or refused by name.
func FuzzFolderRecord(f *testing.F) {
	records(f, folderRecord{Path: "/srv/a", Existed: true, Made: []string{"/srv"}, Files: []string{"b/c"}})
	f.Fuzz(func(t *testing.T, text []byte) {
		folder := kept(t, folderFile, text)
		r, err := readFolderRecord(folder)
		if err != nil {
			damaged(t, filepath.Join(folder, folderFile), r, err)
			return
		}
		if err := r.write(folder); err != nil {
			t.Fatal(err)
		}
		again, err := readFolderRecord(folder)
		asRead(t, r, again, err)
	})
}

// FuzzOriginal: the record of what stood at a path is read whole, or refused
// by name.
func FuzzOriginal(f *testing.F) {
	records(f, original{Path: "/etc/a", Existed: true, Backup: true, Made: []string{"/etc"}})
	f.Fuzz(func(t *testing.T, text []byte) {
		k := Kept{Path: "/etc/a", WorkDir: kept(t, "file.json", text), Name: "file"}
		o, err := k.read()
		if err != nil {
			damaged(t, k.record(), o, err)
			return
		}
		again, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		k.WorkDir = kept(t, "file.json", again)
		p, err := k.read()
		asRead(t, o, p, err)
	})
}

// FuzzClaims: claims that were read can be added to, and those of components
// whose work folder is gone are not among them.
func FuzzClaims(f *testing.F) {
	records(f, claims{"/nowhere/a": {"nginx"}, "/": {"redis"}})
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(kept(t, "claims.json", text), "claims.json")
		c, err := readClaims(file)
		if err != nil {
			damaged(t, file, c, err)
			return
		}
		for workDir := range c {
			if _, err := os.Stat(workDir); os.IsNotExist(err) {
				t.Errorf("%q claims something", workDir)
			}
		}
		c["/here"] = []string{"curl"}
		if others := c.others("/there"); len(others) == 0 {
			t.Error("what was added is not claimed")
		}
	})
}

// FuzzListeners: no line of /proc/net gives a listener that is not in it.
func FuzzListeners(f *testing.F) {
	f.Add("  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 0\n")
	f.Add("0: 00000000000000000000000001000000:0016 0:0 0A 0 0 0 0 0 7\n0: 0100007F:1F90 0:0 01 0 0 0 0 0 8\n")
	f.Fuzz(func(t *testing.T, table string) {
		found := listeners(strings.NewReader(table))
		if n := strings.Count(table, "0A"); len(found) > n {
			t.Errorf("%d listeners in %q", len(found), table)
		}
		for _, l := range found {
			if !l.at.IsValid() || !strings.Contains(table, l.inode) {
				t.Errorf("%+v in %q", l, table)
			}
		}
	})
}

// FuzzAptStatus: whatever apt tells, progress is a share of the whole, with a
// text.
func FuzzAptStatus(f *testing.F) {
	f.Add("dlstatus:1:20.5:Retrieving\npmstatus:nginx:-7:Unpacking: nginx\npmstatus:nginx:1e9:Done\n")
	f.Add("pmstatus:a:NaN:b\npmerror:a:1:b\npmstatus:::\n")
	f.Fuzz(func(t *testing.T, text string) {
		apt{env: told{t: t}}.follow(strings.NewReader(text))
	})
}

// told is an environment that checks what it is told of an operation.
type told struct {
	component.Environment
	t *testing.T
}

func (e told) Progress(share float64, text string) {
	if math.IsNaN(share) || share < 0 || share > 1 || text == "" {
		e.t.Errorf("progress %v %q", share, text)
	}
}
