package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// ScriptsPrefix begins an sfClass that names a folder of executables.
const ScriptsPrefix = "script:"

// ScriptsAttr is the attribute under which that folder is sent along: a DATA
// component with path, mode and files as every shipped folder has them, and
// describe, the text that its executable of that name printed.
const ScriptsAttr = "sfScripts"

// DescribeScript is the executable that describes the class.
const DescribeScript = "describe"

// IsScripts reports whether sfClass names a folder of executables.
func IsScripts(class string) bool { return strings.HasPrefix(class, ScriptsPrefix) }

// described is what describe prints: an object with these members, none of
// which is required.
type described struct {
	// Attributes is the schema of the component, for what the .sf file does not
	// say.
	Attributes []struct {
		Name        string          `json:"name"`
		Type        string          `json:"type"`     // "string", "integer", ...; "": any
		Elements    string          `json:"elements"` // type of what is in a vector
		Required    bool            `json:"required"`
		Default     json.RawMessage `json:"default"` // typed JSON, as those below
		Minimum     json.RawMessage `json:"minimum"`
		Maximum     json.RawMessage `json:"maximum"`
		Values      json.RawMessage `json:"values"`
		Unit        string          `json:"unit"`
		Description string          `json:"description"`
	} `json:"attributes"`
	// Outputs are what it adds; where they are given, it adds no others.
	Outputs []struct {
		Name        string `json:"name"`
		Type        string `json:"type"` // "": string
		Description string `json:"description"`
	} `json:"outputs"`
	// Unchangeable attributes mean replacement when they change.
	Unchangeable []string `json:"unchangeable"`
	// Secret attributes are shown nowhere.
	Secret []string `json:"secret"`
	// Reconfigure is whether it can be; absent: if there is an executable for it.
	Reconfigure *bool `json:"reconfigure"`
}

// scriptTypes are the types that describe may say.
var scriptTypes = map[string]value.Kind{
	"boolean": value.KindBool, "integer": value.KindInteger, "long": value.KindLong, "float": value.KindFloat,
	"double": value.KindDouble, "string": value.KindString, "vector": value.KindVector, "component": value.KindComponent,
}

// ScriptClass returns the class of a component whose sfClass names a folder of
// executables, from what was sent along of it. What is wrong with that is for
// its Check to say.
func ScriptClass(name string, attrs *value.Component) component.Class {
	class := component.Class{Name: name, Site: component.SiteMachine, OpenOutputs: true}
	problem := func(format string, args ...any) component.Class {
		p := component.Problem{Attr: "sfClass", Message: fmt.Sprintf(format, args...), Remedy: "the guide has a chapter on components of your own; aloft component new NAME writes one"}
		class.Check = func(*value.Component, component.Target) []component.Problem { return []component.Problem{p} }
		return class
	}
	folder, _ := attrs.Get(ScriptsAttr)
	shipped, ok := folder.(*value.Component)
	if !ok {
		return problem("the folder of %s was not sent along", name)
	}
	executables, err := scriptFiles(shipped)
	if err != nil {
		return problem("%s: %v", name, err)
	}
	for _, needed := range []string{"deploy", "terminate"} {
		if !slices.Contains(executables, needed) {
			return problem("%s has no executable %s", name, needed)
		}
	}
	class.Reconfigures = slices.Contains(executables, "reconfigure")
	class.Check = func(attrs *value.Component, _ component.Target) []component.Problem {
		return openSecrets(&class, attrs)
	}
	text, _ := shipped.Get(DescribeScript)
	said, _ := text.(value.String)
	if said == "" {
		return class
	}
	if err := describe(&class, string(said)); err != nil {
		return problem("%s: what describe printed: %v", name, err)
	}
	return class
}

// openSecrets finds secrets in attributes that the executables would get in their
// environment, where every process of their user can read it.
func openSecrets(class *component.Class, attrs *value.Component) (problems []component.Problem) {
	for a := range attrs.All() {
		if line, _ := class.Attribute(a.Name); line.Secret {
			continue
		}
		_, _ = value.ReplaceSecrets(a.Value, func(s value.Secret) (value.Value, error) {
			problems = append(problems, component.Problem{
				Attr: a.Name, Expected: "no secret", Found: "secret " + s.Name,
				Message: "what describe does not call secret is in the environment of the executables, and secret " + s.Name + " would be",
				Remedy:  `have describe print "secret": ["` + a.Name + `"]: they get it on standard input, and in the file that ALOFT_ATTRIBUTES names`,
			})
			return s.Value(), nil
		})
	}
	return problems
}

// scriptFiles returns the names of what can be executed in a shipped folder.
func scriptFiles(shipped *value.Component) (names []string, err error) {
	v, _ := shipped.Get("files")
	files, ok := v.(value.Vector)
	if !ok {
		return nil, fmt.Errorf("it is no folder")
	}
	for _, e := range files {
		one, ok := e.(*value.Component)
		if !ok {
			return nil, fmt.Errorf("it is no folder")
		}
		path, _ := one.Get("path")
		mode, _ := one.Get("mode")
		name, isText := path.(value.String)
		bits, _ := mode.(value.String)
		if isText && len(bits) >= 3 && bits[len(bits)-3]&1 == 1 { // its owner may
			names = append(names, string(name))
		}
	}
	return names, nil
}

// describe adds to class what describe printed.
func describe(class *component.Class, text string) error {
	var d described
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON object")
	}
	x := &Component{Name: class.Name, Class: class.Name}
	for i, a := range d.Attributes {
		if !plainName(a.Name) || x.Has(a.Name) {
			return fmt.Errorf("attributes[%d]: %q is no name of an attribute of its own", i, a.Name)
		}
		attr := Attribute{Element: resolve.Element{
			Name: a.Name, Description: a.Description, Optional: !a.Required, Binding: "anyBinding", Types: []string{"anyClass"}, Unit: a.Unit,
		}}
		if a.Type != "" {
			if _, ok := scriptTypes[a.Type]; !ok {
				return fmt.Errorf("attributes[%d]: unknown type %q", i, a.Type)
			}
			attr.Types = []string{a.Type}
		}
		if a.Elements != "" {
			if _, ok := scriptTypes[a.Elements]; !ok {
				return fmt.Errorf("attributes[%d]: unknown type %q of elements", i, a.Elements)
			}
			attr.Elements = []string{a.Elements}
		}
		for _, given := range []struct {
			name string
			text json.RawMessage
			to   *value.Value
		}{{"default", a.Default, &attr.Default}, {"minimum", a.Minimum, &attr.Minimum}, {"maximum", a.Maximum, &attr.Maximum}} {
			if given.text == nil || bytes.Equal(given.text, []byte("null")) {
				continue
			}
			v, err := value.Decode(given.text)
			if err != nil {
				return fmt.Errorf("attributes[%d]: %s: %w", i, given.name, err)
			}
			*given.to = v
		}
		for _, v := range []value.Value{attr.Minimum, attr.Maximum} {
			if v != nil && !number(v) {
				return fmt.Errorf("attributes[%d]: minimum and maximum are numbers", i)
			}
		}
		if a.Values != nil {
			v, err := value.Decode(a.Values)
			list, ok := v.(value.Vector)
			if err != nil || !ok {
				return fmt.Errorf("attributes[%d]: values is no list", i)
			}
			attr.Values = list
		}
		if attr.Default != nil {
			if wrong, bad := attr.Wrong(attr.Default); bad {
				return fmt.Errorf("attributes[%d]: the default: %s", i, wrong.Message)
			}
		}
		x.Attributes = append(x.Attributes, attr)
	}
	if len(x.Attributes) > 0 {
		class.Schema = x
	}
	for i, o := range d.Outputs {
		kind := value.KindString
		if o.Type != "" {
			var ok bool
			if kind, ok = scriptTypes[o.Type]; !ok {
				return fmt.Errorf("outputs[%d]: unknown type %q", i, o.Type)
			}
		}
		if !plainName(o.Name) || x.Has(o.Name) || slices.ContainsFunc(class.Outputs, func(p component.Output) bool { return p.Name == o.Name }) {
			return fmt.Errorf("outputs[%d]: %q is no name of an output of its own", i, o.Name)
		}
		class.Outputs = append(class.Outputs, component.Output{Name: o.Name, Kind: kind, Doc: o.Description})
	}
	class.OpenOutputs = d.Outputs == nil
	for _, list := range []struct {
		names []string
		line  component.Attribute
	}{{d.Unchangeable, component.Attribute{Fixed: true}}, {d.Secret, component.Attribute{Secret: true}}} {
		for _, name := range list.names {
			if i := slices.IndexFunc(class.Attributes, func(a component.Attribute) bool { return a.Name == name }); i >= 0 {
				class.Attributes[i].Secret = class.Attributes[i].Secret || list.line.Secret
				continue
			}
			line := list.line
			line.Name = name
			class.Attributes = append(class.Attributes, line)
		}
	}
	if d.Reconfigure != nil {
		class.Reconfigures = *d.Reconfigure
	}
	return nil
}

func number(v value.Value) bool {
	switch v.(type) {
	case value.Integer, value.Long, value.Float, value.Double:
		return true
	}
	return false
}

// plainName reports whether a description can write name without quotes, and
// it is none of the language's own.
func plainName(name string) bool {
	return value.IsWord(name) && !value.IsKeyword(name) && !strings.HasPrefix(name, "sf")
}
