package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"aloft/api"
	"aloft/client"
)

// outcome shows how a deployment ended. The status is 0 only if everything
// that was to run does, or everything that was to end has.
func (ch *change) outcome(ctx context.Context, cl *client.Client, d *api.Deployment) error {
	if d.WillUndo || d.NotUndone != "" {
		return ch.undone(ctx, cl, d)
	}
	ch.failures(d)
	if ch.request.Down {
		return ch.ended(d)
	}
	system := d.System
	if ch.detached != nil {
		system = ch.detached.Name
	}
	st, err := cl.Status(ctx, system)
	if errors.Is(err, &api.Error{Kind: api.KindNotFound}) && d.State == api.DeploymentDone {
		fmt.Fprintf(ch.human, "\nall of %s has detached itself, and runs on: 'aloft systems' lists it\n", system)
		return nil
	}
	if err != nil {
		return ch.notRunning(err)
	}
	if ch.human != ch.Stdout {
		if err := ch.printStatus(st); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(ch.human)
		if err := componentTable(st, ch.format == "wide").write(ch.human, ch.palette(ch.human)); err != nil {
			return err
		}
	}
	var not []string
	for _, c := range st.Components {
		if c.State != api.ComponentRunning {
			not = append(not, c.Path)
		}
	}
	switch {
	case d.State == api.DeploymentCancelled:
		return fail("'aloft events "+d.System+"' shows by what", "revision %d of %s was cancelled", d.Revision, d.System)
	case len(not) > 0 && st.State != api.SystemRunning || len(d.Failures) > 0 || d.State == api.DeploymentDegraded:
		return fail(ch.mend(d),
			"%s is degraded: %d of %s running", d.System, len(st.Components)-len(not), count(len(st.Components), "component"))
	}
	fmt.Fprintf(ch.human, "\n%s runs: revision %d, %s, %s\n", system, st.Revision, count(len(st.Components), "component"), count(len(st.Machines), "machine"))
	return nil
}

// mend says what to do about a system of which something failed.
func (ch *change) mend(d *api.Deployment) string {
	if ch.request.Rollback { // without a number it would lead elsewhere now
		return fmt.Sprintf("once the cause is gone, 'aloft rollback %s %d' does only what is missing", d.System, d.Revision)
	}
	if ch.file == "" {
		return "once the cause is gone, the same command does only what is missing; 'aloft rollback " + d.System + "' goes back"
	}
	return "once the cause is gone, 'aloft up " + ch.file + "' does only what is missing"
}

// ended is the outcome of a termination.
func (ch *change) ended(d *api.Deployment) error {
	if d.State != api.DeploymentDone || len(d.Failures) > 0 {
		return fail("'aloft down "+ch.request.Name+"' again tries what is left; 'aloft doctor --fix' removes what is left over",
			"%s was not terminated cleanly", ch.request.Name)
	}
	fmt.Fprintf(ch.human, "%s is terminated\n", ch.request.Name)
	return nil
}

// failures says of each failed component where it failed, why, with the end of
// its output, and what to type next.
func (ch *change) failures(d *api.Deployment) {
	p := ch.palette(ch.Stderr)
	for _, f := range d.Failures {
		line := p.red("failed") + ": " + f.Path
		if f.Operation != "" {
			line += ", " + f.Operation
		}
		if f.Machine != "" {
			line += " on " + f.Machine
		}
		fmt.Fprintf(ch.Stderr, "\n%s\n  cause: %s\n", line, strings.ReplaceAll(f.Cause, "\n", "\n    "))
		if len(f.Output) > 0 {
			fmt.Fprintln(ch.Stderr, "  last output:")
		}
		for _, text := range f.Output[max(0, len(f.Output)-lastLines):] {
			fmt.Fprintln(ch.Stderr, "    "+text)
		}
		if f.Remedy != "" {
			fmt.Fprintln(ch.Stderr, "  "+f.Remedy)
		}
		fmt.Fprintf(ch.Stderr, "  next: aloft logs %s %s\n", d.System, f.Path)
	}
}

// lastLines is how much of a failed component's output is shown.
const lastLines = 10
