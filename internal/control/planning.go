package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/event"
	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/internal/place"
	"aloft/internal/plan"
	"aloft/internal/sdl/diag"
	"aloft/provider"
	"aloft/value"
)

// draft is a plan that was shown and can be applied.
type draft struct {
	plan        *plan.Plan
	description []byte // wire form; nil for a plan that ends the system
}

// maxDrafts bounds the plans that wait to be applied.
const maxDrafts = 64

// offerLimit is how long providers have to answer (broker.md WF2).
const offerLimit = 10 * time.Second

// Plan compares a request with what exists.
func (c *Control) Plan(ctx context.Context, r api.PlanRequest) (*api.Plan, error) {
	var tree *model.Tree
	var binds expand.Binds
	var digest string
	if !r.Down {
		root, err := decodeComponent(r.Description)
		if err != nil {
			return nil, &api.Error{Kind: api.KindInvalid, Message: "description: " + err.Error()}
		}
		digest = value.Digest(root)
		expanded, of, problems := expand.Copies(root)
		if problems.Errors() > 0 {
			return nil, invalid(problems)
		}
		tree, binds = model.NewTree(expanded), of
	}
	existing, attached, err := c.base(ctx, r, digest)
	if err != nil || attached != nil {
		return attached, err
	}
	survey := plan.Look(r.Name, tree, c.cfg.Classes, c.cfg.Host, r.AllowUnresolved)
	survey.Binds = binds
	if survey.Problems.Errors() > 0 {
		return nil, invalid(&survey.Problems)
	}
	placement, err := c.place(ctx, survey, existing)
	if err != nil {
		return nil, err
	}
	id := c.cfg.NewID()
	p, problems := plan.Make(plan.Input{
		ID: id, Survey: survey, Existing: existing, Placement: placement, File: r.File, Description: digest,
		Time: time.Now().UTC(), Down: r.Down, Token: func(step plan.StepID) string { return token(id, step) },
	})
	if p == nil {
		return nil, invalid(problems)
	}
	if err := deliverable(p); err != nil {
		return nil, err
	}
	c.keepDraft(&draft{plan: p, description: r.Description})
	return view(p, existing), nil
}

// maxPart is how large the part of one machine may be, in bytes: it travels in
// one message, and so does its signature.
const maxPart = 15 << 20

// deliverable refuses a plan with a part that no machine could be given.
func deliverable(p *plan.Plan) error {
	if len(p.Steps) == 0 {
		return nil
	}
	parts, err := p.Cut()
	if err != nil {
		return err
	}
	for _, executor := range p.Executors() {
		size := proto.Size(parts[executor])
		if size <= maxPart {
			continue
		}
		name := "the managing host"
		for path, choice := range p.Placement {
			if choice.MachineID == executor {
				name = "machine " + inventory.MachineName(p.System, path)
			}
		}
		return &api.Error{
			Kind:    api.KindInvalid,
			Message: fmt.Sprintf("%s would have to be told %d MiB of description, and can be told %d MiB", name, (size+1<<20-1)>>20, maxPart>>20),
			Remedy:  "spread its components over several machines, or put long values into files shipped beside the description",
		}
	}
	return nil
}

// token returns the idempotency token of a step: the same for the same step of
// the same plan, whoever computes it.
func token(planID string, step plan.StepID) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("aloft:"+planID+"/"+string(step))).String()
}

// base returns what a plan starts from, or the equal plan that is under way.
func (c *Control) base(ctx context.Context, r api.PlanRequest, digest string) (*inventory.System, *api.Plan, error) {
	s := c.system(r.Name)
	if s == nil {
		if r.Down {
			return nil, nil, c.unknown(r.Name)
		}
		return (&inventory.System{Name: r.Name}).Clone(), nil, nil
	}
	if r.Down && r.Now {
		if err := s.interrupt(ctx); err != nil {
			return nil, nil, err
		}
		select {
		case <-s.end():
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Deployment == api.DeploymentRunning {
		if s.plan.Down == r.Down && (r.Down || s.head.Description == digest) {
			p := view(s.plan, s.held)
			p.Attached = true
			return nil, p, nil
		}
		return nil, nil, s.busy()
	}
	if s.gone() {
		if r.Down {
			return nil, nil, c.unknown(r.Name)
		}
		return (&inventory.System{Name: r.Name}).Clone(), nil, nil
	}
	return s.held.Clone(), nil, nil
}

// busy says what is under way. The lock is held.
func (s *system) busy() *api.Error {
	what := "an update"
	if s.plan.Down {
		what = "its termination"
	} else if s.plan.Base == 0 {
		what = "its deployment"
	}
	since := s.head.Since.AsTime()
	return &api.Error{
		Kind: api.KindConflict, Revision: s.head.Revision, Since: since,
		Message: fmt.Sprintf("%s of system %s (revision %d) is under way since %s", what, s.name, s.head.Revision, since.Local().Format(time.TimeOnly)),
		Remedy:  fmt.Sprintf("follow it with: aloft events %s -f", s.name),
	}
}

func (s *system) end() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// unknown is the answer to a name that no system has.
func (c *Control) unknown(name string) *api.Error {
	var names []string
	for _, s := range c.all() {
		if !s.over() {
			names = append(names, s.name)
		}
	}
	return &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("there is no system %q", name), Nearest: diag.Nearest(name, names), Remedy: "list the systems with: aloft systems"}
}

// over reports whether the system was terminated.
func (s *system) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone()
}

// place asks the providers and chooses. Machines that exist stay.
func (c *Control) place(ctx context.Context, survey *plan.Survey, existing *inventory.System) (place.Placement, error) {
	keep := plan.Keep(survey, existing)
	call := provider.Call{}
	for _, n := range survey.Needs {
		if _, kept := keep[n.Path]; !kept {
			call.Needs = append(call.Needs, n.Need)
		}
	}
	in := place.Input{
		Needs: survey.Needs, Previous: keep, Proposals: map[value.Path][]provider.Proposal{},
		NewID: func(value.Path) string { return c.cfg.NewID() },
	}
	for _, p := range c.cfg.Providers {
		in.Providers = append(in.Providers, p.Describe().Name)
	}
	var failures []error
	if len(call.Needs) > 0 {
		failures = c.offers(ctx, call, in.Proposals)
	}
	placement, short := place.Choose(in)
	if len(short) == 0 {
		return placement, nil
	}
	var problems diag.List
	for _, s := range short {
		d := diag.New(diag.NoOffer, diag.At(s.Need.Pos), "no machine for "+s.Need.Path.String()+": "+s.Reason)
		d.Path, d.Hints = s.Need.Path.String(), []string{s.Remedy}
		for _, err := range failures {
			d.Hints = append(d.Hints, err.Error())
		}
		problems.Add(d)
	}
	return nil, invalid(&problems)
}

// offers asks all providers at once. One that fails delays nobody.
func (c *Control) offers(ctx context.Context, call provider.Call, into map[value.Path][]provider.Proposal) []error {
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	answers := make([][]provider.Proposal, len(c.cfg.Providers))
	errs := make([]error, len(c.cfg.Providers))
	var wg sync.WaitGroup
	for i, p := range c.cfg.Providers {
		wg.Go(func() { answers[i], errs[i] = p.Offer(ctx, call, c.cfg.Accounts(p.Describe().Name)) })
	}
	wg.Wait()
	for _, answer := range answers {
		for _, proposal := range answer {
			into[value.Path(proposal.Need)] = append(into[value.Path(proposal.Need)], proposal)
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func (c *Control) keepDraft(d *draft) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drafts[d.plan.ID] = d
	c.order = append(c.order, d.plan.ID)
	if len(c.order) > maxDrafts {
		delete(c.drafts, c.order[0])
		c.order = c.order[1:]
	}
}

// Apply begins to carry out a plan.
func (c *Control) Apply(ctx context.Context, name, planID string) (*api.Deployment, error) {
	c.mu.Lock()
	d := c.drafts[planID]
	c.mu.Unlock()
	if s := c.system(name); s != nil {
		if at := s.deployment(); at.Plan == planID {
			return at, nil
		}
	}
	if d == nil || d.plan.System != name {
		return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("plan %s of system %s is not known here any more", planID, name), Remedy: "make a new plan"}
	}
	head, err := c.accept(ctx, d)
	if err != nil {
		return nil, err
	}
	return c.start(ctx, d, head)
}

// accept keeps the plan and what it was made from.
func (c *Control) accept(ctx context.Context, d *draft) (*controlpb.System, error) {
	head := &controlpb.System{
		Name: d.plan.System, File: d.plan.File, Revision: d.plan.Revision, Description: d.plan.Description, Plan: d.plan.ID,
		Down: d.plan.Down, Deployment: api.DeploymentRunning, Since: timestamppb.Now(), OnFailure: d.plan.OnFailure,
	}
	if s := c.system(d.plan.System); s != nil && d.plan.Base != 0 {
		s.mu.Lock()
		d.plan.Previous = s.head.DescriptionBlob
		s.mu.Unlock()
	}
	encoded, err := d.plan.Encode()
	if err != nil {
		return nil, err
	}
	var err1, err2 error
	head.PlanBlob, _, err1 = c.cfg.Blobs.Put(ctx, bytes.NewReader(encoded))
	if len(d.description) > 0 {
		head.DescriptionBlob, _, err2 = c.cfg.Blobs.Put(ctx, bytes.NewReader(d.description))
	}
	return head, errors.Join(err1, err2)
}

// start makes the plan the system's newest, unless its base has changed.
func (c *Control) start(ctx context.Context, d *draft, head *controlpb.System) (*api.Deployment, error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	c.mu.Lock()
	s := c.systems[head.Name]
	c.mu.Unlock()
	if s == nil || s.over() {
		s = newSystem(c, head.Name)
		s.held = (&inventory.System{Name: head.Name}).Clone()
		var err error
		if s.fence, err = c.acquire(ctx, head.Name); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var b batch
	if err := c.store.dropSteps(ctx, &b, head.Name); err != nil {
		return nil, err
	}
	if s.head != nil {
		if s.head.Plan == d.plan.ID {
			return s.progress(c.cfg.Cursor()), nil // applied twice at once
		}
		if s.head.Deployment == api.DeploymentRunning {
			return nil, s.busy()
		}
		if err := s.save(ctx); err != nil { // nothing older may be written after the new plan
			return nil, err
		}
		if s.head.Revision != d.plan.Base {
			return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("system %s is at revision %d, the plan was made for %d", s.name, s.head.Revision, d.plan.Base), Remedy: "make a new plan"}
		}
		if d.plan.Down {
			head.File, head.Description, head.DescriptionBlob = s.head.File, s.head.Description, s.head.DescriptionBlob
		}
	} else if d.plan.Base != 0 {
		return nil, &api.Error{Kind: api.KindStale, Message: fmt.Sprintf("system %s is gone, the plan was made for revision %d", head.Name, d.plan.Base), Remedy: "make a new plan"}
	}
	held := s.held.Clone()
	s.expect(&b, d.plan, held)
	held.File, held.Revision, held.Digest, held.OnFailure = head.File, head.Revision, head.Description, head.OnFailure
	// The head goes last: until it names the plan, nothing of it is known.
	c.store.putHead(&b, head)
	if err := c.store.commit(ctx, &b); err != nil {
		return nil, fmt.Errorf("record plan %s: %w", d.plan.ID, err)
	}
	s.head, s.held = proto.Clone(head).(*controlpb.System), held
	s.begin(d.plan, nil)
	cursor := c.cfg.Cursor()
	c.mu.Lock()
	c.systems[head.Name] = s
	delete(c.drafts, d.plan.ID)
	c.mu.Unlock()
	c.emit(s, event.PlanAccepted, summary(d.plan))
	c.emit(s, event.SystemState, s.state())
	go c.spawn(s.carryOut)
	return s.progress(cursor), nil
}

// expect enters what the plan is about to make into the inventory.
func (s *system) expect(b *batch, p *plan.Plan, held *inventory.System) {
	deploys, terminates := map[value.Path]bool{}, map[value.Path]bool{}
	for _, step := range p.Steps {
		switch step.Action {
		case plan.Deploy:
			deploys[step.Path] = true
		case plan.Terminate:
			terminates[step.Path] = true
		}
	}
	for _, want := range p.Components {
		c, ok := held.Components[want.Path]
		switch {
		case !ok || deploys[want.Path] && !terminates[want.Path]:
			c = planned(want)
		case c.Order == want.Order:
			continue
		default:
			c.Order = want.Order
		}
		held.Components[want.Path] = c
		s.control.store.putComponent(b, s.name, c)
	}
	for path, choice := range p.Placement {
		if _, exists := held.Machines[path]; choice.Kept || exists && terminates[path] {
			continue // as it is, or until the old one has ended
		}
		held.Machines[path] = inventory.Machine{ID: choice.MachineID, Path: path, Proposal: choice.Proposal, Since: time.Now().UTC()}
		s.control.store.putMachine(b, s.name, held.Machines[path])
	}
	s.forget(b, p, held, terminates)
}

// forget drops what the plan does not want and of which there is nothing to
// end.
func (s *system) forget(b *batch, p *plan.Plan, held *inventory.System, terminates map[value.Path]bool) {
	wanted := map[value.Path]bool{}
	for _, want := range p.Components {
		wanted[want.Path] = true
	}
	for path := range held.Components {
		if wanted[path] || terminates[path] {
			continue
		}
		delete(held.Components, path)
		s.control.store.dropComponent(b, s.name, path)
		if _, ok := held.Machines[path]; ok {
			delete(held.Machines, path)
			b.drop(machineTable.Key(s.name, string(path)))
		}
	}
}

func summary(p *plan.Plan) string {
	counts := map[plan.Sign]int{}
	for _, e := range p.Edits {
		counts[e.Sign]++
	}
	text := fmt.Sprintf("%d to add, %d to change, %d to remove", counts[plan.Add], counts[plan.Change], counts[plan.Remove])
	if n := counts[plan.Replace]; n > 0 {
		text += fmt.Sprintf(", %d to replace", n)
	}
	return text
}

// undo leads a system whose newest plan failed under sfOnFailure "undo" back
// to the revision before; a new system is terminated.
func (c *Control) undo(ctx context.Context, s *system) {
	s.mu.Lock()
	again := s.failedToUndo()
	r := api.PlanRequest{Name: s.name, Down: s.plan.Previous == "", File: s.plan.OldFile}
	previous := s.plan.Previous
	if r.File == "" {
		r.File = s.plan.File
	}
	s.mu.Unlock()
	if !again {
		return // somebody was faster
	}
	err := func() (err error) {
		if !r.Down {
			if r.Description, err = c.cfg.Blobs.Read(ctx, previous); err != nil {
				return err
			}
		}
		p, err := c.Plan(ctx, r)
		if err != nil || p.Attached {
			return err
		}
		c.mu.Lock()
		if d := c.drafts[p.ID]; d != nil {
			d.plan.Undo = true
		}
		c.mu.Unlock()
		_, err = c.Apply(ctx, s.name, p.ID)
		return err
	}()
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Error("undo", "system", s.name, "error", err)
	}
}

func invalid(l *diag.List) *api.Error {
	e := &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("the description cannot be planned: %d problems", l.Errors())}
	if l.Errors() == 1 {
		e.Message = "the description cannot be planned"
	}
	for _, d := range l.All() {
		e.Diagnostics = append(e.Diagnostics, api.Diagnostic{
			Severity: d.Severity.String(), Code: string(d.Code), File: d.Span.Pos.File, Line: d.Span.Pos.Line, Column: d.Span.Pos.Col,
			Path: d.Path, Attribute: d.Attribute, Message: d.Message, Expected: d.Expected, Found: d.Found, Hints: d.Hints,
		})
	}
	return e
}
