package catalog_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// doc/components.md is the catalogue on paper; UPDATE=1 writes it anew.
func TestDocumentOfComponentsIsTheCatalogue(t *testing.T) {
	const file = "../../../doc/components.md"
	var b strings.Builder
	b.WriteString(`# Components

What the built-in library offers, as ` + "`aloft catalog show NAME`" + ` tells it. This page is made from the schemas in [library/aloft/](../library/aloft/): it is changed there, and written with ` + "`UPDATE=1 go test ./internal/sdl/catalog`" + `.

An attribute marked *required* must be given; one marked *fixed* cannot change without the component being replaced; the content of a *secret* one is never shown. What a component adds is known when it runs: other components read it with LAZY references.
`)
	offered := builtIn(t).Components()
	for _, group := range []struct {
		kind catalog.Kind
		head string
	}{
		{catalog.Plain, ""},
		{catalog.Workflow, "\n# Workflow\n\nWhat creates its children itself, while it runs: see the [guide](guide.md#workflow).\n"},
		{catalog.Condition, "\n# Conditions\n\nWhat `If` and `WaitFor` ask; what a condition refers to is read anew each time.\n"},
	} {
		b.WriteString(group.head)
		for _, x := range offered {
			if x.Kind != group.kind || x.Name == "UpdatableCompound" {
				continue // of the original; every component of aloft is updatable
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n    #include %q\n", x.Name, x.Doc, x.Include)
			write(&b, x)
		}
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the library says; UPDATE=1 writes it anew: %v", file, err)
	}
}

// write writes the tables of attributes and outputs.
func write(b *strings.Builder, x *catalog.Component) {
	cell := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace
	head := "\n| attribute | type | default | |\n|---|---|---|---|\n"
	for i := range x.Attributes {
		a := &x.Attributes[i]
		if a.Core() {
			continue
		}
		b.WriteString(head)
		head = ""
		kind := a.Expected()
		if a.Unit != "" {
			kind += ", " + a.Unit
		}
		given := ""
		switch {
		case a.Required():
			given = "*required*"
		case a.Default != nil:
			given = "`" + value.Source(a.Default) + "`"
		}
		text := a.Description
		if a.Fixed {
			text += "; *fixed*"
		}
		if a.Secret {
			text += "; *secret*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", a.Name, cell(kind), cell(given), cell(text))
	}
	for i := range x.Attributes {
		if a := &x.Attributes[i]; a.Details != "" {
			fmt.Fprintf(b, "\n`%s`:\n\n```\n%s\n```\n", a.Name, a.Details)
		}
	}
	head = "\n| it adds | type | |\n|---|---|---|\n"
	for _, o := range x.Outputs {
		b.WriteString(head)
		head = ""
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", o.Name, o.Kind, cell(o.Doc))
	}
}
