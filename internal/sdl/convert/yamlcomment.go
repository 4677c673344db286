package convert

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"aloft/value"

	"go.yaml.in/yaml/v4"
)

// yamlComment is a comment of a YAML text, as the language writes it.
type yamlComment struct {
	at     value.Pos
	text   string
	behind bool // something else stands before it on its line
}

// yamlComments finds the comments of src, whose scalars are known: outside of
// those, a # behind a blank begins one. The library's own attribution of
// comments to nodes loses some and moves others.
func yamlComments(src []byte, scalars []*yaml.Node) []yamlComment {
	if !strings.Contains(string(src), "#") {
		return nil
	}
	s := yamlScan{src: src, line: 1, col: 1}
	var list []yamlComment
	for s.off < len(s.src) {
		if len(scalars) > 0 && (scalars[0].Line < s.line || scalars[0].Line == s.line && scalars[0].Column <= s.col) {
			n := scalars[0]
			scalars = scalars[1:]
			if n.Line == s.line && n.Column == s.col {
				s.skip(n)
			}
			continue
		}
		if s.src[s.off] == '#' && (s.off == 0 || strings.IndexByte(" \t\n", s.src[s.off-1]) >= 0) {
			list = s.comment(list)
			continue
		}
		s.next()
	}
	for i := range list {
		list[i].text = languageComment(list[i].text)
	}
	return list
}

// languageComment is the reverse of yamlCommentLine.
func languageComment(t string) string {
	rest := t[1:]
	switch {
	case strings.HasPrefix(rest, "/*") && len(rest) >= 4 && strings.HasSuffix(rest, "*/") && strings.Count(rest[2:], "*/") == 1:
		rest = strings.ReplaceAll(rest, "\n#", "\n")
	case !strings.HasPrefix(rest, "//"):
		rest = "//" + rest
	}
	rest = strings.TrimRight(rest, "\r")
	if text, ok := wellFormed(rest); ok {
		return text
	}
	return "// " + strings.Map(func(r rune) rune {
		if printable(r) && r != '\\' {
			return r
		}
		return ' '
	}, t[1:])
}

type yamlScan struct {
	src       []byte
	off       int
	line, col int
	open      int // no block comment that begins before this offset ends
}

func (s *yamlScan) next() {
	r, n := utf8.DecodeRune(s.src[s.off:])
	s.off += n
	s.col++
	if lineBreak(r) && (r != '\r' || s.off == len(s.src) || s.src[s.off] != '\n') {
		s.line, s.col = s.line+1, 1
	}
}

func (s *yamlScan) to(off int) {
	for s.off < off && s.off < len(s.src) {
		s.next()
	}
}

// rest is the rest of the line.
func (s *yamlScan) rest() string {
	return lineOf(s.src[s.off:])
}

func lineOf(b []byte) string {
	if i := bytes.IndexFunc(b, lineBreak); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// lineBreak reports whether YAML counts lines by r.
func lineBreak(r rune) bool {
	return r == '\n' || r == '\r' || r == 0x85 || r == 0x2028 || r == 0x2029
}

// comment reads the comment here. One that begins with #/* goes on over lines
// that begin with #, up to the one that ends with */.
func (s *yamlScan) comment(list []yamlComment) []yamlComment {
	c := yamlComment{at: value.Pos{Line: s.line, Col: s.col}, text: s.rest()}
	begin := s.off
	for begin > 0 && (s.src[begin-1] == ' ' || s.src[begin-1] == '\t') {
		begin--
	}
	c.behind = begin > 0 && s.src[begin-1] != '\n' && s.src[begin-1] != '\r'
	s.to(s.off + len(c.text))
	if !strings.HasPrefix(c.text, "#/*") || strings.Contains(c.text[3:], "*/") || s.off < s.open {
		return append(list, c)
	}
	lines, off := []string{c.text}, s.off
	for off < len(s.src) {
		off++ // the line break
		blank := off
		for blank < len(s.src) && (s.src[blank] == ' ' || s.src[blank] == '\t') {
			blank++
		}
		if blank == len(s.src) || s.src[blank] != '#' {
			break
		}
		line := lineOf(s.src[blank:])
		lines = append(lines, line)
		off = blank + len(line)
		if strings.Contains(line, "*/") {
			c.text = strings.Join(lines, "\n")
			s.to(off)
			return append(list, c)
		}
	}
	s.open = off // up to here no block comment ends
	return append(list, c)
}

// skip goes to the end of the scalar n, which begins here.
func (s *yamlScan) skip(n *yaml.Node) {
	for s.off < len(s.src) && (s.src[s.off] == '!' || s.src[s.off] == '&') { // a tag or anchor
		for s.off < len(s.src) && strings.IndexByte(" \t\r\n", s.src[s.off]) < 0 {
			s.next()
		}
		for s.off < len(s.src) && (s.src[s.off] == ' ' || s.src[s.off] == '\t') {
			s.next()
		}
	}
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		s.quoted('"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		s.quoted('\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		s.literal()
	case n.Value != "":
		// A plain scalar has no comment within it, and a # inside a word is none.
		// Its further lines, if any, hold no comment either.
		s.next()
	}
}

func (s *yamlScan) quoted(q byte) {
	s.next()
	for s.off < len(s.src) {
		switch c := s.src[s.off]; {
		case c == '\\' && q == '"':
			s.next()
		case c == q && q == '\'' && s.off+1 < len(s.src) && s.src[s.off+1] == q:
			s.next()
		case c == q:
			s.next()
			return
		}
		if s.off < len(s.src) {
			s.next()
		}
	}
}

// literal goes behind a block of lines, whose indentation is that of its first
// line. A comment behind the header is left out.
func (s *yamlScan) literal() {
	for s.off < len(s.src) && strings.IndexByte(" \t\r\n", s.src[s.off]) < 0 {
		s.next()
	}
	s.to(s.off + len(s.rest()))
	indent := 0
	for s.off < len(s.src) {
		mark := *s
		s.next() // the line break
		line := s.rest()
		body := strings.TrimLeft(line, " ")
		in := len(line) - len(body)
		switch {
		case body == "" || strings.TrimSpace(body) == "" && indent == 0:
		case indent == 0 && in > 0:
			indent = in
		case in < max(indent, 1):
			*s = mark
			return
		}
		s.to(s.off + len(line))
	}
}
