package catalina

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// element is any element, with what is in it.
type element struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Inside  []element  `xml:",any"`
}

func (e element) attr(name string) (values []string) {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			values = append(values, a.Value)
		}
	}
	return values
}

// FuzzDescriptor: whatever descriptor an application brings, what is written
// serves what is said, once, and ends with the question whether it is up.
func FuzzDescriptor(f *testing.F) {
	for _, text := range []string{
		`<Context/>`, `<Context docBase="/etc" path="/x" privileged="true"><Resource name="a" url="b&amp;c"/>text</Context>`,
		`<Context xmlns:x="y" x:docBase="/etc"/>`, `<Context/><Context/>`, `<Server/>`, `<!DOCTYPE c [<!ENTITY e SYSTEM "file:///etc/passwd">]><Context a="&e;"/>`, ``, `<`,
	} {
		f.Add([]byte(text), "/srv/a.war", true)
	}
	f.Fuzz(func(t *testing.T, own []byte, docBase string, privileged bool) {
		b, err := Context{DocBase: docBase, Privileged: privileged, Own: own}.encode("/health")
		if err != nil {
			return
		}
		var root element
		if err := xml.Unmarshal(b, &root); err != nil {
			t.Fatalf("%q became %q: %v", own, b, err)
		}
		if got := root.attr("docBase"); root.XMLName.Local != "Context" || len(got) != 1 || len(root.attr("unloadDelay")) != 1 || len(root.attr("path")) != 0 {
			t.Fatalf("%q became %q", own, b)
		}
		n := len(root.Inside)
		if n == 0 || root.Inside[n-1].XMLName.Local != "Valve" || root.Inside[n-1].attr("path")[0] != "/health" {
			t.Errorf("%q became %q", own, b)
		}
	})
}

func TestOnlyPathsOfApplicationsAreTaken(t *testing.T) {
	for _, good := range []string{"", "/shop", "/eu/shop-1.2_~"} {
		if err := CheckPath(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"shop", "/", "/a/", "/a//b", "/a#b", "/a##1", "/..", "/a/../b", "/.", "/WEB-INF", "/meta-inf/x", "/ROOT", "/a b", "/a\n", "/ä", "/" + strings.Repeat("x", 200)} {
		if CheckPath(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A path has one owner; names of versions sort by when they were placed.
func TestPathBelongsToOne(t *testing.T) {
	home := t.TempDir()
	if err := Make(home); err != nil {
		t.Fatal(err)
	}
	mine := Version{Tomcat: Tomcat{Home: home}, Path: "/eu/shop", Owner: "a", Serial: 9}
	if err := mine.Place(Context{DocBase: "/srv/a.war", Drain: time.Minute}); err != nil {
		t.Fatal(err)
	}
	next := mine
	next.Serial = 10
	if err := next.Rival(); err != nil || next.name() < mine.name() {
		t.Errorf("%s after %s: %v", next.name(), mine.name(), err)
	}
	for path, rival := range map[string]bool{"/eu/shop": true, "/eu": false, "": false, "/eu/shop/x": false} {
		if err := (Version{Tomcat: mine.Tomcat, Path: path, Owner: "b"}).Rival(); (err != nil) != rival {
			t.Errorf("%q of another: %v", path, err)
		}
	}
	if err := os.WriteFile(filepath.Join(home, contexts, "wiki.xml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if (Version{Tomcat: mine.Tomcat, Path: "/wiki", Owner: "a"}).Rival() == nil {
		t.Error("a descriptor of nobody is no rival")
	}
}
