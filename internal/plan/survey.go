package plan

import (
	"fmt"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/internal/place"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/diag"
	"aloft/provider"
	"aloft/value"
)

// Classes knows the component classes that have a manager.
type Classes interface {
	// Class returns the class called name, natively or by an alias.
	Class(name string) (component.Class, bool)
	// Names returns the native names, sorted.
	Names() []string
}

// Host is the daemon that owns the plan: where components of its own host and
// steps on resources run.
type Host struct {
	MachineID string
	Hostname  string
	Addresses []string
}

// Survey is a description seen with the eyes of the planner: every component
// with its class, its absolute attributes and where it is processed.
type Survey struct {
	System   string
	Needs    []place.Need
	Problems diag.List
	Notes    []string
	// Binds are the references to sets of copies. They order nothing in the
	// start wave.
	Binds expand.Binds

	tree    *model.Tree
	parts   []*surveyed // in definition order, the top first
	byPath  map[value.Path]*surveyed
	classes Classes
	host    Host
	beside  bool         // it has copies that exist only for the time of the plan
	tops    []value.Path // components that are systems of their own: see detach
}

// surveyed is one component on its way into the plan.
type surveyed struct {
	node    *model.Node
	class   component.Class // zero for a plain compound
	attrs   *value.Component
	targets map[string][]model.Target // attribute -> components it refers to
	machine value.Path                // of the machine that processes it
	onHost  bool
	owner   bool // processed by the owner of the system: state only
	// creator is the workflow component that creates it while it runs, flow the
	// outermost one in whose course that happens; nil: it is deployed with what
	// is around it.
	creator, flow *surveyed
	members       []*surveyed // of a flow: all that have it as theirs, in definition order
	// of a plan with copies that exist only for its time: see Beside
	further   bool             // it is in one
	meanwhile *value.Component // its attributes with those; nil: they are the same
	leads     []value.Path     // what meanwhile refers to
}

// isMachine reports whether the component is a machine.
func (s *surveyed) isMachine() bool { return s.class.Site == component.SiteResource }

// Look surveys a description. Everything that is wrong with it, as far as can
// be told without asking a provider, is among the problems. apart are components
// that are systems of their own.
func Look(system string, tree *model.Tree, classes Classes, host Host, allowUnresolved bool, apart ...value.Path) *Survey {
	s := &Survey{System: system, tree: tree, classes: classes, host: host, byPath: map[value.Path]*surveyed{}}
	if tree == nil {
		return s
	}
	for node := range tree.PreOrder() {
		c := &surveyed{node: node, targets: map[string][]model.Target{}}
		s.parts = append(s.parts, c)
		s.byPath[node.Path] = c
		s.classify(c)
	}
	for _, c := range s.parts {
		s.course(c)
		s.absolute(c, allowUnresolved)
	}
	for _, c := range s.parts {
		s.locate(c)
		s.checkCourse(c)
	}
	for _, c := range s.parts {
		s.checkAttributes(c)
		s.checkLimits(c)
		if c.isMachine() {
			s.Needs = append(s.Needs, s.need(c))
		}
	}
	s.detach(apart)
	return s
}

func (s *Survey) problem(c *surveyed, attr string, pos value.Pos, code diag.Code, message, expected, found string, hints ...string) {
	if !pos.IsValid() {
		pos = c.node.Pos
	}
	d := diag.New(code, diag.At(pos), message)
	d.Path, d.Attribute, d.Expected, d.Found, d.Hints = c.node.Path.String(), attr, expected, found, hints
	d.Severity = diag.Error
	s.Problems.Add(d)
}

func (s *Survey) classify(c *surveyed) {
	a, ok := c.node.Comp.Attr("sfClass")
	if !ok {
		c.class.Site = component.SiteInherit
		c.class.Children = true
		c.class.OpenAttributes = true
		c.class.Reconfigures = true
		return
	}
	name, ok := a.Value.(value.String)
	if !ok {
		s.problem(c, "sfClass", a.Pos, diag.UnknownClass, "sfClass is not a string", "a class name", a.Value.Kind().String())
		return
	}
	class, ok := s.classOf(string(name), c.node.Comp)
	if !ok {
		hints := []string{"list them with: aloft component list"}
		if near := diag.Nearest(string(name), s.classes.Names()); len(near) > 0 {
			hints = append([]string{"did you mean " + near[0] + "?"}, hints...)
		}
		s.problem(c, "sfClass", a.Pos, diag.UnknownClass, fmt.Sprintf("unknown component %q: no manager of that class", string(name)), "", "", hints...)
		return
	}
	c.class = class
}

// classOf returns the class that sfClass names, of a component with attrs.
func (s *Survey) classOf(name string, attrs *value.Component) (component.Class, bool) {
	if catalog.IsScripts(name) {
		return catalog.ScriptClass(name, attrs), true
	}
	return s.classes.Class(name)
}

// absolute makes the component's own attributes independent of their place.
func (s *Survey) absolute(c *surveyed, allowUnresolved bool) {
	c.attrs = value.NewComponent(false)
	for _, a := range slices.Concat(slices.Collect(c.node.Own()), s.around(c)) {
		v, targets, problems := model.Absolute(s.tree, c.node, a, s.outputs)
		for _, p := range problems {
			if allowUnresolved {
				s.Notes = append(s.Notes, fmt.Sprintf("%s, attribute %s: %s", c.node.Path, a.Name, p.Message))
				continue
			}
			s.problem(c, a.Name, p.Pos, diag.LazyUnresolvable, p.Message, "", "", p.Hints...)
		}
		c.attrs.Set(value.Attr{Name: a.Name, Value: v, Tags: a.Tags, Pos: a.Pos})
		if len(targets) > 0 {
			c.targets[a.Name] = targets
		}
	}
}

// around returns the attributes of c that are not given and stand for a
// component around it.
func (s *Survey) around(c *surveyed) (attrs []value.Attr) {
	for _, line := range c.class.Attributes {
		if _, given := c.node.Comp.Attr(line.Name); given || line.Around == "" {
			continue
		}
		n := c.node.Parent
		for n != nil && !s.byPath[n.Path].class.HasOutput(line.Around) {
			n = n.Parent
		}
		if n == nil {
			s.problem(c, line.Name, c.node.Pos, diag.AttributeMissing, fmt.Sprintf("no component around it has the output %s", line.Around),
				"a component that has", "none", fmt.Sprintf("put it inside of one, or give %s a LAZY reference to one", line.Name))
			continue
		}
		parts := []value.Part{{Kind: value.PartRoot}}
		for _, name := range n.Path.Names() {
			parts = append(parts, value.Part{Kind: value.PartHere, Name: name})
		}
		attrs = append(attrs, value.Attr{Name: line.Name, Value: &value.Reference{Lazy: true, Parts: parts}, Pos: c.node.Pos})
	}
	return attrs
}

// bound reports whether attribute attr of c refers to t as one of a set of
// copies, or as something inside of one.
func (s *Survey) bound(c *surveyed, attr string, t model.Target) bool {
	if len(s.Binds) == 0 {
		return false
	}
	for n := s.byPath[t.Path].node; n != nil; n = n.Parent {
		if s.Binds[expand.Bind{Holder: c.node.Path, Attr: attr, Copy: n.Path}] {
			return true
		}
	}
	return false
}

// outputs tells the walk whether a component adds an attribute at run time.
func (s *Survey) outputs(node *model.Node, name string) bool {
	c := s.byPath[node.Path]
	return c != nil && (c.class.HasOutput(name) || (name == "workDir" || inventory.IsFailure(name)) && c.class.Name != "")
}

// locate finds the daemon that processes c: its own sfProcessHost or that of
// the nearest component above that has one, else the machine directly above,
// else where its parent is (runtime.md DI1).
func (s *Survey) locate(c *surveyed) {
	parent := s.byPath[parentPath(c.node)]
	switch {
	case parent == nil:
		c.owner = true
	case parent.isMachine():
		c.machine = parent.node.Path
	default:
		c.machine, c.onHost, c.owner = parent.machine, parent.onHost, parent.owner
	}
	if host, ok := c.attrs.Attr("sfProcessHost"); ok && !c.isMachine() {
		s.processHost(c, host)
	}
	switch {
	case c.isMachine():
		c.machine, c.onHost, c.owner = value.Root, false, false
	case c.class.Site == component.SiteSystem:
		c.machine, c.onHost, c.owner = value.Root, false, true
	case c.class.Site == component.SiteMachine && c.owner:
		s.problem(c, "", c.node.Pos, diag.NoHost,
			fmt.Sprintf("%s would run on the managing host itself", c.class.Name), "a machine above it, or sfProcessHost", "neither",
			"put it inside a component that extends VM",
			fmt.Sprintf("to run it on the managing host on purpose, set sfProcessHost %q", s.host.Hostname))
	}
}

func parentPath(n *model.Node) value.Path {
	if n.Parent == nil {
		return "\x00" // no component has this path
	}
	return n.Parent.Path
}

func (s *Survey) processHost(c *surveyed, host value.Attr) {
	for _, t := range c.targets["sfProcessHost"] {
		if m := s.byPath[t.Path]; m != nil && m.isMachine() {
			c.machine, c.onHost, c.owner = t.Path, false, false
			return
		}
	}
	text, ok := host.Value.(value.String)
	if !ok {
		s.problem(c, "sfProcessHost", host.Pos, diag.NoHost, "sfProcessHost does not lead to a machine", "an output of a VM, as LAZY PARENT:ip, or the name of a host", host.Value.Kind().String())
		return
	}
	name := string(text)
	if name == s.host.Hostname || slices.Contains(s.host.Addresses, name) {
		c.machine, c.onHost, c.owner = value.Root, true, false
		return
	}
	path, err := value.ParsePath(strings.TrimPrefix(name, s.System+"/"))
	if m := s.byPath[path]; err == nil && m != nil && m.isMachine() {
		c.machine, c.onHost, c.owner = path, false, false
		return
	}
	var known []string
	for _, m := range s.parts {
		if m.isMachine() {
			known = append(known, string(m.node.Path))
		}
	}
	s.problem(c, "sfProcessHost", host.Pos, diag.NoHost, fmt.Sprintf("no host is called %q", name), "a machine of this system, or the managing host", name,
		"machines of this system: "+strings.Join(known, ", "), "the managing host is called "+s.host.Hostname)
}

// checkAttributes asks the class whether the attributes are right: its schema,
// which the resolver has asked already unless the component was written without
// the library, and what no schema can say.
func (s *Survey) checkAttributes(c *surveyed) {
	s.checkKept(c)
	if c.class.Schema != nil && !s.checkSchema(c) || c.class.Check == nil {
		return
	}
	for _, p := range c.class.Check(c.attrs, s.target(c)) {
		s.refuse(c, diag.AttributeWrong, p)
	}
}

// checkKept refuses to keep what cannot be kept, rather than to end it unasked.
func (s *Survey) checkKept(c *surveyed) {
	keep, given := c.attrs.Get("keepOnTerminate")
	if why := c.class.KeepsNothing; why != "" && given && keep != value.Bool(false) {
		s.refuse(c, diag.AttributeWrong, component.Problem{
			Attr: "keepOnTerminate", Expected: "false, or none", Found: value.Source(keep),
			Message: "nothing of a " + c.class.Name + " can stay at its end: " + why, Remedy: "leave keepOnTerminate out",
		})
	}
}

// checkSchema reports what the schema of the class refuses.
func (s *Survey) checkSchema(c *surveyed) (ok bool) {
	ok = true
	for _, name := range c.class.Schema.Names() {
		var v value.Value
		if got, given := c.attrs.Get(name); given {
			v = got
		} else if c.node.Child(name) != nil {
			continue // an eager component where a value is wanted is checked by its manager
		}
		if line, _ := c.class.Attribute(name); line.Source && shipped(v) {
			continue // its content is on the way
		}
		p := c.class.Schema.Wrong(name, v)
		if p == nil {
			continue
		}
		code := diag.AttributeKind
		if v == nil {
			code = diag.AttributeMissing
			for a := range c.attrs.All() {
				if c.class.Schema.Slip(a.Name, func(near string) bool { return near != name }) != "" {
					p.Remedy = "did you mean " + a.Name + "?"
				}
			}
		}
		ok = false
		s.refuse(c, code, *p)
	}
	s.noteSlips(c)
	return ok
}

// shipped reports whether v stands for what is sent along, and no longer names it.
func shipped(v value.Value) bool {
	switch v := v.(type) {
	case *value.Component:
		return true
	case value.Vector:
		return len(v) > 0 && !slices.ContainsFunc(v, func(e value.Value) bool { return !shipped(e) })
	}
	return false
}

// refuse reports p.
func (s *Survey) refuse(c *surveyed, code diag.Code, p component.Problem) {
	d := diag.New(code, diag.At(c.node.Pos), p.Message)
	if a, ok := c.attrs.Attr(p.Attr); ok && a.Pos.IsValid() {
		d.Span = diag.At(a.Pos)
	}
	d.Path, d.Attribute, d.Expected, d.Found = c.node.Path.String(), p.Attr, p.Expected, p.Found
	if p.Remedy != "" {
		d.Hints = []string{p.Remedy}
	}
	if p.Rule.IsValid() {
		d.Related = []diag.Related{{Span: diag.At(p.Rule), Message: "the schema says so here"}}
	}
	d.Severity = diag.Error
	s.Problems.Add(d)
}

// noteSlips notes attributes that are probably meant to be others, unless the
// class comes from the library, where the resolver has warned of them.
func (s *Survey) noteSlips(c *surveyed) {
	class, _ := c.attrs.Attr("sfClass")
	if c.class.OpenAttributes || strings.HasPrefix(class.Pos.File, "library/") {
		return
	}
	given := func(name string) bool { _, ok := c.attrs.Get(name); return ok || c.class.Schema.Required(name) }
	for a := range c.attrs.All() {
		if near := c.class.Schema.Slip(a.Name, given); near != "" {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: %s has no attribute %s; did you mean %s?", c.node.Path, c.class.Name, a.Name, near))
		}
	}
}

// target is what is known of the machine before it is chosen; isolation is
// checked again with the proposal (CheckPlacement).
func (s *Survey) target(*surveyed) component.Target {
	return component.Target{Isolation: true, Privileged: true}
}

// need reads what a machine must have from the attributes of its component.
func (s *Survey) need(c *surveyed) place.Need {
	n := place.Need{Path: c.node.Path, Provider: "auto", Pos: c.node.Pos, Need: provider.Need{
		Name: string(c.node.Path), Cores: 1, Memory: 1024, Disk: 10,
	}}
	str := func(name string, to *string) {
		if v, ok := c.attrs.Get(name); ok {
			if t, ok := v.(value.String); ok {
				*to = string(t)
			}
		}
	}
	integer := func(name string, to *int) {
		if v, ok := c.attrs.Get(name); ok {
			if i, ok := v.(value.Integer); ok {
				*to = int(i)
			}
		}
	}
	str("cloudProvider", &n.Provider)
	str("vol-image", &n.Template)
	str("template", &n.Template)
	str("region", &n.Region)
	integer("cores", &n.Cores)
	integer("memory", &n.Memory)
	integer("disk", &n.Disk)
	if v, ok := c.attrs.Get("maxPrice"); ok {
		switch v := v.(type) {
		case value.Double:
			n.MaxPrice = float64(v)
		case value.Float:
			n.MaxPrice = float64(v)
		case value.Integer:
			n.MaxPrice = float64(v)
		}
	}
	if strings.EqualFold(n.Provider, "AmazonEC2") {
		n.Provider = "ec2" // the published example's name
	}
	return n
}
