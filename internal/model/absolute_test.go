package model

import (
	"fmt"
	"strings"
	"testing"

	"aloft/value"
)

func attr(name string, v value.Value) value.Attr {
	return value.Attr{Name: name, Value: v, Pos: value.Pos{File: "t.sf", Line: 1, Col: 1}}
}

func comp(attrs ...value.Attr) *value.Component { return value.NewComponent(false, attrs...) }

func data(attrs ...value.Attr) *value.Component { return value.NewComponent(true, attrs...) }

// parts reads PARENT, ROOT, THIS, PROCESS, "ATTRIB w", "HERE w" and words as the language does.
func parts(text string) []value.Part {
	var ps []value.Part
	for i, w := range strings.Split(text, ":") {
		p := value.Part{Kind: value.PartHere, Name: w}
		switch name, isAttrib := strings.CutPrefix(w, "ATTRIB "); {
		case w == "PARENT":
			p = value.Part{Kind: value.PartParent}
		case w == "ROOT":
			p = value.Part{Kind: value.PartRoot}
		case w == "THIS":
			p = value.Part{Kind: value.PartThis}
		case w == "PROCESS":
			p = value.Part{Kind: value.PartProcess}
		case strings.HasPrefix(w, "HERE "):
			p.Name = w[len("HERE "):]
		case isAttrib:
			p = value.Part{Kind: value.PartAttrib, Name: name}
		case i == 0:
			p.Kind = value.PartAttrib
		}
		ps = append(ps, p)
	}
	return ps
}

func lazy(text string) *value.Reference {
	return &value.Reference{Lazy: true, Parts: parts(text)}
}

func optional(text string, def value.Value) *value.Reference {
	r := lazy(text)
	r.Optional, r.Default = true, def
	return r
}

// wiki is the running example of the language reference, with one reference
// of its component wiki replaced.
func wiki(db value.Value, more ...value.Attr) *Tree {
	return NewTree(comp(
		attr("vmA", comp(
			attr("cloudProvider", value.String("local")),
			attr("software", comp(
				attr("sfProcessHost", lazy("PARENT:ip")),
				attr("mysql", comp(
					attr("port", value.Integer(30388)),
					attr("limits", data(attr("max", value.Integer(9)), attr("port", lazy("PARENT:port")))),
					attr("host", lazy("PARENT:sfProcessHost")),
				)),
			)),
		)),
		attr("vmB", comp(
			attr("software", comp(
				attr("tomcat", comp(
					append([]value.Attr{attr("wiki", comp(append([]value.Attr{attr("db", db)}, more...)...))}, attr("port", value.Integer(80)))...,
				)),
			)),
		)),
	))
}

func outputs(n *Node, name string) bool {
	return name == "ip" && (n.Name() == "vmA" || n.Name() == "vmB")
}

const wikiPath = value.Path("vmB:software:tomcat:wiki")

func TestAbsoluteDoesNotDependOnTheHolder(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      value.Value
		want    value.Value
		targets string
	}{
		{"plain value", value.Integer(1), value.Integer(1), ""},
		{"given value", lazy("vmA:software:mysql:port"), value.Integer(30388), "vmA:software:mysql port given"},
		{"output", lazy("vmA:ip"), lazy("ROOT:vmA:ip"), "vmA ip"},
		{"output of an ancestor, climbing", lazy("ip"), lazy("ROOT:vmB:ip"), "vmB ip"},
		{"component as a whole", lazy("vmA:software:mysql"), lazy("ROOT:vmA:software:mysql"), "vmA:software:mysql"},
		{
			"through a lazy value to an output", lazy("vmA:software:mysql:host"), lazy("ROOT:vmA:ip"),
			"vmA:software:mysql host given, vmA:software sfProcessHost given, vmA ip",
		},
		{
			"data component with references of its own", lazy("vmA:software:mysql:limits"),
			data(attr("max", value.Integer(9)), attr("port", value.Integer(30388))),
			"vmA:software:mysql limits given, vmA:software:mysql port given",
		},
		{
			"into a data component", lazy("vmA:software:mysql:limits:port"), value.Integer(30388),
			"vmA:software:mysql limits given, vmA:software:mysql port given",
		},
		{
			"vector",
			value.Vector{lazy("PARENT:port"), lazy("vmA:ip")},
			value.Vector{value.Integer(80), lazy("ROOT:vmA:ip")},
			"vmB:software:tomcat port given, vmA ip",
		},
		{
			"through a lazy link to a component", lazy("link:port"), value.Integer(30388),
			"vmA:software:mysql port given",
		},
		{
			"optional that resolves", optional("vmA:ip", value.String("x")),
			optional("ROOT:vmA:ip", value.String("x")), "vmA ip",
		},
		{"optional that cannot", optional("vmC:ip", value.String("x")), value.String("x"), ""},
		{"optional without default", optional("vmC:ip", nil), value.Null{}, ""},
		{"process is left for the machine", lazy("PROCESS:x"), lazy("PROCESS:x"), ""},
		{
			"operands see the function, then its holder",
			&value.Reference{Lazy: true, Apply: data(
				attr("sfFunctionClass", value.String("Concatenate")),
				attr("a", lazy("vmA:ip")), attr("b", lazy("PARENT:PARENT:port")), attr("c", lazy("HERE a")), attr("d", lazy("b")),
			)},
			&value.Reference{Lazy: true, Apply: data(
				attr("sfFunctionClass", value.String("Concatenate")),
				attr("a", lazy("ROOT:vmA:ip")), attr("b", value.Integer(80)), attr("c", lazy("ROOT:vmA:ip")), attr("d", value.Integer(80)),
			)},
			"vmA ip, vmB:software:tomcat port given, vmB:software:tomcat:wiki db given",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := wiki(c.in, attr("link", lazy("vmA:software:mysql")))
			holder := tree.byPath[wikiPath]
			a, _ := holder.Comp.Attr("db")
			got, targets, problems := Absolute(tree, holder, a, outputs)
			if len(problems) > 0 {
				t.Fatalf("problems: %v", problems)
			}
			if !value.Equal(got, c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
			if text := targetsText(targets); text != c.targets {
				t.Errorf("targets %q, want %q", text, c.targets)
			}
		})
	}
}

func targetsText(ts []Target) string {
	var list []string
	for _, x := range ts {
		s := x.Path.String()
		if x.Attr != "" {
			s += " " + x.Attr
		}
		if x.Given {
			s += " given"
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

func TestAbsoluteSaysWhereAPathEnds(t *testing.T) {
	for _, c := range []struct {
		name, ref, message, hint string
		declared                 bool // outputs are known
	}{
		{
			"a later word does not climb", "PARENT:PARENT:vmA:software:mysql",
			"LAZY reference cannot resolve: PARENT:PARENT:vmA:software:mysql: vmA not found in sfConfig:vmB:software, and a later word does not climb",
			"did you mean LAZY ATTRIB vmA:software:mysql?", false,
		},
		{
			"one PARENT too many", "PARENT:PARENT:port:x",
			"LAZY reference cannot resolve: PARENT:PARENT:port:x: port not found in sfConfig:vmB:software, and a later word does not climb", "", false,
		},
		{
			"one PARENT too many, last part", "PARENT:PARENT:port",
			"LAZY reference cannot resolve: PARENT:PARENT:port: port not found in sfConfig:vmB:software, and a later word does not climb",
			"did you mean LAZY ATTRIB port?", true,
		},
		{
			"a name misspelt", "vmA:software:mysl:port",
			"LAZY reference cannot resolve: vmA:software:mysl:port: mysl not found in sfConfig:vmA:software, and a later word does not climb",
			"did you mean LAZY vmA:software:mysql:port?", false,
		},
		{
			"through a value", "PARENT:port:x",
			"LAZY reference cannot resolve: PARENT:port:x: port of sfConfig:vmB:software:tomcat, before x, is not a component", "", false,
		},
		{
			"above the top", "PARENT:PARENT:PARENT:PARENT:PARENT:x",
			"LAZY reference cannot resolve: PARENT:PARENT:PARENT:PARENT:PARENT:x: part 5, PARENT, leads above sfConfig", "", false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := wiki(lazy(c.ref))
			holder := tree.byPath[wikiPath]
			a, _ := holder.Comp.Attr("db")
			known := outputs
			if !c.declared {
				known = nil
			}
			_, _, problems := Absolute(tree, holder, a, known)
			if len(problems) != 1 {
				t.Fatalf("problems: %v, want one", problems)
			}
			if p := problems[0]; p.Message != c.message || p.Pos.Line != 1 || p.Path != wikiPath || p.Attr != "db" {
				t.Errorf("got %+v\nwant message %s", p, c.message)
			}
			if hints := problems[0].Hints; c.hint != "" && (len(hints) == 0 || hints[0] != c.hint) {
				t.Errorf("hints %q, want %q first", hints, c.hint)
			}
		})
	}
}

func TestMissingLastPartIsTakenForAnOutputWhenClassesAreUnknown(t *testing.T) {
	tree := wiki(lazy("vmA:software:mysql:socket"))
	holder := tree.byPath[wikiPath]
	a, _ := holder.Comp.Attr("db")
	got, _, problems := Absolute(tree, holder, a, nil)
	if len(problems) > 0 || !value.Equal(got, lazy("ROOT:vmA:software:mysql:socket")) {
		t.Errorf("got %#v, problems %v", got, problems)
	}
	if _, _, problems = Absolute(tree, holder, a, outputs); len(problems) != 1 {
		t.Errorf("with all outputs declared: problems %v, want one", problems)
	}
}

func TestCycleOfLazyReferencesIsReportedOnce(t *testing.T) {
	tree := NewTree(comp(
		attr("a", comp(attr("x", lazy("PARENT:b:x")))),
		attr("b", comp(attr("x", value.Vector{lazy("PARENT:c:x")}))),
		attr("c", comp(attr("x", lazy("PARENT:a:x")), attr("y", lazy("x")))),
	))
	var all []Problem
	for n := range tree.PreOrder() {
		for a := range n.Own() {
			_, _, problems := Absolute(tree, n, a, nil)
			all = append(all, problems...)
		}
	}
	want := "LAZY references form a cycle: sfConfig:a:x -> sfConfig:b:x -> sfConfig:c:x -> sfConfig:a:x"
	if len(all) != 1 || all[0].Message != want {
		t.Errorf("got %v, want one: %s", all, want)
	}
	if all = Check(tree, nil); len(all) != 1 || all[0].Message != want {
		t.Errorf("Check: got %v, want one: %s", all, want)
	}
}

func TestMutualReferencesToWholeComponentsAreLegal(t *testing.T) {
	tree := NewTree(comp(
		attr("a", comp(attr("peer", lazy("PARENT:b")))),
		attr("b", comp(attr("peer", lazy("PARENT:a")))),
	))
	for n := range tree.PreOrder() {
		for a := range n.Own() {
			if _, _, problems := Absolute(tree, n, a, nil); len(problems) > 0 {
				t.Errorf("%v", problems)
			}
		}
	}
}

func TestAbsoluteStopsAtDoubling(t *testing.T) {
	c := comp(attr("a0", value.Integer(1)))
	for i := 1; i <= 40; i++ {
		ref := fmt.Sprintf("a%d", i-1)
		c.Set(attr(fmt.Sprintf("a%d", i), value.Vector{lazy(ref), lazy(ref)}))
	}
	tree := NewTree(c)
	a, _ := c.Attr("a40")
	if _, _, problems := Absolute(tree, tree.Root, a, nil); len(problems) != 1 {
		t.Errorf("problems %v, want one", problems)
	}
	if problems := Check(tree, nil); len(problems) != 0 {
		t.Errorf("Check: %v", problems) // each is well, if one does not ask for all
	}
}

func TestAbsoluteStopsInALongChain(t *testing.T) {
	c := comp(attr("a0", value.Integer(1)))
	for i := 1; i <= 2*maxChain; i++ {
		c.Set(attr(fmt.Sprintf("a%d", i), lazy(fmt.Sprintf("a%d", i-1))))
	}
	tree := NewTree(c)
	a, _ := c.Attr(fmt.Sprintf("a%d", 2*maxChain))
	_, _, problems := Absolute(tree, tree.Root, a, nil)
	if len(problems) != 1 {
		t.Errorf("problems %v, want one", problems)
	}
}

func TestTreeKeepsDefinitionOrder(t *testing.T) {
	tree := wiki(value.Null{})
	var pre []string
	for n := range tree.PreOrder() {
		pre = append(pre, n.Path.String())
	}
	want := "ROOT vmA vmA:software vmA:software:mysql vmB vmB:software vmB:software:tomcat vmB:software:tomcat:wiki"
	if got := strings.Join(pre, " "); got != want {
		t.Errorf("pre-order %s", got)
	}
	var own []string
	for a := range tree.byPath["vmA:software:mysql"].Own() {
		own = append(own, a.Name)
	}
	if got := strings.Join(own, " "); got != "port limits host" {
		t.Errorf("own attributes %s: a data component is a plain value", got)
	}
	if tree.Root.Child("vmA") != tree.byPath["vmA"] || tree.Root.Child("none") != nil {
		t.Error("Child disagrees with the path")
	}
}

// TestCopiesAreKnownByTheirNames checks references in a description whose
// copies are not written out: the names they will have lead to what they are
// copies of.
func TestCopiesAreKnownByTheirNames(t *testing.T) {
	ref := func(path string) value.Attr {
		return attr(strings.ReplaceAll(path, ":", "_"), &value.Reference{Lazy: true, Parts: parts(path)})
	}
	for path, ok := range map[string]bool{
		"web:in:x": true, "web1:in:x": true, "web3:in:x": true, "m12:in:x": true,
		"web0:in:x": false, "web4:in:x": false, "web01:in:x": false, "db1:in:x": false, "web1a:in:x": false, "m11:in:x": true, "m1:in:x": true,
	} {
		in := func() value.Attr { return attr("in", comp(attr("x", value.Integer(1)))) }
		tree := NewTree(comp(
			attr("web", comp(attr("sfCopies", value.Integer(3)), in())),
			attr("m1", comp(attr("sfCopies", value.Integer(2)), in())),
			attr("db", comp(in())),
			ref(path),
		))
		if problems := Check(tree, nil); (len(problems) == 0) != ok {
			t.Errorf("%s: %v", path, problems)
		}
	}
}
