package convert

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"

	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"
)

// What a Compose file may grow to by its aliases, and how large a text with
// variables may be: replacing them takes time that grows with its square.
const (
	maxComposeNodes = 100_000
	maxTemplate     = 16 << 10
	maxVariables    = 50
)

// load reads the Compose file: aliases and merge keys are followed, variables
// are replaced, every scalar keeps its text as written.
func (c *composer) load(src []byte) *node {
	root := loadYAML(c.name, src, c.list)
	if root == nil {
		return nil
	}
	r := composeReader{c: c, left: maxComposeNodes}
	n := r.value(root, 0)
	if r.left < 0 {
		d := diag.New(diag.TooDeep, n.at, fmt.Sprintf("more than %d values, those behind aliases counted", maxComposeNodes))
		d.Expected, d.Found = depthExpected, "more"
		c.list.Add(d)
		return nil
	}
	return n
}

type composeReader struct {
	c    *composer
	left int
}

func (r *composeReader) value(n *yaml.Node, depth int) *node {
	out := &node{at: diag.At(value.Pos{File: r.c.name, Line: max(1, n.Line), Col: max(1, n.Column)})}
	r.left--
	if r.left < 0 {
		return out
	}
	if depth > 100 {
		r.left = -1
		return out
	}
	switch n.Kind {
	case yaml.AliasNode:
		if n.Alias == nil {
			return out
		}
		return r.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		out.kind, out.text = nString, n.Value
		switch n.ShortTag() {
		case "!!null":
			out.kind, out.text = nNull, ""
		case "!!bool":
			out.kind, out.text = nBool, strings.ToLower(n.Value)
		case "!!int", "!!float":
			out.kind = nNumber
		default:
			out.text = r.c.replace(out.at, n.Value)
		}
	case yaml.SequenceNode:
		out.kind = nList
		for _, x := range n.Content {
			out.items = append(out.items, r.value(x, depth+1))
		}
	case yaml.MappingNode:
		out.kind = nMap
		r.mapping(n, out, depth)
	}
	return out
}

// mapping adds the keys of n to out; those of merge keys only if n has not
// given them itself.
func (r *composeReader) mapping(n *yaml.Node, out *node, depth int) {
	at := map[string]int{}
	var merged []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		span := diag.At(value.Pos{File: r.c.name, Line: max(1, n.Content[i].Line), Col: max(1, n.Content[i].Column)})
		if k.Kind != yaml.ScalarNode {
			r.c.wrong(span, "a key that is no name", "a scalar", "a list or mapping")
			continue
		}
		v := r.value(n.Content[i+1], depth+1)
		if k.ShortTag() == "!!merge" {
			sources := []*node{v}
			if v.kind == nList {
				sources = v.items
			}
			for _, s := range sources {
				merged = append(merged, s.keys...)
			}
			continue
		}
		if _, twice := at[k.Value]; twice {
			r.c.wrong(span, fmt.Sprintf("key %q given twice", k.Value), "different keys", k.Value)
			continue
		}
		at[k.Value] = len(out.keys)
		out.keys = append(out.keys, entry{key: k.Value, at: span, val: v})
	}
	for _, k := range merged {
		if _, given := at[k.key]; !given {
			at[k.key] = len(out.keys)
			out.keys = append(out.keys, k)
		}
	}
}

// replace returns s with its variables replaced.
func (c *composer) replace(at diag.Span, s string) string {
	if !strings.ContainsRune(s, '$') {
		return s
	}
	if len(s) > maxTemplate || strings.Count(s, "$") > maxVariables {
		c.wrong(at, "a text with too many variables", fmt.Sprintf("at most %d bytes and %d variables", maxTemplate, maxVariables), fmt.Sprintf("%d bytes", len(s)))
		return ""
	}
	var unset []string
	out, err := template.SubstituteWithOptions(s, func(name string) (string, bool) {
		v, ok := c.opts.Environment[name]
		if !ok && !slices.Contains(unset, name) {
			unset = append(unset, name)
		}
		return v, ok
	}, template.WithoutLogging)
	if err != nil {
		c.wrong(at, "variables that cannot be replaced: "+strings.ReplaceAll(err.Error(), "\n", " "), "$NAME, ${NAME}, ${NAME:-default} or $$", shortened(s), "give the variable with -E NAME=VALUE")
		return ""
	}
	for _, name := range unset {
		if bare(s, name) {
			c.lose(at, "${"+name+"}", "not set, so it stands for nothing; give it with -E %s=VALUE", name)
		}
	}
	return out
}

// bare reports whether s uses the variable name without a default.
func bare(s, name string) bool {
	for i := 0; ; {
		j := strings.Index(s[i:], name)
		if j < 0 {
			return false
		}
		i += j
		before, after := s[:i], s[i+len(name):]
		i += len(name)
		if strings.HasSuffix(before, "${") && strings.HasPrefix(after, "}") {
			return true
		}
		if strings.HasSuffix(before, "$") && (after == "" || !strings.ContainsRune("_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", rune(after[0]))) {
			return true
		}
	}
}
