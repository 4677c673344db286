package resolve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/library"
	"aloft/value"
)

// maxLateSteps bounds the evaluation of one function on a machine.
const maxLateSteps = 1_000_000

// Evaluate computes the LAZY function apply on a machine. Its operands must not
// depend on where it stands (model.Absolute sees to that); read gives the value
// of a reference among them, and is asked only for operands that are needed.
// Now is what date gives. The value holds no reference that could be resolved,
// unless the function's value is one.
func Evaluate(ctx context.Context, apply *value.Reference, now time.Time, read func(*value.Reference) (value.Value, error)) (value.Value, error) {
	if apply == nil || apply.Apply == nil || apply.Assert {
		return nil, errors.New("evaluate: not a function")
	}
	e := evaluation{
		ctx: ctx, read: read, budget: maxLateSteps,
		env: &ambient{now: now, counter: new(int64), random: map[string]uint64{}},
	}
	v, err := e.function(apply.Apply, 0)
	if err != nil {
		return nil, err
	}
	return frozen(v), nil
}

// evaluation is one call of Evaluate.
type evaluation struct {
	ctx    context.Context
	read   func(*value.Reference) (value.Value, error)
	env    *ambient
	budget int
}

func (e *evaluation) spend(n int) bool {
	e.budget -= n
	return e.budget >= 0 && e.ctx.Err() == nil
}

func (e *evaluation) function(body *value.Component, depth int) (term, error) {
	if depth > maxDepth || !e.spend(1) {
		if err := e.ctx.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("evaluate function: needs more work than allowed")
	}
	class, _ := body.Get(syntax.FunctionClass)
	name, _ := class.(value.String)
	f, known := functions[native(string(name))]
	if !known {
		return nil, fmt.Errorf("evaluate function: unknown function class %q", string(name))
	}
	o := &lateOperands{e: e, depth: depth}
	c := &call{operands: o, class: native(string(name)), env: e.env}
	for a := range body.All() {
		if isParameter(a.Name) && a.Name != "sfFunctionLazy" {
			o.attrs = append(o.attrs, a)
			c.names = append(c.names, a.Name)
		}
	}
	v, _, wrong := f(c)
	switch {
	case o.failure != nil:
		return nil, fmt.Errorf("operand %s of %s: %w", shownOperand(o.failed), c.class, o.failure)
	case wrong != nil:
		return nil, fmt.Errorf("evaluate function: %w", wrong)
	case e.budget < 0:
		return nil, errors.New("evaluate function: needs more work than allowed")
	}
	if r, isRef := v.(*ref); isRef && !r.data {
		// The function Ref made a reference; here it is read at once.
		return e.operand(frozen(r), depth+1)
	}
	return v, nil
}

// lateOperands are the operands of a function on a machine.
type lateOperands struct {
	e       *evaluation
	attrs   []value.Attr
	depth   int
	failed  string // the operand that failed first
	failure error
}

func (o *lateOperands) get(i int) (term, outcome) {
	t, err := o.e.operand(o.attrs[i].Value, o.depth)
	if err == nil {
		return t, done
	}
	if o.failure == nil {
		o.failed, o.failure = o.attrs[i].Name, err
	}
	return nil, failed
}

func (o *lateOperands) spend(n int) bool { return o.e.spend(n) }

func (o *lateOperands) grow(bytes int) bool { return o.e.spend(bytes / 64) }

// warn does nothing: what there was to warn of was said when the description
// was resolved.
func (o *lateOperands) warn(diag.Code, string) {}

func (o *lateOperands) freeze(t term) value.Value { return frozen(t) }

// operand returns the value of v, an operand.
func (e *evaluation) operand(v value.Value, depth int) (term, error) {
	if depth > maxDepth || !e.spend(1) {
		if err := e.ctx.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("needs more work than allowed")
	}
	switch v := v.(type) {
	case *value.Reference:
		switch {
		case v.Data || v.Assert:
			return thaw(v), nil
		case v.Apply != nil:
			return e.function(v.Apply, depth+1)
		}
		w, err := e.read(v)
		if err != nil {
			return nil, err
		}
		return thaw(w), nil
	case value.Vector:
		list := &vector{elems: make([]term, len(v))}
		for i, x := range v {
			t, err := e.operand(x, depth+1)
			if err != nil {
				return nil, err
			}
			list.elems[i] = t
		}
		return list, nil
	}
	return v, nil
}

// thaw returns v as the functions work on it.
func thaw(v value.Value) term {
	switch v := v.(type) {
	case value.Vector:
		list := &vector{elems: make([]term, len(v))}
		for i, x := range v {
			list.elems[i] = thaw(x)
		}
		return list
	}
	return v
}

// frozen returns t, which holds no nodes, as a value.
func frozen(t term) value.Value {
	switch t := t.(type) {
	case *vector:
		v := make(value.Vector, len(t.elems))
		for i, e := range t.elems {
			v[i] = frozen(e)
		}
		return v
	case *ref:
		v := &value.Reference{Lazy: t.lazy, Data: t.data, Optional: t.optional, Parts: t.parts}
		if t.def != nil {
			v.Default = frozen(t.def)
		}
		return v
	case value.Value:
		return t
	}
	return value.Null{}
}

// libraryNames maps the names that the library defines to the file to include
// for them.
var libraryNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, inc := range []string{
		"functions.sf", "predicates.sf", "components.sf", "org/smartfrog/sfcore/prim/prim.sf",
		"org/smartfrog/sfcore/compound/compound.sf", "aloft/components.sf", "aloft/workflow.sf",
		"softwarecomponents/definitions.sf", "cloudprovider/definitions.sf",
	} {
		collectNames(names, inc, inc, 0)
	}
	return names
})

// collectNames adds the names that file defines, itself or by its includes, as
// those of inc.
func collectNames(names map[string]string, inc, file string, depth int) {
	text, err := fs.ReadFile(library.FS, file)
	if err != nil || depth > 8 {
		return
	}
	var list diag.List
	for _, item := range syntax.Parse(file, text, &list).Items {
		switch item := item.(type) {
		case *syntax.Attribute:
			if _, known := names[item.Name]; !known && len(item.Path) == 0 {
				names[item.Name] = inc
			}
		case *syntax.Include:
			collectNames(names, inc, item.File, depth+1)
		}
	}
}
