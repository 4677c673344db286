package answer

import (
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Hover is what is told about the thing at a place.
type Hover struct {
	At   Range
	Text string // Markdown
}

// Hover tells about what is named at the offset off: the value it has in the
// resolved description, its type, unit and meaning, and where it comes from.
func (v *View) Hover(off int) (Hover, bool) {
	if inc := v.includeAt(off); inc != nil {
		file := v.Tree.Included(inc)
		if file == "" {
			return Hover{}, false
		}
		return Hover{v.offsets(inc.FileSpan), "`" + file + "`"}, true
	}
	u, ok := v.useAt(off)
	if !ok {
		return v.keyword(off)
	}
	at := v.chosen(u)
	var b strings.Builder
	f := fact{name: u.name}
	if at.in.Valid() && u.name != "" {
		f = v.factOf(at.in, u.name)
	}
	text, resolved := v.valueText(at, u.name)
	switch {
	case f.secret && text != "":
		text = secret
	case text == "" && f.output:
		text = "// set at run time"
	}
	name := u.name
	if at.to.Valid() && (name == "" || text == "") {
		if name == "" {
			name = at.to.Name()
		}
	}
	fmt.Fprintf(&b, "```aloft\n%s\n```\n", strings.TrimSpace(name+" "+text))
	if d := f.detail(); d != "" {
		fmt.Fprintf(&b, "%s\n\n", d)
	}
	class, means := v.classText(at.to)
	if class != "" {
		b.WriteString(class + "\n\n")
	}
	if f.doc != "" {
		b.WriteString(f.doc + "\n\n")
	}
	if at.source != nil {
		if c := v.commentOf(resolve.Member{Source: at.source}); c != "" && c != f.doc && c != means {
			b.WriteString(c + "\n\n")
		}
		if !resolved && deployed(at.in) && text != "" && !f.output {
			b.WriteString("as written; not resolved\n\n")
		}
		if pos := at.source.NameSpan.Pos; pos.IsValid() && (u.given == nil || u.given != at.source) {
			fmt.Fprintf(&b, "given in `%s`\n", pos)
		}
	}
	if u.given != nil {
		for _, o := range v.overridden(u) {
			fmt.Fprintf(&b, "overrides `%s` of `%s`\n\n", short(syntax.PrintValue(o.Value)), o.NameSpan.Pos)
			if c := v.commentOf(resolve.Member{Source: o}); c != "" && f.doc == "" {
				b.WriteString(c + "\n\n")
			}
		}
	}
	return Hover{u.at, strings.TrimSpace(b.String()) + "\n"}, true
}

// chosen returns the meaning of u to tell about: one in what is deployed, if
// there is one.
func (v *View) chosen(u use) finding {
	var best finding
	for i, x := range u.finds {
		if deployed(x.in) {
			return x
		}
		if i == 0 {
			best = x
		}
	}
	return best
}

// secret is shown in place of a content that is never shown.
const secret = `"••••••"`

// deployed reports whether s is in what is deployed.
func deployed(s resolve.Scope) bool {
	if !s.Valid() {
		return false
	}
	path := s.Path()
	return len(path) > 0 && path[0] == "sfConfig"
}

// maxHover is how many lines of a value are shown.
const maxHover = 12

// valueText returns the value of attribute name of x as text, and whether it is
// the resolved one.
func (v *View) valueText(x finding, name string) (string, bool) {
	if x.in.Valid() && name != "" {
		if a, ok := v.valueAt(x.in, name); ok {
			if c, isComponent := a.(*value.Component); isComponent {
				return v.componentText(c), true
			}
			return lines(value.Source(a)), true
		}
	}
	if x.source == nil {
		return "", false
	}
	return written(resolve.Member{Source: x.source}), false
}

// valueAt returns the resolved value of attribute name of s.
func (v *View) valueAt(s resolve.Scope, name string) (value.Value, bool) {
	if v.Values == nil || v.Values.Tree == nil {
		return nil, false
	}
	path := append(s.Path(), name)
	if v.Values.Description != nil {
		if path[0] != "sfConfig" {
			return nil, false
		}
		path = path[1:]
	}
	var at value.Value = v.Values.Tree
	for _, p := range path {
		c, isComponent := at.(*value.Component)
		if !isComponent {
			return nil, false
		}
		var ok bool
		if at, ok = c.Get(p); !ok {
			return nil, false
		}
	}
	return at, true
}

// componentText shows what is in c without what is in the components inside.
func (v *View) componentText(c *value.Component) string {
	name, _ := c.Get("sfClass")
	text, _ := name.(value.String)
	class, _ := v.Known.class(string(text))
	var b strings.Builder
	b.WriteString("extends ")
	if c.Data {
		b.WriteString("DATA ")
	}
	b.WriteString("{\n")
	n := 0
	for a := range c.All() {
		if strings.HasPrefix(a.Name, "sf") && a.Name != "sfClass" && a.Name != "sfProcessHost" {
			continue
		}
		if n++; n > maxHover {
			b.WriteString("  …\n")
			break
		}
		text := "extends { … }"
		if inner, isComponent := a.Value.(*value.Component); !isComponent {
			text = short(value.Source(a.Value)) + ";"
		} else if inner.Data {
			text = "extends DATA { … }"
		}
		if line, _ := class.Attribute(a.Name); line.Secret {
			text = secret + ";"
		}
		fmt.Fprintf(&b, "  %s %s\n", a.Name, text)
	}
	b.WriteString("}")
	return b.String()
}

func lines(s string) string {
	all := strings.Split(s, "\n")
	if len(all) > maxHover {
		all = append(all[:maxHover], "…")
	}
	return strings.Join(all, "\n")
}

// classText tells about the class of the component s; means is the part of it that
// says what the class is.
func (v *View) classText(s resolve.Scope) (text, means string) {
	if !s.Valid() {
		return "", ""
	}
	name := classOf(s)
	if name == "" {
		return "", ""
	}
	class, known := v.Known.class(name)
	if !known {
		return "class `" + name + "`", ""
	}
	means = v.Known.doc(class.Name)
	text = fmt.Sprintf("**%s** %s", class.Name, means)
	var outputs []string
	for _, o := range class.Outputs {
		outputs = append(outputs, "`"+o.Name+"`")
	}
	if len(outputs) > 0 {
		slices.Sort(outputs)
		text += "\n\nadds " + strings.Join(outputs, ", ")
	}
	return text, means
}

// keyword tells about the keyword at the offset off.
func (v *View) keyword(off int) (Hover, bool) {
	t, ok := v.tokenAt(off)
	if !ok {
		return Hover{}, false
	}
	text, known := keywordTexts[t.Sign()]
	if !known {
		return Hover{}, false
	}
	return Hover{Range{int(t.Start), int(t.End)}, text + "\n"}, true
}

var keywordTexts = map[string]string{
	"extends":   "A component with the attributes of the prototypes that follow; those of later ones win.",
	"DATA":      "Before a prototype: a plain value that is not deployed. Before a link: the link itself as a value.",
	"LAZY":      "The link is followed at run time, each time the value is read.",
	"OPTIONAL":  "NULL, or the default in parentheses, if the link leads nowhere.",
	"ATTRIB":    "The name here, or else in the components around, the nearest first.",
	"HERE":      "The name in this component only.",
	"PARENT":    "One level up.",
	"ROOT":      "The top of the file; at run time, of what is deployed.",
	"THIS":      "The component itself.",
	"TBD":       "To be replaced where the component is used.",
	"NULL":      "The value NULL, which is not absence.",
	"APPLY":     "The value of a function.",
	"ASSERT":    "What must be true.",
	"PROPERTY":  "The property of this name, given with -D, as a string.",
	"IPROPERTY": "The property of this name, given with -D, as a value of the language.",
	"CONSTANT":  "A limit of a kind of numbers.",
	"IF":        "IF condition THEN value ELSE value FI; only the chosen value is computed.",
	"SWITCH":    "SWITCH IF condition THEN value … ENDSWITCH: the first whose condition is true, else NULL.",
}
