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

// hostileTogether is what a slow component is started and changed with, since
// it cannot be with each: whatever reads a string finds its own way out of it.
const hostileTogether = "'; touch CANARY; \"; touch CANARY; `touch CANARY` $(touch CANARY) | touch CANARY & touch CANARY #"

// hostileTime ends an operation that waits for what a hostile string never
// makes true; slowTime one that is slow as well.
const (
	hostileTime = time.Second
	slowTime    = 30 * time.Second
)

// hostile puts hostile strings into every attribute that takes strings, and
// checks that they stay strings. That an operation fails is fine.
func (s suite) hostile(t *testing.T) {
	for _, name := range s.names() {
		if slices.Contains(s.Trusted, name) {
			continue
		}
		for _, text := range hostileStrings {
			s.endure(t, name, text, hostileTime, func(g *stage, ctx context.Context, attrs *value.Component) {
				g.call.Attrs = attrs
				if g.try(ctx, "deploy") == nil && !s.Slow && g.try(ctx, "start") == nil {
					_ = g.try(ctx, "ping") // whatever it says
				}
			})
		}
		if s.Slow {
			s.endure(t, name, hostileTogether, slowTime, func(g *stage, ctx context.Context, attrs *value.Component) {
				g.call.Attrs = attrs
				if g.try(ctx, "deploy") == nil && g.try(ctx, "start") == nil {
					_ = g.try(ctx, "ping")
				}
			})
		}
		if s.class.Reconfigures && !s.fixed(name) {
			s.endure(t, name, hostileTogether, slowTime, func(g *stage, ctx context.Context, attrs *value.Component) {
				g.run("deploy")
				g.run("start")
				g.change(attrs)
				if g.try(ctx, "reconfigure") != nil {
					g.change(s.Attrs) // it is as it was
					return
				}
				_ = g.try(ctx, "ping")
			})
		}
	}
}

// endure runs operations on components that have text in an attribute, wherever
// it may stand there, and checks that nothing was carried out or left.
func (s suite) endure(t *testing.T, name, text string, limit time.Duration, do func(*stage, context.Context, *value.Component)) {
	canary := filepath.Join(t.TempDir(), "canary")
	text = strings.ReplaceAll(text, "CANARY", canary)
	for _, attrs := range s.poisoned(name, text) {
		// What planning refuses never reaches a manager. The case itself may
		// be one that planning would refuse, such as an absolute path.
		if s.problems(attrs) > s.problems(s.Attrs) {
			continue
		}
		g := s.stage(t)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		do(g, ctx, attrs)
		cancel()
		g.run("terminate")
		g.gone()
		if _, err := os.Lstat(canary); err == nil {
			t.Errorf("attribute %s: %q was carried out", name, text)
		}
		g.end()
		g.end = func() {}
	}
}

// fixed reports whether a change of an attribute is a replacement.
func (s suite) fixed(name string) bool {
	return slices.ContainsFunc(s.class.Attributes, func(a component.Attribute) bool { return a.Name == name && a.Fixed })
}

// names lists the attributes that a description may give.
func (s suite) names() (names []string) {
	if s.class.Schema == nil {
		for a := range s.Attrs.All() {
			names = append(names, a.Name)
		}
		return names
	}
	for _, name := range s.class.Schema.Names() {
		if !strings.HasPrefix(name, "sf") {
			names = append(names, name)
		}
	}
	return names
}

func (s suite) problems(attrs *value.Component) int {
	return len(Problems(s.class, attrs, component.Target{Isolation: s.Machine.Isolation, Privileged: os.Geteuid() == 0}))
}

// Problems returns what planning finds wrong with the attributes of a
// component: what the schema of its class refuses, else what its Check does.
func Problems(class component.Class, attrs *value.Component, m component.Target) (problems []component.Problem) {
	if class.Schema != nil {
		for _, name := range class.Schema.Names() {
			v, _ := attrs.Get(name)
			if p := class.Schema.Wrong(name, v); p != nil {
				problems = append(problems, *p)
			}
		}
	}
	if len(problems) == 0 && class.Check != nil {
		problems = class.Check(attrs, m)
	}
	return problems
}

// poisoned returns the case's attributes with text in the one called name, in
// each way in which it may be there: as it is, in a vector, as a value and as a
// name in a component.
func (s suite) poisoned(name, text string) (list []*value.Component) {
	with := func(v value.Value) {
		if s.class.Schema != nil && s.class.Schema.Wrong(name, v) != nil {
			return
		}
		attrs := value.NewComponent(false, slices.Collect(s.Attrs.All())...)
		attrs.Set(value.Attr{Name: name, Value: v})
		list = append(list, attrs)
	}
	old, _ := s.Attrs.Get(name)
	switch old := old.(type) {
	case value.Vector:
		with(value.Vector{value.String(text)})
	case *value.Component:
		values, names := value.NewComponent(old.Data), value.NewComponent(old.Data)
		for e := range old.All() {
			if _, ok := e.Value.(value.String); ok {
				values.Set(value.Attr{Name: e.Name, Value: value.String(text)})
			} else {
				values.Set(e)
			}
			names.Set(value.Attr{Name: text, Value: e.Value})
		}
		with(values)
		with(names)
	default:
		with(value.String(text))
		with(value.Vector{value.String(text)})
		with(value.NewComponent(true, value.Attr{Name: "x", Value: value.String(text)}))
		with(value.NewComponent(true, value.Attr{Name: text, Value: value.String("x")}))
	}
	return list
}

// checkClass checks that a class is complete, and that it and its schema speak
// of the same attributes.
func checkClass(t *testing.T, class component.Class) {
	if class.Name == "" || class.Site == "" {
		t.Errorf("class %+v lacks a name or a site", class)
	}
	seen := map[string]bool{}
	for _, a := range class.Attributes {
		if seen[a.Name] {
			t.Errorf("attribute %s is declared twice", a.Name)
		}
		seen[a.Name] = true
		if class.Schema != nil && !class.Schema.Has(a.Name) {
			t.Errorf("the schema does not know the attribute %s", a.Name)
		}
	}
	if class.Schema != nil {
		for _, name := range class.Schema.Names() {
			seen[name] = true
			if strings.HasPrefix(name, "sf") {
				continue // what every component has is not the class's to say
			}
			if v := class.Schema.Default(name); v != nil {
				if p := class.Schema.Wrong(name, v); p != nil {
					t.Errorf("the default of %s: %+v", name, p)
				}
			}
		}
	}
	for _, o := range class.Outputs {
		if o.Name == "" || o.Doc == "" {
			t.Errorf("output %s has no name or no text", o.Name)
		}
		if seen[o.Name] && o.Name != "port" && o.Name != "dataDir" { // a server may put out the port it was given, or where its data are
			t.Errorf("output %s is also an attribute", o.Name)
		}
	}
	if class.Check != nil {
		class.Check(value.NewComponent(false), component.Target{})
	}
}
