package mediawiki

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/internal/host"
	"aloft/value"
)

// Whatever a description says, it stays a value of the settings, and comes out
// as it went in.
func FuzzSettings(f *testing.F) {
	f.Add(`It's "$wiki"`, `p'w"\ ?> <?php exit;`)
	f.Fuzz(func(t *testing.T, name, password string) {
		if wrong("siteName", name) != "" || strings.ContainsRune(password, '\ufffd') {
			return
		}
		w := wiki{siteName: name, path: "/w", db: database{host: "h", port: 1, user: "u", password: strings.ToValidUTF8(password, "")}}
		b, err := w.settings()
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := json.Unmarshal(b, &back); err != nil || back["Sitename"] != name || back["DBpassword"] != w.db.password {
			t.Errorf("%q and %q are %v in the settings (%v)", name, password, back, err)
		}
	})
}

// A record that something else has written is an error or a place, not a panic.
func FuzzPlaced(f *testing.F) {
	f.Add([]byte(`{"home":"/x","uri":"http://h/","path":"/w","phpPort":9100}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, placedFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		w := wiki{workDir: dir, path: "/w", at: container{home: "/x", uri: "http://h/"}}
		p, err := w.remember()
		if err != nil {
			return
		}
		var again placed
		if found, err := host.ReadRecord(dir, placedFile, &again); !found || err != nil || again != p {
			t.Errorf("%+v is noted as %+v, %v", p, again, err)
		}
	})
}

func TestAllWebMachinesHaveTheSameKeys(t *testing.T) {
	one := database{host: "a", port: 1, user: "u", password: "secret"}
	two := database{host: "b", port: 2, user: "u", password: "secret"}
	if one.key("secret") != two.key("secret") || one.key("secret") == one.key("upgrade") || strings.Contains(one.key("secret"), "secret") {
		t.Errorf("%s, %s, %s", one.key("secret"), two.key("secret"), one.key("upgrade"))
	}
}

func TestApplicationIsWellFormed(t *testing.T) {
	w := wiki{name: "n", path: "/a/b", phpPort: 9100}
	for what, make := range map[string]func() ([]byte, error){"web.xml": w.webXML, "descriptor": w.descriptor} {
		b, err := make()
		var x struct {
			XMLName xml.Name
		}
		if err == nil {
			err = xml.Unmarshal(b, &x)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", what, err, b)
		}
	}
}

func TestDatabaseThatCannotBeUsedIsSaid(t *testing.T) {
	text := func(pairs ...string) *value.Component {
		c := value.NewComponent(true)
		for i := 0; i < len(pairs); i += 2 {
			c.Set(value.Attr{Name: pairs[i], Value: value.String(pairs[i+1])})
		}
		c.Set(value.Attr{Name: "port", Value: value.Integer(3306)})
		return c
	}
	for name, c := range map[string]*value.Component{
		"no host":         text("user", "u", "password", "p"),
		"no password":     text("host", "h", "user", "u"),
		"a host of words": text("host", "h --x", "user", "u", "password", "p"),
	} {
		if _, err := readDatabase(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if d, err := readDatabase(text("host", "h", "rootPassword", "r")); err != nil || d.user != "root" || d.password != "r" {
		t.Errorf("a server without another user: %+v, %v", d, err)
	}
}
