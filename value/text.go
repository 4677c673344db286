package value

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

var keywords = []string{ // sorted
	"APPLY", "ASSERT", "ATTRIB", "CONSTANT", "DATA", "ELSE", "ENDSWITCH", "ENVPROPERTY", "FI", "HERE", "HOST",
	"IENVPROPERTY", "IF", "IPROPERTY", "LAZY", "NULL", "OPTIONAL", "PARENT", "PROCESS", "PROPERTY", "ROOT",
	"SWITCH", "TBD", "THEN", "THIS", "VAR", "extends", "false", "true",
}

// IsKeyword reports whether s is a keyword of the language (LX5).
func IsKeyword(s string) bool {
	_, ok := slices.BinarySearch(keywords, s)
	return ok
}

// IsWordStart reports whether a word may begin with r (LX7).
func IsWordStart(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_' || r == '$':
		return true
	case r < 0xA2 || r > 0xFF:
		return false
	default:
		return r <= 0xA5 || r == 0xAA || r == 0xB5 || r == 0xBA || r >= 0xC0 && r != 0xD7 && r != 0xF7
	}
}

// IsWordPart reports whether r may stand in a word behind its start (LX7).
func IsWordPart(r rune) bool {
	return IsWordStart(r) || '0' <= r && r <= '9' || r < utf8.RuneSelf && strings.ContainsRune(".-+@#~%^&", r)
}

// IsWord reports whether s can be written as a name without quotes: it has
// the form of a word and is no keyword.
func IsWord(s string) bool {
	for i, r := range s {
		if i == 0 && !IsWordStart(r) || !IsWordPart(r) {
			return false
		}
	}
	return s != "" && !IsKeyword(s)
}

var partNames = [...]string{
	PartAttrib: "ATTRIB", PartHere: "HERE", PartParent: "PARENT", PartRoot: "ROOT", PartThis: "THIS",
	PartProcess: "PROCESS", PartHost: "HOST", PartProperty: "PROPERTY", PartIProperty: "IPROPERTY",
	PartEnvProperty: "ENVPROPERTY", PartIEnvProperty: "IENVPROPERTY", PartConstant: "CONSTANT",
}

// String returns the keyword of k.
func (k PartKind) String() string {
	if int(k) < len(partNames) {
		return partNames[k]
	}
	return fmt.Sprintf("part(%d)", k)
}

// HasName reports whether a part of kind k names something.
func (k PartKind) HasName() bool {
	return k != PartParent && k != PartRoot && k != PartThis && k != PartProcess
}

// FloatText returns f, rounded to bits (32 or 64), the way Java prints it: the
// fewest digits that read back to the same value, plain from 0.001 to below
// 10,000,000 and otherwise with an exponent, always with a digit after the
// point. The others are NaN, Infinity and -Infinity.
func FloatText(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if m := math.Abs(f); m == 0 || m >= 1e-3 && m < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	digits, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
	if !strings.Contains(digits, ".") {
		digits += ".0"
	}
	sign := ""
	if exp[0] == '-' {
		sign = "-"
	}
	return digits + "E" + sign + strings.TrimLeft(exp[1:], "0")
}

// BytesText returns b in the form #HEX#…#, upper case.
func BytesText(b []byte) string {
	return "#HEX#" + strings.ToUpper(hex.EncodeToString(b)) + "#"
}

// Text returns v as ++ joins it (sdl.md section 14): a string as it is,
// numbers without suffix, a vector as [a, b], components and references as
// Source writes them.
func Text(v Value) string {
	switch v := v.(type) {
	case nil, Null:
		return "NULL"
	case Bool:
		return strconv.FormatBool(bool(v))
	case Integer:
		return strconv.FormatInt(int64(v), 10)
	case Long:
		return strconv.FormatInt(int64(v), 10)
	case Float:
		return FloatText(float64(v), 32)
	case Double:
		return FloatText(float64(v), 64)
	case String:
		return string(v)
	case Bytes:
		return BytesText(v)
	case Vector:
		texts := make([]string, len(v))
		for i, e := range v {
			texts[i] = Text(e)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	default:
		return Source(v)
	}
}

// generated reports whether name is one made by --: unique and a number.
func generated(name string) bool {
	n, ok := strings.CutPrefix(name, "unique")
	if !ok || n == "" {
		return false
	}
	for i := range len(n) {
		if n[i] < '0' || n[i] > '9' {
			return false
		}
	}
	return true
}

// shown is the name as typed JSON and reference text show it.
func shown(name string) string {
	if generated(name) {
		return "unique#"
	}
	return name
}

// RefText returns the text of r that typed JSON uses (sdl.md section 21).
func RefText(r *Reference) string {
	var b strings.Builder
	refText(&b, r)
	return strings.Join(strings.FieldsFunc(b.String(), func(c rune) bool {
		return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'
	}), " ")
}

func refText(b *strings.Builder, r *Reference) {
	if r.Lazy {
		b.WriteString("LAZY ")
	}
	if r.Apply != nil {
		if r.Data {
			b.WriteString("DATA ")
		}
		b.WriteString(applyWord(r) + " {")
		for a := range r.Apply.All() {
			attrText(b, a)
			b.WriteByte(' ')
		}
		b.WriteByte('}')
		return
	}
	if r.Optional {
		b.WriteString("OPTIONAL ")
		if orNull(r.Default) != Value(Null{}) {
			b.WriteByte('(')
			litText(b, r.Default)
			b.WriteString(") ")
		}
	}
	if r.Data {
		b.WriteString("DATA ")
	}
	for i, p := range r.Parts {
		if i > 0 {
			b.WriteByte(':')
		}
		switch {
		case p.Kind == plainKind(i):
			b.WriteString(nameText(p.Name))
		case p.Kind == PartAttrib || p.Kind == PartHere:
			b.WriteString(p.Kind.String() + " " + nameText(p.Name))
		case p.Kind == PartHost && p.Name != "" && p.Name[0] >= '0' && p.Name[0] <= '9':
			b.WriteString("HOST " + quoteLatin(p.Name))
		case p.Kind.HasName():
			b.WriteString(p.Kind.String() + " " + p.Name)
		default:
			b.WriteString(p.Kind.String())
		}
	}
}

// plainKind is the kind a bare word has as the i-th part of a link.
func plainKind(i int) PartKind {
	if i == 0 {
		return PartAttrib
	}
	return PartHere
}

func applyWord(r *Reference) string {
	if r.Assert {
		return "ASSERT"
	}
	return "APPLY"
}

func attrText(b *strings.Builder, a Attr) {
	if len(a.Tags) > 0 {
		b.WriteString("[ ")
		for _, t := range a.Tags {
			b.WriteString(nameText(t) + " ")
		}
		b.WriteString("] ")
	}
	b.WriteString(nameText(a.Name) + " ")
	litText(b, a.Value)
	if _, ok := a.Value.(*Component); !ok {
		b.WriteByte(';')
	}
}

func litText(b *strings.Builder, v Value) {
	switch v := v.(type) {
	case Long:
		b.WriteString(Text(v) + "L")
	case Double:
		b.WriteString(Text(v) + "D")
	case String:
		b.WriteString(quoteLatin(string(v)))
	case Vector:
		b.WriteString("[|")
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			litText(b, e)
		}
		b.WriteString("|]")
	case *Component:
		b.WriteString("extends ")
		if v.Data {
			b.WriteString("DATA ")
		}
		b.WriteByte('{')
		for a := range v.All() {
			b.WriteByte(' ')
			attrText(b, a)
		}
		if v.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte('}')
	case *Reference:
		refText(b, v)
	case TBD:
		b.WriteString("TBD")
	default:
		b.WriteString(Text(v))
	}
}

// nameText writes a name in reference text, quoted where the language needs it.
func nameText(name string) string {
	if name = shown(name); IsWord(name) {
		return name
	}
	return quoteLatin(name)
}

// quoteLatin writes s between quotes with everything escaped that is neither a
// word character nor common punctuation, as the original did.
func quoteLatin(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == ' ' || IsWordPart(r) || r < utf8.RuneSelf && strings.ContainsRune("!'*()[]{}:;,<>?/|`=", r):
			b.WriteRune(r)
		case escapes[r] != "":
			b.WriteString(escapes[r])
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04X`, u)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

var escapes = map[rune]string{
	'\\': `\\`, '"': `\"`, '\n': `\n`, '\t': `\t`, '\b': `\b`, '\r': `\r`, '\f': `\f`,
}

// Quote writes s as a string of the language that people can read: letters of
// all scripts as they are, the rest escaped.
func Quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case escapes[r] != "":
			b.WriteString(escapes[r])
		case r < ' ' || r == 0x7F: // \u would be read as the character itself
			fmt.Fprintf(&b, `\%03o`, r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04X`, u)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
