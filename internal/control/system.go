package control

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/control/controlpb"
	"aloft/internal/event"
	"aloft/internal/inventory"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/value"
)

// system is one system and the newest plan for it.
type system struct {
	control *Control
	name    string
	claim   *ownership.Claim // under which all is written

	mu        sync.Mutex
	head      *controlpb.System
	revision  *controlpb.Revision // that head is at; nil: its plan was accepted by an older version
	held      *inventory.System
	plan      *plan.Plan
	frontier  *plan.Frontier
	facts     map[plan.StepID]*peerpb.Fact // of the plan's settled steps
	order     map[value.Path]int           // of the plan's components: their places in it
	couriers  map[string]*courier          // by executor
	listeners map[string][]*courier        // by the step whose facts they bring
	ready     []plan.Step                  // could begin when the plan was read back
	passed    []plan.Skip                  // could not any more then
	since     map[plan.StepID]time.Time    // since when the daemon that is to perform a step is silent
	queue     []*peerpb.Fact               // settled by this daemon, not yet taken in
	unsaved   batch                        // what is not in the store yet
	untold    []*peerpb.Fact               // facts of it, which no other executor hears before they are
	sought    map[string]bool              // machines that sessions are sought with, by id
	told      bool                         // that what is unsaved cannot be recorded
	rested    time.Time                    // since when the plan waits for nothing but what was left
	ended     chan struct{}                // closed when the plan has ended
	failures  []api.Failure
	undone    []api.Failure                 // of the plan that this one undoes, if this daemon knew them
	awaiting  map[plan.StepID]time.Time     // steps of this daemon: since when they wait for references alone
	reads     map[plan.StepID][]plan.StepID // steps on machines that wait for what they read: for which steps
	moved     chan struct{}                 // closed, and made anew, when there may be more to read
	taken     time.Time                     // when this manager took the system over
	contact   map[string]time.Time          // by machine id: when it was last let go on
	heard     map[string]int64              // by executor: the number of its last report
	ending    map[string]bool               // machine ids: what is left there is being ended
	nextTry   time.Time                     // to place again what was on lost machines
	tries     int                           // of that, one after the other
	undoing   undoing                       // of the newest plan, which has failed
	nextCut   time.Time                     // to detach what is to be once it has started
	renewals  map[value.Path]*renewal       // of machines in which something was given up
	copied    copied                        // what readers share
	readers   readers                       // of components, and what they are still to hear
}

func newSystem(c *Control, name string, claim *ownership.Claim) *system {
	return &system{
		control: c, name: name, claim: claim, reads: map[plan.StepID][]plan.StepID{}, moved: make(chan struct{}), taken: time.Now(),
		contact: map[string]time.Time{}, heard: map[string]int64{}, ending: map[string]bool{}, sought: map[string]bool{},
		renewals: map[value.Path]*renewal{},
	}
}

// restore reads a system from the store.
func (c *Control) restore(ctx context.Context, from rows, name string, claim *ownership.Claim) (*system, error) {
	row, err := systemTable.Get(ctx, from.kv, name)
	if err != nil {
		return nil, err
	}
	s := newSystem(c, name, claim)
	s.head = row.Message
	if s.held, err = from.inventory(ctx, s.head); err != nil {
		return nil, fmt.Errorf("what it holds: %w", err)
	}
	if s.head.PlanBlob == "" {
		return nil, fmt.Errorf("its row names no plan")
	}
	p, err := from.plan(ctx, s.head.PlanBlob)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", s.head.Plan, err)
	}
	if s.revision, err = from.revision(ctx, name, s.head.Revision); err != nil {
		return nil, fmt.Errorf("revision %d: %w", s.head.Revision, err)
	}
	facts, err := from.facts(ctx, name, p.ID)
	if err != nil {
		return nil, fmt.Errorf("steps of plan %s: %w", p.ID, err)
	}
	s.begin(p, facts)
	if s.head.Deployment != api.DeploymentRunning {
		close(s.ended)
	}
	return s, nil
}

// begin makes p the system's plan, of which facts are known.
func (s *system) begin(p *plan.Plan, facts []*peerpb.Fact) {
	s.plan = p
	s.frontier = plan.NewFrontier(p.Steps)
	s.facts = map[plan.StepID]*peerpb.Fact{}
	s.order = make(map[value.Path]int, len(p.Components))
	for i, c := range p.Components {
		s.order[c.Path] = i
	}
	s.ready, s.passed = nil, nil
	s.since = map[plan.StepID]time.Time{}
	s.awaiting = map[plan.StepID]time.Time{}
	s.stir()
	s.couriers, s.listeners = map[string]*courier{}, map[string][]*courier{}
	s.ended = make(chan struct{})
	s.undone = nil
	if p.Undo && !p.Again {
		s.undone = s.failures
	}
	s.failures = nil
	s.rested = time.Time{}
	s.undoing = undoing{busy: s.undoing.busy}
	clear(s.renewals) // what the plan before said of machines does not count any more
	for _, f := range facts {
		s.facts[plan.StepID(f.Step)] = f
		ready, skipped := s.frontier.Settle(plan.StepID(f.Step), outcome(f.Outcome))
		s.ready, s.passed = append(s.ready, ready...), append(s.passed, skipped...)
		s.note(f)
	}
}

func outcome(o peerpb.Outcome) plan.Outcome {
	switch o {
	case peerpb.Outcome_OUTCOME_DONE:
		return plan.Done
	case peerpb.Outcome_OUTCOME_SKIPPED:
		return plan.Skipped
	default:
		return plan.Failed
	}
}

func wireOutcome(o plan.Outcome) peerpb.Outcome {
	switch o {
	case plan.Done:
		return peerpb.Outcome_OUTCOME_DONE
	case plan.Skipped:
		return peerpb.Outcome_OUTCOME_SKIPPED
	default:
		return peerpb.Outcome_OUTCOME_FAILED
	}
}

// underWay reports whether the system's plan has not ended.
func (s *system) underWay() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head.Deployment == api.DeploymentRunning
}

// carryOut sees the plan through to its end, or to that of the claim.
func (s *system) carryOut(ctx context.Context) {
	ctx, cancel := whileHeld(ctx, s.claim)
	defer cancel()
	s.mu.Lock()
	ended, p := s.ended, s.plan
	parts, err := p.Cut()
	if err != nil {
		s.mu.Unlock()
		s.control.cfg.Log.Error("cut plan", "system", s.name, "plan", p.ID, "error", err)
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	couriers := s.send(parts)
	for _, k := range couriers {
		wg.Go(func() { k.run(ctx) })
	}
	for _, skip := range s.passed {
		s.skip(skip)
	}
	s.enqueue(append(s.ready, s.frontier.Ready()...))
	err = s.drain(ctx)
	s.mu.Unlock()
	if err != nil {
		s.control.cfg.Log.Error("carry out plan", "system", s.name, "plan", p.ID, "error", err)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			flush(ctx, couriers)
			return
		case <-tick.C:
			s.abandon(ctx)
		}
	}
}

// send makes the couriers of a plan's parts, and gives each the facts there are
// by now that its part listens for.
func (s *system) send(parts map[string]*peerpb.Part) []*courier {
	var couriers []*courier
	for _, executor := range s.plan.Executors() {
		if part := parts[executor]; part != nil {
			k := newCourier(s, executor, part)
			s.couriers[executor] = k
			couriers = append(couriers, k)
			for _, step := range part.Listens {
				s.listeners[step] = append(s.listeners[step], k)
			}
		}
	}
	for _, step := range s.plan.Steps { // in its order: the last value of a component is the one to keep
		if f := s.facts[step.ID]; f != nil && !slices.Contains(s.untold, f) {
			s.offer(f)
		}
	}
	for _, c := range s.plan.Components {
		if k := s.couriers[c.Executor]; k != nil {
			s.offerHeld(k, c)
		}
	}
	return couriers
}

// offer has a fact brought to those whose parts listen for it.
func (s *system) offer(f *peerpb.Fact) {
	for _, k := range s.listeners[f.Step] {
		k.push(f)
	}
}

// offerHeld gives a courier what a component of its part reads of components
// that the plan leaves as they are.
func (s *system) offerHeld(k *courier, c plan.Component) {
	for _, path := range c.Reads {
		held, ok := s.held.Components[path]
		if !ok || held.Resolved == nil || held.Executor == k.executor {
			continue
		}
		wire, err := value.Encode(held.Resolved)
		if err != nil {
			s.control.cfg.Log.Error("encode component", "system", s.name, "component", path, "error", err)
			continue
		}
		// Of this plan, since it is what was so as it began, and of no step of it.
		k.push(&peerpb.Fact{
			System: s.name, Revision: held.Revision, Plan: s.plan.ID, Step: string(plan.ID(path, "held")),
			Outcome: peerpb.Outcome_OUTCOME_DONE, Component: wire,
		})
	}
}

// report takes in facts and states from an executor. A state is what the
// executor says after all of its facts.
func (s *system) report(ctx context.Context, from string, number int64, facts []*peerpb.Fact, states []*peerpb.ComponentState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err() // it is told again, and may know more by then
	}
	for _, f := range facts {
		if s.plan == nil || f.Plan != s.plan.ID {
			continue // of a plan that is over
		}
		step, ok := s.frontier.Step(plan.StepID(f.Step))
		if !ok || step.Executor != from {
			s.control.cfg.Log.Warn("fact refused", "system", s.name, "step", f.Step, "peer", from)
			continue
		}
		s.queue = append(s.queue, f)
	}
	s.settle()
	if !s.fresh(from, number) {
		states = nil // what is true now was told before
	}
	for _, st := range states {
		if err := s.takeState(&s.unsaved, from, st); err != nil {
			s.control.cfg.Log.Warn("state refused", "system", s.name, "peer", from, "error", err)
		}
	}
	s.stir()
	return s.save(ctx)
}

// fresh reports whether a report comes neither late nor for the second time. The
// lock is held.
func (s *system) fresh(from string, number int64) bool {
	if number == 0 {
		return true // of an older version
	}
	before := s.heard[from]
	s.heard[from] = max(number, before)
	return number > before
}

// takeState takes in the state of a component.
func (s *system) takeState(b *batch, from string, st *peerpb.ComponentState) error {
	path := value.Path(st.Path)
	c, ok := s.held.Components[path]
	if m := s.held.Machines[c.Machine]; !ok || c.Executor != from || c.Machine != value.Root && (m.ID != from || m.Lost != "") {
		return nil // gone, or another machine's by now
	}
	before := c.Resolved
	c.State, c.Reason, c.Restarts = inventory.State(st.State), st.Reason, st.Restarts
	c.Record = inventory.RecordFromProto(st.Record)
	if st.Digest != "" {
		c.Digest = st.Digest
	}
	if len(st.Component) > 0 {
		resolved, err := decodeComponent(st.Component)
		if err != nil {
			return fmt.Errorf("component %s: %w", path, err)
		}
		c.Resolved = resolved
	}
	s.held.Components[path] = c
	s.changed(before, c)
	s.control.store.putComponent(b, s.name, c)
	if c.State == inventory.Failed && !c.IsGivenUp() && s.head.Deployment != api.DeploymentRunning {
		s.loseMachine(b, path) // given up, outside of any plan
	}
	return nil
}

// drain takes in what is in the queue, until nothing moves. The lock is held.
func (s *system) drain(ctx context.Context) error {
	s.settle()
	return s.save(ctx)
}

// settle takes in what is in the queue and performs what falls to this daemon.
// The lock is held.
func (s *system) settle() {
	b := &s.unsaved
	for len(s.queue) > 0 {
		f := s.queue[0]
		s.queue = s.queue[1:]
		id := plan.StepID(f.Step)
		if s.facts[id] != nil {
			continue
		}
		s.facts[id] = f
		delete(s.since, id)
		s.control.store.putFact(b, f)
		s.apply(b, f)
		s.note(f)
		s.untold = append(s.untold, f)
		ready, skipped := s.frontier.Settle(id, outcome(f.Outcome))
		s.enqueue(ready)
		for _, skip := range skipped {
			s.skip(skip)
		}
		s.stir()
	}
	for _, step := range s.frontier.Awaiting() {
		if step.Executor == "" {
			s.awaiting[step.ID] = time.Now()
		}
	}
}

// save records what has been taken in, and with the last step the end of the
// plan, and then relays the facts: were they told before and this daemon to
// end, the machine whose work they are could be gone before it has told them
// again. What the store does not take is kept for the next time: nobody will
// tell it again. The lock is held.
func (s *system) save(ctx context.Context) error {
	head := s.head
	over := s.frontier.Pending() == 0 && s.head.Deployment == api.DeploymentRunning && !s.awaitsLeft()
	if over {
		var err error
		if head, err = s.finish(ctx, &s.unsaved); err != nil {
			return err
		}
	}
	if err := s.control.store.commit(context.WithoutCancel(ctx), s.claim, &s.unsaved); err != nil {
		return fmt.Errorf("record the progress of plan %s: %w", s.plan.ID, err)
	}
	s.unsaved = batch{}
	for _, f := range s.untold {
		s.offer(f)
	}
	s.untold = nil
	if s.head = head; over {
		s.wind()
	}
	return nil
}

// enqueue performs, in effect, the steps that are this daemon's own: barriers,
// and components that are only state. Others are their executors'.
func (s *system) enqueue(ready []plan.Step) {
	for _, step := range ready {
		if s.frontier.Outcome(step.ID) != "" {
			continue // that is known by now
		}
		if step.Executor != "" {
			s.since[step.ID] = time.Now()
			continue
		}
		f := s.fact(step.ID, plan.Done)
		if step.Action != plan.Barrier && step.Action != plan.Terminate {
			if c, ok := s.wanted(step.Path); ok {
				wire, err := value.Encode(c.Attrs.Component)
				if err != nil {
					f.Outcome, f.Record = peerpb.Outcome_OUTCOME_FAILED, &peerpb.Record{Path: string(step.Path), Cause: err.Error()}
				}
				f.Component = wire
			}
		}
		s.queue = append(s.queue, f)
	}
}

func (s *system) fact(id plan.StepID, o plan.Outcome) *peerpb.Fact {
	return &peerpb.Fact{System: s.name, Revision: s.plan.Revision, Plan: s.plan.ID, Step: string(id), Outcome: wireOutcome(o)}
}

// skip records a step that will not run. An executor that has its part skips
// by itself; one that does not exist cannot.
func (s *system) skip(k plan.Skip) {
	f := s.fact(k.ID, plan.Skipped)
	f.Record = &peerpb.Record{Type: "abnormal", Path: string(k.ID.Path()), Description: k.ID.Short() + " was not begun", Cause: k.Reason}
	s.queue = append(s.queue, f)
}

// wanted returns the plan's component at path.
func (s *system) wanted(path value.Path) (plan.Component, bool) {
	i, ok := s.order[path]
	if !ok {
		return plan.Component{}, false
	}
	return s.plan.Components[i], true
}

// staying returns the plan's component at path, unless the plan ends it itself.
func (s *system) staying(path value.Path) (plan.Component, bool) {
	c, ok := s.wanted(path)
	return c, ok && !c.Further
}

// interrupt cancels what is under way (runtime.md LC3, --now).
func (s *system) interrupt(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Deployment != api.DeploymentRunning {
		return nil
	}
	s.head = proto.Clone(s.head).(*controlpb.System)
	s.head.Interrupted = true
	var b batch
	s.control.store.putHead(&b, s.head)
	if err := s.control.store.commit(ctx, s.claim, &b); err != nil {
		return err
	}
	s.control.emit(s, event.PlanInterrupted, "terminate --now")
	for _, k := range s.couriers {
		k.interrupt()
	}
	return nil
}
