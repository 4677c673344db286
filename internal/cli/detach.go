package cli

import (
	"context"
	"slices"

	"aloft/api"
	"aloft/value"

	"github.com/spf13/cobra"
)

func (a *app) detachCommand() *cobra.Command {
	ch := &change{app: a, name: "detach"}
	var down bool
	c := &cobra.Command{
		Use:   "detach SYSTEM PATH",
		Short: "Have a part of a running system run on as a system of its own, or end it alone",
		Long: `Have a component of a running system, with all that is in it, run on as a system
of its own. PATH is that of the component in the description.

Nothing is stopped or started. The new system is called as the component, with
"unnamed_" before it where another system has that name. It does not end with the
old one, nor the old one with it; its components keep their paths. It cannot be
changed, only looked at and ended: 'aloft down NAME'.

What cannot end without the rest is refused: what refers to other components, or
is referred to by them, and what runs on a machine that stays.

With --down the component is ended instead, and nobody else with it, whatever
sfOnChildEnd says: its parent is not told. The description is made again from its
text, as the system got it, without the component; who refers to it is refused.

The file is not changed. 'aloft up' of it is refused as long as it has what runs
on by itself; a component that was ended it brings back, and the plan says so.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			if t.path == "" || t.path == "ROOT" {
				return fail("name one of the components of "+t.system, "%s as a whole is a system of its own already", t.system)
			}
			if !down {
				ch.request = api.PlanRequest{Name: t.system, Detach: t.path, Cause: "detach " + t.path}
				return ch.run(c.Context())
			}
			return ch.alter(c.Context(), t, func(ctx context.Context, w *api.Written) error {
				if err := ch.detachable(ctx, w, t); err != nil {
					return err
				}
				w.Set = slices.DeleteFunc(w.Set, func(s api.WrittenSet) bool { return value.Path(t.path).Contains(value.Path(s.Path)) })
				w.Without = append(w.Without, t.path)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&down, "down", false, "end the component instead")
	ch.agreeFlags(c)
	ch.unresolvedFlag(c)
	return c
}

// detachable refuses what the description has no component for.
func (ch *change) detachable(ctx context.Context, w *api.Written, t target) error {
	root, err := ch.resolveWritten(ctx, w)
	if err != nil {
		return err
	}
	at, names := root, value.Path(t.path).Names()
	for i, name := range names {
		v, ok := at.Get(name)
		in, is := v.(*value.Component)
		switch {
		case !ok:
			return noAttribute(at, value.PathOf(names[:i]...), name)
		case !is || in.Data:
			return fail("'aloft status "+t.system+"' lists the components", "%s is no component", value.PathOf(names[:i+1]...))
		}
		at = in
	}
	return nil
}
