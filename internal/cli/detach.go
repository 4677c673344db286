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
		Use:   "detach SYSTEM PATH --down",
		Short: "Take a component out of a running system, and end it",
		Long: `Take a component out of a running system, and end it with all that is in it. PATH
is that of the component in the description.

Nobody else ends with it, whatever sfOnChildEnd says: its parent is not told. The
description is made again from its text, as the system got it, without the
component; who refers to it is refused. The file is not changed, and the next
'aloft up' of it brings the component back; the plan says so.

To let a component run on as a system of its own is not possible: --down is
required.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			switch {
			case t.path == "" || t.path == "ROOT":
				return fail("'aloft down "+t.system+"' ends the whole of it", "name one of the components of %s", t.system)
			case !down:
				return fail("--down ends it", "%s cannot run on by itself: a component is detached only to be ended", t.path)
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
	c.Flags().BoolVar(&down, "down", false, "end the component")
	ch.agreeFlags(c)
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

// taken returns a description without the component of these names.
func taken(from *value.Component, names []string) *value.Component {
	var rest []value.Attr
	for a := range from.All() {
		switch in, is := a.Value.(*value.Component); {
		case a.Name != names[0]:
		case len(names) == 1:
			continue
		case is:
			a.Value = taken(in, names[1:])
		}
		rest = append(rest, a)
	}
	return value.Compose(from.Data, rest)
}
