package configfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// properties is Java's format: "key=value" lines with escapes, a line that
// ends in a backslash going on in the next.
type properties struct{}

// entry is a logical line: the lines it takes, and what it says.
type entry struct {
	from, to   int
	key, value string
}

func (properties) entries(l []string) []entry {
	var found []entry
	for i := 0; i < len(l); i++ {
		text := strings.TrimLeft(strings.TrimRight(l[i], "\r\n"), " \t\f")
		if text == "" || text[0] == '#' || text[0] == '!' {
			continue
		}
		e := entry{from: i}
		for continues(text) && i+1 < len(l) {
			i++
			text = text[:len(text)-1] + strings.TrimLeft(strings.TrimRight(l[i], "\r\n"), " \t\f")
		}
		e.to = i + 1
		end := 0
		for end < len(text) && !strings.ContainsRune("=: \t\f", rune(text[end])) {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(text))
		e.key = unescape(text[:end])
		rest := strings.TrimLeft(text[end:], " \t\f")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t\f")
		}
		e.value = unescape(rest)
		found = append(found, e)
	}
	return found
}

func continues(s string) bool {
	n := len(s) - len(strings.TrimRight(s, `\`))
	return n%2 == 1
}

func unescape(s string) string {
	var out []uint16
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			r := []rune(s[i:])[0]
			if r == '\uFFFD' {
				i++
			} else {
				i += len(string(r))
			}
			out = utf16.AppendRune(out, r)
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n', 't', 'r', 'f':
			out = append(out, uint16(map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'f': '\f'}[c]))
			i++
		case 'u':
			if len(s) >= i+5 {
				if n, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err == nil {
					out = append(out, uint16(n))
					i += 5
					continue
				}
			}
			out = append(out, 'u')
			i++
		default:
			r := []rune(s[i:])[0]
			out = utf16.AppendRune(out, r)
			i += max(1, len(string(r)))
		}
	}
	return string(utf16.Decode(out))
}

func escape(s string, key bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\\', r == ' ' && (key || i == 0), key && strings.ContainsRune("=:#!", r):
			b.WriteString(`\` + string(r))
		case r < ' ' || r > '~':
			for _, u := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&b, `\u%04X`, u)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (f properties) find(l []string, key string) (entry, bool) {
	var found entry
	ok := false
	for _, e := range f.entries(l) {
		if e.key == key { // the last one counts
			found, ok = e, true
		}
	}
	return found, ok
}

func (f properties) get(doc []byte, key string) (any, bool, error) {
	e, ok := f.find(lines(doc), key)
	if !ok {
		return nil, false, nil
	}
	return e.value, true, nil
}

func (f properties) set(doc []byte, key string, v any) ([]byte, error) {
	if key == "" {
		return nil, fmt.Errorf("a key is empty")
	}
	l := lines(doc)
	line := escape(key, true) + "=" + escape(v.(string), false) + "\n"
	if e, ok := f.find(l, key); ok {
		l = slices.Replace(l, e.from, e.to, line)
	} else {
		if n := len(l); n > 0 && continues(strings.TrimRight(l[n-1], "\r\n")) {
			l = append(l, "\n") // or the last line would swallow ours
		}
		l = append(l, line)
	}
	return []byte(strings.Join(l, "")), nil
}

func (f properties) remove(doc []byte, key string) ([]byte, error) {
	l := lines(doc)
	for {
		e, ok := f.find(l, key)
		if !ok {
			return []byte(strings.Join(l, "")), nil
		}
		l = slices.Delete(l, e.from, e.to)
	}
}
