package resolve

import (
	"fmt"
	"slices"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// setParameters are the parameters of Set that are not attributes of its value.
var setParameters = []string{"setMin", "setMax", "setSize", "setInc", "setElem", "setPrefix", "sfIsComponent"}

// maxCopies bounds what one Set makes.
const maxCopies = 100_000

// set makes a component with numbered copies of another.
func set(c *call) (term, outcome, *fault) {
	args := make([]term, len(c.names))
	for i := range c.names {
		v, how := c.get(i)
		if how == failed {
			return nil, failed, nil
		}
		if how == lazy && slices.Contains(setParameters, c.names[i]) {
			return nil, lazy, nil
		}
		args[i] = v
	}
	from, _, wrong := c.whole("setMin", args, 0)
	if wrong != nil {
		return nil, failed, wrong
	}
	step, _, wrong := c.whole("setInc", args, 1)
	if wrong != nil {
		return nil, failed, wrong
	}
	to, hasMax, wrong := c.whole("setMax", args, 0)
	if wrong != nil {
		return nil, failed, wrong
	}
	size, hasSize, wrong := c.whole("setSize", args, 0)
	switch {
	case wrong != nil:
		return nil, failed, wrong
	case hasMax == hasSize:
		return nil, failed, &fault{code: diag.ParameterMissing, text: "Set needs exactly one of setMax and setSize"}
	case step <= 0:
		return nil, failed, &fault{code: diag.OperandType, param: "setInc", text: fmt.Sprintf("setInc of Set must be positive, found %d", step)}
	case hasMax:
		size = 0
		if to >= from {
			size = (to-from)/step + 1
		}
	}
	if size < 0 || size > maxCopies {
		return nil, failed, &fault{code: diag.OperandType, text: fmt.Sprintf("Set of %d components: expected 0 to %d", size, maxCopies)}
	}
	prefix := value.String("elem")
	if i := slices.Index(c.names, "setPrefix"); i >= 0 {
		var isString bool
		if prefix, isString = args[i].(value.String); !isString {
			return nil, failed, c.wrongType("setPrefix", "a string", args[i])
		}
	}
	elem := slices.Index(c.names, "setElem")
	if elem < 0 {
		return nil, failed, c.missing("setElem")
	}
	return c.buildSet(args, args[elem], string(prefix), from, step, size)
}

func (c *call) buildSet(args []term, elem term, prefix string, from, step, size int64) (term, outcome, *fault) {
	if c.site == nil {
		return c.buildLateSet(args, elem, prefix, from, step, size)
	}
	template, isNode := elem.(*node)
	if !isNode {
		return nil, failed, c.wrongType("setElem", "a component", elem)
	}
	r := c.site.r
	n := r.newNode()
	*n = node{parent: c.site.n.parent, name: c.site.n.name, at: c.site.n.at, data: true}
	if i := c.site.n.find("sfIsComponent"); i >= 0 {
		v, how := r.attr(slot{c.site.n, i})
		if how != done {
			return nil, how, nil
		}
		n.data = v != term(value.Bool(true))
	}
	for i, name := range c.names {
		if !slices.Contains(setParameters, name) {
			at := c.site.n.find(name)
			n.add(attr{name: name, v: args[i], src: c.site.n.attrs[at].src, tags: c.site.n.attrs[at].tags, state: linkDone})
		}
	}
	for k := range size {
		name := fmt.Sprintf("%s%d", prefix, from+k*step)
		if n.find(name) < 0 {
			n.add(attr{name: name, v: r.copyNode(template, n, name), src: c.site.n.attrs[c.site.n.find("setElem")].src})
		}
		if r.stopped {
			return nil, failed, nil
		}
	}
	return n, done, nil
}

// buildLateSet is buildSet on a machine, where components are values already.
func (c *call) buildLateSet(args []term, elem term, prefix string, from, step, size int64) (term, outcome, *fault) {
	template, isComponent := elem.(*value.Component)
	if !isComponent {
		return nil, failed, c.wrongType("setElem", "a component", elem)
	}
	n := value.NewComponent(true)
	for i, name := range c.names {
		if !slices.Contains(setParameters, name) {
			n.Set(value.Attr{Name: name, Value: c.freeze(args[i])})
		}
	}
	for k := range size {
		n.Set(value.Attr{Name: fmt.Sprintf("%s%d", prefix, from+k*step), Value: template})
	}
	return n, done, nil
}

// reference is the function Ref: text read as a reference, resolved in the
// component that holds the function.
func reference(c *call) (term, outcome, *fault) {
	v, how, wrong := c.need("reference")
	if how != done || wrong != nil {
		return nil, how, wrong
	}
	text, isString := v.(value.String)
	if !isString {
		return nil, failed, c.wrongType("reference", "a string", v)
	}
	late, how, _ := c.arg("lazy")
	if how != done {
		return nil, how, nil
	}
	var list diag.List
	e := syntax.ParseReference("reference", []byte(text), &list)
	if e == nil || list.Errors() > 0 || e.Apply != nil {
		return nil, failed, &fault{code: diag.OperandType, param: "reference", text: "not a reference: " + value.Quote(string(text))}
	}
	t := &ref{lazy: e.Lazy || late == term(value.Bool(true)), data: e.Data, optional: e.Optional, parts: e.Parts, at: e.At}
	if e.Default != nil {
		if lit, isLit := e.Default.(*syntax.Literal); isLit {
			t.def = lit.Value
		}
	}
	if _, _, orNull := c.arg("returnNULLOnException"); orNull && !t.optional {
		t.optional = true
	}
	switch {
	case t.lazy:
		// It stays a reference of the holder, and so is not LAZY contagion.
		t.lazy = true
		return t, done, nil
	case t.data:
		return t, done, nil
	case c.site == nil:
		t.lazy = true
		return t, done, nil
	}
	r, holder := c.site.r, c.site.n.parent
	v, how = r.reference(slot{holder, max(holder.find(c.site.n.name), 0)}, t)
	return v, how, nil
}
