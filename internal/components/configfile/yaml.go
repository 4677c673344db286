package configfile

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yamlFormat is YAML; a key is a path of mapping keys. Changes go through the
// parsed nodes: order and comments stay, indentation becomes two blanks.
type yamlFormat struct{}

// parse returns the document's node, with a mapping in it if it was empty.
func (yamlFormat) parse(doc []byte) (*yaml.Node, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil {
		return nil, err
	}
	if n.Kind == 0 {
		n = yaml.Node{Kind: yaml.DocumentNode}
	}
	if len(n.Content) == 0 {
		n.Content = []*yaml.Node{{Kind: yaml.MappingNode, Tag: "!!map"}}
	}
	return &n, nil
}

// child returns the index of the value of key in a mapping's content.
func child(m *yaml.Node, key string) (int, bool) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i + 1, true
		}
	}
	return 0, false
}

// walk follows path as far as it leads, as jsonFormat's does.
func (yamlFormat) walk(doc *yaml.Node, path []string) (*yaml.Node, int, error) {
	at := doc.Content[0]
	for n := 0; ; n++ {
		for at.Kind == yaml.AliasNode {
			at = at.Alias
		}
		if at.Kind != yaml.MappingNode {
			return nil, n, fmt.Errorf("%s: not a mapping", strings.Join(append([]string{"top"}, path[:n]...), "."))
		}
		i, ok := child(at, path[n])
		if !ok || n == len(path)-1 {
			return at, n, nil
		}
		at = at.Content[i]
	}
}

func (f yamlFormat) get(doc []byte, key string) (any, bool, error) {
	path, err := steps(key)
	if err != nil {
		return nil, false, err
	}
	n, err := f.parse(doc)
	if err != nil {
		return nil, false, err
	}
	m, depth, err := f.walk(n, path)
	if err != nil {
		return nil, false, err
	}
	i, ok := child(m, path[depth])
	if !ok || depth < len(path)-1 {
		return nil, false, nil
	}
	var v any
	return v, true, m.Content[i].Decode(&v)
}

func (f yamlFormat) set(doc []byte, key string, v any) ([]byte, error) {
	path, err := steps(key)
	if err != nil {
		return nil, err
	}
	n, err := f.parse(doc)
	if err != nil {
		return nil, err
	}
	m, depth, err := f.walk(n, path)
	if err != nil {
		return nil, err
	}
	for i := len(path) - 1; i > depth; i-- {
		v = map[string]any{path[i]: v}
	}
	var value, name yaml.Node
	if err := value.Encode(v); err != nil {
		return nil, err
	}
	if err := name.Encode(path[depth]); err != nil {
		return nil, err
	}
	if i, ok := child(m, path[depth]); ok {
		old := m.Content[i]
		value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
		if value.Kind == yaml.ScalarNode && old.Kind == yaml.ScalarNode && value.Tag == old.Tag {
			value.Style = old.Style
		}
		m.Content[i] = &value
	} else {
		m.Content = append(m.Content, &name, &value)
		m.Style &^= yaml.FlowStyle
	}
	return f.print(n)
}

func (f yamlFormat) remove(doc []byte, key string) ([]byte, error) {
	path, err := steps(key)
	if err != nil {
		return nil, err
	}
	n, err := f.parse(doc)
	if err != nil {
		return nil, err
	}
	m, depth, err := f.walk(n, path)
	if err != nil {
		return nil, err
	}
	i, ok := child(m, path[depth])
	if !ok || depth < len(path)-1 {
		return doc, nil
	}
	m.Content = append(m.Content[:i-1], m.Content[i+1:]...)
	return f.print(n)
}

func (yamlFormat) print(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}
