package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/execute"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

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
	t.endUnknown(ctx, part)
	if len(part.Components) == 0 {
		t.drop(ctx, part)
	}
}

// endUnknown ends what the newest part neither describes nor has a step for: its
// owner took it for ended, as it was in the middle of a restart, and has not heard
// since that it was brought back. What holds data stays, since nobody was asked;
// so do machines, which are ended by name alone.
func (t *tenant) endUnknown(ctx context.Context, part *peerpb.Part) {
	known := map[value.Path]bool{}
	for _, s := range part.Steps {
		known[value.Path(s.Path)] = true
	}
	why := component.Record{Type: component.Normal, Description: "it is no longer in the description", Time: t.agent.now()}
	for _, c := range slices.Backward(t.subtree(value.Root)) {
		if known[c.path] || !t.unwanted(c, part) {
			continue
		}
		c.op.Lock()
		switch {
		case !t.unwanted(c, part): // it was ended, or taken up by another part, meanwhile
		case t.holdsData(c):
			t.agent.cfg.Log.Warn("it is not in the description, and is left since it holds data", "system", t.system, "component", c.path)
		default:
			why.Path = c.path
			_ = t.terminate(ctx, c, inventory.Terminated, why)
		}
		c.op.Unlock()
	}
}

// unwanted reports whether a component exists that the newest part, if it still is
// that, does not describe.
func (t *tenant) unwanted(c *held, part *peerpb.Part) bool {
	exists := t.exists(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	return exists && c.wanted == nil && t.current() == part
}

// holdsData reports whether ending a component may end data with it.
func (t *tenant) holdsData(c *held) bool {
	_, class, err := t.manager(c, plan.Terminate)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, directory := c.attrs.Get("dataDir")
	return err != nil || directory || class.KeepsData || class.Site == component.SiteResource
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
		t.presume(c, s)
		t.failed(ctx, c, s.Action, rec)
	}
	return execute.Result{Outcome: plan.Failed, Record: rec}
}

// presume has a component keep, of a deploy that an earlier life of the daemon
// began, what that must have begun with: undoing it takes that.
func (t *tenant) presume(c *held, s plan.Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Action == plan.Deploy && t.cut[s.ID] && c.attrs == nil && c.wanted != nil {
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
