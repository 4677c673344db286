package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

func lazy(names ...string) *value.Reference {
	r := &value.Reference{Lazy: true, Parts: []value.Part{{Kind: value.PartRoot}}}
	for _, n := range names {
		r.Parts = append(r.Parts, value.Part{Kind: value.PartHere, Name: n})
	}
	return r
}

// certifying is a system in which m has a certificate cert for names, and a
// component app with these attributes, of which m tells what told says.
func certifying(names value.Value, described, told *value.Component) *system {
	cert := value.NewComponent(false, value.Attr{Name: "names", Value: names}, value.Attr{Name: "days", Value: value.Integer(90)})
	s := newSystem(&Control{cfg: Config{Machines: here{}, Classes: classes{{Name: certifies}}}}, "sys", nil)
	s.head, s.held = &controlpb.System{Deployment: "done"}, (&inventory.System{Name: "sys"}).Clone()
	s.held.Components["app"] = inventory.Component{Path: "app", Executor: "m", State: inventory.Running, Attrs: described, Resolved: told}
	s.held.Components["cert"] = inventory.Component{Path: "cert", Class: certifies, Executor: "m", State: inventory.Running, Attrs: cert}
	s.begin(&plan.Plan{ID: "p"}, nil)
	return s
}

// doubling are attributes x0 to x20, each two references to the next.
func doubling() *value.Component {
	c := value.NewComponent(false, value.Attr{Name: "x21", Value: value.String("leaf.test")})
	for i := range 21 {
		next := lazy("app", fmt.Sprint("x", i+1))
		c.Set(value.Attr{Name: fmt.Sprint("x", i), Value: value.Vector{next, next}})
	}
	return c
}

// What a machine tells cannot have its manager work for it without end: what it
// tells with references is not followed, and all that a description leads to is
// counted.
func TestNamesThatLeadOnAreBounded(t *testing.T) {
	none := value.NewComponent(false)
	one := func(v value.Value) *value.Component {
		return value.NewComponent(false, value.Attr{Name: "x0", Value: v})
	}
	many := make(value.Vector, maxCertified+1)
	for i := range many {
		many[i] = value.String(fmt.Sprintf("a%d.test", i))
	}
	apply := &value.Reference{Lazy: true, Apply: value.NewComponent(false, value.Attr{Name: "sfFunctionClass", Value: value.String("concat")})}
	x0 := value.Vector{lazy("app", "x0")}
	for what, tt := range map[string]struct {
		names           value.Value
		described, told *value.Component
		says            string // "": a.test is certified
	}{
		"a name":                        {x0, none, one(value.String("a.test")), ""},
		"names":                         {lazy("app", "x0"), none, one(value.Vector{value.String("a.test")}), ""},
		"a description that leads on":   {x0, value.NewComponent(false, value.Attr{Name: "x0", Value: lazy("app", "x1")}), value.NewComponent(false, value.Attr{Name: "x1", Value: value.String("a.test")}), ""},
		"a reference that is told":      {x0, none, one(lazy("app", "x0")), "with a reference"},
		"a function that is told":       {x0, none, one(apply), "with a reference"},
		"references in what is told":    {x0, none, one(value.Vector{one(lazy("app", "x0"))}), "with a reference"},
		"a way by what is told":         {value.Vector{lazy("app", "x0", "y")}, none, one(lazy("app")), "with a reference"},
		"what is told doubles":          {x0, none, doubling(), "with a reference"},
		"the description doubles":       {x0, doubling(), none, "more than 1000 references"},
		"a circle of the description":   {x0, one(lazy("app", "x0")), none, "more than 100 references"},
		"more names than there may be":  {lazy("app", "x0"), none, one(many), "101 names"},
		"more names of the description": {many, none, none, "101 names"},
	} {
		t.Run(what, func(t *testing.T) {
			names, life, err := certifying(tt.names, tt.described, tt.told).certified(t.Context(), "m", "cert", time.Now())
			switch {
			case tt.says == "" && (err != nil || !slices.Equal(names, []string{"a.test"}) || life != 90*24*time.Hour):
				t.Errorf("%v, %v, for %s", err, names, life)
			case tt.says != "" && (status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// Nobody waits for an answer to a call that has ended.
func TestNothingIsFollowedForACallThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := certifying(value.Vector{lazy("app", "x0")}, doubling(), nil)
	if _, _, err := s.certified(ctx, "m", "cert", time.Now()); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
}
