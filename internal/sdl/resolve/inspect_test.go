package resolve

import (
	"strings"
	"testing"
	"testing/fstest"

	"aloft/internal/model"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

const inspected = `#include "parts.sf"
Broken extends NoSuch { here 1; }
App extends Base { port 90; inner extends { x LAZY db:host; } }
sfConfig extends {
  db extends { host "h"; }
  a extends App { port 91; }
  a:inner:y 3;
  b extends Broken;
}
`

func inspect(t *testing.T) *Inspection {
	t.Helper()
	folder := Folder{FS: fstest.MapFS{"parts.sf": {Data: []byte("Base extends { port 80; }\n")}}}
	in, err := Inspect(t.Context(), Source{Folder: folder, Name: "m.sf", Text: []byte(inspected)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func member(t *testing.T, s Scope, path ...string) Member {
	t.Helper()
	var m Member
	for i, name := range path {
		var ok bool
		if m, ok = s.Member(name); !ok {
			t.Fatalf("no %s in %v", name, s.Path())
		}
		if i < len(path)-1 {
			s = m.Inside
		}
	}
	return m
}

func TestInspectionGoesOnAfterMistakes(t *testing.T) {
	in := inspect(t)
	if m := member(t, in.Root(), "sfConfig", "b", "here"); m.Source == nil {
		t.Error("what extends something broken lost what is not")
	}
	if got := strings.Join(in.Includes(), " "); got != "m.sf parts.sf" {
		t.Errorf("files read: %s", got)
	}
	protos := member(t, in.Root(), "sfConfig", "a").Inside.Prototypes()
	if len(protos) != 1 || protos[0].Found.Name() != "App" {
		t.Errorf("a extends %v", protos)
	}
	protos = member(t, in.Root(), "Broken").Inside.Prototypes()
	if len(protos) != 1 || protos[0].Found.Valid() {
		t.Errorf("Broken extends %v", protos)
	}
}

func TestPlacesLeadToEveryInstanceOfAComponent(t *testing.T) {
	in := inspect(t)
	at := in.At("m.sf", 3, len("App extends Base { port 90; inner extends { x"))
	if len(at) != 2 || at[0].Copy() || !at[1].Copy() {
		t.Fatalf("inner of App has the instances %v", at)
	}
	if p := strings.Join(at[1].Path(), ":"); p != "sfConfig:a:inner" {
		t.Errorf("the copy is %s", p)
	}
	link := []value.Part{{Kind: value.PartAttrib, Name: "db"}, {Kind: value.PartHere, Name: "host"}}
	if steps := at[0].Walk(link); steps[0].Kind != model.NotFound && steps[0].Kind != model.Missing {
		t.Errorf("in the template db is found: %v", steps)
	}
	steps := at[1].Walk(link)
	if len(steps) != 2 || steps[1].Source != member(t, in.Root(), "sfConfig", "db", "host").Source {
		t.Errorf("in the instance db:host is %v", steps)
	}
	if app := in.At("m.sf", 3, len("App extends Base { p")); len(app) != 2 || app[1].Name() != "a" {
		t.Errorf("the text of App belongs to %v", app)
	}
	if top := in.At("parts.sf", 9, 1); len(top) != 1 || top[0] != in.Root() {
		t.Errorf("behind all of parts.sf is %v", top)
	}
}

func TestAttributesThatTakeEachOthersPlaceAreKin(t *testing.T) {
	in := inspect(t)
	base := member(t, in.Root(), "Base", "port").Source
	app := member(t, in.Root(), "App", "port").Source
	a := member(t, in.Root(), "sfConfig", "a", "port").Source
	if base == app || app == a {
		t.Fatal("the three are written apart")
	}
	if in.Kin(base) != in.Kin(app) || in.Kin(app) != in.Kin(a) {
		t.Error("an attribute and those that override it are no kin")
	}
	if in.Kin(a) == in.Kin(member(t, in.Root(), "sfConfig", "db", "host").Source) {
		t.Error("port and host are kin")
	}
}

func TestPlacementsTellWhatTheirWordsFound(t *testing.T) {
	in := inspect(t)
	places := in.Placements()
	if len(places) != 1 {
		t.Fatalf("%d placements", len(places))
	}
	p := places[0]
	want := []*syntax.Attribute{member(t, in.Root(), "sfConfig", "a").Source, member(t, in.Root(), "App", "inner").Source}
	if len(p.Steps) != 2 || p.Steps[0] != want[0] || p.Steps[1] != want[1] {
		t.Errorf("steps %v, want %v", p.Steps, want)
	}
	if got := strings.Join(p.Target.Path(), ":"); got != "sfConfig:a:inner" {
		t.Errorf("placed in %s", got)
	}
}
