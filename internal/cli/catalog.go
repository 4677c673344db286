package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/value"

	"github.com/spf13/cobra"
)

func (a *app) catalogCommand() *cobra.Command {
	var include []string
	c := &cobra.Command{
		Use:   "catalog",
		Short: "Show what descriptions can be made of, and start one from it",
		Long: `Show what descriptions can be made of: the components and ready systems of the
built-in library, of the working directory and of each folder given with -I (the
.sf files in them and in their sub-folders of one level). A component is a
prototype with an sfClass; a ready system is a file with an sfConfig.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringArrayVarP(&include, "include", "I", nil, "`folder` to look into as well; may repeat")
	c.AddCommand(a.catalogListCommand(&include), a.catalogShowCommand(&include), a.catalogNewCommand(&include))
	return c
}

// offered reads the catalogue; done lets go of its folders.
func (a *app) offered(ctx context.Context, include []string) (known *catalog.Catalogue, done func(), err error) {
	var folders []resolve.Folder
	var closers []func() error
	done = func() {
		for _, c := range closers {
			c() // only read from
		}
	}
	for _, dir := range append([]string{"."}, include...) {
		folder, closeFolder, err := resolve.OpenFolder(dir)
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("folder %s: %w", dir, bare(err))
		}
		closers = append(closers, closeFolder)
		folders = append(folders, folder)
	}
	known, err = catalog.Load(ctx, folders...)
	if err != nil {
		done()
		return nil, nil, err
	}
	if a.Class != nil {
		known.Join(a.Class)
	}
	return known, done, nil
}

// offer is one line of the catalogue, for programs.
type offer struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"` // component or system
	Class       string `json:"class,omitempty"`
	Include     string `json:"include,omitempty"`
	File        string `json:"file"`
	Description string `json:"description"`
}

func componentOffer(x *catalog.Component) offer {
	return offer{x.Name, string(x.Kind), x.Class, x.Include, x.Pos.File, x.Doc}
}

func systemOffer(s *catalog.System) offer {
	return offer{Name: s.Name, Kind: "system", File: s.Pos.File, Description: s.Doc}
}

func (a *app) catalogListCommand(include *[]string) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List components and ready systems",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			known, done, err := a.offered(c.Context(), *include)
			if err != nil {
				return err
			}
			defer done()
			for _, d := range known.Problems.All() {
				if d.Severity == diag.Error {
					fmt.Fprintf(a.Stderr, "aloft: not listed: %s: %s\n", d.Span.Pos, d.Message)
				}
			}
			list := []offer{}
			for _, x := range known.Components() {
				list = append(list, componentOffer(x))
			}
			for _, s := range known.Systems() {
				list = append(list, systemOffer(s))
			}
			ans := answer{value: list, table: table{head: []string{"NAME", "KIND", "FILE", "DESCRIPTION"}}}
			for _, o := range list {
				ans.names = append(ans.names, o.Name)
				ans.table.rows = append(ans.table.rows, []string{o.Name, o.Kind, o.File, catalog.Summary(o.Description)})
			}
			return a.print(ans)
		},
	}
	a.outputFlag(c)
	return c
}

// page is what the catalogue knows of a component, for programs.
type page struct {
	offer
	Attributes []pageAttribute `json:"attributes"`
	Outputs    []pageOutput    `json:"outputs"`
	Children   bool            `json:"children"` // components may stand inside
}

type pageAttribute struct {
	Name        string          `json:"name"`
	Type        string          `json:"type"`
	Required    bool            `json:"required"`
	Default     json.RawMessage `json:"default,omitempty"` // typed JSON, like those below
	Unit        string          `json:"unit,omitempty"`
	Values      json.RawMessage `json:"values,omitempty"`
	Minimum     json.RawMessage `json:"minimum,omitempty"`
	Maximum     json.RawMessage `json:"maximum,omitempty"`
	Example     json.RawMessage `json:"example,omitempty"`
	Description string          `json:"description"`
	Details     string          `json:"details,omitempty"`
	Secret      bool            `json:"secret"`
	Fixed       bool            `json:"fixed"` // a change means replacement
	Core        bool            `json:"core"`  // every component has it
}

type pageOutput struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Description string `json:"description"`
}

func componentPage(x *catalog.Component) page {
	p := page{offer: componentOffer(x), Attributes: []pageAttribute{}, Outputs: []pageOutput{}, Children: x.Children}
	typed := func(v value.Value) json.RawMessage {
		if v == nil {
			return nil
		}
		return value.TypedJSON(v)
	}
	for i := range x.Attributes {
		t := &x.Attributes[i]
		line := pageAttribute{
			Name: t.Name, Type: t.Type(), Required: t.Required(), Default: typed(t.Default), Unit: t.Unit,
			Minimum: typed(t.Minimum), Maximum: typed(t.Maximum), Example: typed(t.Example),
			Description: t.Description, Details: t.Details, Secret: t.Secret, Fixed: t.Fixed, Core: t.Core(),
		}
		if t.Values != nil {
			line.Values = typed(t.Values)
		}
		p.Attributes = append(p.Attributes, line)
	}
	for _, o := range x.Outputs {
		p.Outputs = append(p.Outputs, pageOutput{o.Name, o.Kind.String(), o.Doc})
	}
	return p
}

func (a *app) catalogShowCommand(include *[]string) *cobra.Command {
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a component, with its attributes, or a ready system",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			known, done, err := a.offered(c.Context(), *include)
			if err != nil {
				return err
			}
			defer done()
			x, s, err := find(known, args[0])
			switch {
			case err != nil:
				return err
			case a.format != "table" && a.format != "wide" && s != nil:
				return a.print(answer{value: systemOffer(s), names: []string{s.Name}})
			case a.format != "table" && a.format != "wide":
				return a.print(answer{value: componentPage(x), names: []string{x.Name}})
			case s != nil:
				fmt.Fprintf(a.Stdout, "%s: a ready system, %s\n\n%s\n\nTo have a copy of it: aloft catalog new %s\n", s.Name, s.Pos.File, s.Doc, s.Name)
				return nil
			}
			return a.showComponent(x)
		},
	}
	a.outputFlag(c)
	return c
}

// find returns the component or the system called name.
func find(known *catalog.Catalogue, name string) (*catalog.Component, *catalog.System, error) {
	if x, ok := known.Component(name); ok {
		return x, nil, nil
	}
	if s, ok := known.System(name); ok {
		return nil, s, nil
	}
	if near := known.Nearest(name); len(near) > 0 {
		return nil, nil, fail("did you mean "+strings.Join(near, " or ")+"?", "the catalogue has no %s", name)
	}
	return nil, nil, fail("aloft catalog list shows what there is; -I adds a folder", "the catalogue has no %s", name)
}

// showComponent prints a page for people.
func (a *app) showComponent(x *catalog.Component) error {
	fmt.Fprintf(a.Stdout, "%s: a component of class %s\n#include %q\n\n%s\n\n", x.Name, x.Class, x.Include, x.Doc)
	attributes := table{head: []string{"ATTRIBUTE", "TYPE", "DEFAULT", "DESCRIPTION"}}
	var details []string
	for i := range x.Attributes {
		t := &x.Attributes[i]
		if t.Core() {
			continue
		}
		attributes.rows = append(attributes.rows, []string{t.Name, typeOf(t), standard(t), t.Remark()})
		if t.Details != "" {
			details = append(details, t.Name+"\n"+t.Details)
		}
	}
	p := a.palette(a.Stdout)
	if err := attributes.write(a.Stdout, p); err != nil {
		return err
	}
	for _, text := range details {
		fmt.Fprintf(a.Stdout, "\n%s\n", text)
	}
	if len(x.Outputs) > 0 {
		fmt.Fprintln(a.Stdout)
		outputs := table{head: []string{"IT ADDS", "TYPE", "DESCRIPTION"}}
		for _, o := range x.Outputs {
			outputs.rows = append(outputs.rows, []string{o.Name, o.Kind.String(), o.Doc})
		}
		if err := outputs.write(a.Stdout, p); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.Stdout, "\nTo begin with one: aloft catalog new %s\n", x.Name)
	return nil
}

func (a *app) catalogNewCommand(include *[]string) *cobra.Command {
	return &cobra.Command{
		Use:   "new NAME [FILE]",
		Short: "Write a description to begin with",
		Long: `Write a description to begin with, to FILE, else to NAME.sf: of a component one
that deploys it, with every attribute explained; of a ready system a copy, with
the files it needs. Nothing is overwritten. For "-" the text is printed.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			known, done, err := a.offered(c.Context(), *include)
			if err != nil {
				return err
			}
			defer done()
			x, s, err := find(known, args[0])
			if err != nil {
				return err
			}
			var files []catalog.File
			if x != nil {
				text, err := x.Starter()
				if err != nil {
					return err
				}
				name := strings.ToLower(x.Name) + ".sf"
				if path.Base(x.Include) == name && !strings.HasPrefix(x.Include, "aloft/") {
					name = "try-" + name
				}
				if len(args) == 2 && path.Base(x.Include) == filepath.Base(args[1]) && !strings.HasPrefix(x.Include, "aloft/") {
					return fail("name it otherwise", "%s would include itself, not the file of its name that %s comes from", args[1], x.Name)
				}
				files = []catalog.File{{Name: name, Text: []byte(text)}}
			} else if files, err = s.Files(c.Context(), a.Class); err != nil {
				return err
			}
			target := files[0].Name
			if len(args) == 2 {
				target = args[1]
			}
			if target == "-" {
				_, err := a.Stdout.Write(files[0].Text)
				return err
			}
			return a.writeStarter(target, files)
		},
	}
}

// writeStarter writes the first of files as target and the others beside it,
// or nothing.
func (a *app) writeStarter(target string, files []catalog.File) error {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = filepath.Join(filepath.Dir(target), filepath.FromSlash(f.Name))
		if i == 0 {
			paths[i] = target
		}
		if _, err := os.Lstat(paths[i]); err == nil {
			return fail("name another file: aloft catalog new NAME FILE", "%s is there already", paths[i])
		}
	}
	for i, f := range files {
		if err := os.MkdirAll(filepath.Dir(paths[i]), 0o755); err != nil {
			return err
		}
		if err := create(paths[i], f.Text); err != nil {
			for _, done := range slices.Backward(paths[:i]) {
				os.Remove(done) // it was not there before
			}
			return err
		}
	}
	for _, written := range paths {
		fmt.Fprintln(a.Stdout, written)
	}
	fmt.Fprintf(a.Stderr, "To deploy it: aloft up %s\n", target)
	return nil
}

// create writes a file that is not there yet.
func create(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fail("name another file: aloft catalog new NAME FILE", "%s is there already", file)
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err != nil {
		f.Close()
		os.Remove(file)
		return err
	}
	return f.Close()
}
