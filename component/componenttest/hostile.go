package componenttest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/component"
	"aloft/value"
)

// hostileStrings would, in a shell, a path or a configuration file, do more
// than be a string. CANARY is a file that must not come to be.
var hostileStrings = []string{
	"$(touch CANARY)",
	"'; touch CANARY; \"; touch CANARY; `touch CANARY`",
	"x\ntouch CANARY\n",
	"-oProxyCommand=touch CANARY",
	"../../../../../../../../../../CANARY",
	"CANARY",
	"a\x00b",
	"; } touch CANARY {",
	"",
	strings.Repeat("x", 300),
}

// hostileTime ends an operation that waits for what a hostile string never
// makes true.
const hostileTime = time.Second

// hostile puts hostile strings into every attribute that takes strings, and
// checks that they stay strings. That an operation fails is fine.
func (s suite) hostile(t *testing.T) {
	for _, a := range s.class.Attributes {
		if len(a.Enum) > 0 || slices.Contains(s.Trusted, a.Name) {
			continue
		}
		for _, text := range hostileStrings {
			canary := filepath.Join(t.TempDir(), "canary")
			text = strings.ReplaceAll(text, "CANARY", canary)
			attrs, ok := s.poison(a, text)
			if !ok {
				break
			}
			// What planning refuses never reaches a manager. The case itself may
			// be one that planning would refuse, such as an absolute path.
			if s.problems(attrs) > s.problems(s.Attrs) {
				continue
			}
			g := s.stage(t)
			g.call.Attrs = attrs
			ctx, cancel := context.WithTimeout(t.Context(), hostileTime)
			if g.try(ctx, "deploy") == nil && !s.Slow && g.try(ctx, "start") == nil {
				_ = g.try(ctx, "ping") // whatever it says
			}
			cancel()
			g.run("terminate")
			g.gone()
			if _, err := os.Lstat(canary); err == nil {
				t.Errorf("attribute %s: %q was carried out", a.Name, text)
			}
			g.end()
			g.end = func() {}
		}
	}
}

func (s suite) problems(attrs *value.Component) int {
	if s.class.Check == nil {
		return 0
	}
	return len(s.class.Check(attrs, component.Target{Isolation: s.Machine.Isolation, Privileged: os.Geteuid() == 0}))
}

// poison returns the case's attributes with text in a.
func (s suite) poison(a component.Attribute, text string) (*value.Component, bool) {
	attrs := value.NewComponent(false, slices.Collect(s.Attrs.All())...)
	old, _ := s.Attrs.Get(a.Name)
	var v value.Value
	switch old := old.(type) {
	case value.Vector:
		v = value.Vector{value.String(text)}
	case *value.Component:
		poisoned := value.NewComponent(old.Data)
		for e := range old.All() {
			if _, ok := e.Value.(value.String); ok {
				e.Value = value.String(text)
			}
			poisoned.Set(e)
		}
		v = poisoned
	default:
		if !slices.Contains(a.Kinds, value.KindString) {
			return nil, false
		}
		v = value.String(text)
	}
	attrs.Set(value.Attr{Name: a.Name, Value: v})
	return attrs, true
}

// checkClass checks that a class is complete and makes sense.
func checkClass(t *testing.T, class component.Class) {
	if class.Name == "" || class.Doc == "" || class.Site == "" {
		t.Errorf("class %+v lacks a name, a text or a site", class)
	}
	seen := map[string]bool{}
	for _, a := range class.Attributes {
		if seen[a.Name] {
			t.Errorf("attribute %s is declared twice", a.Name)
		}
		seen[a.Name] = true
		if a.Doc == "" {
			t.Errorf("attribute %s has no text", a.Name)
		}
		if a.Required && a.Default != nil {
			t.Errorf("attribute %s is required and has a default", a.Name)
		}
		if a.Default != nil && len(a.Kinds) > 0 && !slices.Contains(a.Kinds, a.Default.Kind()) {
			t.Errorf("attribute %s: its default is a %s", a.Name, a.Default.Kind())
		}
		if d, ok := a.Default.(value.String); ok && len(a.Enum) > 0 && !slices.Contains(a.Enum, string(d)) {
			t.Errorf("attribute %s: its default %q is not one of %q", a.Name, d, a.Enum)
		}
	}
	for _, o := range class.Outputs {
		if o.Doc == "" {
			t.Errorf("output %s has no text", o.Name)
		}
		if seen[o.Name] && o.Name != "port" { // a server may put out the port it was given
			t.Errorf("output %s is also an attribute", o.Name)
		}
	}
	if class.Check != nil {
		class.Check(value.NewComponent(false), component.Target{})
	}
}
