package local

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/names"
	"aloft/internal/drivers/local/pool"
	"aloft/provider"
)

// FuzzRecord: a record is that of its folder's machine, and saved the same.
func FuzzRecord(f *testing.F) {
	const ref = "3b1f8f5e-0000-4000-8000-000000000001"
	text, err := json.Marshal(record{
		Ref: ref, Token: "t", Name: "shop/web", Mark: provider.Mark{Machine: ref}, UserData: []byte("{}"), Form: Light, Offset: 2,
		Address: netip.MustParseAddr("10.88.0.2"), Stack: []light.Layer{{Point: "/", Name: "0"}}, Created: time.Unix(1, 0).UTC(), Phase: made,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"ref":"` + ref + `","token":""}`))
	f.Add([]byte(`{"ref":"..","token":"t"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &Driver{config: Config{Home: t.TempDir()}}
		dir := d.folderOf(ref)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, recordFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readRecord(dir)
		if err != nil {
			return
		}
		if r.Ref != ref || r.Token == "" {
			t.Fatalf("taken for that of %s: %+v", ref, r)
		}
		if d.save(r, false) != nil {
			return // a time that JSON cannot tell
		}
		again, err := readRecord(dir)
		one, _ := json.Marshal(r)
		if two, _ := json.Marshal(again); err != nil || string(one) != string(two) {
			t.Errorf("%s became %s, %v", one, two, err)
		}
	})
}

// FuzzNetworks: the networks kept can be added to, or the error names the file.
func FuzzNetworks(f *testing.F) {
	f.Add([]byte(`{"` + pool.Light + `":"10.88.0.0/20"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"a":""}`))
	f.Add([]byte(`{"a":"10.0.0.0/99"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), networksFile)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := readNetworks(file)
		if err != nil {
			if known != nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%v, %v", known, err)
			}
			return
		}
		known["more"] = netip.MustParsePrefix("127.1.2.0/24")
		b, err := json.Marshal(known)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if again, err := readNetworks(file); err != nil || !reflect.DeepEqual(again, known) {
			t.Errorf("%v became %v, %v", known, again, err)
		}
	})
}

// FuzzMounts: of a table of mounts only the home's own are found.
func FuzzMounts(f *testing.F) {
	home := names.Home("0a1b2c3d")
	f.Add(home.Source() + " /a tmpfs rw 0 0\n/dev/sda / ext4 rw 0 0\n" + home.Source() + " /a/b overlay rw 0 0\n")
	f.Add(home.Source() + "\n" + home.Source() + "9 /c tmpfs rw 0 0\n")
	f.Fuzz(func(t *testing.T, table string) {
		found := mountsOf(home, strings.NewReader(table))
		if len(found) > strings.Count(table, home.Source()) {
			t.Errorf("%d mounts in %q", len(found), table)
		}
		for _, m := range found {
			if m.Kind != ItemMount || m.Home != string(home) || !strings.Contains(table, m.Name) {
				t.Errorf("%+v in %q", m, table)
			}
		}
	})
}
