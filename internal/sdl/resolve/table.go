package resolve

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// functions holds every function by its native class name (sdl.md sections 14
// and 20). It is filled below: some functions look up others.
var functions map[string]function

var functionNames []string

func init() {
	functions = map[string]function{
		"Sum": fold(sum), "Product": fold(product),
		"Minus": calculate(minus), "Divide": calculate(divide), "Mod": calculate(mod),
		"LT": compare(func(o int) bool { return o < 0 }), "LE": compare(func(o int) bool { return o <= 0 }),
		"GT": compare(func(o int) bool { return o > 0 }), "GE": compare(func(o int) bool { return o >= 0 }),
		"EQ": equality(true), "NE": equality(false),
		"And": decide(false), "Or": decide(true),
		"Xor":        foldBool(func(a, b bool) bool { return a != b }),
		"Implies":    foldBool(func(a, b bool) bool { return !a || b }),
		"Not":        not,
		"IfThenElse": ifThenElse, "Switch": switchArms,
		"Vector": strict(makeVector), "Append": strict(appendVectors), "Concatenate": strict(concatenate),
		"Format": format, "Next": strict(next), "Random": strict(random), "Date": strict(date),
		"Set": set, "UserInput": strict(userInput), "Ref": reference, "SystemComponent": strict(systemComponent), "CheckSchemaElement": checkElement,
	}
	for _, name := range []string{
		"Constraint", "Array", "ArrayGenerator", "Aggregator", "AggregateSpecifier", "UpdateSpecifier", "PrettyPrint",
		"NSum", "NProduct", "AllDifferent", "AllocatorList", "ResourceAllocator", "Var", "LabellingPoint",
		"DynamicPolicyEvaluation", "Effect", "ApplyEffects", "PolicyEffects",
	} {
		functions[name] = unsupported
	}
	for name := range functions {
		functionNames = append(functionNames, name)
	}
	sort.Strings(functionNames)
}

// unsupported is a function of the constraint extension.
func unsupported(c *call) (term, outcome, *fault) {
	return nil, failed, &fault{code: diag.Constraint, text: fmt.Sprintf("%s belongs to the constraint extension, which is not supported", c.class)}
}

func equality(want bool) function {
	return binary(func(c *call, a, b term) (term, *fault) {
		return value.Bool(value.Equal(c.freeze(a), c.freeze(b)) == want), nil
	})
}

// boolean returns operand i, which must be a boolean.
func (c *call) boolean(i int) (bool, outcome, *fault) {
	v, how := c.get(i)
	if how != done {
		return false, how, nil
	}
	b, isBool := v.(value.Bool)
	if !isBool {
		return false, failed, c.wrongType(c.names[i], "true or false", v)
	}
	return bool(b), done, nil
}

// decide is && or ||: the first operand equal to stop decides (D4).
func decide(stop bool) function {
	return func(c *call) (term, outcome, *fault) {
		if len(c.names) == 0 {
			return nil, failed, noOperands(c)
		}
		if len(c.names) == 1 {
			v, how := c.get(0)
			return v, how, nil
		}
		for i := range c.names {
			b, how, wrong := c.boolean(i)
			if how != done || wrong != nil {
				return nil, how, wrong
			}
			if b == stop {
				return value.Bool(stop), done, nil
			}
		}
		return value.Bool(!stop), done, nil
	}
}

func foldBool(op func(a, b bool) bool) function {
	return strict(func(c *call, args []term) (term, *fault) {
		if len(args) == 0 {
			return nil, noOperands(c)
		}
		if len(args) == 1 {
			return args[0], nil
		}
		var acc bool
		for i, a := range args {
			b, isBool := a.(value.Bool)
			if !isBool {
				return nil, c.wrongType(c.names[i], "true or false", a)
			}
			if i == 0 {
				acc = bool(b)
			} else {
				acc = op(acc, bool(b))
			}
		}
		return value.Bool(acc), nil
	})
}

func not(c *call) (term, outcome, *fault) {
	i := slices.Index(c.names, "data")
	if i < 0 {
		return nil, failed, c.missing("data")
	}
	if how := c.settle(); how != done {
		return nil, how, nil
	}
	b, how, wrong := c.boolean(i)
	if how != done || wrong != nil {
		return nil, how, wrong
	}
	return value.Bool(!b), done, nil
}

func ifThenElse(c *call) (term, outcome, *fault) {
	i := slices.Index(c.names, "if")
	if i < 0 {
		return nil, failed, c.missing("if")
	}
	b, how, wrong := c.boolean(i)
	if how != done || wrong != nil {
		return nil, how, wrong
	}
	branch := "else"
	if b {
		branch = "then"
	}
	c.decided = true
	return c.need(branch)
}

func switchArms(c *call) (term, outcome, *fault) {
	for k := 0; ; k++ {
		i := slices.Index(c.names, fmt.Sprintf("IF%d", k))
		if i < 0 {
			return value.Null{}, done, nil
		}
		b, how, wrong := c.boolean(i)
		if how != done || wrong != nil {
			return nil, how, wrong
		}
		if b {
			c.decided = true
			return c.need(fmt.Sprintf("THEN%d", k))
		}
	}
}

func makeVector(c *call, args []term) (term, *fault) {
	c.grow(16 * len(args))
	return &vector{elems: args, at: c.span()}, nil
}

func appendVectors(c *call, args []term) (term, *fault) {
	v := &vector{at: c.span()}
	for i, a := range args {
		switch a := a.(type) {
		case *vector:
			if !c.grow(16 * len(a.elems)) {
				return v, nil
			}
			v.elems = append(v.elems, a.elems...)
		default:
			c.warn(diag.OperandIgnored, fmt.Sprintf("operand %s of %s is ignored: expected a vector, found %s", shownOperand(c.names[i]), c.class, kindAndText(a)))
		}
	}
	return v, nil
}

func concatenate(c *call, args []term) (term, *fault) {
	switch len(args) {
	case 0:
		return nil, noOperands(c)
	case 1:
		return args[0], nil
	}
	var b strings.Builder
	for _, a := range args {
		s, isString := a.(value.String)
		if !isString {
			v := c.freeze(a)
			if !c.spend(1) {
				return value.String(""), nil
			}
			s = value.String(value.Text(v))
		}
		if !c.grow(2 * len(s)) {
			return value.String(""), nil
		}
		b.WriteString(string(s))
	}
	return value.String(b.String()), nil
}

// format replaces $n by sn.
func format(c *call) (term, outcome, *fault) {
	how := c.settle()
	v, _, wrong := c.need("format")
	if how != done || wrong != nil {
		return nil, how, wrong
	}
	text, isString := v.(value.String)
	if !isString {
		return nil, failed, c.wrongType("format", "a string", v)
	}
	var b strings.Builder
	rest := string(text)
	for {
		i := strings.IndexByte(rest, '$')
		if i < 0 || i == len(rest)-1 || rest[i+1] < '0' || rest[i+1] > '9' {
			if i < 0 {
				b.WriteString(rest)
				break
			}
			b.WriteString(rest[:i+1])
			rest = rest[i+1:]
			continue
		}
		b.WriteString(rest[:i])
		name := "s" + rest[i+1:i+2]
		rest = rest[i+2:]
		v, _, wrong := c.need(name)
		if wrong != nil {
			return nil, failed, wrong
		}
		s, isString := v.(value.String)
		if !isString {
			c.warn(diag.OperandIgnored, fmt.Sprintf("parameter %s of Format becomes empty text: expected a string, found %s", name, kindAndText(v)))
		}
		if !c.grow(2 * len(s)) {
			return nil, failed, nil
		}
		b.WriteString(string(s))
	}
	return value.String(b.String()), done, nil
}

// whole returns the integer or long operand called name, or def.
func (c *call) whole(name string, args []term, def int64) (int64, bool, *fault) {
	i := slices.Index(c.names, name)
	if i < 0 {
		return def, false, nil
	}
	if n := rank(args[i]); n != 1 && n != 2 {
		return 0, true, c.wrongType(name, "an integer", args[i])
	}
	return toLong(args[i]), true, nil
}

func next(c *call, args []term) (term, *fault) {
	base, _, wrong := c.whole("base", args, 0)
	if wrong != nil {
		return nil, wrong
	}
	n := max(*c.env.counter, base)
	*c.env.counter = n + 1
	return value.Integer(int32(n)), nil
}

// random draws from the generator of the description (D15).
func random(c *call, args []term) (term, *fault) {
	const multiplier, mask = 0x5DEECE66D, 1<<48 - 1
	seed, _, wrong := c.whole("seed", args, c.env.seed)
	if wrong != nil {
		return nil, wrong
	}
	low, _, wrong := c.whole("min", args, 0)
	if wrong != nil {
		return nil, wrong
	}
	high, _, wrong := c.whole("max", args, 10)
	if wrong != nil {
		return nil, wrong
	}
	s, begun := c.env.random["s"]
	if !begun {
		s = (uint64(seed) ^ multiplier) & mask
	}
	s = (s*multiplier + 11) & mask
	c.env.random["s"] = s
	f := float64(s>>24) / (1 << 24)
	if i := slices.Index(c.names, "integer"); i >= 0 && args[i] == term(value.Bool(true)) {
		if high < low {
			return nil, &fault{code: diag.OperandType, param: "max", text: fmt.Sprintf("max of Random is below min: %d < %d", high, low)}
		}
		return value.Integer(int32(low + int64(f*float64(high-low+1)))), nil
	}
	return value.Float(float32(f)), nil
}

func date(c *call, _ []term) (term, *fault) {
	return value.String(c.env.now.UTC().Format(time.RFC3339)), nil
}

func userInput(c *call, args []term) (term, *fault) {
	prompt := ""
	if i := slices.Index(c.names, "prompt"); i >= 0 {
		s, isString := args[i].(value.String)
		if !isString {
			return nil, c.wrongType("prompt", "a string", args[i])
		}
		prompt = string(s)
	}
	if c.env.ask != nil {
		text, err := c.env.ask(prompt)
		if err != nil {
			return nil, &fault{code: diag.ParameterMissing, text: fmt.Sprintf("no answer to %q: %v", prompt, err)}
		}
		return value.String(text), nil
	}
	if i := slices.Index(c.names, "default"); i >= 0 {
		return args[i], nil
	}
	f := &fault{code: diag.ParameterMissing, text: fmt.Sprintf("nobody to ask %q, and no default", prompt)}
	f.hints = []string{"give userinput a default, or allow questions with --interactive"}
	return nil, f
}

func systemComponent(c *call, args []term) (term, *fault) {
	if i := slices.Index(c.names, "system"); i >= 0 {
		return args[i], nil
	}
	return value.Null{}, nil
}
