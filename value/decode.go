package value

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode reads the wire form. Its input may come from anyone: it is bounded in
// size and depth, costs no more than its length, and whatever is not exactly
// the wire form of one value is an error that says at which byte.
func Decode(data []byte) (Value, error) {
	if len(data) > MaxWireSize {
		return nil, fmt.Errorf("decode value: %d bytes, more than %d", len(data), MaxWireSize)
	}
	d := decoder{data: data, files: map[string]string{}}
	v, err := d.value(0)
	if err == nil {
		if d.blanks(); d.at < len(data) {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("decode value: at byte %d: %w", d.at, err)
	}
	return v, nil
}

// decoder reads JSON by hand rather than through encoding/json: values arrive
// with every message, and this is several times faster and checks the form on
// the way.
type decoder struct {
	data  []byte
	at    int
	files map[string]string // one copy of each file name in positions
}

func (d *decoder) blanks() {
	for d.at < len(d.data) {
		switch d.data[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// peek returns the next byte that is not blank, or 0 at the end.
func (d *decoder) peek() byte {
	if d.blanks(); d.at < len(d.data) {
		return d.data[d.at]
	}
	return 0
}

func (d *decoder) expect(c byte) error {
	if d.peek() != c {
		return fmt.Errorf("expected %q", c)
	}
	d.at++
	return nil
}

// list reads elements between open and end, separated by commas.
func (d *decoder) list(open, end byte, element func(i int) error) error {
	if err := d.expect(open); err != nil {
		return err
	}
	if d.peek() == end {
		d.at++
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.at++
		case end:
			d.at++
			return nil
		default:
			return fmt.Errorf("expected ',' or %q", end)
		}
	}
}

// object reads members; a name may be given once.
func (d *decoder) object(member func(name string) error) error {
	var seen []string
	return d.list('{', '}', func(int) error {
		name, err := d.str()
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("member %.40q twice", name)
		}
		if seen = append(seen, name); len(seen) > 8 {
			return errors.New("too many members")
		}
		if err := d.expect(':'); err != nil {
			return err
		}
		return member(name)
	})
}

func (d *decoder) literal(word string) error {
	if d.blanks(); !bytes.HasPrefix(d.data[d.at:], []byte(word)) {
		return fmt.Errorf("expected %s", word)
	}
	d.at += len(word)
	return nil
}

func (d *decoder) str() (string, error) {
	if err := d.expect('"'); err != nil {
		return "", errors.New("expected a string")
	}
	start := d.at
	for escaped := false; d.at < len(d.data); d.at++ {
		switch c := d.data[d.at]; {
		case c == '\\':
			escaped = true
			d.at++
		case c == '"':
			d.at++
			if text := d.data[start : d.at-1]; !escaped && utf8.Valid(text) {
				return string(text), nil
			}
			var s string
			if err := json.Unmarshal(d.data[start-1:d.at], &s); err != nil {
				d.at = start
				return "", errors.New("malformed string")
			}
			return s, nil
		case c < ' ':
			return "", errors.New("control character in a string")
		}
	}
	d.at = len(d.data)
	return "", errors.New("unterminated string")
}

func (d *decoder) integer(bits int) (int64, error) {
	d.blanks()
	start := d.at
	for d.at < len(d.data) && strings.IndexByte("-+.eE0123456789", d.data[d.at]) >= 0 {
		d.at++
	}
	s := string(d.data[start:d.at])
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil || s != strconv.FormatInt(n, 10) {
		return 0, fmt.Errorf("%.40q is no integer of %d bits", s, bits)
	}
	return n, nil
}

func (d *decoder) value(depth int) (Value, error) {
	if depth > MaxWireDepth {
		return nil, fmt.Errorf("nested more than %d deep", MaxWireDepth)
	}
	switch c := d.peek(); {
	case c == 'n':
		return Null{}, d.literal("null")
	case c == 't':
		return Bool(true), d.literal("true")
	case c == 'f':
		return Bool(false), d.literal("false")
	case c == '"':
		s, err := d.str()
		return String(s), err
	case c == '[':
		v := Vector{}
		err := d.list('[', ']', func(int) error {
			x, err := d.value(depth + 1)
			v = append(v, x)
			return err
		})
		return v, err
	case c == '{':
		return d.typed(depth)
	case c == '-' || '0' <= c && c <= '9':
		n, err := d.integer(32)
		return Integer(n), err
	case c == 0 && d.at == len(d.data):
		return nil, errors.New("unexpected end")
	default:
		return nil, fmt.Errorf("unexpected %q", c)
	}
}

// typed reads an object: its first member says what it is.
func (d *decoder) typed(depth int) (v Value, err error) {
	var kind string
	err = d.object(func(name string) error {
		if c, ok := v.(*Component); ok && kind == "$cd" && name == "attrs" {
			kind = "component"
			return d.attrs(c, depth)
		}
		if kind != "" {
			return fmt.Errorf("unexpected member %.40q", name)
		}
		kind = name
		var err error
		v, err = d.tagged(name, depth)
		return err
	})
	if err == nil && (kind == "" || kind == "$cd") {
		err = errors.New("object without a value")
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// tagged reads the value of the member called name, which names a kind.
func (d *decoder) tagged(name string, depth int) (Value, error) {
	switch name {
	case "$long":
		n, err := d.integer(64)
		return Long(n), err
	case "$tbd":
		return TBD{}, d.literal("true")
	case "$ref":
		return d.reference(depth)
	}
	s, err := d.str()
	if err != nil {
		return nil, err
	}
	switch {
	case name == "$cd" && (s == "data" || s == "eager"):
		return &Component{Data: s == "data"}, nil
	case name == "$float":
		f, err := parseFloat(s, 32)
		return Float(f), err
	case name == "$double":
		f, err := parseFloat(s, 64)
		return Double(f), err
	case name == "$bytes":
		digits, ok1 := strings.CutPrefix(s, "#HEX#")
		digits, ok2 := strings.CutSuffix(digits, "#")
		b, err := hex.DecodeString(digits)
		if !ok1 || !ok2 || err != nil {
			return nil, errors.New("malformed bytes, want #HEX#…#")
		}
		return Bytes(b), nil
	default:
		return nil, fmt.Errorf("unknown member %.40q: %.40q", name, s)
	}
}

// parseFloat reads what FloatText wrote, and nothing else.
func parseFloat(s string, bits int) (float64, error) {
	f, err := strconv.ParseFloat(s, bits)
	if err != nil || FloatText(f, bits) != s {
		return 0, fmt.Errorf("%.40q is no float text", s)
	}
	return f, nil
}

func (d *decoder) attrs(c *Component, depth int) error {
	return d.list('[', ']', func(int) error {
		var a Attr
		n := 0
		err := d.list('[', ']', func(i int) (err error) {
			n = i + 1
			switch i {
			case 0:
				if a.Name, err = d.str(); err == nil && c.find(a.Name) >= 0 {
					err = fmt.Errorf("attribute %.40q twice", a.Name)
				}
			case 1:
				a.Value, err = d.value(depth + 1)
			case 2:
				a.Tags, err = d.tags()
			case 3:
				a.Pos, err = d.pos()
			default:
				err = errors.New("attribute with more than four members")
			}
			return err
		})
		if err == nil && n < 2 {
			err = errors.New("attribute without name and value")
		}
		if err == nil {
			c.Set(a)
		}
		return err
	})
}

func (d *decoder) tags() (tags []string, err error) {
	err = d.list('[', ']', func(int) error {
		t, err := d.str()
		tags = append(tags, t)
		return err
	})
	slices.Sort(tags)
	return slices.Compact(tags), err
}

func (d *decoder) pos() (Pos, error) {
	s, err := d.str()
	if err != nil {
		return Pos{}, err
	}
	p, err := parsePos(s)
	if known, ok := d.files[p.File]; ok {
		p.File = known
	} else {
		d.files[p.File] = p.File
	}
	return p, err
}

func (d *decoder) reference(depth int) (*Reference, error) {
	r := &Reference{}
	err := d.object(func(name string) error {
		switch name {
		case "lazy":
			r.Lazy = true
		case "data":
			r.Data = true
		case "optional":
			r.Optional = true
		case "assert":
			r.Assert = true
		case "default":
			v, err := d.value(depth + 1)
			r.Default = v
			return err
		case "parts":
			return d.list('[', ']', func(int) error {
				p, err := d.part()
				r.Parts = append(r.Parts, p)
				return err
			})
		case "apply":
			v, err := d.value(depth + 1)
			c, ok := v.(*Component)
			if err == nil && !ok {
				return errors.New("apply is not a component")
			}
			r.Apply = c
			return err
		default:
			return fmt.Errorf("unexpected member %.40q", name)
		}
		return d.literal("true")
	})
	switch {
	case err != nil:
		return nil, err
	case (r.Apply == nil) == (len(r.Parts) == 0):
		return nil, errors.New("reference needs either parts or apply")
	case r.Assert && r.Apply == nil:
		return nil, errors.New("assert without apply")
	case r.Default != nil && !r.Optional:
		return nil, errors.New("default without optional")
	}
	return r, nil
}

func (d *decoder) part() (Part, error) {
	var p Part
	n := 0
	err := d.list('[', ']', func(i int) error {
		n = i + 1
		s, err := d.str()
		switch {
		case err != nil:
			return err
		case i == 0:
			k := slices.Index(partNames[:], s)
			if k < 0 {
				return fmt.Errorf("unknown part %.40q", s)
			}
			p.Kind = PartKind(k)
		case i == 1 && p.Kind.HasName():
			p.Name = s
		default:
			return errors.New("part with too many members")
		}
		return nil
	})
	if err == nil && (n == 0 || n == 1 && p.Kind.HasName()) {
		err = errors.New("incomplete part")
	}
	return p, err
}
