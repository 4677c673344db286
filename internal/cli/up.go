package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"aloft/api"
	"aloft/client"
	"aloft/internal/sdl/diag"
	"aloft/value"

	"github.com/spf13/cobra"
)

// applyPatience bounds the call that begins a deployment. Ctrl-C does not cut
// it short: what was begun has to be known.
const applyPatience = 30 * time.Second

// change is one run of up, plan or down.
type change struct {
	*app
	name      string // of the command
	yes       bool
	file      string // as given, "" for down
	human     io.Writer
	request   api.PlanRequest
	shipment  shipment
	describe  describeFlags
	out       string        // where plan saves it
	saved     *api.Plan     // that is to be carried out, and no other
	loss      []string      // of --allow-data-loss
	startable bool          // a daemon may be started
	detached  *api.Detached // what the plan has made a system of its own

	// late are the warnings of references that can never resolve: planning
	// refuses them.
	late []diag.Diagnostic
}

func (a *app) upCommand() *cobra.Command {
	ch := &change{app: a, name: "up", startable: true}
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Make a system as described: plan, ask, deploy",
		Long: `Make a system as described: compare the description with what exists, show
what would be done, ask, and do it.

FILE may also be a plan that 'aloft plan --out' has saved: exactly that is done, or
nothing, where the system has changed since.

Ctrl-C ends the watching, not the deployment; up of the same description goes
on watching. Exit status 0 means that every component runs.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFile,
		RunE: func(c *cobra.Command, args []string) error {
			if text, is := savedFile(args[0]); is {
				return ch.upSaved(c, args[0], text)
			}
			if err := ch.read(c.Context(), args[0]); err != nil {
				return err
			}
			return ch.run(c.Context())
		},
	}
	ch.flags(c)
	c.Flags().BoolVarP(&ch.yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) planCommand() *cobra.Command {
	ch := &change{app: a, name: "plan"}
	c := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show what up would do; exit status 2 if that is anything",
		Long: `Show what up would do. Exit status 0 means that nothing would change, 2 that
something would.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFile,
		RunE: func(c *cobra.Command, args []string) error {
			if err := ch.read(c.Context(), args[0]); err != nil {
				return err
			}
			return ch.show(c.Context())
		},
	}
	ch.flags(c)
	c.Flags().StringVar(&ch.out, "out", "", "save the plan in this `file`, for 'aloft up'; it holds the description")
	return c
}

func (a *app) downCommand() *cobra.Command {
	ch := &change{app: a, name: "down"}
	c := &cobra.Command{
		Use:               "down SYSTEM",
		Short:             "Terminate a system and destroy its machines",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			if t.path != "" && t.path != "ROOT" {
				return fail("take it out of the description and run 'aloft up'", "down ends a whole system, not %s of it", t.path)
			}
			ch.request.Name, ch.request.Down = t.system, true
			return ch.run(c.Context())
		},
	}
	c.Flags().BoolVarP(&ch.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&ch.request.Now, "now", false, "cancel what is under way")
	a.outputFlag(c)
	return c
}

func (ch *change) flags(c *cobra.Command) {
	c.Flags().StringVar(&ch.request.Name, "name", "", "name of the system (default the file's, without .sf)")
	ch.unresolvedFlag(c)
	ch.lossFlag(c)
	ch.describe.register(c)
	ch.outputFlag(c)
}

// unresolvedFlag is the leave to refer to what may never be there.
func (ch *change) unresolvedFlag(c *cobra.Command) {
	c.Flags().BoolVar(&ch.request.AllowUnresolved, "allow-unresolved", false, "plan although late references cannot be checked")
}

// lossFlag is the leave to destroy data.
func (ch *change) lossFlag(c *cobra.Command) {
	c.Flags().StringArrayVar(&ch.loss, "allow-data-loss", nil, "`path` of a component whose data may be destroyed; may repeat")
}

// read resolves the description and collects what it ships.
func (ch *change) read(ctx context.Context, file string) error {
	name, err := nameOf(file, ch.request.Name)
	if err != nil {
		return err
	}
	res, written, err := ch.resolveQuietly(ctx, file, &ch.describe)
	if err != nil {
		return err
	}
	found := &res.Diagnostics
	if res.Description != nil && !ch.request.AllowUnresolved && len(found.Dropped()) == 0 {
		found = ch.holdLate(found)
	}
	if err := ch.printDiagnostics(found, ch.describe.diag); err != nil {
		return err
	}
	if res.Description == nil {
		return exitStatus(exitError)
	}
	ch.shipment = shipment{class: ch.Class, dir: filepath.Dir(file)}
	root := ch.shipment.ship(ctx, res.Description.Root)
	if err := ch.printDiagnostics(&ch.shipment.diags, ch.describe.diag); err != nil {
		return err
	}
	if ch.shipment.diags.Errors() > 0 {
		return exitStatus(exitError)
	}
	ch.file, ch.request.Name, ch.request.Cause = file, name, "up"
	if ch.request.File, err = filepath.Abs(file); err != nil {
		return fmt.Errorf("description %s: %w", file, err)
	}
	ch.request.Sources = ch.shipment.list
	if written != nil {
		written.File, written.Sources = ch.request.File, ch.shipment.sources
		ch.request.Written = written
	}
	if ch.request.Description, err = value.Encode(root); err != nil {
		return fmt.Errorf("description %s: %w", file, err)
	}
	return nil
}

// holdLate takes what planning refuses from what was found.
func (ch *change) holdLate(found *diag.List) *diag.List {
	rest := &diag.List{}
	for _, d := range found.All() {
		if d.Code == diag.LazyUnresolvable {
			ch.late = append(ch.late, d)
		} else {
			rest.Add(d)
		}
	}
	return rest
}

// tellLate prints what holdLate took: as errors where refusal, the daemon's
// answer, repeats them, which then it does no more, else as warnings.
func (ch *change) tellLate(refusal error) error {
	if len(ch.late) == 0 {
		return nil
	}
	held, refused := map[value.Pos]bool{}, map[value.Pos]bool{}
	for _, d := range ch.late {
		held[d.Span.Pos] = true
	}
	if e, ok := errors.AsType[*api.Error](refusal); ok {
		e.Diagnostics = slices.DeleteFunc(e.Diagnostics, func(d api.Diagnostic) bool {
			at := value.Pos{File: d.File, Line: d.Line, Col: d.Column}
			repeats := d.Code == string(diag.LazyUnresolvable) && held[at]
			refused[at] = refused[at] || repeats
			return repeats
		})
	}
	list := &diag.List{}
	for _, d := range ch.late {
		if refused[d.Span.Pos] {
			d.Severity = diag.Error
		}
		list.Add(d)
	}
	return ch.printDiagnostics(list, ch.describe.diag)
}

// plan asks the daemon for the plan, and tells what planning alone can say of
// the description.
func (ch *change) plan(ctx context.Context) (*client.Client, *api.Plan, error) {
	cl, p, err := ch.ask(ctx)
	if err := ch.tellLate(err); err != nil {
		return nil, nil, err
	}
	return cl, p, err
}

// ask asks the daemon for the plan.
func (ch *change) ask(ctx context.Context) (*client.Client, *api.Plan, error) {
	cl, err := ch.connect()
	if err != nil {
		return nil, nil, err
	}
	if ch.startable {
		if cl, err = ch.ensureDaemon(ctx); err != nil {
			return nil, nil, err
		}
	}
	if err := ch.shipment.upload(ctx, cl); err != nil {
		return nil, nil, ch.notRunning(err)
	}
	ch.request.AllowDataLoss = ch.loss
	p, err := cl.Plan(ctx, ch.request)
	for err != nil && ch.request.Down && errors.Is(err, &api.Error{Kind: api.KindConflict}) {
		if err = ch.hold(ctx, cl, err); err == nil {
			p, err = cl.Plan(ctx, ch.request)
		}
	}
	if err != nil {
		return nil, nil, ch.notRunning(err)
	}
	for _, s := range p.Steps {
		for i := range s.Attributes {
			if a := &s.Attributes[i]; a.Secret {
				a.Old, a.New = "", "" // whatever the daemon sent
			}
		}
	}
	return cl, p, nil
}

// holdPause is how often down looks whether it can begin.
const holdPause = 200 * time.Millisecond

// hold waits until what keeps a system from being terminated has ended, and
// says for what (runtime.md LC3).
func (ch *change) hold(ctx context.Context, cl *client.Client, busy error) error {
	var e *api.Error
	errors.As(busy, &e)
	fmt.Fprintf(ch.Stderr, "aloft: held until it ends: %s\n  'aloft down %s --now' cancels it\n", e.Message, ch.request.Name)
	for {
		d, err := cl.Deployment(ctx, ch.request.Name)
		if err != nil {
			return err
		}
		if d.Ended() {
			return nil
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(holdPause):
		}
	}
}

// show is what plan does.
func (ch *change) show(ctx context.Context) error {
	_, p, err := ch.plan(ctx)
	if err != nil {
		return err
	}
	if ch.out != "" {
		if err := ch.save(p); err != nil {
			return err
		}
	}
	ch.human = ch.Stdout
	switch {
	case ch.format == "json" || ch.format == "yaml" || ch.format == "name":
		ans := answer{value: p}
		for _, c := range changes(p) {
			ans.names = append(ans.names, c.Path)
		}
		err = ch.print(ans)
	default:
		err = ch.showPlan(p)
	}
	if err == nil && !p.Empty {
		return exitStatus(exitChanges)
	}
	return err
}

func (ch *change) showPlan(p *api.Plan) error {
	if p.Empty {
		_, err := fmt.Fprintf(ch.human, "%s: no changes\n", p.System)
		for _, n := range p.Notes {
			fmt.Fprintln(ch.human, "  "+n)
		}
		return err
	}
	return writePlan(ch.human, p, ch.palette(ch.human), ch.format == "wide")
}

// run is what up and down do.
func (ch *change) run(ctx context.Context) error {
	// With -o json and the like standard output is for the result alone.
	ch.human = ch.Stdout
	if ch.format != "table" && ch.format != "wide" {
		ch.human = ch.Stderr
	}
	cl, p, err := ch.plan(ctx)
	if err != nil {
		return err
	}
	if ch.saved != nil {
		if err := ch.fresh(p); err != nil {
			return err
		}
	}
	var d *api.Deployment
	if p.Attached {
		if d, err = cl.Deployment(ctx, p.System); err != nil {
			return ch.notRunning(err)
		}
		fmt.Fprintf(ch.human, "%s: revision %d is under way since %s; following it\n", p.System, d.Revision, d.Since.Local().Format("15:04:05"))
	} else {
		if err := ch.showPlan(p); err != nil {
			return err
		}
		if p.Empty {
			return ch.result(ctx, cl, p.System)
		}
		if err := lossless(p); err != nil {
			return err
		}
		if err := ch.confirm(ctx, ch.name, "Do this?", ch.yes); err != nil {
			return err
		}
		if p, d, err = ch.apply(ctx, cl, p); err != nil {
			return ch.notRunning(err)
		}
	}
	ch.detached = p.Detaches
	d, err = ch.follow(ctx, cl, p, d)
	if err != nil {
		return err
	}
	return ch.outcome(ctx, cl, d)
}

// apply begins a plan that was agreed to. Where nobody knows it any more, since
// the manager that made it has died, another makes one; it is begun unless it
// is to do something else.
func (ch *change) apply(ctx context.Context, cl *client.Client, p *api.Plan) (*api.Plan, *api.Deployment, error) {
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyPatience)
	defer cancel()
	for range applyTries {
		d, stale := cl.Apply(soon, p.System, p.ID)
		if !errors.Is(stale, &api.Error{Kind: api.KindStale}) {
			return p, d, stale
		}
		_, again, err := ch.ask(ctx)
		switch {
		case err == nil && again.Attached:
			d, err := cl.Deployment(ctx, p.System)
			return again, d, err
		case err != nil || !doesTheSame(again, p):
			return nil, nil, stale
		}
		p = again
	}
	return nil, nil, &api.Error{Kind: api.KindUnavailable, Message: "managers come and go: the plan was lost " + number(applyTries) + " times", Remedy: "look at them with: aloft cluster members"}
}

// applyTries is how often a plan is made again that nobody knows any more.
const applyTries = 5

// doesTheSame reports whether two plans differ in nothing but their names.
func doesTheSame(a, b *api.Plan) bool {
	x, y := *a, *b
	x.ID, y.ID, x.Notes, y.Notes = "", "", nil, nil
	x.Data, y.Data = unmeasured(x.Data), unmeasured(y.Data)
	return reflect.DeepEqual(x, y)
}

// unmeasured returns the data without its size, which grows by itself.
func unmeasured(list []api.DataLoss) []api.DataLoss {
	list = slices.Clone(list)
	for i := range list {
		list[i].Size = 0
	}
	return list
}

// lossless refuses a plan that destroys data without leave, as the daemon does
// when it is to begin.
func lossless(p *api.Plan) error {
	var flags []string
	var first api.DataLoss
	for _, d := range p.Data {
		flag := "--allow-data-loss " + d.Path
		if d.Allowed || d.Spare || slices.Contains(flags, flag) {
			continue
		}
		if flags = append(flags, flag); len(flags) == 1 {
			first = d
		}
	}
	if len(flags) == 0 {
		return nil
	}
	return fail("save it first; if it may go: "+strings.Join(flags, " "), "the plan would destroy the data of %s: %s", first.Path, first.Why)
}

// result prints the status for -o json and the like, when nothing had to be
// done.
func (ch *change) result(ctx context.Context, cl *client.Client, system string) error {
	if ch.human == ch.Stdout || ch.request.Down {
		return nil
	}
	st, err := cl.Status(ctx, system)
	if err != nil {
		return err
	}
	return ch.printStatus(st)
}
