package cli

import (
	"strings"

	"aloft/internal/sdl/catalog"
	"aloft/value"

	"github.com/spf13/cobra"
)

func (a *app) componentCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "component",
		Short: "Show the components there are, and make ones of your own",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.componentListCommand(), a.componentNewCommand(), a.componentTestCommand())
	return c
}

func (a *app) componentListCommand() *cobra.Command {
	var include []string
	c := &cobra.Command{
		Use:   "list [NAME]...",
		Short: "List components with their attributes, types, defaults and outputs",
		Long: `List the components that this build has managers for, or those that are named:
each with its attributes, their types and defaults, and the outputs that its
manager adds at run time, which are marked with an arrow. What every component
has (sf...) is left out; -o json has it too.`,
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return a.managedNames(c, include), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			known, done, err := a.offered(c.Context(), include)
			if err != nil {
				return err
			}
			defer done()
			list := a.managed(known)
			if len(args) > 0 {
				list = nil
				for _, name := range args {
					x, _, err := find(known, name)
					if err != nil {
						return err
					}
					if x == nil || !a.hasManager(x) {
						return fail("aloft component list shows the components there are", "%s is no component", name)
					}
					list = append(list, x)
				}
			}
			return a.print(listing(list))
		},
	}
	c.Flags().StringArrayVarP(&include, "include", "I", nil, "`folder` to look into as well; may repeat")
	a.outputFlag(c)
	return c
}

// hasManager reports whether this build can install and run a component.
func (a *app) hasManager(x *catalog.Component) bool {
	if a.Class == nil {
		return false
	}
	_, ok := a.Class(x.Class)
	return ok || catalog.IsScripts(x.Class)
}

// managed are the components that this build can install and run.
func (a *app) managed(known *catalog.Catalogue) []*catalog.Component {
	var list []*catalog.Component
	for _, x := range known.Components() {
		if a.hasManager(x) {
			list = append(list, x)
		}
	}
	return list
}

func (a *app) managedNames(c *cobra.Command, include []string) (names []string) {
	known, done, err := a.offered(c.Context(), include)
	if err != nil {
		return nil
	}
	defer done()
	for _, x := range a.managed(known) {
		names = append(names, x.Name)
	}
	return names
}

// listing is an answer with a line for each attribute and output.
func listing(list []*catalog.Component) answer {
	pages := []page{}
	ans := answer{empty: "There are no components."}
	ans.table = table{head: []string{"COMPONENT", "ATTRIBUTE", "TYPE", "DEFAULT"}}
	ans.wide = table{head: []string{"COMPONENT", "ATTRIBUTE", "TYPE", "DEFAULT", "DESCRIPTION"}}
	line := func(row []string, text string) {
		ans.table.rows = append(ans.table.rows, row)
		ans.wide.rows = append(ans.wide.rows, append(row[:len(row):len(row)], oneLine(text)))
	}
	for _, x := range list {
		pages = append(pages, componentPage(x))
		ans.names = append(ans.names, x.Name)
		before := len(ans.table.rows)
		for i := range x.Attributes {
			t := &x.Attributes[i]
			if t.Core() {
				continue
			}
			line([]string{x.Name, t.Name, typeOf(t), standard(t)}, t.Remark())
		}
		for _, o := range x.Outputs {
			line([]string{x.Name, "→ " + o.Name, o.Kind.String(), "-"}, o.Doc)
		}
		if len(ans.table.rows) == before {
			line([]string{x.Name, "-", "-", "-"}, x.Doc)
		}
	}
	ans.value = pages
	return ans
}

// typeOf is an attribute's type for people, with its unit.
func typeOf(t *catalog.Attribute) string {
	if t.Unit == "" {
		return t.Expected()
	}
	return t.Expected() + " (" + t.Unit + ")"
}

// standard is what an attribute is where it is not given.
func standard(t *catalog.Attribute) string {
	switch {
	case t.Required():
		return "required"
	case t.Default != nil:
		return strings.Join(strings.Fields(value.Source(t.Default)), " ")
	}
	return "-"
}
