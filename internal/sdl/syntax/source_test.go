package syntax

import (
	"math/rand/v2"
	"slices"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// built turns a tree without prototypes and operators other than [ … ] into
// the value it means.
func built(t *testing.T, e Expr) value.Value {
	t.Helper()
	switch e := e.(type) {
	case *Literal:
		return e.Value
	case *Vector:
		v := value.Vector{}
		for _, x := range e.Elems {
			v = append(v, built(t, x))
		}
		return v
	case *Reference:
		r := &value.Reference{Lazy: e.Lazy, Data: e.Data, Optional: e.Optional, Assert: e.Assert, Parts: e.Parts}
		if e.Default != nil {
			r.Default = built(t, e.Default)
		}
		if e.Apply != nil {
			r.Apply = builtBody(t, true, e.Apply.Items)
		}
		return r
	case *Component:
		if e.Op == OpVector {
			v := value.Vector{}
			for _, item := range e.Operands() {
				v = append(v, built(t, item.(*Attribute).Value))
			}
			return v
		}
		return builtBody(t, e.Data, e.Protos[0].Body.Items)
	default:
		t.Fatalf("unexpected %T", e)
		return nil
	}
}

func builtBody(t *testing.T, data bool, items []Item) *value.Component {
	c := value.NewComponent(data)
	for _, item := range items {
		a := item.(*Attribute)
		c.Set(value.Attr{Name: a.Name, Value: built(t, a.Value), Tags: a.Tags})
	}
	return c
}

// random returns a value of the kinds a resolved description can hold.
func random(r *rand.Rand, depth int) value.Value {
	text := func() string {
		chars := []rune("ab.-\"\\#\n\t\r\x00é×日😀\u2028 u0041")
		s := make([]rune, r.IntN(6))
		for i := range s {
			s[i] = chars[r.IntN(len(chars))]
		}
		return string(s)
	}
	component := func(data bool) *value.Component {
		c := value.NewComponent(data)
		for range r.IntN(4) {
			var tags []string
			for range r.IntN(3) {
				tags = append(tags, text())
			}
			slices.Sort(tags)
			c.Set(value.Attr{Name: text(), Value: random(r, depth-1), Tags: slices.Compact(tags)})
		}
		return c
	}
	link := func() []value.Part {
		parts := make([]value.Part, 1+r.IntN(3))
		for i := range parts {
			parts[i].Kind = value.PartKind(r.IntN(int(value.PartConstant) + 1))
			if parts[i].Kind.HasName() {
				parts[i].Name = text()
			}
		}
		return parts
	}
	n := 13
	if depth == 0 {
		n = 9
	}
	switch r.IntN(n) {
	case 0:
		return value.Null{}
	case 1:
		return value.Bool(r.IntN(2) == 0)
	case 2:
		return value.Integer(r.Uint32())
	case 3:
		return value.Long(r.Uint64())
	case 4:
		return value.Float(r.NormFloat64())
	case 5:
		return value.Double(r.NormFloat64() * 1e12)
	case 6:
		return value.String(text())
	case 7:
		return value.Bytes(text())
	case 8:
		kind := r.IntN(4)
		ref := &value.Reference{Lazy: kind == 0, Data: kind == 1, Optional: r.IntN(2) == 0, Parts: link()}
		if ref.Optional && r.IntN(2) == 0 {
			ref.Default = value.String(text())
		}
		return ref
	case 9:
		v := value.Vector{}
		for range r.IntN(4) {
			v = append(v, random(r, depth-1))
		}
		return v
	case 10:
		return &value.Reference{Lazy: true, Assert: r.IntN(2) == 0, Apply: component(true)}
	default:
		return component(r.IntN(2) == 0)
	}
}

// TestSourceReadsBack checks that text printed for a value, as get and parse
// do, is read as an equal value.
func TestSourceReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		v := random(r, 3)
		text := value.Source(v)
		var list diag.List
		e := ParseValue("v", []byte(text), &list)
		if e == nil {
			t.Fatalf("%s\n%s", text, messages(&list, text))
		}
		if w := built(t, e); !value.Equal(v, w) {
			t.Fatalf("%s\nis read as\n%s", text, value.Source(w))
		}
		if b, err := value.Encode(v); err != nil {
			t.Fatal(err)
		} else if w, err := value.Decode(b); err != nil || !value.Equal(v, w) {
			t.Fatalf("%s came back as %v (%v)", b, w, err)
		}
	}
}
