package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
)

// maxNodes bounds the values of a text, and with that the memory they take.
const maxNodes = 1_000_000

// readJSON reads one JSON value, keys in their order, or reports why not and
// returns nil.
func readJSON(name string, src []byte, list *diag.List) *node {
	r := jsonReader{src: src, dec: json.NewDecoder(bytes.NewReader(src)), at: cursor{file: name, src: src}}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		if off, ok := r.more(); ok {
			err = &jsonError{off, "text behind the end", "nothing behind the first value"}
		}
	}
	if err == nil {
		return n
	}
	bad := r.describe(err)
	at := cursor{file: name, src: src}
	d := diag.New(diag.Unexpected, at.at(bad.off), bad.message)
	d.Expected, d.Found = bad.expected, foundAt(src, bad.off)
	if bad.expected == depthExpected {
		d.Code = diag.TooDeep
	}
	list.Add(d)
	return nil
}

const depthExpected = "fewer values, or fewer of them inside each other"

func foundAt(src []byte, off int) string {
	if off >= len(src) {
		return "end of the file"
	}
	word, _, _ := strings.Cut(string(src[off:min(off+40, len(src))]), " ")
	return strconv.Quote(strings.ToValidUTF8(word, ""))
}

// jsonError is a mistake in a JSON text.
type jsonError struct {
	off               int
	message, expected string
}

func (e *jsonError) Error() string { return e.message }

type jsonReader struct {
	src   []byte
	dec   *json.Decoder
	at    cursor
	nodes int
}

func (r *jsonReader) describe(err error) *jsonError {
	if e, ok := errors.AsType[*jsonError](err); ok {
		return e
	}
	off, message := len(r.src), "text that ends too early"
	if e, ok := errors.AsType[*json.SyntaxError](err); ok && !strings.Contains(e.Error(), "unexpected end") {
		off, message = max(0, int(e.Offset)-1), "text that is no JSON: "+e.Error()
	}
	return &jsonError{off, message, "JSON"}
}

// more returns where the next token begins.
func (r *jsonReader) more() (off int, ok bool) {
	off = int(r.dec.InputOffset())
	for off < len(r.src) && bytes.IndexByte([]byte(" \t\r\n,:"), r.src[off]) >= 0 {
		off++
	}
	return off, off < len(r.src)
}

func (r *jsonReader) value(depth int) (*node, error) {
	off, _ := r.more()
	if r.nodes++; r.nodes > maxNodes || depth > syntax.MaxDepth {
		message := fmt.Sprintf("more than %d values", maxNodes)
		if depth > syntax.MaxDepth {
			message = fmt.Sprintf("nested more than %d deep", syntax.MaxDepth)
		}
		return nil, &jsonError{off, message, depthExpected}
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{at: r.at.at(off)}
	switch t := t.(type) {
	case nil:
		n.kind, n.text = nNull, "null"
	case bool:
		n.kind, n.text = nBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = nNumber, t.String()
	case string:
		n.kind, n.text = nString, t
		raw := r.src[off:r.dec.InputOffset()]
		n.plain = len(raw) == len(t)+2 // no escapes
		if n.plain {
			n.at.Pos.Col++
		}
	case json.Delim:
		if t == '[' {
			n.kind = nList
			for r.dec.More() {
				x, err := r.value(depth + 1)
				if err != nil {
					return nil, err
				}
				n.items = append(n.items, x)
			}
		} else {
			n.kind = nMap
			for r.dec.More() {
				off, _ := r.more()
				k, err := r.dec.Token()
				if err != nil {
					return nil, err
				}
				key, ok := k.(string)
				if !ok {
					return nil, &jsonError{off, "a key that is no string", "a string"}
				}
				at := r.at.at(off)
				x, err := r.value(depth + 1)
				if err != nil {
					return nil, err
				}
				n.keys = append(n.keys, entry{key: key, at: at, val: x})
			}
		}
		if _, err := r.dec.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return n, nil
}

// writeJSON writes n with a key a line; what is simple and short stays on one.
func writeJSON(n *node) []byte {
	w := jsonWriter{}
	w.value(n, 0)
	w.WriteByte('\n')
	return w.Bytes()
}

type jsonWriter struct{ bytes.Buffer }

// width is how long a line may be that need not be broken.
const width = 80

func (w *jsonWriter) value(n *node, depth int) {
	if n.kind < nList {
		w.scalar(n)
		return
	}
	if line, ok := oneLine(n, width-2*min(depth, maxIndent)); ok {
		w.WriteString(line)
		return
	}
	margin := "\n" + strings.Repeat("  ", min(depth+1, maxIndent))
	if n.kind == nList {
		w.WriteByte('[')
		for i, x := range n.items {
			w.comma(i)
			w.WriteString(margin)
			w.value(x, depth+1)
		}
	} else {
		w.WriteByte('{')
		for i, k := range shown(n.keys) {
			w.comma(i)
			w.WriteString(margin)
			w.quote(k.key)
			w.WriteString(": ")
			w.value(k.val, depth+1)
		}
	}
	w.WriteString("\n" + strings.Repeat("  ", min(depth, maxIndent)))
	w.WriteByte("]}"[n.kind-nList])
}

func (w *jsonWriter) comma(i int) {
	if i > 0 {
		w.WriteByte(',')
	}
}

func (w *jsonWriter) scalar(n *node) {
	if n.kind == nString {
		w.quote(n.text)
		return
	}
	w.WriteString(n.text)
}

func (w *jsonWriter) quote(s string) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string into memory
	w.Truncate(w.Len() - 1)
}

// bareExtends reports whether n is a component that only extends something.
func bareExtends(n *node) bool {
	return n.kind == nMap && len(n.keys) == 1 && n.keys[0].key == keyExtends && !strings.ContainsRune(n.keys[0].val.text, '\n')
}

// oneLine returns a list of scalars, a component that only extends something,
// or the mapping of a source text as one line, if that has at most room
// characters.
func oneLine(n *node, room int) (string, bool) {
	w := jsonWriter{}
	switch {
	case n.kind == nMap && len(n.keys) == 0:
		return "{}", true
	case n.kind == nMap && n.keys[0].key == keyText:
		w.WriteString(`{"$": `)
		w.scalar(n.keys[0].val)
		w.WriteByte('}')
		return w.String(), true
	case bareExtends(n):
		w.WriteString(`{"$extends": `)
		w.scalar(n.keys[0].val)
		w.WriteByte('}')
		return w.String(), w.Len() <= room
	case n.kind == nMap:
		return "", false
	}
	w.WriteByte('[')
	for i, x := range n.items {
		if i > 0 {
			w.WriteString(", ")
		}
		if x.kind >= nList {
			line, ok := oneLine(x, room-w.Len())
			if !ok {
				return "", false
			}
			w.WriteString(line)
		} else {
			w.scalar(x)
		}
		if w.Len() > room {
			return "", false
		}
	}
	w.WriteByte(']')
	return w.String(), true
}

// shown returns keys with all comments as keys.
func shown(keys []entry) []entry {
	var out []entry
	seen := map[string]int{}
	add := func(key string, texts []string) {
		if len(texts) == 0 {
			return
		}
		if seen[key]++; seen[key] > 1 {
			key += " #" + strconv.Itoa(seen[key])
		}
		out = append(out, entry{key: key, val: commentNode(texts)})
	}
	for _, k := range keys {
		add(keyComment, k.notes.above)
		if k.val != nil {
			out = append(out, k)
		}
		add(keyAside, k.notes.behind)
		add(keyComment, k.last)
	}
	return out
}

func commentNode(texts []string) *node {
	if len(texts) == 1 {
		return text(texts[0])
	}
	n := &node{kind: nList}
	for _, t := range texts {
		n.items = append(n.items, text(t))
	}
	return n
}
