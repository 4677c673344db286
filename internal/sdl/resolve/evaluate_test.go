package resolve

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"aloft/internal/model"
	"aloft/value"
)

// lateValue resolves a description, makes its attribute sfConfig:name absolute
// and evaluates it with the outputs given.
func lateValue(t *testing.T, text, name string, outputs map[string]value.Value) (value.Value, error) {
	t.Helper()
	res := resolveText(t, text, Options{})
	if res.Description == nil {
		t.Fatal(res.Diagnostics.All())
	}
	tree := model.NewTree(res.Description.Root)
	a, _ := tree.Root.Comp.Attr(name)
	v, _, problems := model.Absolute(tree, tree.Root, a, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r, isRef := v.(*value.Reference)
	if !isRef || r.Apply == nil {
		t.Fatalf("%s is not a LAZY function: %s", name, value.Text(v))
	}
	return Evaluate(context.Background(), r, time.Unix(0, 0), func(r *value.Reference) (value.Value, error) {
		if v, found := outputs[value.RefText(&value.Reference{Parts: r.Parts})]; found {
			return v, nil
		}
		return nil, errors.New("no value for " + value.RefText(r))
	})
}

func TestLazyFunctionsAreEvaluatedOnTheMachine(t *testing.T) {
	const text = `sfConfig extends { m extends { } port 80;
  url ("http://" ++ LAZY m:ip ++ ":" ++ (port + 1));
  pick IF (LAZY m:up) THEN (LAZY m:ip) ELSE (LAZY m:none) FI;
  list [ LAZY m:ip, 2, [| NULL |], (extends { x 1; }) ];
  same ((LAZY m:ip) == "10.0.0.1");
  both (LAZY m:up && LAZY m:none);
  div (1 / LAZY m:zero);
}`
	outputs := map[string]value.Value{
		"ROOT:m:ip": value.String("10.0.0.1"), "ROOT:m:up": value.Bool(true), "ROOT:m:zero": value.Integer(0),
	}
	for _, c := range []struct{ name, want, err string }{
		{"url", `"http://10.0.0.1:81"`, ""},
		{"pick", `"10.0.0.1"`, ""},
		{"list", `["10.0.0.1",2,[null],{"$cd":"eager","attrs":[["x",1]]}]`, ""},
		{"same", `true`, ""},
		{"both", "", "no value for LAZY ROOT:m:none"},
		{"div", "", "division by zero"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := lateValue(t, text, c.name, outputs)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, %v, want the error %s", v, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(value.TypedJSON(v)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEvaluateRefusesWhatIsNoFunction(t *testing.T) {
	for _, r := range []*value.Reference{nil, {Lazy: true}, {Lazy: true, Assert: true, Apply: value.NewComponent(true)}, {Lazy: true, Apply: value.NewComponent(true)}} {
		if _, err := Evaluate(context.Background(), r, time.Time{}, nil); err == nil {
			t.Errorf("%+v is evaluated", r)
		}
	}
}
