package value

import (
	"strconv"
	"unicode/utf8"
)

// TypedJSON returns v as typed JSON (sdl.md section 21), the form in which two
// descriptions are compared: names made by -- all read unique#, and references
// are text. It cannot be read back; Encode makes the form that can.
func TypedJSON(v Value) []byte { return appendTyped(nil, v) }

func appendTyped(b []byte, v Value) []byte {
	switch v := v.(type) {
	case Vector:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendTyped(b, e)
		}
		return append(b, ']')
	case *Component:
		b = appendHead(b, v)
		for i, a := range v.attrs {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = appendString(b, shown(a.Name))
			b = append(b, ',')
			b = appendTyped(b, a.Value)
			if len(a.Tags) > 0 {
				b = appendTags(append(b, ','), a.Tags)
			}
			b = append(b, ']')
		}
		return append(b, "]}"...)
	case *Reference:
		b = append(b, `{"$ref":`...)
		return append(appendString(b, RefText(v)), '}')
	case TBD:
		return append(b, `{"$ref":"TBD"}`...)
	default:
		return appendScalar(b, v)
	}
}

// appendHead writes what typed and wire form of a component begin with, up to
// and with the bracket of its attributes.
func appendHead(b []byte, c *Component) []byte {
	if c.Data {
		return append(b, `{"$cd":"data","attrs":[`...)
	}
	return append(b, `{"$cd":"eager","attrs":[`...)
}

func appendTags(b []byte, tags []string) []byte {
	b = append(b, '[')
	for i, t := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, t)
	}
	return append(b, ']')
}

// appendScalar writes the kinds that look the same in typed and wire form.
func appendScalar(b []byte, v Value) []byte {
	switch v := v.(type) {
	case Bool:
		return strconv.AppendBool(b, bool(v))
	case Integer:
		return strconv.AppendInt(b, int64(v), 10)
	case Long:
		b = append(b, `{"$long":`...)
		return append(strconv.AppendInt(b, int64(v), 10), '}')
	case Float:
		return append(append(append(b, `{"$float":"`...), Text(v)...), `"}`...)
	case Double:
		return append(append(append(b, `{"$double":"`...), Text(v)...), `"}`...)
	case String:
		return appendString(b, string(v))
	case Bytes:
		return append(append(append(b, `{"$bytes":"`...), BytesText(v)...), `"}`...)
	default:
		return append(b, "null"...)
	}
}

const hexDigits = "0123456789abcdef"

// appendString writes s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD: strings of the language are sequences of characters.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, `\n`...)
			case '\t':
				b = append(b, `\t`...)
			case '\r':
				b = append(b, `\r`...)
			default:
				b = append(b, `\u00`...)
				b = append(b, hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, s[from:i]...)
			b = append(b, "\uFFFD"...)
			from = i + 1
		}
		i += n
	}
	return append(append(b, s[from:]...), '"')
}

// PlainJSON returns v as JSON for people and tools: a component is an object
// with its attributes in order, numbers are numbers, NULL is null, and what
// JSON has no form for is a string in the language's own. Tags, the kinds of
// numbers and the data mark are lost.
func PlainJSON(v Value) []byte { return appendPlain(nil, v) }

func appendPlain(b []byte, v Value) []byte {
	switch v := v.(type) {
	case nil, Null, Bool, Integer, String:
		return appendScalar(b, v)
	case Long:
		return strconv.AppendInt(b, int64(v), 10)
	case Float:
		return appendNumber(b, float64(v), 32)
	case Double:
		return appendNumber(b, float64(v), 64)
	case Vector:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendPlain(b, e)
		}
		return append(b, ']')
	case *Component:
		b = append(b, '{')
		for i, a := range v.attrs {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, a.Name), ':')
			b = appendPlain(b, a.Value)
		}
		return append(b, '}')
	default:
		return appendString(b, Source(v))
	}
}

func appendNumber(b []byte, f float64, bits int) []byte {
	s := FloatText(f, bits)
	if s == "NaN" || s[len(s)-1] == 'y' {
		return appendString(b, s)
	}
	return append(b, s...)
}
