package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzJoin: what a former join has left is kept for the same member, removed
// for another one of the same cluster, and in every other case left alone under
// an error that names the folder.
func FuzzJoin(f *testing.F) {
	want := Join{Cluster: "c", Member: "7", Members: map[string]string{"a:1": "a"}}
	for _, former := range []Join{want, {Cluster: "c", Member: "8"}, {Cluster: "d", Member: "7"}} {
		text, err := json.Marshal(former)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`null`))
	f.Add([]byte(`{"cluster":"c","member":7}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg := Config{Dir: t.TempDir(), Peer: &Peer{}, Join: &want}
		data := filepath.Join(cfg.Dir, "etcd")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(cfg.Dir, "join.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var former Join
		readable := json.Unmarshal(text, &former) == nil
		err := prepareJoin(cfg)
		_, gone := os.Stat(data)
		switch {
		case !readable || former.Cluster != want.Cluster:
			if err == nil || gone != nil || !strings.Contains(err.Error(), cfg.Dir) {
				t.Errorf("%v, %v", err, gone)
			}
			return
		case err != nil:
			t.Fatal(err)
		case (gone == nil) != (former.Member == want.Member):
			t.Errorf("the store of member %v: %v", former.Member, gone)
		}
		var now Join
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &now); err != nil || now.Member != want.Member || now.Cluster != want.Cluster {
			t.Errorf("the join kept is %s, %v", b, err)
		}
	})
}
