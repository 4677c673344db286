package configfile

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// xmlFormat is XML; a key is a path of element names from the root on, the
// last of which may be @attribute. Of several elements with one name the first
// counts. Changes splice the text.
type xmlFormat struct{}

// element is an element of the text, by positions.
type element struct {
	start, startEnd int // of the start tag
	end, endEnd     int // of the end tag; end == startEnd if it closes itself
	closed          bool
	children        bool
	text            string
	attrs           []xml.Attr
}

// find returns the elements along path, as far as they exist.
func (xmlFormat) find(doc []byte, path []string) ([]element, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	var found []element
	depth, matched := 0, 0 // matched elements are open and on the path
	done := false
	for {
		start := int(d.InputOffset())
		tok, err := d.RawToken()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the file is not valid XML: %w", err)
		}
		end := int(d.InputOffset())
		inner := matched > 0 && depth == matched && len(found) == matched
		switch tok := tok.(type) {
		case xml.StartElement:
			if inner {
				found[matched-1].children = true
			}
			if !done && depth == matched && len(found) == matched && matched < len(path) && fullName(tok.Name) == path[matched] {
				found = append(found, element{start: start, startEnd: end, attrs: tok.Copy().Attr})
				matched++
			}
			depth++
		case xml.EndElement:
			if matched > 0 && depth == matched {
				e := &found[matched-1]
				if e.endEnd == 0 {
					e.end, e.endEnd = start, end
					e.closed = start == end
				}
				if matched == len(path) {
					done = true
				}
				// The path ends here: an equally named later one does not count.
				matched--
				if !done {
					done = len(found) > matched
				}
			}
			depth--
		case xml.CharData:
			if inner {
				found[matched-1].text += string(tok)
			}
		}
	}
}

func fullName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// parse cuts a key into elements and, or not, an attribute.
func (xmlFormat) parse(key string) (path []string, attr string, err error) {
	if path, err = steps(key); err != nil {
		return nil, "", err
	}
	if last := path[len(path)-1]; strings.HasPrefix(last, "@") {
		path, attr = path[:len(path)-1], last[1:]
	}
	for _, n := range append(path, attr) {
		if n != "" && !xmlName(n) {
			return nil, "", fmt.Errorf("key %q: %q is not an XML name", key, n)
		}
	}
	if len(path) == 0 {
		return nil, "", fmt.Errorf("key %q names no element", key)
	}
	return path, attr, nil
}

func xmlName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r == ':' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 0x7f
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != ""
}

func (f xmlFormat) get(doc []byte, key string) (any, bool, error) {
	path, attr, err := f.parse(key)
	if err != nil || len(bytes.TrimSpace(doc)) == 0 {
		return nil, false, err
	}
	found, err := f.find(doc, path)
	if err != nil || len(found) < len(path) {
		return nil, false, err
	}
	e := found[len(found)-1]
	if attr == "" {
		return e.text, true, nil
	}
	for _, a := range e.attrs {
		if fullName(a.Name) == attr {
			return a.Value, true, nil
		}
	}
	return nil, false, nil
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

func (f xmlFormat) set(doc []byte, key string, v any) ([]byte, error) {
	path, attr, err := f.parse(key)
	if err != nil {
		return nil, err
	}
	text := v.(string)
	for _, r := range text {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return nil, fmt.Errorf("key %s: an XML file cannot hold the character %U", key, r)
		}
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		doc = []byte("<" + path[0] + "></" + path[0] + ">\n")
	}
	for {
		found, err := f.find(doc, path)
		if err != nil {
			return nil, err
		}
		n := len(found)
		if n == 0 {
			return nil, fmt.Errorf("key %s: the file's top element is another one", key)
		}
		e := found[n-1]
		name := path[n-1]
		switch {
		case n == len(path) && attr != "":
			return setAttr(doc, e, attr, text), nil
		case e.closed: // <a/> becomes <a></a>
			doc = splice(doc, e.startEnd-2, e.startEnd, []byte("></"+name+">"))
		case n < len(path):
			doc = splice(doc, e.end, e.end, []byte("<"+path[n]+"></"+path[n]+">"))
		case e.children:
			return nil, fmt.Errorf("key %s: the element holds others", key)
		default:
			return splice(doc, e.startEnd, e.end, []byte(escapeXML(text))), nil
		}
	}
}

// setAttr gives an element an attribute.
func setAttr(doc []byte, e element, name, text string) []byte {
	tag := doc[e.start:e.startEnd]
	if from, to, ok := attrRange(tag, name); ok {
		return splice(doc, e.start+from, e.start+to, []byte(" "+name+`="`+escapeXML(text)+`"`))
	}
	at := e.startEnd - 1
	if e.closed {
		at--
	}
	return splice(doc, at, at, []byte(" "+name+`="`+escapeXML(text)+`"`))
}

// attrRange finds an attribute, with the blanks before it, in a start tag.
func attrRange(tag []byte, name string) (from, to int, ok bool) {
	i := bytes.IndexAny(tag, " \t\r\n")
	for i >= 0 && i < len(tag) {
		from = i
		i = space(tag, i)
		begin := i
		for i < len(tag) && strings.IndexByte(" \t\r\n=>/", tag[i]) < 0 {
			i++
		}
		word := string(tag[begin:i])
		i = space(tag, i)
		if i >= len(tag) || tag[i] != '=' {
			return 0, 0, false
		}
		i = space(tag, i+1)
		if i >= len(tag) {
			return 0, 0, false
		}
		end := bytes.IndexByte(tag[i+1:], tag[i])
		if end < 0 {
			return 0, 0, false
		}
		i += end + 2
		if word == name {
			return from, i, true
		}
	}
	return 0, 0, false
}

func (f xmlFormat) remove(doc []byte, key string) ([]byte, error) {
	path, attr, err := f.parse(key)
	if err != nil || len(bytes.TrimSpace(doc)) == 0 {
		return doc, err
	}
	found, err := f.find(doc, path)
	if err != nil || len(found) < len(path) {
		return doc, err
	}
	e := found[len(found)-1]
	if attr == "" {
		if len(path) == 1 {
			return nil, fmt.Errorf("key %s: the top element cannot be removed", key)
		}
		return splice(doc, e.start, e.endEnd, nil), nil
	}
	if from, to, ok := attrRange(doc[e.start:e.startEnd], attr); ok {
		return splice(doc, e.start+from, e.start+to, nil), nil
	}
	return doc, nil
}
