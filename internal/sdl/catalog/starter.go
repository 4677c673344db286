package catalog

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/format"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// Starter returns a description with one component c in the usual form: what
// must be given has an example, everything else stands beside it as a comment.
// A component that acts on a machine gets one; one of workflow stands as in the
// example of what is said of it, beside a page that it can be about.
func (c *Component) Starter() (string, error) {
	var b strings.Builder
	about, example := c.example()
	for line := range strings.Lines(c.Name + ": " + about) {
		fmt.Fprintf(&b, "// %s\n", strings.TrimSpace(line))
	}
	b.WriteString("#include \"aloft/components.sf\"\n")
	if c.Kind != Plain || !strings.HasPrefix(c.Include, "aloft/") && c.Include != "components.sf" {
		fmt.Fprintf(&b, "#include %s\n", value.Quote(c.Include))
	}
	name := instance(c.Name)
	b.WriteString("\nsfConfig extends {\n")
	switch {
	case c.Kind != Plain:
		fmt.Fprintf(&b, "machine extends VM { cloudProvider \"local\";\n web extends Website { pages extends DATA { \"/\" \"hello\\n\"; } }\n%s}\n", example)
	case c.Site == component.SiteResource || c.Class == "VM", c.Site == component.SiteSystem:
		c.write(&b, name)
	case c.Site == component.SiteInherit && c.Class != "VirtualSoftwareComponent":
		c.write(&b, name)
	case c.Class == "VirtualSoftwareComponent":
		b.WriteString("machine extends VM { cloudProvider \"local\";\n")
		c.write(&b, name)
		b.WriteString("}\n")
	default:
		b.WriteString("machine extends VM { cloudProvider \"local\";\n software extends VirtualSoftwareComponent {\n")
		if c.Around != nil {
			fmt.Fprintf(&b, "%s extends %s {\n", instance(c.Around.Name), c.Around.Name)
		}
		c.write(&b, name)
		if c.Around != nil {
			b.WriteString("}\n")
		}
		b.WriteString("}\n}\n")
	}
	b.WriteString("}\n")
	text, problems := format.Source(name+".sf", []byte(b.String()))
	if problems.Errors() > 0 {
		return "", fmt.Errorf("starter of %s: %s", c.Name, problems.All()[0].Message)
	}
	return string(text), nil
}

// example cuts what is said of a component into that and an example, which
// stands in lines further in.
func (c *Component) example() (about, example string) {
	for line := range strings.Lines(c.Doc) {
		if text, is := strings.CutPrefix(line, "    "); is {
			example += text
		} else {
			about += line
		}
	}
	return strings.TrimSpace(about), example + "\n"
}

// instance is how a component of a prototype is called.
func instance(prototype string) string {
	upper := 0
	for upper < len(prototype) && prototype[upper] >= 'A' && prototype[upper] <= 'Z' {
		upper++
	}
	if upper > 1 && upper < len(prototype) {
		upper-- // of URLReader the R begins a word
	}
	return strings.ToLower(prototype[:upper]) + prototype[upper:]
}

// write writes the component itself.
func (c *Component) write(b *strings.Builder, name string) {
	fmt.Fprintf(b, "%s extends %s {\n", name, c.Name)
	for _, live := range []bool{true, false} {
		for i := range c.Attributes {
			a := &c.Attributes[i]
			given := a.Example != nil || a.Required()
			if a.Core() || given != live {
				continue
			}
			if live {
				a.comment(b)
				fmt.Fprintf(b, "%s %s\n", a.Name, assigned(a.Example))
				continue
			}
			a.comment(b)
			text := "…"
			if a.Default != nil {
				text = value.Source(a.Default)
			}
			for line := range strings.Lines(fmt.Sprintf("%s %s;", a.Name, text)) {
				fmt.Fprintf(b, "// %s\n", strings.TrimRight(line, "\n"))
			}
		}
		b.WriteString("\n")
	}
	if len(c.Outputs) > 0 {
		b.WriteString("// It adds:\n")
		for _, o := range c.Outputs {
			fmt.Fprintf(b, "//   %-10s %s\n", o.Name, o.Doc)
		}
	}
	b.WriteString("}\n")
}

// assigned is v as the value of an attribute; nothing is still to be defined.
func assigned(v value.Value) string {
	switch v := v.(type) {
	case nil:
		return "TBD;"
	case *value.Component:
		return value.Source(v)
	default:
		return value.Source(v) + ";"
	}
}

// comment writes what the attribute is before it.
func (a *Attribute) comment(b *strings.Builder) {
	text := a.Description
	if a.Unit != "" {
		text += ", in " + a.Unit
	}
	if a.Values != nil {
		text += ": " + a.Expected()
	}
	fmt.Fprintf(b, "\n// %s\n", text)
}

// File is a file of a ready system, named as it lies beside the description.
type File struct {
	Name string
	Text []byte
}

// Files returns the description of s, first, and what it needs beside it: the
// files it includes, but for the library's, and those that its attributes name
// as sources, which class tells.
func (s *System) Files(ctx context.Context, class func(string) (component.Class, bool)) ([]File, error) {
	res, err := resolve.Resolve(ctx, resolve.Source{Folder: s.folder, Name: s.File}, resolve.Options{})
	if err != nil {
		return nil, err
	}
	if res.Description == nil {
		for _, d := range res.Diagnostics.All() {
			if d.Severity == diag.Error {
				return nil, fmt.Errorf("system %s: %s: %s", s.Name, d.Span.Pos, d.Message)
			}
		}
	}
	names := []string{s.File}
	for _, name := range res.Includes {
		if rel, ok := s.below(name); ok {
			names = append(names, rel)
		}
	}
	if res.Description != nil {
		names = s.sources(names, res.Description.Root, class)
	}
	var files []File
	base := path.Dir(s.File)
	seen := map[string]bool{}
	for _, name := range names {
		err := fs.WalkDir(s.folder.FS, name, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || seen[name] {
				return err
			}
			seen[name] = true
			text, err := fs.ReadFile(s.folder.FS, name)
			below := strings.TrimPrefix(name, base+"/")
			files = append(files, File{below, text})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("system %s: %w", s.Name, err)
		}
	}
	return files, nil
}

// below returns the name below the system's folder of a file as the resolver
// names it.
func (s *System) below(name string) (string, bool) {
	if strings.HasPrefix(name, libraryName+"/") && !strings.HasPrefix(s.folder.Name, libraryName+"/") {
		return "", false
	}
	if s.folder.Name == "" || s.folder.Name == "." {
		return name, !path.IsAbs(name)
	}
	return strings.CutPrefix(name, s.folder.Name+"/")
}

// sources adds the files and folders that attributes in c name.
func (s *System) sources(names []string, c *value.Component, class func(string) (component.Class, bool)) []string {
	var known component.Class
	if v, _ := c.Get("sfClass"); v != nil {
		if name, ok := v.(value.String); ok {
			known, _ = class(string(name))
		}
	}
	for a := range c.All() {
		switch v := a.Value.(type) {
		case *value.Component:
			if !v.Data {
				names = s.sources(names, v, class)
			}
		case value.String:
			if line, _ := known.Attribute(a.Name); !line.Source || path.IsAbs(string(v)) {
				continue
			}
			file, ok := s.below(a.Pos.File)
			if !ok {
				file = s.File
			}
			if name := path.Join(path.Dir(file), string(v)); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
