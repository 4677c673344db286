package convert

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// writeYAML writes n by indentation, comments as comments of YAML where they
// can be found again in the same place.
func writeYAML(n *node) []byte {
	w := yamlWriter{}
	if len(n.keys) == 0 {
		return []byte("{}\n")
	}
	w.mapping(n, 0, false)
	return w.Bytes()
}

type yamlWriter struct{ bytes.Buffer }

// maxBlock is how deep indentation goes; what is deeper is written in one
// line, for a text not to grow with the square of its depth.
const maxBlock = 32

// mapping writes the keys of n. If in line, the first follows on the line that
// has been begun.
func (w *yamlWriter) mapping(n *node, depth int, inLine bool) {
	keys := n.keys
	if len(keys) == 1 && keys[0].val == nil && depth > 0 {
		keys = []entry{{key: keyExtends, val: text("")}, keys[0]}
	}
	margin := strings.Repeat("  ", depth)
	comments := map[string]int{}
	asKey := func(key string, texts []string) {
		if comments[key]++; comments[key] > 1 {
			key += " #" + strconv.Itoa(comments[key])
		}
		w.WriteString(margin)
		w.entry(entry{key: key, val: commentNode(texts)}, depth)
	}
	above := func(texts []string, first bool) {
		if len(texts) == 0 {
			return
		}
		if first && inLine || !slices.ContainsFunc(texts, notYAMLComment) {
			for _, t := range texts {
				if first && inLine {
					break
				}
				w.comment(t, margin)
			}
			if !(first && inLine) {
				return
			}
		}
		if first && inLine { // the line has its margin already
			w.entry(entry{key: keyComment, val: commentNode(texts)}, depth)
			comments[keyComment]++
			inLine = false
			return
		}
		asKey(keyComment, texts)
	}
	tall := false
	for i, k := range keys {
		isTall := k.val != nil && tallMap(k.val)
		if depth == 0 && i > 0 && (tall || isTall || len(k.notes.above) > 0 || len(k.last) > 0 && tall) {
			w.WriteByte('\n')
		}
		tall = isTall
		above(k.notes.above, i == 0)
		if k.val == nil {
			above(k.last, false)
			continue
		}
		if !(i == 0 && inLine) {
			w.WriteString(margin)
		}
		behind := k.notes.behind
		if len(behind) == 1 && !strings.ContainsRune(behind[0], '\n') && !notYAMLComment(behind[0]) && w.single(k, depth) {
			w.entry(k, depth)
			w.Truncate(w.Len() - 1)
			w.WriteString("  " + yamlCommentLine(behind[0]) + "\n")
			continue
		}
		w.entry(k, depth)
		if len(behind) > 0 {
			asKey(keyAside, behind)
		}
	}
}

// single reports whether k is written on one line.
func (w *yamlWriter) single(k entry, depth int) bool {
	trial := yamlWriter{}
	switch {
	case k.val.kind == nString && blockText(k.val.text):
		return false
	case k.val.kind < nList:
		return true
	}
	if tallMap(k.val) {
		return depth+1 >= maxBlock
	}
	trial.entry(k, depth)
	return bytes.Count(trial.Bytes(), []byte("\n")) == 1
}

// entry writes k and ends the line.
func (w *yamlWriter) entry(k entry, depth int) {
	w.WriteString(yamlScalar(k.key, false) + ":")
	w.value(k.val, depth)
}

// value writes n behind a colon or dash, and ends the line.
func (w *yamlWriter) value(n *node, depth int) {
	switch {
	case n.kind < nList:
		w.WriteByte(' ')
		w.scalar(n, depth)
	case n.kind == nMap && len(n.keys) == 0:
		w.WriteString(" {}\n")
	case n.kind == nList && len(n.items) == 0:
		w.WriteString(" []\n")
	case bareExtends(n), n.kind == nMap && n.keys[0].key == keyText && !blockText(n.keys[0].val.text):
		w.WriteByte(' ')
		w.flow(n)
		w.WriteByte('\n')
	case depth+1 >= maxBlock:
		w.WriteByte(' ')
		w.flow(n)
		w.WriteByte('\n')
	case n.kind == nMap:
		w.WriteByte('\n')
		w.mapping(n, depth+1, false)
	default:
		w.list(n, depth)
	}
}

// list writes a list on one line if it is simple and short.
func (w *yamlWriter) list(n *node, depth int) {
	if !slices.ContainsFunc(n.items, tallItem) {
		trial := yamlWriter{}
		if trial.flow(n); trial.Len() <= width-2*depth {
			w.WriteByte(' ')
			w.Write(trial.Bytes())
			w.WriteByte('\n')
			return
		}
	}
	w.WriteByte('\n')
	margin := strings.Repeat("  ", depth+1)
	for _, x := range n.items {
		w.WriteString(margin + "-")
		if tallMap(x) && depth+2 < maxBlock {
			w.WriteByte(' ')
			w.mapping(x, depth+2, true)
			continue
		}
		w.value(x, depth+1)
	}
}

// tallMap reports whether n is a component of several lines.
func tallMap(n *node) bool {
	return n.kind == nMap && len(n.keys) > 0 && n.keys[0].key != keyText && !bareExtends(n)
}

// tallItem reports whether n is nothing for a list on one line.
func tallItem(n *node) bool {
	switch n.kind {
	case nMap:
		return tallMap(n) || len(n.keys) > 0 && n.keys[0].key == keyText && blockText(n.keys[0].val.text)
	case nList:
		return slices.ContainsFunc(n.items, tallItem)
	default:
		return blockText(n.text)
	}
}

// flow writes n on the line.
func (w *yamlWriter) flow(n *node) {
	switch n.kind {
	case nString:
		w.WriteString(yamlScalar(n.text, true))
	case nList:
		w.WriteByte('[')
		for i, x := range n.items {
			if i > 0 {
				w.WriteString(", ")
			}
			w.flow(x)
		}
		w.WriteByte(']')
	case nMap:
		w.WriteByte('{')
		for i, k := range shown(n.keys) {
			if i > 0 {
				w.WriteString(", ")
			}
			w.WriteString(yamlScalar(k.key, true) + ": ")
			w.flow(k.val)
		}
		w.WriteByte('}')
	default:
		w.WriteString(n.text)
	}
}

func (w *yamlWriter) scalar(n *node, depth int) {
	switch {
	case n.kind != nString:
		w.WriteString(n.text)
	case blockText(n.text):
		w.literal(n.text, depth)
		return
	default:
		w.WriteString(yamlScalar(n.text, false))
	}
	w.WriteByte('\n')
}

// blockText reports whether s is written as lines of its own. One that ends in
// empty lines is not: those between items would be taken for its own.
func blockText(s string) bool {
	i := strings.IndexByte(s, '\n')
	if i <= 0 || s[0] == ' ' || s[0] == '\t' || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for _, r := range s {
		if r != '\n' && !printable(r) {
			return false
		}
	}
	return true
}

func printable(r rune) bool {
	return r >= ' ' && r <= '~' || r > 0xA0 && unicode.IsPrint(r) && r != 0xFEFF
}

// literal writes s as a literal block.
func (w *yamlWriter) literal(s string, depth int) {
	body, ended := strings.CutSuffix(s, "\n")
	if ended {
		w.WriteString("|\n")
	} else {
		w.WriteString("|-\n")
	}
	margin := strings.Repeat("  ", depth+1)
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			w.WriteString(margin + line)
		}
		w.WriteByte('\n')
	}
}

// plainScalar is what needs no quotes in YAML; flowScalar, between brackets.
var (
	plainScalar = pattern(`^[A-Za-z_/$][-A-Za-z0-9_./$%@+~^(),;=!?&*'|<>{}\[\]"]*(:[-A-Za-z0-9_./$%@+~^=]+)*( [-A-Za-z0-9_./$%@+~^(),;=!?&*'|<>{}\[\]"]+(:[-A-Za-z0-9_./$%@+~^=]+)*)*$`)
	flowScalar  = pattern(`^[A-Za-z_/$][-A-Za-z0-9_./$+]*(:[-A-Za-z0-9_./$+]+)*( [-A-Za-z0-9_./$+]+(:[-A-Za-z0-9_./$+]+)*)*$`)
	otherWord   = pattern(`(?i)^(null|true|false|yes|no|on|off|y|n)$`)
)

// yamlScalar writes a string on one line.
func yamlScalar(s string, flow bool) string {
	plain := plainScalar
	if flow {
		plain = flowScalar
	}
	if len(s) < 1000 && plain().MatchString(s) && !otherWord().MatchString(s) {
		return s
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !printable(r) || r == '\'' }) && strings.ContainsAny(s, `"\`) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case printable(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r <= 0xFF:
			b.WriteString(`\x` + hex(r, 2))
		case r <= 0xFFFF:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	b.WriteByte('"')
	return b.String()
}

func hex(r rune, digits int) string {
	s := strings.ToUpper(strconv.FormatInt(int64(r), 16))
	return strings.Repeat("0", max(0, digits-len(s))) + s
}

// comment writes a comment on lines of its own.
func (w *yamlWriter) comment(t, margin string) {
	for line := range strings.SplitSeq(yamlCommentLine(t), "\n") {
		w.WriteString(margin + line + "\n")
	}
}

// yamlCommentLine is a comment of the language as YAML writes it: // becomes
// #, a block comment has a # before each line, and /// keeps its marks.
func yamlCommentLine(t string) string {
	rest, ok := strings.CutPrefix(t, "//")
	if ok && !strings.HasPrefix(rest, "/") {
		return "#" + rest
	}
	return "#" + strings.ReplaceAll(t, "\n", "\n#")
}

// notYAMLComment reports whether t cannot be a comment of YAML.
func notYAMLComment(t string) bool {
	return strings.ContainsFunc(t, func(r rune) bool { return r != '\n' && r != '\t' && !printable(r) })
}
