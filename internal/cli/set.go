package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aloft/api"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/explain"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"

	"github.com/spf13/cobra"
)

func (a *app) setCommand() *cobra.Command {
	ch := &change{app: a, name: "set"}
	c := &cobra.Command{
		Use:   "set SYSTEM PATH VALUE",
		Short: "Set an attribute of a running system, and what is computed from it",
		Long: `Set an attribute of a running system. PATH is that of the attribute in the
description, VALUE as it is written there: 8080, true, "a text", [| 1, 2 |],
(2*dbs), LAZY web:ip. What is none of these, as hello, is a text.

The description is made again from its text, as the system got it, with the
attribute changed: whatever is computed from it follows. The file is not
changed, and the next 'aloft up' of it takes the value back; the plan says so.`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args[:len(args)-1])
			if err != nil {
				return err
			}
			return ch.alter(c.Context(), t, ch.setting(t, written(args[len(args)-1]), nil))
		},
	}
	ch.agreeFlags(c)
	ch.unresolvedFlag(c)
	return c
}

func (a *app) scaleCommand() *cobra.Command {
	ch := &change{app: a, name: "scale"}
	c := &cobra.Command{
		Use:   "scale SYSTEM PATH N",
		Short: "Set how many copies a component with sfCopies has",
		Long: `Set how many copies a component with sfCopies has. PATH is that of the component
in the description: web for web1, web2 and so on. Fewer copies remove those with
the highest numbers. Where sfCopies is computed, set what it is computed from.`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args[:len(args)-1])
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(args[len(args)-1])
			if err != nil || n < 0 {
				return fail("a whole number, 0 or more", "%q is no number of copies", args[len(args)-1])
			}
			of := t.path
			t.path = value.Path(t.path).Child(copies).String()
			return ch.alter(c.Context(), t, ch.setting(t, strconv.Itoa(n), func(ctx context.Context, w *api.Written) error {
				return ch.literal(ctx, w, t.system, value.Path(of))
			}))
		},
	}
	ch.agreeFlags(c)
	ch.unresolvedFlag(c)
	return c
}

// copies is the attribute that says how many copies a component has.
const copies = "sfCopies"

// agreeFlags are those of commands that change a running system.
func (ch *change) agreeFlags(c *cobra.Command) {
	c.Flags().BoolVarP(&ch.yes, "yes", "y", false, "do not ask")
	ch.lossFlag(c)
	ch.outputFlag(c)
}

// written returns text as a value of the language: itself where it is one, and
// a string where it is none, or only a word that would be a reference.
func written(text string) string {
	var wrong diag.List
	v := syntax.ParseValue(setFile, []byte(text), &wrong)
	if r, ok := v.(*syntax.Reference); v == nil || ok && !r.Lazy && !r.Data && r.Apply == nil {
		return value.Source(value.String(text))
	}
	return syntax.PrintValue(v)
}

// setting returns the edit that sets an attribute. check looks at the text as it
// is before, and may be nil.
func (ch *change) setting(t target, to string, check edit) edit {
	return func(ctx context.Context, w *api.Written) error {
		if err := ch.settable(ctx, w, t); err != nil {
			return err
		}
		if check != nil {
			if err := check(ctx, w); err != nil {
				return err
			}
		}
		w.Set = slices.DeleteFunc(w.Set, func(s api.WrittenSet) bool { return s.Path == t.path })
		w.Set = append(w.Set, api.WrittenSet{Path: t.path, Value: to})
		return nil
	}
}

// edit changes the text of a system.
type edit func(context.Context, *api.Written) error

// alterTries is how often an edit is made again in what somebody else has changed
// meanwhile.
const alterTries = 5

// alter makes the plan of a system whose text is edited, and carries it out.
// Where somebody else is faster, what the system is then is edited.
func (ch *change) alter(ctx context.Context, t target, change edit) error {
	cl, err := ch.connect()
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		w, err := cl.Written(ctx, t.system, 0)
		if err != nil {
			return ch.notRunning(err)
		}
		base := w.Revision
		w.Revision = 0
		if err := change(ctx, w); err != nil {
			return err
		}
		err = ch.runFrom(ctx, w, base, t)
		if try == alterTries || !errors.Is(err, &api.Error{Kind: api.KindStale}) {
			return err
		}
		fmt.Fprintf(ch.Stderr, "note: somebody has changed %s meanwhile: %s %s is done to what it is now\n", t.system, ch.name, t.path)
	}
}

// runFrom carries out the plan of a text that was made from that of a revision.
func (ch *change) runFrom(ctx context.Context, w *api.Written, base int64, t target) error {
	root, err := ch.resolveWritten(ctx, w)
	if err != nil {
		return err
	}
	ch.shipment = shipment{class: ch.Class, dir: ".", recorded: w.Sources}
	root = ch.shipment.ship(ctx, root)
	if err := ch.printDiagnostics(&ch.shipment.diags, "text"); err != nil {
		return err
	}
	if ch.shipment.diags.Errors() > 0 {
		return exitStatus(exitError)
	}
	w.Sources = ch.shipment.sources
	ch.request = api.PlanRequest{
		Name: t.system, Base: base, File: w.File, Sources: ch.shipment.list, Written: w, AllowUnresolved: ch.request.AllowUnresolved,
		Cause: ch.name + " " + strings.TrimSuffix(t.path, ":"+copies),
	}
	if ch.request.Description, err = value.Encode(root); err != nil {
		return err
	}
	return ch.run(ctx)
}

// resolveWritten resolves a description from its text.
func (a *app) resolveWritten(ctx context.Context, w *api.Written) (*value.Component, error) {
	src, opts, err := rewritten(w)
	if err != nil {
		return nil, err
	}
	res, err := resolve.Resolve(ctx, src, opts)
	if err != nil {
		return nil, err
	}
	errs := &diag.List{}
	for _, d := range res.Diagnostics.All() {
		if d.Severity == diag.Error { // its warnings were told when it was deployed
			errs.Add(d)
		}
	}
	if err := a.printDiagnostics(errs, "text"); err != nil {
		return nil, err
	}
	if res.Description == nil {
		return nil, exitStatus(exitError)
	}
	root := res.Description.Root
	for _, path := range w.Without {
		root = root.Without(value.Path(path))
	}
	return root, nil
}

// settable refuses what the description has no attribute for.
func (ch *change) settable(ctx context.Context, w *api.Written, t target) error {
	root, err := ch.resolveWritten(ctx, w)
	if err != nil {
		return err
	}
	names := value.Path(t.path).Names()
	if len(names) == 0 {
		return fail("name one of its attributes: "+t.system+" ATTRIBUTE", "the system as a whole is no attribute")
	}
	at := root
	for i, name := range names[:len(names)-1] {
		v, ok := at.Get(name)
		in, is := v.(*value.Component)
		if !ok || !is {
			return noAttribute(at, value.PathOf(names[:i]...), name)
		}
		at = in
	}
	name, in := names[len(names)-1], value.PathOf(names[:len(names)-1]...)
	if _, given := at.Get(name); given || ch.accepts(at, name) {
		return nil
	}
	return noAttribute(at, in, name)
}

// accepts reports whether the class of a component knows an attribute that it
// does not have.
func (ch *change) accepts(at *value.Component, name string) bool {
	v, _ := at.Get("sfClass")
	class, named := v.(value.String)
	if !named || ch.Class == nil {
		return false
	}
	c, ok := ch.Class(string(class))
	if !ok {
		return false
	}
	_, known := (&c).Attribute(name)
	return known || c.OpenAttributes || strings.HasPrefix(name, "sf") && name != copies
}

func noAttribute(at *value.Component, in value.Path, name string) error {
	var names []string
	for a := range at.All() {
		names = append(names, a.Name)
		number, is := strings.CutPrefix(name, a.Name)
		c, ok := a.Value.(*value.Component)
		if _, copied := c.Get(copies); ok && copied && is && number != "" && strings.Trim(number, "0123456789") == "" {
			return fail("all copies have the attributes of "+a.Name+": set one of it", "%s is a copy of %s", name, in.Child(a.Name))
		}
	}
	remedy := "'aloft get' shows the attributes of a component"
	if near := diag.Nearest(name, names); len(near) > 0 {
		remedy = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fail(remedy, "there is no attribute %s in %s", name, in)
}

// literal refuses a number of copies that is computed, and names what it is
// computed from (runtime.md UP7).
func (ch *change) literal(ctx context.Context, w *api.Written, system string, of value.Path) error {
	src, opts, err := rewritten(w)
	if err != nil {
		return err
	}
	in, err := resolve.Inspect(ctx, src, opts)
	if err != nil {
		return err
	}
	s := in.Root()
	for _, name := range append([]string{"sfConfig"}, of.Names()...) {
		m, ok := s.Member(name)
		if !ok || !m.Inside.Valid() {
			return fmt.Errorf("%s is put together in a way that does not tell where its number comes from", of)
		}
		s = m.Inside
	}
	m, ok := s.Member(copies)
	if !ok || m.Source == nil {
		return fail("'aloft scale' is for components with sfCopies", "%s has no copies", of)
	}
	if _, is := m.Source.Value.(*syntax.Literal); is {
		return nil
	}
	from := references(m.Source.Value)
	names := explain.Path(append([]string{"sfConfig"}, of.Child(copies).Names()...))
	if len(from) == 0 {
		return fail("change the description", "%s is computed: %s", names, syntax.PrintValue(m.Source.Value))
	}
	root, err := ch.resolveWritten(ctx, w)
	if err != nil {
		return err
	}
	for i, name := range from {
		from[i] = found(root, of, name)
	}
	return fail("aloft set "+system+" "+from[0]+" N", "%s of %s is computed from %s", copies, of, strings.Join(from, ", "))
}

// references returns the links in an expression, as written.
func references(e syntax.Expr) []string {
	var links []string
	add := func(more ...string) {
		for _, l := range more {
			if !slices.Contains(links, l) {
				links = append(links, l)
			}
		}
	}
	switch e := e.(type) {
	case *syntax.Reference:
		if len(e.Parts) > 0 {
			add(value.LinkText(e.Parts))
		}
		if e.Apply != nil {
			add(inBody(e.Apply)...)
		}
	case *syntax.Vector:
		for _, x := range e.Elems {
			add(references(x)...)
		}
	case *syntax.Component:
		for _, p := range e.Protos {
			if p.Body != nil {
				add(inBody(p.Body)...)
			}
		}
	}
	return links
}

func inBody(b *syntax.Body) []string {
	var links []string
	for _, item := range b.Items {
		if a, ok := item.(*syntax.Attribute); ok && a.Value != nil {
			links = append(links, references(a.Value)...)
		}
	}
	return links
}

// found returns the path of the attribute that a word in the component at path
// means: that of the nearest component around it which has one. Anything but a
// word stays as it is.
func found(root *value.Component, path value.Path, word string) string {
	names := path.Names()
	for n := len(names); n >= 0; n-- {
		at := root
		for _, name := range names[:n] {
			v, _ := at.Get(name)
			at, _ = v.(*value.Component)
		}
		if _, ok := at.Get(word); ok {
			return value.PathOf(append(slices.Clone(names[:n]), word)...).String()
		}
	}
	return word
}
