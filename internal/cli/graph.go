package cli

import (
	"io"

	"aloft/component"
	"aloft/internal/sdl/diagram"

	"github.com/spf13/cobra"
)

func (a *app) graphCommand() *cobra.Command {
	var f describeFlags
	forms := []string{"dot", "mermaid", "svg"}
	c := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw the components of a description and what they refer to",
		Long: `Draw the components of a description and what they refer to. Components stand
inside each other as they do in the description, with their classes; LAZY
references are arrows to the component they read from, with the attribute and
what it reads there. A reference to a component around or inside the one that
has it is a line of text in that.

The drawing is text for Graphviz (dot) or Mermaid, or a picture (svg):
  aloft graph --format svg shop.sf > shop.svg`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFile,
		RunE: func(c *cobra.Command, args []string) error {
			var draw func(*diagram.Graph) string
			switch f.format {
			case "dot":
				draw = (*diagram.Graph).DOT
			case "mermaid":
				draw = (*diagram.Graph).Mermaid
			case "svg":
				draw = (*diagram.Graph).SVG
			default:
				return fail("one of dot, mermaid, svg", "unknown form of a drawing %q", f.format)
			}
			res, err := a.resolve(c.Context(), args[0], &f)
			if err != nil {
				return err
			}
			if res.Diagnostics.Errors() > 0 {
				return exitStatus(exitError)
			}
			if res.Description == nil {
				return fail("its phaseList leaves out what makes one of it", "%s has no deployable form", args[0])
			}
			g := diagram.New(titleOf(args[0]), res.Description.Root, a.drawnClass)
			_, err = io.WriteString(a.Stdout, draw(g))
			return err
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.format, "format", "dot", "form of the drawing: dot, mermaid, svg")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// titleOf returns what the description in file is called in a drawing.
func titleOf(file string) string {
	if name, err := nameOf(file, ""); err == nil {
		return name
	}
	return file
}

// drawnClass returns the own name of a class given in sfClass, and whether its
// components are machines.
func (a *app) drawnClass(name string) (string, bool) {
	if a.Class == nil {
		return name, false
	}
	class, ok := a.Class(name)
	if !ok {
		return name, false
	}
	return class.Name, class.Site == component.SiteResource && class.Children
}
