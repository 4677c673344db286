package resolve_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// kept returns the assertion that resolving text keeps in sfConfig's attribute
// check, and sfConfig.
func kept(t *testing.T, text string) (*value.Reference, *value.Component) {
	t.Helper()
	res, err := resolve.Resolve(t.Context(), resolve.Source{Folder: resolve.Folder{FS: fstest.MapFS{}}, Name: "site.sf", Text: []byte("#include \"components.sf\"\n" + text)}, resolve.Options{})
	if err != nil || res.Description == nil {
		t.Fatalf("%v %v", err, res.Diagnostics.All())
	}
	v, _ := res.Description.Root.Get("check")
	r, ok := v.(*value.Reference)
	if !ok || !r.Assert {
		t.Fatalf("check is %T", v)
	}
	return r, res.Description.Root
}

func TestAssertSaysAllThatDoesNotHold(t *testing.T) {
	read := func(r *value.Reference) (value.Value, error) {
		if value.LinkText(r.Parts) == "ip" {
			return value.String("10.0.0.1"), nil
		}
		return nil, errors.New("not known here")
	}
	for name, c := range map[string]struct{ text, want string }{
		"holds":        {`ip LAZY m:ip; check extends Assertions { a (ip == "10.0.0.1"); }`, ""},
		"false":        {`ip LAZY m:ip; check extends Assertions { a (ip == "x"); b true; c (ip != "10.0.0.1"); }`, "assertion failed: a is false, c is false"},
		"not boolean":  {`ip LAZY m:ip; check extends Assertions { a (ip ++ "x"); }`, `assertion failed: a is not a boolean but`},
		"unknown":      {`other LAZY m:x; check extends Assertions { a (other == 1); }`, "assertion failed: a: "},
		"right schema": {`ip LAZY m:ip; check extends Schema { ip extends String { binding "lazy"; } }`, ""},
		"wrong schema": {`ip LAZY m:ip; check extends Schema { ip extends Integer; gone extends OptionalString; }`, "attribute ip has the wrong type: expected integer, found"},
	} {
		t.Run(name, func(t *testing.T) {
			assertion, holder := kept(t, "sfConfig extends { "+c.text+" }")
			late := value.NewComponent(false)
			for a := range holder.All() {
				if a.Name == "ip" {
					a.Value = value.String("10.0.0.1")
				}
				late.Set(a)
			}
			err := resolve.Assert(t.Context(), assertion, late, time.Time{}, read)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAssertTakesAssertionsOnly(t *testing.T) {
	if err := resolve.Assert(t.Context(), &value.Reference{}, value.NewComponent(false), time.Time{}, nil); err == nil {
		t.Error("a reference was taken for an assertion")
	}
}
