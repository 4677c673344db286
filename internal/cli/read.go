package cli

import (
	"context"
	"fmt"
	"strconv"

	"aloft/api"
	"aloft/value"

	"github.com/spf13/cobra"
)

func (a *app) systemsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "systems",
		Short: "List the systems",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			systems, err := cl.Systems(c.Context())
			if err != nil {
				return a.notRunning(err)
			}
			ans := answer{value: systems, empty: "There are no systems. 'aloft up FILE' makes one."}
			ans.table = table{head: []string{"NAME", "REVISION", "STATE", "COMPONENTS", "MACHINES"}, state: 2}
			ans.wide = table{head: append(ans.table.head, "FILE"), state: 2}
			for _, s := range systems {
				row := []string{s.Name, number(s.Revision), s.State, strconv.Itoa(s.Components), strconv.Itoa(s.Machines)}
				ans.names = append(ans.names, s.Name)
				ans.table.rows = append(ans.table.rows, row)
				ans.wide.rows = append(ans.wide.rows, append(row[:len(row):len(row)], orDash(s.File)))
			}
			return a.print(ans)
		},
	}
	a.outputFlag(c)
	a.machineAddress(c)
	return c
}

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status SYSTEM [PATH]",
		Short: "Show a system's components and machines",
		Args: func(c *cobra.Command, args []string) error {
			if a.machineFlag != "" {
				return cobra.MaximumNArgs(2)(c, args)
			}
			return cobra.RangeArgs(1, 2)(c, args)
		},
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.machineStatus(c.Context())
			}
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			st, err := cl.Status(c.Context(), t.system)
			if err != nil {
				return a.notRunning(err)
			}
			components, machines := []api.Component{}, []api.Machine{}
			for _, x := range st.Components {
				if t.contains(x.Path) {
					components = append(components, x)
				}
			}
			for _, m := range st.Machines {
				if t.contains(m.Path) {
					machines = append(machines, m)
				}
			}
			if len(components) == 0 && t.path != "" {
				return fail("'aloft status "+t.system+"' lists them", "%s has no component %s", t.system, t.path)
			}
			st.Components, st.Machines = components, machines
			return a.printStatus(st)
		},
	}
	a.outputFlag(c)
	a.machineAddress(c)
	return c
}

// machineStatus shows what a machine holds of every system.
func (a *app) machineStatus(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	systems, err := cl.Systems(ctx)
	if err != nil {
		return a.notRunning(err)
	}
	if len(systems) == 0 {
		return a.print(answer{value: []api.Status{}, empty: "Nothing is on this machine."})
	}
	for _, s := range systems {
		st, err := cl.Status(ctx, s.Name)
		if err != nil {
			return a.notRunning(err)
		}
		if err := a.printStatus(st); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printStatus(st *api.Status) error {
	ans := answer{value: st, table: componentTable(st, false), wide: componentTable(st, true), empty: st.System + " has no components."}
	for _, x := range st.Components {
		ans.names = append(ans.names, x.Path)
	}
	if a.format == "table" || a.format == "wide" {
		p := a.palette(a.Stdout)
		fmt.Fprintf(a.Stdout, "%s  revision %d  %s\n\n", p.bold(st.System), st.Revision, p.state(st.State))
	}
	if err := a.print(ans); err != nil || a.format != "wide" || len(st.Machines) == 0 {
		return err
	}
	fmt.Fprintln(a.Stdout)
	return machineTable(st.Machines, true).write(a.Stdout, a.palette(a.Stdout))
}

// componentTable shows components; the column of reasons only where there is
// one, or asked to.
func componentTable(st *api.Status, wide bool) table {
	reasons := wide
	for _, x := range st.Components {
		reasons = reasons || x.Reason != ""
	}
	t := table{head: []string{"COMPONENT", "CLASS", "STATE", "MACHINE", "ADDRESS"}, state: 2}
	if reasons {
		t.head = append(t.head, "REASON")
	}
	for _, x := range st.Components {
		row := []string{x.Path, orDash(x.Class), x.State, orDash(x.Machine), orDash(x.Address)}
		if reasons {
			row = append(row, x.Reason)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func (a *app) machinesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "machines [SYSTEM [PATH]]",
		Short:             "List the created machines",
		Args:              cobra.MaximumNArgs(2),
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
			all, err := cl.Machines(c.Context())
			if err != nil {
				return a.notRunning(err)
			}
			machines := []api.Machine{}
			for _, m := range all {
				if t.system == "" || m.System == t.system && t.contains(m.Path) {
					machines = append(machines, m)
				}
			}
			ans := answer{value: machines, table: machineTable(machines, false), wide: machineTable(machines, true), empty: "There are no machines."}
			for _, m := range machines {
				ans.names = append(ans.names, m.Name)
			}
			return a.print(ans)
		},
	}
	a.outputFlag(c)
	return c
}

func machineTable(machines []api.Machine, wide bool) table {
	t := table{head: []string{"MACHINE", "PROVIDER", "TEMPLATE", "STATE", "ADDRESS"}, state: 3}
	if wide {
		t.head = append(t.head, "ID")
	}
	for _, m := range machines {
		row := []string{m.Name, m.Provider, orDash(m.Template), m.State, orDash(m.Address)}
		if wide {
			row = append(row, m.ID)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func (a *app) endpointsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "endpoints SYSTEM [PATH]",
		Short:             "List where a system's services answer",
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
			all, err := cl.Endpoints(c.Context(), t.system)
			if err != nil {
				return a.notRunning(err)
			}
			endpoints := []api.Endpoint{}
			ans := answer{empty: t.system + " has no endpoints yet."}
			ans.table = table{head: []string{"COMPONENT", "CLASS", "ADDRESS", "URI"}}
			ans.wide = table{head: []string{"COMPONENT", "CLASS", "ADDRESS", "URI", "MACHINE"}}
			for _, e := range all {
				if !t.contains(e.Path) {
					continue
				}
				row := []string{e.Path, e.Class, e.Address, orDash(e.URI)}
				endpoints = append(endpoints, e)
				ans.names = append(ans.names, e.Address)
				ans.table.rows = append(ans.table.rows, row)
				ans.wide.rows = append(ans.wide.rows, append(row[:len(row):len(row)], orDash(e.Machine)))
			}
			ans.value = endpoints
			return a.print(ans)
		},
	}
	a.outputFlag(c)
	return c
}

func (a *app) getCommand() *cobra.Command {
	var cached bool
	c := &cobra.Command{
		Use:   "get SYSTEM PATH",
		Short: "Read an attribute, an output or a component of a running system",
		Long: `Read an attribute, an output or a component of a running system.

A string is printed bare, everything else in the description language; -o json
prints typed JSON. What is held by a machine that does not answer cannot be
read; with --cached, the value known last is printed.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			_, got, err := a.valueAt(c.Context(), args, cached)
			if err != nil {
				return err
			}
			return a.printValue(got)
		},
	}
	c.Flags().BoolVar(&cached, "cached", false, "take the value known last where its machine does not answer")
	a.outputFlag(c)
	return c
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// valueAt asks for what the arguments SYSTEM [PATH] name: of a system alone, its
// top.
func (a *app) valueAt(ctx context.Context, args []string, cached bool) (target, *api.Value, error) {
	t, err := parseTarget(args)
	if err != nil {
		return t, nil, err
	}
	if t.path == "" {
		t.path = value.Root.String()
	}
	cl, err := a.connect()
	if err != nil {
		return t, nil, err
	}
	got, err := cl.Get(ctx, t.system, t.path, cached)
	if err != nil {
		return t, nil, a.notRunning(err)
	}
	return t, got, nil
}
