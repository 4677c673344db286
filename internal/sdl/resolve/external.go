package resolve

import (
	"fmt"
	"math"
	"sort"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// external returns what part at of t, which leads out of the tree, stands for.
func (r *resolver) external(s slot, t *ref, at int) (term, outcome) {
	p := t.parts[at]
	if len(t.parts) > 1 && p.Kind != value.PartProcess && p.Kind != value.PartHost {
		r.report(nil, r.attrDiagnostic(diag.PathThroughValue, s, fmt.Sprintf("%s cannot be part of a longer path: %s", p.Kind, linkText(t.parts))))
		return nil, failed
	}
	switch p.Kind {
	case value.PartProperty, value.PartIProperty:
		text, set := r.opts.Properties[p.Name]
		if !set {
			return r.unset(s, t, fmt.Sprintf("property not set: %s", p.Name), "set it with -D "+p.Name+"=VALUE")
		}
		if p.Kind == value.PartIProperty {
			return r.parsed(s, t, text)
		}
		return value.String(text), done
	case value.PartEnvProperty, value.PartIEnvProperty:
		text, set := r.opts.Environment[p.Name]
		if !set {
			return r.unset(s, t, fmt.Sprintf("environment variable not set: %s", p.Name), "set it with -E "+p.Name+"=VALUE, or show the environment with --env")
		}
		if p.Kind == value.PartIEnvProperty {
			return r.parsed(s, t, text)
		}
		return value.String(text), done
	case value.PartConstant:
		if v, known := constants[p.Name]; known {
			return v, done
		}
		d := r.attrDiagnostic(diag.PropertyUnknown, s, fmt.Sprintf("unknown constant: %s", p.Name))
		d.Hints = nearestOf(p.Name, constantNames)
		r.report(nil, d)
		return nil, failed
	}
	d := r.attrDiagnostic(diag.NeedsDaemon, s, fmt.Sprintf("%s needs a running daemon: %s", p.Kind, linkText(t.parts)))
	d.Hints = []string{"write LAZY " + linkText(t.parts)}
	r.report(nil, d)
	return nil, failed
}

func (r *resolver) unset(s slot, _ *ref, text, hint string) (term, outcome) {
	d := r.attrDiagnostic(diag.PropertyUnknown, s, text)
	d.Hints = []string{hint}
	r.report(nil, d)
	return nil, failed
}

// parsed returns the value that text, given by a user, is in the language.
func (r *resolver) parsed(s slot, t *ref, text string) (term, outcome) {
	name := t.parts[0].Name
	e, known := r.written[text]
	if !known {
		var list diag.List
		if !r.grow(len(text)) {
			return nil, failed
		}
		if e = syntax.ParseValue(name, []byte(text), &list); list.Errors() > 0 {
			e = nil
		}
		if r.written == nil {
			r.written = map[string]syntax.Expr{}
		}
		r.written[text] = e
	}
	if e != nil {
		switch e := e.(type) {
		case *syntax.Literal:
			if e.Value != value.Value(value.TBD{}) {
				return e.Value, done
			}
		case *syntax.Vector:
			if !r.grow(len(text)) {
				return nil, failed
			}
			return r.expr(nil, e, s.n, s.attr().name), done
		}
	}
	d := r.attrDiagnostic(diag.PropertyUnknown, s, fmt.Sprintf("%s is not a value of the language: %s", name, short(text)))
	d.Expected = "a number, string, boolean, NULL, byte array or vector"
	r.report(nil, d)
	return nil, failed
}

// short returns the beginning of a text that may be long.
func short(text string) string {
	const most = 80
	n := 0
	for i := range text {
		if n++; n > most {
			return text[:i] + "…"
		}
	}
	return text
}

// constants are the numeric limits that CONSTANT knows.
var constants = map[string]value.Value{
	"java.lang.Integer.MAX_VALUE":        value.Integer(math.MaxInt32),
	"java.lang.Integer.MIN_VALUE":        value.Integer(math.MinInt32),
	"java.lang.Long.MAX_VALUE":           value.Long(math.MaxInt64),
	"java.lang.Long.MIN_VALUE":           value.Long(math.MinInt64),
	"java.lang.Float.MAX_VALUE":          value.Float(math.MaxFloat32),
	"java.lang.Float.MIN_VALUE":          value.Float(math.SmallestNonzeroFloat32),
	"java.lang.Float.POSITIVE_INFINITY":  value.Float(math.Inf(1)),
	"java.lang.Float.NEGATIVE_INFINITY":  value.Float(math.Inf(-1)),
	"java.lang.Float.NaN":                value.Float(math.NaN()),
	"java.lang.Double.MAX_VALUE":         value.Double(math.MaxFloat64),
	"java.lang.Double.MIN_VALUE":         value.Double(math.SmallestNonzeroFloat64),
	"java.lang.Double.POSITIVE_INFINITY": value.Double(math.Inf(1)),
	"java.lang.Double.NEGATIVE_INFINITY": value.Double(math.Inf(-1)),
	"java.lang.Double.NaN":               value.Double(math.NaN()),
}

var constantNames = func() []string {
	var list []string
	for name := range constants {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}()
