package control

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"aloft/api"
	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// draft is a plan that was shown and can be applied.
type draft struct {
	plan        *plan.Plan
	description []byte                // wire form; nil for a plan that ends the system
	secrets     []string              // whose contents are to be made up
	written     []byte                // the text of the description, as it is to be kept; or nil
	writtenBlob string                // where it is kept already
	asks        bool                  // the machines are asked what has drifted
	renew       map[value.Path]string // machines that are replaced though nothing of them differs, and why
	auto        bool                  // nobody has asked for it
	ends        string                // the name of a detached part that is asked to end
	detaches    *inventory.Detached   // the part that becomes a system of its own
	apart       []byte                // its description, in the wire form
	detached    []inventory.Detached  // what is detached once the plan is accepted
}

// maxDrafts bounds the plans that wait to be applied.
const maxDrafts = 64

// Plan compares a request with what exists.
func (c *Control) Plan(ctx context.Context, r api.PlanRequest) (*api.Plan, error) {
	p, _, err := c.draft(ctx, r)
	return p, err
}

// draft makes the plan of a request. There is no draft where an equal plan is
// under way.
func (c *Control) draft(ctx context.Context, r api.PlanRequest) (*api.Plan, *draft, error) {
	d := &draft{asks: !r.Down}
	r, err := c.redirect(ctx, r, d)
	if err != nil {
		return nil, nil, err
	}
	if r.Detach != "" {
		if r, err = c.detach(ctx, r, d); err != nil {
			return nil, nil, err
		}
	}
	if r.Rollback {
		if _, err := c.owned(ctx, r.Name); err != nil {
			return nil, nil, err
		}
		if r, d.writtenBlob, err = c.earlier(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	if r.Written != nil {
		w := *r.Written
		w.Revision = 0 // which it is going to be is not known yet
		if d.written, err = json.Marshal(w); err != nil {
			return nil, nil, err
		}
	}
	p, err := c.planned(ctx, r, d)
	if err != nil || p.Attached {
		return p, nil, err
	}
	c.keepDraft(d)
	return p, d, nil
}

// planned completes d with the plan of a request.
func (c *Control) planned(ctx context.Context, r api.PlanRequest, d *draft) (*api.Plan, error) {
	w := &wanted{request: r}
	if !r.Down {
		var err error
		if w.root, err = decodeComponent(r.Description); err != nil {
			return nil, &api.Error{Kind: api.KindInvalid, Message: "description: " + err.Error()}
		}
		w.digest = value.Digest(w.root)
	}
	existing, attached, err := c.base(ctx, r, w.digest, d.ends)
	if err != nil || attached != nil {
		return attached, err
	}
	if err := c.madeFrom(ctx, r, existing); err != nil {
		return nil, err
	}
	ends := d.ends
	if r.Down {
		ends = r.Name
	}
	if err := c.endApart(ctx, w, existing, d); err != nil {
		return nil, err
	}
	r = w.request
	if !r.Down {
		if err := c.parts(ctx, w, d); err != nil {
			return nil, err
		}
		if err := c.write(ctx, w, nil); err != nil {
			return nil, err
		}
	}
	for path, why := range d.renew {
		m := existing.Machines[path]
		m.Renew = why
		existing.Machines[path] = m
	}
	in := plan.Input{
		ID: c.cfg.NewID(), Existing: existing, File: r.File, Description: w.digest, Time: c.now(), Down: r.Down, Cause: cause(r),
		Asked: ends != "" || existing.Digest == value.Digest(noDescription),
		Auto:  d.auto,
		Hold:  ends != "" && len(d.detached) > 0 || d.detaches != nil,
	}
	in.Token = func(step plan.StepID) string { return token(in.ID, step) }
	if in.AllowLoss, err = allowedLoss(r.AllowDataLoss); err != nil {
		return nil, err
	}
	if in.Survey, err = c.survey(w, in, d); err != nil {
		return nil, err
	}
	if d.asks {
		var notes []string
		in.Drift, notes = c.drift(ctx, existing)
		w.notes = append(w.notes, notes...)
		in.Survey.Notes = append(in.Survey.Notes, notes...)
	}
	p, err := c.make(ctx, in)
	if err == nil && len(p.Wants) > 0 {
		p, err = c.makeBeside(ctx, w, in, d, p.Wants)
	}
	if err != nil {
		return nil, err
	}
	c.spare(ctx, existing, p)
	if err := deliverable(p); err != nil {
		return nil, err
	}
	d.plan, d.description, d.secrets = p, r.Description, w.missing
	if d.detaches != nil {
		p.Detaches = d.detaches.Path
	}
	if len(d.detached) > 0 {
		p.Ends = ends
	}
	shown := view(p, existing)
	if d.detaches != nil {
		shown.Detaches = &api.Detached{Path: p.Detaches.String(), Name: d.detaches.Name}
	}
	c.measure(ctx, existing, shown)
	return shown, nil
}

// wanted is the description that a plan is made of, on its way to be surveyed.
type wanted struct {
	request api.PlanRequest
	root    *value.Component // as it is kept; nil for a plan that ends the system
	digest  string
	tree    *model.Tree // written out
	binds   expand.Binds
	missing []string // secrets whose contents will be made up
	notes   []string // of what has drifted
}

// write writes out the copies that the description has, and further ones.
func (c *Control) write(ctx context.Context, w *wanted, further expand.Further) error {
	expanded, binds, problems := expand.Copies(w.root, further)
	if problems.Errors() > 0 {
		return invalid(problems)
	}
	var err error
	if expanded, w.missing, err = c.versioned(ctx, expanded); err != nil {
		return err
	}
	w.tree, w.binds = model.NewTree(expanded), binds
	return nil
}

// survey looks at what is wanted as the planner does.
func (c *Control) survey(w *wanted, in plan.Input, d *draft) (*plan.Survey, error) {
	survey := plan.Look(w.request.Name, w.tree, c.cfg.Classes, c.cfg.Host, w.request.AllowUnresolved, staying(d.detached)...)
	survey.Binds = w.binds
	plan.GiveUp(survey, in.Existing, in.AllowLoss, d.auto)
	survey.Notes = append(survey.Notes, noted(w.missing)...)
	survey.Notes = append(survey.Notes, c.leftBehind(in.Existing)...)
	survey.Notes = append(survey.Notes, w.notes...)
	if in.Hold && d.detaches == nil {
		survey.Problems = diag.List{} // what stays was taken as it is
	}
	if survey.Problems.Errors() > 0 {
		return nil, invalid(&survey.Problems)
	}
	return survey, nil
}

// make makes the plan, on machines that it chooses.
func (c *Control) make(ctx context.Context, in plan.Input) (*plan.Plan, error) {
	var err error
	if in.Hold {
		in.Placement = c.asPlaced(in.Survey, in.Existing)
	} else if in.Placement, err = c.place(ctx, in.Survey, in.Existing); err != nil {
		return nil, err
	}
	p, problems := plan.Make(in)
	if p == nil {
		return nil, invalid(problems)
	}
	return p, nil
}

// makeBeside makes the plan again, with further copies for its time.
func (c *Control) makeBeside(ctx context.Context, w *wanted, in plan.Input, d *draft, further expand.Further) (*plan.Plan, error) {
	base := in.Survey
	if err := c.write(ctx, w, further); err != nil {
		return nil, err
	}
	var err error
	if in.Survey, err = c.survey(w, in, d); err != nil {
		return nil, err
	}
	in.Survey.Beside(base)
	return c.make(ctx, in)
}

// cause says what is asked for, in words for the history.
func cause(r api.PlanRequest) string {
	switch {
	case r.Cause != "":
		return r.Cause
	case r.Down:
		return "down"
	default:
		return "up"
	}
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

// base returns what a plan starts from, or the equal plan that is under way. part
// is the name of a detached part that is to end.
func (c *Control) base(ctx context.Context, r api.PlanRequest, digest, part string) (*inventory.System, *api.Plan, error) {
	s, err := c.owned(ctx, r.Name)
	if err != nil {
		return nil, nil, err
	}
	if s == nil {
		if r.Down {
			return nil, nil, c.unknown(ctx, r.Name)
		}
		if strings.Contains(r.Name, "_") {
			return nil, nil, &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("a new system cannot be called %q: such names are of those that were detached", r.Name), Remedy: "small letters, digits and '-'"}
		}
		return (&inventory.System{Name: r.Name}).Clone(), nil, nil
	}
	if (r.Down || part != "") && r.Now {
		if err := s.interrupt(ctx); err != nil {
			return nil, nil, err
		}
		select {
		case <-s.end():
		case <-s.claim.Lost():
			return nil, nil, c.refusal(r.Name, ownership.ErrLost)
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	held, attached, err := s.basis(r, digest, part)
	if held == nil && attached == nil && err == nil {
		if r.Down {
			return nil, nil, c.unknown(ctx, r.Name)
		}
		return (&inventory.System{Name: r.Name}).Clone(), nil, nil
	}
	return held, attached, err
}

// madeFrom refuses a request that was made from another revision than the system
// has: it would take back what was changed since.
func (c *Control) madeFrom(ctx context.Context, r api.PlanRequest, existing *inventory.System) error {
	switch {
	case r.Base == 0 || r.Base == existing.Revision:
		return nil
	case existing.Revision == 0:
		return c.unknown(ctx, r.Name)
	}
	return &api.Error{
		Kind:    api.KindStale,
		Message: fmt.Sprintf("system %s is at revision %d, what is asked for was made from revision %d and would take back what was changed since", r.Name, existing.Revision, r.Base),
		Remedy:  "make it again from the present one: 'aloft history " + r.Name + "' shows what has changed",
	}
}

// basis returns what the system holds, or the view of the plan under way that
// the request is the same as, or nothing where it was terminated.
func (s *system) basis(r api.PlanRequest, digest, part string) (*inventory.System, *api.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head.Deployment == api.DeploymentRunning {
		if s.does(r, digest, part) {
			p := view(s.plan, s.held)
			p.Attached = true
			return nil, p, nil
		}
		return nil, nil, s.busy()
	}
	if s.now().gone() {
		return nil, nil, nil
	}
	return s.withoutRemoved(s.held.Clone()), nil, nil
}

// does reports whether the plan under way is what a request asks for. The lock is
// held.
func (s *system) does(r api.PlanRequest, digest, part string) bool {
	switch {
	case part != "":
		return s.plan.Ends == part
	case r.Down:
		return s.plan.Down || s.plan.Ends == s.name
	}
	return !s.plan.Down && s.plan.Ends == "" && s.head.Description == digest
}

// busy says what is under way. The lock is held.
func (s *system) busy() *api.Error {
	what := "an update"
	if s.plan.Down || s.plan.Ends == s.name {
		what = "its termination"
	} else if s.plan.Base == 0 {
		what = "its deployment"
	}
	if s.plan.Ends != "" && s.plan.Ends != s.name {
		what = "the termination of " + s.plan.Ends + ", which was detached,"
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
func (c *Control) unknown(ctx context.Context, name string) *api.Error {
	names, err := c.known.names(ctx)
	if err != nil {
		c.cfg.Log.Debug("list the systems", "error", err) // the answer is right without
	}
	return &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("there is no system %q", name), Nearest: diag.Nearest(name, names), Remedy: "list the systems with: aloft systems"}
}

// over reports whether the system was terminated.
func (s *system) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().gone()
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
