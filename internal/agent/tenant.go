package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/journal"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

// tenant is one system as far as it lives on this machine.
type tenant struct {
	agent  *Agent
	system string
	// resuming is set until what ran before the daemon was restarted is back: it
	// is not asked whether it lives before its turn to be started came.
	resuming atomic.Bool

	// delivery has an element while a part is taken: two deliveries of one plan
	// must not run it twice.
	delivery chan struct{}
	folder   sync.Mutex // held while the system's folder is made or removed

	mu     sync.Mutex
	part   atomic.Pointer[peerpb.Part]
	comps  map[value.Path]*held
	values map[value.Path]*value.Component // components elsewhere, as heard
	runner *execute.Runner
	// interrupted is why the part was interrupted, or "".
	interrupted string
	ended       chan struct{} // closed when the runner of part has ended
	// cut are the steps that a crash cut off: their intent is recorded, and not
	// their result.
	cut map[plan.StepID]bool
	// redone are the components with an operation that a crash cut off and the
	// runner repeats. What they are like nobody knows until then.
	redone map[value.Path]bool
	facts  map[plan.StepID]*peerpb.Fact // of part's own steps that are settled
	tell   map[plan.StepID]bool         // of facts: not yet reported
	show   map[value.Path]bool          // components whose state is not yet reported; false: under way
	// waits are the operations here that wait, at run time, for others here.
	waits     map[plan.StepID][]plan.StepID
	tenure    tenure
	silent    map[string]time.Duration // machines with parents of what is here: since when the owner does not hear of them
	returning bool                     // what was isolated is being brought back
	moved     chan struct{}            // closed, and made anew, when there may be more to read
}

func newTenant(a *Agent, system string) *tenant {
	return &tenant{
		agent: a, system: system, delivery: make(chan struct{}, 1), comps: map[value.Path]*held{}, values: map[value.Path]*value.Component{},
		facts: map[plan.StepID]*peerpb.Fact{}, tell: map[plan.StepID]bool{}, show: map[value.Path]bool{},
		waits: map[plan.StepID][]plan.StepID{}, moved: make(chan struct{}),
	}
}

var (
	outcomes = map[peerpb.Outcome]plan.Outcome{
		peerpb.Outcome_OUTCOME_DONE: plan.Done, peerpb.Outcome_OUTCOME_FAILED: plan.Failed, peerpb.Outcome_OUTCOME_SKIPPED: plan.Skipped,
	}
	wireOutcomes = map[plan.Outcome]peerpb.Outcome{
		plan.Done: peerpb.Outcome_OUTCOME_DONE, plan.Failed: peerpb.Outcome_OUTCOME_FAILED, plan.Skipped: peerpb.Outcome_OUTCOME_SKIPPED,
	}
	actions = map[peerpb.Action]plan.Action{
		peerpb.Action_ACTION_DEPLOY: plan.Deploy, peerpb.Action_ACTION_START: plan.Start,
		peerpb.Action_ACTION_RECONFIGURE: plan.Reconfigure, peerpb.Action_ACTION_TERMINATE: plan.Terminate,
	}
	wireActions = map[plan.Action]peerpb.Action{
		plan.Deploy: peerpb.Action_ACTION_DEPLOY, plan.Start: peerpb.Action_ACTION_START,
		plan.Reconfigure: peerpb.Action_ACTION_RECONFIGURE, plan.Terminate: peerpb.Action_ACTION_TERMINATE,
	}
)

// contents are what a part says.
type contents struct {
	part  *peerpb.Part
	steps []plan.Step
	attrs []*value.Component // of part.Components
}

// decodePart reads a part as it was signed.
func decodePart(signed []byte) (*contents, error) {
	part := &peerpb.Part{}
	if err := proto.Unmarshal(signed, part); err != nil {
		return nil, fmt.Errorf("part: %w", err)
	}
	return readPart(part)
}

// readPart reads a part. One that this daemon does not understand is refused
// before it is kept.
func readPart(part *peerpb.Part) (*contents, error) {
	c := &contents{part: part, steps: make([]plan.Step, 0, len(part.Steps)), attrs: make([]*value.Component, 0, len(part.Components))}
	for _, s := range part.Steps {
		action, ok := actions[s.Action]
		if !ok {
			return nil, fmt.Errorf("step %s: unknown action %s: the manager speaks a newer protocol", s.Id, s.Action)
		}
		c.steps = append(c.steps, plan.Step{ID: plan.StepID(s.Id), Path: value.Path(s.Path), Action: action, Token: s.Token, Needs: stepIDs(s.Needs), After: stepIDs(s.After), Awaits: awaits(s.Awaits), Without: paths(s.Without), Spare: s.Spare})
	}
	for _, w := range part.Components {
		attrs, err := decodeComponent(w.Attributes)
		if err != nil {
			return nil, fmt.Errorf("component %s: %w", w.Path, err)
		}
		c.attrs = append(c.attrs, attrs)
	}
	return c, nil
}

// take makes a part the tenant's newest. entries are what the journal knows of
// its steps, heard what it knows of steps elsewhere.
func (t *tenant) take(content *contents, entries []journal.Entry, heard map[plan.StepID]plan.Outcome, interrupted bool) {
	part := content.part
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.comps {
		c.wanted = nil
	}
	for i, w := range part.Components {
		path := value.Path(w.Path)
		c := t.comps[path]
		if c == nil {
			c = &held{op: newTurn(), path: path, state: inventory.Instantiated, outputs: map[string]value.Value{}}
			t.comps[path] = c
		}
		switch c.state {
		case inventory.Instantiated, inventory.Terminated, inventory.Failed:
			c.class = w.Class
		default:
			if c.successor = nil; c.class != w.Class {
				c.successor = &w.Class
			}
		}
		c.wanted, c.digest, c.order = content.attrs[i], w.Digest, int(w.Order)
		c.creator = w.Creator
		c.liveness = liveness{time.Duration(w.LivenessDelay) * time.Millisecond, int(w.LivenessFactor)}
		c.isolation, c.tenure = w.OnIsolation, time.Duration(w.Tenure)*time.Second
		c.loss, c.parent = time.Duration(w.ParentLoss)*time.Millisecond, w.Parent
		c.policy = lifecycle.Policy{
			OnEnd: lifecycle.OnEnd(w.OnEnd), MaxRestarts: int(w.MaxRestarts), Window: time.Duration(w.RestartWindow) * time.Second,
		}
	}
	t.redone = map[value.Path]bool{}
	for _, e := range entries {
		if e.Result == nil && !interrupted {
			t.redone[e.Path] = true
		}
	}
	t.part.Store(part)
	t.ended = make(chan struct{})
	t.interrupted = ""
	if interrupted {
		t.interrupted = "interrupted"
	}
	t.prepare(content, entries, heard)
}

// prepare makes the runner of the newest part. The lock is held.
func (t *tenant) prepare(content *contents, entries []journal.Entry, heard map[plan.StepID]plan.Outcome) {
	part := content.part
	results := map[plan.StepID]execute.Result{}
	for id, o := range heard {
		results[id] = execute.Result{Outcome: o}
	}
	clear(t.facts)
	clear(t.tell)
	t.cut = map[plan.StepID]bool{}
	for _, e := range entries {
		id := plan.StepID(e.ID)
		if e.Result == nil {
			t.cut[id] = true
		} else {
			results[id] = execute.Result{Outcome: outcomes[e.Result.Outcome]}
			t.facts[id] = &peerpb.Fact{
				System: t.system, Revision: part.Revision, Plan: part.Plan, Step: e.ID,
				Outcome: e.Result.Outcome, Component: e.Result.Component, Record: e.Result.Record,
			}
			t.tell[id] = true
		}
	}
	t.runner = execute.New(execute.Config{
		Steps: content.steps, Results: results, Journal: stepJournal{t, part}, Limit: t.agent.limit, Do: t.do, Settled: t.settled,
		Begun: t.cut, Undo: t.undoCut, Wait: t.waitLimit, Expired: t.overdue,
	})
	if t.interrupted != "" {
		t.runner.Interrupt(t.interrupted)
	}
}

// interrupt cancels what is under way of the newest part and skips the rest.
func (t *tenant) interrupt(reason string) {
	t.mu.Lock()
	if t.interrupted == "" {
		t.interrupted = reason
	}
	runner := t.runner
	t.mu.Unlock()
	runner.Interrupt(reason)
}

func stepIDs(texts []string) []plan.StepID {
	ids := make([]plan.StepID, len(texts))
	for i, s := range texts {
		ids[i] = plan.StepID(s)
	}
	return ids
}

func paths(texts []string) []value.Path {
	var list []value.Path
	for _, p := range texts {
		list = append(list, value.Path(p))
	}
	return list
}

func awaits(list []*peerpb.Await) []plan.Await {
	var out []plan.Await
	for _, a := range list {
		out = append(out, plan.Await{Step: plan.StepID(a.Step), Attribute: a.Attribute, Machine: a.Machine})
	}
	return out
}

// current returns the newest part, or nil.
func (t *tenant) current() *peerpb.Part { return t.part.Load() }

// run carries out the newest part; after a restart of the daemon it first
// brings back what ran.
func (t *tenant) run(ctx context.Context, resumed bool) {
	t.mu.Lock()
	runner, ended, part := t.runner, t.ended, t.current()
	t.mu.Unlock()
	defer close(ended)
	if resumed {
		t.resume(ctx)
		t.resuming.Store(false)
		t.rereadAll()
	}
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := runner.Run(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		// The journal refuses records, as on a full disk: what cannot be
		// recorded is not done. When it takes them again, the work goes on.
		t.agent.cfg.Log.Error("run part", "system", t.system, "plan", part.Plan, "error", err)
		t.stalled(runner, err)
		for runner = nil; runner == nil; {
			if sleep(ctx, pause); ctx.Err() != nil {
				return
			}
			if runner, err = t.again(ctx); err != nil {
				t.agent.cfg.Log.Error("read the journal", "system", t.system, "error", err)
			}
		}
	}
	if len(part.Components) == 0 {
		t.drop(ctx, part)
	}
}

// Pauses between attempts to go on where the journal refused a record.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// stalled says of every component with a step that has not ended why nothing
// moves.
func (t *tenant) stalled(runner *execute.Runner, err error) {
	var waiting []value.Path // asked first: the runner's lock goes before ours
	for _, s := range t.current().GetSteps() {
		if runner.Outcome(plan.StepID(s.Id)) == "" {
			waiting = append(waiting, value.Path(s.Path))
		}
	}
	t.mu.Lock()
	for _, path := range waiting {
		if c := t.comps[path]; c != nil {
			c.reason = "the machine cannot record its work, and waits: " + err.Error()
			t.show[path] = true
		}
	}
	t.mu.Unlock()
	t.agent.changed()
}

// again returns a runner that goes on with the newest part where the journal
// says that it is. What was done without its result being recorded is repeated.
func (t *tenant) again(ctx context.Context) (*execute.Runner, error) {
	part := t.current()
	content, err := readPart(part)
	if err != nil {
		return nil, err
	}
	entries, heard, err := t.agent.recorded(ctx, part)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prepare(content, entries, heard)
	return t.runner, nil
}

// undoCut undoes what an interruption and a crash together have left half done
// of a step.
func (t *tenant) undoCut(ctx context.Context, s plan.Step) execute.Result {
	rec := t.record(s.Path, s.Action, errors.New("interrupted, and the daemon ended before it could be undone"))
	if c := t.component(s.Path); c != nil {
		c.op.Lock()
		defer c.op.Unlock()
		t.presume(c, s.ID)
		t.failed(ctx, c, s.Action, rec)
	}
	return execute.Result{Outcome: plan.Failed, Record: rec}
}

// presume has a component keep, of a step that an earlier life of the daemon
// began, what that must have begun with: undoing it takes that.
func (t *tenant) presume(c *held, id plan.StepID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut[id] && c.attrs == nil && c.wanted != nil {
		c.tried = c.wanted
	}
}

// drop forgets a system of which nothing is left, once its owner knows. What
// could not be ended stays known: another plan has to find it.
func (t *tenant) drop(ctx context.Context, part *peerpb.Part) {
	if slices.ContainsFunc(t.subtree(value.Root), t.exists) {
		return
	}
	for {
		t.mu.Lock()
		told := len(t.tell) == 0 && len(t.show) == 0
		current := t.current() == part
		t.mu.Unlock()
		if !current {
			return
		}
		if told {
			break
		}
		if sleep(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return
		}
	}
	if s := t.agent.cfg.Secrets; s != nil {
		if err := s.Forget(t.system); err != nil {
			t.agent.cfg.Log.Warn("forget secrets", "system", t.system, "error", err)
		}
	}
	j := t.agent.cfg.Journal
	if err := j.Forget(ctx, t.system, ""); err != nil {
		t.agent.cfg.Log.Warn("forget system", "system", t.system, "error", err)
		return
	}
	if err := j.Save(ctx, j.Parts.Drop(t.system), j.Tenures.Drop(t.system)); err != nil {
		t.agent.cfg.Log.Warn("forget system", "system", t.system, "error", err)
		return
	}
	t.agent.mu.Lock()
	if t.agent.tenants[t.system] == t {
		delete(t.agent.tenants, t.system)
	}
	t.agent.mu.Unlock()
}

// learn takes in what others may read of a component elsewhere.
func (t *tenant) learn(f *peerpb.Fact) error {
	if len(f.Component) == 0 {
		return nil
	}
	c, err := decodeComponent(f.Component)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.values[plan.StepID(f.Step).Path()] = c
	t.stir()
	t.mu.Unlock()
	return nil
}

// hear takes in a fact of a step elsewhere. One that comes again says nothing
// new: what it came to may have changed since.
func (t *tenant) hear(ctx context.Context, f *peerpb.Fact) error {
	j := t.agent.cfg.Journal
	if _, heard, err := j.Facts.Get(ctx, f.System, f.Plan, f.Step); err != nil {
		return err
	} else if !heard || f.Plan == "" { // those without a plan, by an older release, are of now
		if err := j.Save(ctx, j.Facts.Set(f)); err != nil {
			return err
		}
		if err := t.learn(f); err != nil {
			return fmt.Errorf("fact %s: %w", f.Step, err)
		}
	}
	t.mu.Lock()
	runner, current := t.runner, t.current().GetPlan() == f.Plan
	t.mu.Unlock()
	if current {
		runner.Tell(plan.StepID(f.Step), outcomes[f.Outcome])
	}
	return nil
}

// settled queues the fact of a step of ours.
func (t *tenant) settled(s plan.Step, r execute.Result) {
	t.mu.Lock()
	t.facts[s.ID] = &peerpb.Fact{
		System: t.system, Revision: t.current().Revision, Plan: t.current().Plan, Step: string(s.ID),
		Outcome: wireOutcomes[r.Outcome], Component: r.Value, Record: inventory.RecordProto(r.Record),
	}
	t.tell[s.ID] = true
	t.show[s.Path] = true
	t.stir()
	t.mu.Unlock()
	kind, reason := event.StepDone, string(s.Action)
	switch r.Outcome {
	case plan.Failed:
		kind, reason = event.StepFailed, r.Record.Cause
	case plan.Skipped:
		kind, reason = event.StepSkipped, r.Record.Cause
	}
	t.event(s.Path, s.ID, kind, reason, 0)
	t.agent.changed()
}

// inOrder puts the end of what is replaced before the deploy of its successor,
// which the owner takes for what is so since.
func inOrder(a, b plan.StepID) int {
	rank := func(id plan.StepID) int {
		if id == plan.ID(id.Path(), plan.Terminate) {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(a)-rank(b), cmp.Compare(a, b))
}

// news adds what was not yet reported to r, as long as there is room (in
// bytes), and returns what to call once it is, or nil. States come after all
// facts: the owner takes them as what is true then.
func (t *tenant) news(r *peerpb.ReportRequest, room *int) func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tell)+len(t.show) == 0 || *room <= 0 {
		return nil
	}
	part := t.current()
	var told []plan.StepID
	for _, id := range slices.SortedFunc(maps.Keys(t.tell), inOrder) {
		if *room <= 0 {
			break
		}
		told = append(told, id)
		r.Facts = append(r.Facts, t.facts[id])
		*room -= proto.Size(t.facts[id])
	}
	var shown []value.Path
	for path := range t.show {
		if *room <= 0 {
			break
		}
		st, err := t.state(path)
		if err != nil {
			t.agent.cfg.Log.Error("report state", "system", t.system, "component", path, "error", err)
			continue
		}
		t.show[path] = false
		shown = append(shown, path)
		r.States = append(r.States, st)
		*room -= proto.Size(st)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.current() == part {
			for _, id := range told {
				delete(t.tell, id)
			}
		}
		for _, path := range shown {
			if again, there := t.show[path]; there && !again {
				delete(t.show, path)
			}
		}
	}
}

// state returns the reported state of a component; one that is gone is
// terminated. The lock is held.
func (t *tenant) state(path value.Path) (*peerpb.ComponentState, error) {
	c := t.comps[path]
	if c == nil {
		return &peerpb.ComponentState{System: t.system, Revision: t.current().GetRevision(), Path: string(path), State: string(inventory.Terminated)}, nil
	}
	return c.status(t.system)
}

// changed queues the state of a component for the owner.
func (t *tenant) changed(path value.Path) {
	t.mu.Lock()
	t.show[path] = true
	t.stir()
	t.mu.Unlock()
	t.agent.changed()
}

// stir wakes the operations that wait for something to read. The lock is held.
func (t *tenant) stir() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// component returns what is held under path, or nil.
func (t *tenant) component(path value.Path) *held {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.comps[path]
}

// subtree returns the components at and below path, parents first.
func (t *tenant) subtree(path value.Path) []*held {
	t.mu.Lock()
	defer t.mu.Unlock()
	var below []*held
	for p, c := range t.comps {
		if path.Contains(p) {
			below = append(below, c)
		}
	}
	slices.SortFunc(below, byOrder)
	return below
}

// byOrder is the order of definition.
func byOrder(a, b *held) int { return cmp.Or(a.order-b.order, cmp.Compare(a.path, b.path)) }

// stepJournal keeps the steps of a part in the machine's journal, and with
// each result the state the component has then.
type stepJournal struct {
	t    *tenant
	part *peerpb.Part
}

func (s stepJournal) step(id plan.StepID, path value.Path, action plan.Action, token string) journal.Step {
	return journal.Step{
		System: s.t.system, Plan: s.part.Plan, ID: string(id), Revision: s.part.Revision,
		Path: path, Action: wireActions[action], Token: token,
	}
}

func (s stepJournal) Begin(p plan.Step) error {
	return s.t.agent.cfg.Journal.Begin(context.Background(), s.step(p.ID, p.Path, p.Action, p.Token))
}

func (s stepJournal) End(p plan.Step, r execute.Result) error {
	j := s.t.agent.cfg.Journal
	var writes []journal.Write
	w, err := s.t.write(p.Path)
	if err != nil {
		return err
	}
	writes = append(writes, w...)
	return j.End(context.Background(), s.step(p.ID, p.Path, p.Action, p.Token), journal.Result{
		Outcome: wireOutcomes[r.Outcome], Record: inventory.RecordProto(r.Record), Component: r.Value,
	}, writes...)
}

// write returns the journal's write of a component's state.
func (t *tenant) write(path value.Path) ([]journal.Write, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.agent.cfg.Journal
	c := t.comps[path]
	if c == nil {
		return []journal.Write{j.Components.Drop(t.system, string(path))}, nil
	}
	row, err := c.row(t.system, t.agent.now())
	if err != nil {
		return nil, fmt.Errorf("component %s: %w", path, err)
	}
	return []journal.Write{j.Components.Set(row)}, nil
}

// save writes the states of components that changed outside of a step.
func (t *tenant) save(ctx context.Context, paths ...value.Path) (saved bool) {
	saved = true
	var writes []journal.Write
	for _, p := range paths {
		w, err := t.write(p)
		if err != nil {
			t.agent.cfg.Log.Error("journal state", "system", t.system, "component", p, "error", err)
			saved = false
			continue
		}
		writes = append(writes, w...)
	}
	if err := t.agent.cfg.Journal.Save(context.WithoutCancel(ctx), writes...); err != nil {
		t.agent.cfg.Log.Error("journal state", "system", t.system, "error", err)
		saved = false
	}
	return saved
}

// saveFirst writes the state of a component before anything is done that follows
// from it, however long the journal refuses it, and reports whether it is there:
// it is not where ctx ends before.
func (t *tenant) saveFirst(ctx context.Context, path value.Path) bool {
	for pause := firstRetry; !t.save(ctx, path); pause = min(2*pause, lastRetry) {
		if sleep(ctx, pause); ctx.Err() != nil {
			return false
		}
	}
	return true
}
