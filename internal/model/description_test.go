package model

import (
	"encoding/json"
	"testing"

	"aloft/value"
)

func example() *Description {
	return &Description{
		Name: "shop", File: "shop.sf",
		Root: comp(
			attr("m1", comp(attr("ip", lazy("PARENT:x")), attr("n", value.Long(1<<60)))),
			value.Attr{Name: "t", Value: value.Vector{value.Float(1), value.TBD{}}, Tags: []string{"a"}},
		),
		Sources: []Source{{Component: "m1", Attr: "source", Path: "app.py", Digest: "sha256:00", Size: 3, Mode: 0o644}},
	}
}

func TestDescriptionSurvivesTheWire(t *testing.T) {
	text, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	var got Description
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := example()
	if got.Name != want.Name || got.File != want.File || !value.Equal(got.Root, want.Root) ||
		len(got.Sources) != 1 || got.Sources[0] != want.Sources[0] {
		t.Errorf("got %+v", got)
	}
	if a, _ := got.Root.Attr("m1"); a.Pos.Line != 1 {
		t.Errorf("the place of m1 is lost: %v", a.Pos)
	}
	if got.Digest() != want.Digest() {
		t.Error("the digest changed on the way")
	}
}

func TestDigestChangesWithValuesAndSourcesOnly(t *testing.T) {
	base := example().Digest()
	d := example()
	d.Name, d.File = "other", "other.sf"
	if d.Digest() != base {
		t.Error("the name changes the digest")
	}
	d.Sources[0].Digest = "sha256:01"
	if d.Digest() == base {
		t.Error("a changed source does not change the digest")
	}
	d = example()
	d.Root = comp()
	if d.Digest() == base {
		t.Error("a changed value does not change the digest")
	}
}

func FuzzDescriptionDecoding(f *testing.F) {
	text, err := json.Marshal(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"root":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Description
		if json.Unmarshal(text, &d) != nil {
			return
		}
		again, err := json.Marshal(&d)
		if err != nil {
			t.Fatal(err)
		}
		var e Description
		if err := json.Unmarshal(again, &e); err != nil || e.Digest() != d.Digest() {
			t.Errorf("%v: %s reads differently as %s", err, text, again)
		}
	})
}
