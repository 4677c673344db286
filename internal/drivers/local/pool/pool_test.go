package pool

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"aloft/internal/drivers/local/names"
)

func prefixes(t *testing.T, list ...string) (all []netip.Prefix) {
	t.Helper()
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestFirstFreeNetworkIsChosen(t *testing.T) {
	tests := map[string]struct {
		kind, preferred string
		used            []string
		want            string // "" for none
	}{
		"nothing used":            {kind: Light, want: "10.88.0.0/20"},
		"the first used":          {kind: Light, used: []string{"10.88.0.0/20"}, want: "10.88.16.0/20"},
		"a host in the first":     {kind: Light, used: []string{"10.88.15.255/32"}, want: "10.88.16.0/20"},
		"a wide route":            {kind: Light, used: []string{"10.88.0.0/16"}, want: "10.89.0.0/20"},
		"preferred":               {kind: Light, preferred: "10.90.32.0/20", want: "10.90.32.0/20"},
		"preferred is another's":  {kind: Light, preferred: "10.90.32.0/20", used: []string{"10.90.0.0/16"}, want: "10.88.0.0/20"},
		"all used":                {kind: Light, used: []string{"10.0.0.0/8"}},
		"loopback by the home":    {kind: Loopback, want: "127.1.16.0/24"},
		"loopback, next":          {kind: Loopback, used: []string{"127.1.16.0/24"}, want: "127.1.17.0/24"},
		"loopback never the host": {kind: Loopback, used: []string{"127.1.0.0/16", "127.2.0.0/15", "127.4.0.0/14", "127.8.0.0/13", "127.16.0.0/12", "127.32.0.0/11", "127.64.0.0/10", "127.128.0.0/9"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var preferred netip.Prefix
			if test.preferred != "" {
				preferred = netip.MustParsePrefix(test.preferred)
			}
			got, err := choose(test.kind, names.Home("00000010"), preferred, prefixes(t, test.used...))
			if test.want == "" {
				if !errors.Is(err, ErrNone) {
					t.Errorf("chose %s, %v", got, err)
				}
			} else if err != nil || got.String() != test.want {
				t.Errorf("chose %s, %v; want %s", got, err, test.want)
			}
		})
	}
}

// registry returns a registry in folders of the test's own.
func registry(dir string, id names.Home, home string) *Registry {
	return &Registry{own: Entry{ID: id, Path: home}, write: dir, read: []string{dir}}
}

func TestHomesHaveDifferentNetworks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	homes := []string{t.TempDir(), t.TempDir()}
	a, b := registry(dir, "00000001", homes[0]), registry(dir, "00000001", homes[0])
	first, err := a.Claim(Loopback, netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Claim(Loopback, first); err != nil || again != first {
		t.Errorf("the same home again: %s, %v; want %s", again, err, first)
	}
	c := registry(dir, "00000002", homes[1])
	if other, err := c.Claim(Loopback, first); err != nil || other == first {
		t.Errorf("another home: %s, %v", other, err)
	}
	others, err := c.Others()
	if err != nil || len(others) != 1 || others[0].Path != homes[0] {
		t.Errorf("others: %+v, %v", others, err)
	}
	// A home that is gone holds nothing.
	if err := os.Remove(homes[0]); err != nil {
		t.Fatal(err)
	}
	d := registry(dir, "00000003", t.TempDir())
	if got, err := d.Claim(Loopback, first); err != nil || got != first {
		t.Errorf("after the first home is gone: %s, %v; want %s", got, err, first)
	}
	if left := d.Left("00000001"); len(left) != 1 {
		t.Errorf("entries of the home that is gone: %q", left)
	}
	if left := d.Left("00000002"); len(left) != 0 {
		t.Errorf("entries of a home that exists: %q", left)
	}
	for _, r := range []*Registry{a, c, d} {
		if err := r.Leave(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the registry outlives its last home: %v", err)
	}
}

func TestAnEntrySpeaksOnlyForItsOwnersFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only the superuser can give files away")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "00000001.json")
	if err := os.WriteFile(file, []byte(`{"id":"00000001","path":"/usr"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if others, err := registry(dir, "00000002", t.TempDir()).Others(); err != nil || len(others) != 0 {
		t.Errorf("others: %+v, %v", others, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"0123abcd","path":"/h","networks":{"light":"10.88.0.0/20"}}`))
	f.Add([]byte(`{"id":"0123abcd","path":"h","networks":{"light":"::/0"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parse(b)
		if err != nil {
			return
		}
		out, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parse(out); err != nil || again.ID != e.ID || again.Path != e.Path || !maps.Equal(again.Networks, e.Networks) {
			t.Errorf("%s read as %+v, then as %+v, %v", b, e, again, err)
		}
	})
}

func TestNth(t *testing.T) {
	p := netip.MustParsePrefix("10.88.16.0/20")
	for n, want := range map[int]string{0: "10.88.16.0", 1: "10.88.16.1", 256: "10.88.17.0", 4095: "10.88.31.255"} {
		if got := Nth(p, n); got.String() != want {
			t.Errorf("number %d is %s, want %s", n, got, want)
		}
	}
	if Size(p) != 4096 {
		t.Errorf("size %d", Size(p))
	}
}
