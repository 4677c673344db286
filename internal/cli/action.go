package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) actionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "action " + form,
		Short: "Do what an action descriptor of SmartFrog says",
		Long: `Do what an action descriptor of SmartFrog says, with the command of aloft that does
it:

  DEPLOY, DEPLOYWAIT, UPDATE   aloft up DESCRIPTION --name NAME
  TERMINATE                    aloft down NAME
  DETACH                       aloft detach NAME SUBREF
  DETaTERM                     aloft detach NAME SUBREF --down
  PING, LIST, DUMP             aloft ping, status, dump NAME SUBREF
  DIAGNOSTICS                  aloft doctor
  PARSE                        aloft parse DESCRIPTION

A field that has colons in it stands in double or single quotes. HOST and PROCESS
are not used: machines come from the description. Options are those of the
command, as -y of up and down; --now is that of down.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := parseDescriptor(args[0])
			if err != nil {
				return err
			}
			name, options, args, notes, err := translate(d)
			if err != nil {
				return err
			}
			command, _, err := c.Root().Find([]string{name})
			if err != nil {
				return err
			}
			given, err := passed(c, command)
			if err != nil {
				return err
			}
			for _, n := range notes {
				fmt.Fprintln(a.Stderr, "note: "+n)
			}
			line := append(append([]string{name}, options...), given...)
			c.Root().SetArgs(append(append(line, "--"), args...))
			return c.Root().ExecuteContext(c.Context())
		},
	}
	for _, command := range []*cobra.Command{a.downCommand(), a.upCommand(), a.detachCommand(), a.pingCommand(), a.statusCommand(), a.dumpCommand(), a.doctorCommand(), a.parseCommand()} {
		// The first to have an option of a name gives it its meaning here.
		command.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "name" && f.Name != "machine" && f.Name != "down" && c.Flags().Lookup(f.Name) == nil { // those are fields
				c.Flags().AddFlag(f)
			}
		})
	}
	return c
}

// passed returns the options that c was given, as they are written, for the
// command that does what c says.
func passed(c, command *cobra.Command) (options []string, err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if c.InheritedFlags().Lookup(f.Name) != nil {
			return // it has been read, for whatever is called
		}
		if command.Flags().Lookup(f.Name) == nil {
			err = fail("'"+command.CommandPath()+" --help' lists those that it has", "'%s', which does this, has no option --%s", command.CommandPath(), f.Name)
			return
		}
		values := []string{f.Value.String()}
		if several, ok := f.Value.(pflag.SliceValue); ok {
			values = several.GetSlice()
		}
		for _, v := range values {
			options = append(options, "--"+f.Name+"="+v)
		}
	})
	return options, err
}
