package cli

import (
	"fmt"

	"aloft/api"

	"github.com/spf13/cobra"
)

func (a *app) pingCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ping SYSTEM [PATH]",
		Short: "Ask components whether they still are what was made of them",
		Long: `Ask the component at PATH and those below it, or all of the system, now and where
they run, whether they still are what their last operation has made of them. The
exit status is 0 if all are, and 1 if one is not or its machine does not answer.
Nothing is repaired: 'aloft up' does that.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			p, err := cl.Ping(c.Context(), t.system, t.below())
			if err != nil {
				return a.notRunning(err)
			}
			if err := a.printPing(p); err != nil {
				return err
			}
			if !p.OK {
				return exitStatus(exitError)
			}
			return nil
		},
	}
	a.outputFlag(c)
	return c
}

func (a *app) printPing(p *api.Ping) error {
	ans := answer{
		value: p, empty: "There is nothing to ask.",
		table: table{head: []string{"COMPONENT", "CLASS", "MACHINE", "ANSWER", "REASON"}, state: 3},
	}
	for _, x := range p.Components {
		said := "unknown"
		switch {
		case x.OK:
			said = "ok"
		case x.Known:
			said = "failed"
		}
		reason := x.Reason
		if a.format == "table" {
			reason = oneLine(reason)
		}
		ans.names = append(ans.names, x.Path)
		ans.table.rows = append(ans.table.rows, []string{x.Path, orDash(x.Class), orDash(x.Machine), said, reason})
	}
	if err := a.print(ans); err != nil || a.format != "table" && a.format != "wide" || len(p.Silent) == 0 {
		return err
	}
	fmt.Fprintln(a.Stdout)
	for _, m := range p.Silent {
		fmt.Fprintf(a.Stdout, "%s did not answer: what runs there is not known\n", m)
	}
	return nil
}
