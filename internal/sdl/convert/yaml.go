package convert

import (
	"errors"
	"fmt"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"

	"go.yaml.in/yaml/v4"
)

// readYAML reads one YAML document and its comments, or reports why not and
// returns nil.
func readYAML(name string, src []byte, list *diag.List) (*node, []yamlComment) {
	root := loadYAML(name, src, list)
	if root == nil {
		return nil, nil
	}
	r := yamlReader{name: name, list: list}
	before := list.Errors()
	n := r.value(root, 0)
	if list.Errors() > before {
		return nil, nil
	}
	return n, yamlComments(src, r.scalars)
}

// loadYAML parses the one document of src. An empty text is null.
func loadYAML(name string, src []byte, list *diag.List) *yaml.Node {
	structure := 0
	for _, b := range src {
		if b == '\n' || b == ',' || b == '[' || b == '{' || b == ':' {
			structure++
		}
	}
	if structure > maxNodes {
		d := diag.New(diag.TooDeep, diag.At(value.Pos{File: name, Line: 1, Col: 1}), fmt.Sprintf("more than %d lines and values", maxNodes))
		d.Expected, d.Found = depthExpected, fmt.Sprintf("up to %d", structure)
		list.Add(d)
		return nil
	}
	var doc yaml.Node
	err := yaml.Load(src, &doc, yaml.WithPlugin(yamlLimits{}))
	if err != nil {
		if onlyComments(src) {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: 1, Column: 1}
		}
		reportYAML(name, err, list)
		return nil
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0]
	}
	return &doc
}

// yamlLimits bounds the depth of a YAML text. Aliases are not followed by who
// reads nodes.
type yamlLimits struct{}

// maxYAMLDepth is less than the language allows: the parser of YAML needs
// time that grows with the square of the depth.
const maxYAMLDepth = 1000

func (yamlLimits) CheckDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxYAMLDepth {
		return fmt.Errorf("nested more than %d deep", maxYAMLDepth)
	}
	return nil
}

func (yamlLimits) CheckAlias(int, int) error { return nil }

func onlyComments(src []byte) bool {
	for line := range strings.SplitSeq(string(src), "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}

func reportYAML(name string, err error, list *diag.List) {
	at := value.Pos{File: name, Line: 1, Col: 1}
	message := err.Error()
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		if e.Mark.Line > 0 {
			at.Line, at.Col = int(e.Mark.Line), max(1, int(e.Mark.Column))
		}
		message = e.Message
		if message == "" {
			message = err.Error()
		}
	}
	message, _, _ = strings.Cut(message, "\n")
	d := diag.New(diag.Unexpected, diag.At(at), "text that is no YAML: "+strings.TrimPrefix(message, "yaml: "))
	d.Expected, d.Found = "one YAML document", "something else"
	list.Add(d)
}

type yamlReader struct {
	name    string
	list    *diag.List
	scalars []*yaml.Node // in the order of the text
}

func (r *yamlReader) at(n *yaml.Node) diag.Span {
	return diag.At(value.Pos{File: r.name, Line: max(1, n.Line), Col: max(1, n.Column)})
}

func (r *yamlReader) wrong(n *yaml.Node, code diag.Code, message, expected, found string, hints ...string) {
	d := diag.New(code, r.at(n), message)
	d.Expected, d.Found, d.Hints = expected, found, hints
	r.list.Add(d)
}

func (r *yamlReader) value(n *yaml.Node, depth int) *node {
	out := &node{at: r.at(n), block: n.Style&yaml.FlowStyle == 0, col: n.Column}
	if depth > maxYAMLDepth {
		r.wrong(n, diag.TooDeep, fmt.Sprintf("nested more than %d deep", maxYAMLDepth), depthExpected, "more")
		return out
	}
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		r.wrong(n, diag.Unexpected, "anchors and aliases are no part of a description", "values", "& or *",
			"give what is used twice a name, and extend it or link to it")
		return out
	}
	switch n.Kind {
	case yaml.ScalarNode:
		r.scalar(n, out)
	case yaml.SequenceNode:
		out.kind = nList
		for _, x := range n.Content {
			out.items = append(out.items, r.value(x, depth+1))
		}
	case yaml.MappingNode:
		out.kind = nMap
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.Anchor != "" || k.ShortTag() == "!!merge" {
				r.wrong(k, diag.BadName, "a key that is no name", "a scalar", "something else", "put << in quotes if it is a name")
				return out
			}
			r.scalars = append(r.scalars, k)
			out.keys = append(out.keys, entry{key: k.Value, at: r.at(k), val: r.value(n.Content[i+1], depth+1)})
		}
	}
	return out
}

var (
	decimal  = pattern(`^[-+]?(0|[1-9][0-9]*)$`)
	fraction = pattern(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
)

func (r *yamlReader) scalar(n *yaml.Node, out *node) {
	r.scalars = append(r.scalars, n)
	out.kind, out.text = nString, n.Value
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case quoted:
		out.plain = !strings.ContainsAny(n.Value, "\\\"'\n\t") // those would be further from the start than in the value
		if out.plain {
			out.at.Pos.Col++
		}
	default:
		out.plain = true
	}
	tag := n.ShortTag()
	if n.Style == 0 && tag == "!!str" && decimal().MatchString(n.Value) {
		tag = "!!float" // more digits than YAML has room for
	}
	switch tag {
	case "!!str", "!!timestamp":
	case "!!null":
		out.kind, out.text = nNull, "null"
	case "!!bool":
		out.kind, out.text = nBool, strings.ToLower(n.Value)
	case "!!int":
		out.kind = nNumber
		if !decimal().MatchString(n.Value) {
			r.wrong(n, diag.NumberRange, "a number that can be read in two ways", "decimal digits, without leading zero", shortened(n.Value),
				"put it in quotes if it is a text, such as the mode of a file")
		}
		out.text = strings.TrimPrefix(n.Value, "+")
	case "!!float":
		out.kind, out.text = nNumber, strings.TrimPrefix(n.Value, "+")
		if !fraction().MatchString(n.Value) {
			r.wrong(n, diag.NumberRange, "a number that the language has no word for", "digits with a point or an exponent", shortened(n.Value))
		} else if !strings.ContainsAny(out.text, ".eE") {
			out.text += ".0" // an integer that YAML has no room for
			r.wrong(n, diag.NumberRange, "number out of range: an integer has 32 bits", "-2147483648 to 2147483647", shortened(n.Value))
		}
	default:
		r.wrong(n, diag.Unexpected, "the tag "+tag+" is no part of a description", "a value without tag", tag)
	}
}
