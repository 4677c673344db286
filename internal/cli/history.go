package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"aloft/api"

	"github.com/spf13/cobra"
)

func (a *app) historyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "history SYSTEM",
		Short: "List the revisions of a system, failed ones included",
		Long: `List the revisions of a system, the oldest first: what was asked for, by whom,
and what came of it. * marks the present one. 'aloft rollback' goes back to one.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			if t.path != "" && t.path != "ROOT" {
				return fail("aloft history "+t.system, "revisions are of a whole system, not of %s", t.path)
			}
			return a.history(c.Context(), t.system)
		},
	}
	a.outputFlag(c)
	return c
}

func (a *app) history(ctx context.Context, system string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	list, err := cl.Revisions(ctx, system)
	if err != nil {
		return a.notRunning(err)
	}
	ans := answer{value: list, empty: "No revision of " + system + " is remembered: it is from before there was a history."}
	ans.table = table{head: []string{"REVISION", "STATE", "SINCE", "BY", "CAUSE", "PLAN"}, state: 1}
	ans.wide = table{head: append(ans.table.head, "FILE", "FAILURES"), state: 1}
	for _, r := range list {
		number := strconv.FormatInt(r.Revision, 10)
		ans.names = append(ans.names, number)
		if r.Current {
			number += " *"
		}
		row := []string{number, r.State, r.Since.Local().Format(time.DateTime), orDash(r.By), r.Cause, r.Summary}
		ans.table.rows = append(ans.table.rows, row)
		ans.wide.rows = append(ans.wide.rows, append(row[:len(row):len(row)], orDash(r.File), orDash(strings.Join(r.Failures, "; "))))
	}
	return a.print(ans)
}

func (a *app) rollbackCommand() *cobra.Command {
	ch := &change{app: a, name: "rollback"}
	c := &cobra.Command{
		Use:   "rollback SYSTEM [REVISION]",
		Short: "Make a system again what it was, machines included",
		Long: `Make a system again what it was at an earlier revision, as 'aloft history' lists
them, machines included; without one, at the last revision that ran before the system
got its present description. That is a revision of its own.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args[:1])
			if err != nil {
				return err
			}
			if t.path != "" && t.path != "ROOT" {
				return fail("aloft rollback "+t.system, "a system is rolled back as a whole, not %s of it", t.path)
			}
			ch.request = api.PlanRequest{Name: t.system, Rollback: true}
			if len(args) > 1 {
				if ch.request.To, err = strconv.ParseInt(args[1], 10, 64); err != nil || ch.request.To < 1 {
					return fail("'aloft history "+t.system+"' lists them", "%q is no revision", args[1])
				}
			}
			return ch.run(c.Context())
		},
	}
	ch.agreeFlags(c)
	return c
}
