package resolve

import (
	"fmt"
	"strings"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// function evaluates a call. A fault is the function's own; an outcome other
// than done comes from an operand.
type function func(c *call) (term, outcome, *fault)

// call is one evaluation of a function, while a description is resolved or on
// a machine.
type call struct {
	operands
	class string   // native name
	names []string // parameters, in order
	env   *ambient
	// site is where the function stands, nil on a machine.
	site *site
	// decided is set by IF and SWITCH when they know which branch counts.
	decided bool
}

// operands is what a function is evaluated on.
type operands interface {
	get(i int) (term, outcome)
	spend(n int) bool    // counts work; false: give up
	grow(bytes int) bool // counts memory, and the work of filling it
	warn(code diag.Code, text string)
	freeze(t term) value.Value
}

// site is a function in a description that is being resolved.
type site struct {
	r     *resolver
	s     slot
	n     *node // the function's own component
	where []int // the attributes of n that are operands
}

func (o *site) get(i int) (term, outcome) { return o.r.attr(slot{o.n, o.where[i]}) }

func (o *site) spend(n int) bool { return o.r.spend(n) }

func (o *site) grow(bytes int) bool { return o.r.grow(bytes) }

func (o *site) warn(code diag.Code, text string) {
	o.r.report(nil, o.r.attrDiagnostic(code, o.s, text))
}

func (o *site) freeze(t term) value.Value { return o.r.freeze(t) }

// span returns where the call is written, if that is known.
func (c *call) span() diag.Span {
	if c.site == nil {
		return diag.Span{}
	}
	return c.site.n.at
}

// frame is a call in a description, used again for one that comes after it.
type frame struct {
	site site
	call call
}

// ambient is what functions draw from besides their operands.
type ambient struct {
	seed    int64
	now     time.Time
	ask     func(prompt string) (string, error)
	counter *int64
	random  map[string]uint64
}

// ambient returns what functions draw from, the same for a whole description.
func (r *resolver) ambient() *ambient {
	if r.env == nil {
		r.env = &ambient{
			seed: r.opts.Seed, now: r.opts.Now, ask: r.opts.Ask,
			counter: new(int64), random: map[string]uint64{},
		}
	}
	return r.env
}

// fault is what is wrong with a call.
type fault struct {
	code     diag.Code
	param    string // the operand at fault, or ""
	text     string
	expected string
	found    string
	hints    []string
}

func (f *fault) Error() string {
	s := f.text
	if f.expected != "" {
		s += ": expected " + f.expected
	}
	if f.found != "" {
		s += ", found " + f.found
	}
	return s
}

// wrongType is the fault of operand name, which is v.
func (c *call) wrongType(name, expected string, v term) *fault {
	return &fault{
		code: diag.OperandType, param: name, expected: expected, found: kindAndText(v),
		text: fmt.Sprintf("operand %s of %s has the wrong type", shownOperand(name), c.class),
	}
}

// missing is the fault of a parameter that is not there.
func (c *call) missing(name string) *fault {
	return &fault{code: diag.ParameterMissing, text: fmt.Sprintf("%s needs the parameter %s", c.class, name), hints: hintsOf(c.site.r.nearest(name, c.names))}
}

// arg returns the operand called name; has is false if there is none.
func (c *call) arg(name string) (v term, how outcome, has bool) {
	for i, n := range c.names {
		if n == name {
			v, how = c.get(i)
			return v, how, true
		}
	}
	return nil, done, false
}

// settle evaluates all operands, those the function does not look at included:
// what fails in them is a mistake, and what is LAZY keeps the function for run
// time.
func (c *call) settle() outcome {
	worst := done
	for i := range c.names {
		_, how := c.get(i)
		worst = max(worst, how)
	}
	return worst
}

// need returns the operand called name, which must be there.
func (c *call) need(name string) (term, outcome, *fault) {
	v, how, has := c.arg(name)
	if !has {
		return nil, failed, c.missing(name)
	}
	return v, how, nil
}

// strict makes a function of one that needs all its operands.
func strict(eval func(c *call, args []term) (term, *fault)) function {
	return func(c *call) (term, outcome, *fault) {
		args := make([]term, len(c.names))
		late, bad := false, false
		for i := range c.names {
			v, how := c.get(i)
			late, bad = late || how == lazy, bad || how == failed
			args[i] = v
		}
		switch {
		case bad:
			return nil, failed, nil
		case late:
			return nil, lazy, nil
		}
		v, wrong := eval(c, args)
		return v, done, wrong
	}
}

// native returns the function class without the original's package.
func native(class string) string {
	return strings.TrimPrefix(class, syntax.FunctionPackage)
}

// isParameter reports whether an attribute of a function is an operand.
func isParameter(name string) bool {
	return name != syntax.FunctionClass && name != "sfIsComponent" && !strings.HasPrefix(name, syntax.PhaseFunction)
}

// function evaluates t, the value of the attribute at s. If an operand is known
// only at run time the function stays, with its other operands evaluated.
func (r *resolver) function(s slot, t *ref) (term, outcome) {
	n := t.apply
	r.open(n)
	class, how := r.functionClass(s, n)
	if how != done {
		return nil, how
	}
	f, known := functions[native(class)]
	if !known {
		d := r.attrDiagnostic(diag.UnknownFunction, s, fmt.Sprintf("unknown function class %q", class))
		d.Hints = nearestOf(native(class), functionNames)
		r.report(nil, d)
		return nil, failed
	}
	if r.calls == len(r.frames) {
		r.frames = append(r.frames, new(frame))
	}
	b := r.frames[r.calls]
	r.calls++
	b.site = site{r: r, s: s, n: n, where: b.site.where[:0]}
	b.call = call{operands: &b.site, class: native(class), names: b.call.names[:0], env: r.ambient(), site: &b.site}
	for i := range n.attrs {
		if isParameter(n.attrs[i].name) {
			b.site.where = append(b.site.where, i)
			b.call.names = append(b.call.names, n.attrs[i].name)
		}
	}
	v, how, wrong := f(&b.call)
	r.calls--
	switch {
	case wrong != nil:
		r.fault(s, n, wrong)
		return nil, failed
	case how == lazy:
		return r.keep(t, b.call.decided)
	}
	return v, how
}

func (r *resolver) functionClass(s slot, n *node) (string, outcome) {
	i := n.find(syntax.FunctionClass)
	if i >= 0 {
		v, how := r.attr(slot{n, i})
		if how == failed {
			return "", failed
		}
		if class, isString := v.(value.String); isString && class != "" {
			return string(class), done
		}
	}
	r.report(nil, r.attrDiagnostic(diag.UnknownFunction, s, "function without sfFunctionClass"))
	return "", failed
}

// keep leaves the function t for run time. Its other operands are evaluated as
// well, and must not fail, unless the function has decided to do without them:
// NULL stands for what fails then (D4).
func (r *resolver) keep(t *ref, decided bool) (term, outcome) {
	bad := false
	for i := range t.apply.attrs {
		if !decided {
			_, how := r.attr(slot{t.apply, i})
			bad = bad || how == failed
			continue
		}
		r.quiet++
		_, how := r.attr(slot{t.apply, i})
		r.quiet--
		if how == failed {
			a := &t.apply.attrs[i]
			a.v, a.state = value.Null{}, linkDone
		}
	}
	if bad {
		return nil, failed
	}
	late := *t
	late.lazy = true
	return &late, lazy
}

// fault reports what is wrong with the function n in the attribute at s.
func (r *resolver) fault(s slot, n *node, f *fault) {
	d := r.attrDiagnostic(f.code, s, f.text)
	d.Expected, d.Found, d.Hints = f.expected, f.found, f.hints
	if i := n.find(f.param); f.param != "" && i >= 0 {
		if at := n.attrs[i].span(); at.Pos.IsValid() {
			d.Span = at
			d.IncludedFrom = nil
		}
	}
	r.report(nil, d)
}

// shownOperand is the name of an operand for people: generated names mean
// nothing to them.
func shownOperand(name string) string {
	if generated(name) {
		return "without name"
	}
	return name
}

// generated reports whether name was made for -- or an operand.
func generated(name string) bool {
	digits, isFresh := strings.CutPrefix(name, "unique")
	return isFresh && strings.Trim(digits, "0123456789") == ""
}
