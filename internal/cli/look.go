package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"aloft/api"
	"aloft/client"
	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/value"

	"github.com/spf13/cobra"
)

// lastEvents is how many events describe shows.
const lastEvents = 10

// looked is all that is known of one component.
type looked struct {
	api.Component
	System     string        `json:"system"`
	Attributes []lookedValue `json:"attributes"`
	Outputs    []lookedValue `json:"outputs"`
	Children   []string      `json:"children"` // their paths
	Events     []api.Event   `json:"events"`   // the last ones, oldest first
	Why        *api.Why      `json:"why"`
	Known      string        `json:"known,omitempty"` // why the values may be old
}

// lookedValue is an attribute or output as it is now.
type lookedValue struct {
	Name  string    `json:"name"`
	Value typedJSON `json:"value"` // typed JSON
	text  string
}

// typedJSON is a value that programs get as typed JSON.
type typedJSON []byte

// MarshalJSON returns the text.
func (t typedJSON) MarshalJSON() ([]byte, error) { return t, nil }

func (a *app) describeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "describe SYSTEM PATH",
		Short: "Show all that is known of a component",
		Long: `Show all that is known of a component: its state and what made it so, its
attributes with references resolved, what its manager added, and the last things
that happened to it. Secrets are hidden. Where its machine does not answer, the
values known last are shown, with a note.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			if t.path == "" {
				t.path = value.Root.String()
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			l, err := a.look(c.Context(), cl, t)
			if err != nil {
				return a.notRunning(err)
			}
			if a.format != "table" && a.format != "wide" {
				return a.print(answer{value: l, names: []string{l.Path}})
			}
			return a.showLooked(l)
		},
	}
	a.outputFlag(c)
	return c
}

// look asks for all that is known of the component that t names.
func (a *app) look(ctx context.Context, cl *client.Client, t target) (*looked, error) {
	st, err := cl.Status(ctx, t.system)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(st.Components, func(x api.Component) bool { return x.Path == t.path })
	if i < 0 {
		return nil, fail("'aloft status "+t.system+"' lists them", "%s has no component %s", t.system, t.path)
	}
	l := &looked{Component: st.Components[i], System: t.system, Attributes: []lookedValue{}, Outputs: []lookedValue{}, Children: []string{}, Events: []api.Event{}}
	for _, m := range st.Machines {
		if m.Name == l.Machine && (m.State == api.MachineLost || m.State == api.MachineUnknown) {
			l.Known = fmt.Sprintf("machine %s is %s: these are the values known last", m.Name, m.State)
		}
	}
	got, err := cl.Get(ctx, t.system, t.path, l.Known != "")
	if api.KindOf(err) == api.KindUnavailable {
		l.Known = fmt.Sprintf("%v: these are the values known last", err)
		got, err = cl.Get(ctx, t.system, t.path, true)
	}
	if err != nil {
		return nil, err
	}
	v, err := value.Decode(got.Value)
	if err != nil {
		return nil, fmt.Errorf("value of %s %s: %w", got.System, got.Path, err)
	}
	l.sort(v, a.Class)
	seq, err := cl.Events(ctx, api.EventQuery{System: t.system, Path: t.below()})
	if err != nil {
		return nil, err
	}
	for e, err := range seq {
		if err != nil {
			return nil, err
		}
		if e.Path != t.path && (t.path != value.Root.String() || e.Path != "") || e.Kind == api.EventProgress {
			continue // of one below
		}
		if l.Events = append(l.Events, e); len(l.Events) > lastEvents {
			l.Events = l.Events[1:]
		}
	}
	l.Why, err = cl.Why(ctx, t.system, t.below())
	if api.KindOf(err) == api.KindNotFound {
		err = nil // nothing is known of it
	}
	return l, err
}

// sort puts the values of a component where they belong.
func (l *looked) sort(v value.Value, classes func(string) (component.Class, bool)) {
	all, ok := v.(*value.Component)
	if !ok {
		return
	}
	var class component.Class
	switch {
	case catalog.IsScripts(l.Class):
		class = catalog.ScriptClass(l.Class, all)
	case classes != nil:
		class, _ = classes(l.Class)
	}
	for attr := range all.All() {
		if child, ok := attr.Value.(*value.Component); ok && !child.Data {
			l.Children = append(l.Children, value.Path(strings.TrimPrefix(l.Path, value.Root.String())).Child(attr.Name).String())
			continue
		}
		one := lookedValue{Name: attr.Name, Value: typedJSON(value.TypedJSON(attr.Value)), text: strings.Join(strings.Fields(value.Source(attr.Value)), " ")}
		if attr.Name == "workDir" || class.HasOutput(attr.Name) {
			l.Outputs = append(l.Outputs, one)
		} else {
			l.Attributes = append(l.Attributes, one)
		}
	}
}

// showLooked prints what is known for people.
func (a *app) showLooked(l *looked) error {
	p := a.palette(a.Stdout)
	fmt.Fprintf(a.Stdout, "%s of %s\n\n", p.bold(l.Path), l.System)
	facts := table{head: []string{"CLASS", "STATE", "MACHINE", "ADDRESS"}, state: 1, rows: [][]string{{orDash(l.Class), l.State, orDash(l.Machine), orDash(l.Address)}}}
	if err := facts.write(a.Stdout, p); err != nil {
		return err
	}
	if l.Reason != "" {
		fmt.Fprintf(a.Stdout, "\n%s\n", l.Reason)
	}
	if l.Known != "" {
		fmt.Fprintf(a.Stdout, "\n%s\n", l.Known)
	}
	for _, part := range []struct {
		head   string
		values []lookedValue
	}{{"ATTRIBUTE", l.Attributes}, {"OUTPUT", l.Outputs}} {
		if len(part.values) == 0 {
			continue
		}
		fmt.Fprintln(a.Stdout)
		t := table{head: []string{part.head, "VALUE"}}
		for _, v := range part.values {
			text := v.text
			if a.format == "table" {
				text = oneLine(text)
			}
			t.rows = append(t.rows, []string{v.Name, text})
		}
		if err := t.write(a.Stdout, p); err != nil {
			return err
		}
	}
	if len(l.Children) > 0 {
		fmt.Fprintf(a.Stdout, "\nIn it: %s\n", strings.Join(l.Children, ", "))
	}
	if len(l.Events) > 0 {
		fmt.Fprintln(a.Stdout, "\nLast events:")
		for _, e := range l.Events {
			fmt.Fprintf(a.Stdout, "  %s  %s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), eventText(e))
		}
	}
	if l.Why != nil && len(l.Why.Causes) > 0 {
		fmt.Fprintln(a.Stdout, "\nWhy it is so:")
		a.showCauses(l.Why)
	}
	return nil
}

func (a *app) dumpCommand() *cobra.Command {
	var cached bool
	c := &cobra.Command{
		Use:   "dump SYSTEM [PATH]",
		Short: "Print the tree of components with their current values",
		Long: `Print the tree of components below PATH, or the whole system, with the values
that attributes and outputs have now, in the description language or as typed
JSON. Secrets are hidden. A machine that does not answer makes this fail; with
--cached the values known last are printed.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, got, err := a.valueAt(c.Context(), args, cached)
			if err != nil {
				return err
			}
			if v, err := value.Decode(got.Value); err == nil && v.Kind() != value.KindComponent {
				return fail("'aloft get' reads it", "%s of %s is a %s, not a component", t.path, t.system, v.Kind())
			}
			return a.printValue(got)
		},
	}
	c.Flags().BoolVar(&cached, "cached", false, "take the values known last where a machine does not answer")
	a.outputFlag(c)
	return c
}
