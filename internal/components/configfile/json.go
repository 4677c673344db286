package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// jsonFormat is JSON; a key is a path of member names. Changes splice the text,
// so that what is not named keeps its form.
type jsonFormat struct{}

// member is one member of an object, by positions in the text.
type member struct {
	name               string
	start              int // of its name
	valueStart, valEnd int
}

// object is the value at a path: its bounds, and its members if it is one.
type object struct {
	open, close int // of its braces
	members     []member
}

func space(doc []byte, i int) int {
	for i < len(doc) && strings.IndexByte(" \t\r\n", doc[i]) >= 0 {
		i++
	}
	return i
}

// skip returns the end of the value that begins at i of a valid document.
func skip(doc []byte, i int) int {
	depth := 0
	for i < len(doc) {
		switch doc[i] {
		case '"':
			for i++; doc[i] != '"'; i++ {
				if doc[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
		i++
		if depth == 0 && strings.IndexByte(`"}]`, doc[i-1]) >= 0 {
			return i
		}
	}
	return i
}

func readObject(doc []byte, i int) (object, error) {
	if i >= len(doc) || doc[i] != '{' {
		return object{}, errors.New("not an object")
	}
	o := object{open: i}
	i = space(doc, i+1)
	for doc[i] != '}' {
		m := member{start: i}
		end := skip(doc, i)
		if err := json.Unmarshal(doc[i:end], &m.name); err != nil {
			return o, err
		}
		i = space(doc, end)
		m.valueStart = space(doc, i+1) // past the colon
		m.valEnd = skip(doc, m.valueStart)
		o.members = append(o.members, m)
		if i = space(doc, m.valEnd); doc[i] == ',' {
			i = space(doc, i+1)
		}
	}
	o.close = i
	return o, nil
}

func (o object) find(name string) (int, bool) {
	i := slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
	return i, i >= 0
}

// walk follows path as far as it leads: it returns the last object, and how
// many steps lead to it.
func (jsonFormat) walk(doc []byte, path []string) (object, int, error) {
	if !json.Valid(doc) {
		return object{}, 0, errors.New("the file is not valid JSON")
	}
	at := space(doc, 0)
	for n := 0; ; n++ {
		o, err := readObject(doc, at)
		if err != nil {
			return o, n, fmt.Errorf("%s: %w", strings.Join(append([]string{"top"}, path[:n]...), "."), err)
		}
		i, ok := o.find(path[n])
		if !ok || n == len(path)-1 {
			return o, n, nil
		}
		at = o.members[i].valueStart
	}
}

func (f jsonFormat) get(doc []byte, key string) (any, bool, error) {
	path, err := steps(key)
	if err != nil || len(bytes.TrimSpace(doc)) == 0 {
		return nil, false, err
	}
	o, n, err := f.walk(doc, path)
	if err != nil {
		return nil, false, err
	}
	i, ok := o.find(path[n])
	if !ok || n < len(path)-1 {
		return nil, false, nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(doc[o.members[i].valueStart:o.members[i].valEnd]))
	d.UseNumber()
	return v, true, d.Decode(&v)
}

func (f jsonFormat) set(doc []byte, key string, v any) ([]byte, error) {
	path, err := steps(key)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		doc = []byte("{\n}\n")
	}
	o, n, err := f.walk(doc, path)
	if err != nil {
		return nil, err
	}
	for i := len(path) - 1; i > n; i-- {
		v = map[string]any{path[i]: v}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(b.Bytes())
	if i, ok := o.find(path[n]); ok {
		return splice(doc, o.members[i].valueStart, o.members[i].valEnd, text), nil
	}
	name, err := json.Marshal(path[n])
	if err != nil {
		return nil, err
	}
	text = append(append(name, ": "...), text...)
	if len(o.members) == 0 {
		return splice(doc, o.open+1, o.close, append(append([]byte("\n  "), text...), '\n')), nil
	}
	// As the other members are set apart, so is the new one.
	gap := doc[o.open+1 : o.members[0].start]
	last := o.members[len(o.members)-1].valEnd
	return splice(doc, last, last, append(append([]byte(","), gap...), text...)), nil
}

func (f jsonFormat) remove(doc []byte, key string) ([]byte, error) {
	path, err := steps(key)
	if err != nil || len(bytes.TrimSpace(doc)) == 0 {
		return doc, err
	}
	o, n, err := f.walk(doc, path)
	if err != nil {
		return nil, err
	}
	i, ok := o.find(path[n])
	switch {
	case !ok || n < len(path)-1:
		return doc, nil
	case i > 0:
		return splice(doc, o.members[i-1].valEnd, o.members[i].valEnd, nil), nil
	case len(o.members) > 1:
		return splice(doc, o.members[0].start, o.members[1].start, nil), nil
	default:
		return splice(doc, o.open+1, o.close, nil), nil
	}
}

func splice(doc []byte, from, to int, with []byte) []byte {
	return slices.Concat(doc[:from], with, doc[to:])
}
