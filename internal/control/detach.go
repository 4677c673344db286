package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/internal/store"
	"aloft/value"
)

// unnamed goes before the name of a part that another system has.
const unnamed = "unnamed_"

// notWritten refuses to change a part that was detached: nobody has written a
// description of it.
func notWritten(p picture) error {
	return &api.Error{
		Kind:    api.KindConflict,
		Message: fmt.Sprintf("system %s was detached from %s, of which it was %s: it runs on as it is, and has no description of its own that could be changed", p.held.Name, p.head.Name, p.top),
		Remedy:  fmt.Sprintf("'aloft down %s' ends it; then deploy it anew, or deploy another under another name with --name", p.held.Name),
	}
}

// redirect turns a request about a part that was detached into one about the
// system that it was deployed with. Only its end can be asked for.
func (c *Control) redirect(ctx context.Context, r api.PlanRequest, d *draft) (api.PlanRequest, error) {
	p, is, err := c.detached(ctx, c.store, r.Name)
	if err != nil || !is {
		return r, c.refusal(r.Name, err)
	}
	if !r.Down {
		return r, notWritten(p)
	}
	s, err := c.owned(ctx, p.head.Name)
	if err != nil {
		return r, err
	}
	if s == nil {
		return r, c.unknown(ctx, r.Name)
	}
	s.mu.Lock()
	head := s.head
	s.mu.Unlock()
	d.ends, d.asks, d.writtenBlob = r.Name, false, head.WrittenBlob
	to := api.PlanRequest{Name: head.Name, File: head.File, Base: head.Revision, Cause: "down " + r.Name, AllowDataLoss: r.AllowDataLoss}
	to.Description, err = c.cfg.Blobs.Read(ctx, head.DescriptionBlob)
	return to, err
}

// detach completes a request to detach a part: the description is the present one
// without it.
func (c *Control) detach(ctx context.Context, r api.PlanRequest, d *draft) (api.PlanRequest, error) {
	path, err := value.ParsePath(r.Detach)
	if err != nil || path == value.Root {
		return r, &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("detach: %q is no component inside of a system", r.Detach)}
	}
	s, err := c.owned(ctx, r.Name)
	if err != nil {
		return r, err
	}
	if s == nil || s.over() {
		return r, c.unknown(ctx, r.Name)
	}
	s.mu.Lock()
	head, held := s.head, s.snapshot().held
	s.mu.Unlock()
	for _, by := range held.Detached {
		switch {
		case by.Path == path:
			return r, &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("%s of %s was detached already: it is system %s", path, r.Name, by.Name)}
		case by.Path.Contains(path), path.Contains(by.Path):
			return r, &api.Error{
				Kind: api.KindConflict, Message: fmt.Sprintf("%s of %s cannot be detached beside %s, which is system %s by now", path, r.Name, by.Path, by.Name),
				Remedy: "end that first: aloft down " + by.Name,
			}
		}
	}
	if _, ok := held.Components[path]; !ok {
		return r, c.noComponent(held, path)
	}
	wire, err := c.cfg.Blobs.Read(ctx, head.DescriptionBlob)
	if err != nil {
		return r, err
	}
	root, err := decodeComponent(wire)
	if err != nil {
		return r, err
	}
	alone, ok := plan.Apart(root, path)
	if !ok {
		return r, &api.Error{
			Kind: api.KindInvalid, Message: fmt.Sprintf("%s is made by the description, and does not stand in it: it is a copy, or inside of one", path),
			Remedy: "detach all of what it is a copy of, or change their number with: aloft scale",
		}
	}
	if d.apart, err = value.Encode(alone); err != nil {
		return r, err
	}
	name, err := c.freeName(ctx, path)
	if err != nil {
		return r, err
	}
	d.detaches = &inventory.Detached{Name: name, Path: path, Since: c.now(), Revision: head.Revision + 1}
	if d.written, err = c.writtenWithout(ctx, head.WrittenBlob, path); err != nil {
		return r, err
	}
	d.asks = false
	to := api.PlanRequest{Name: r.Name, File: head.File, Base: head.Revision, Cause: "detach " + path.String()}
	to.Description, err = value.Encode(root.Without(path))
	return to, err
}

// freeName returns the name that the part at path gets: that of the component,
// in the letters of a system's name, prefixed where that is taken.
func (c *Control) freeName(ctx context.Context, path value.Path) (string, error) {
	name := strings.Trim(inventory.Hostname(value.Path(strings.ToLower(path.Name()))), "-")
	if name == "" {
		name = "part"
	}
	for {
		_, err := systemTable.Get(ctx, c.store.kv, name)
		from, err2 := c.store.origin(ctx, name)
		switch free := errors.Is(err, store.ErrNotFound); {
		case err != nil && !free || err2 != nil:
			return "", errors.Join(err, err2)
		case free && from == "":
			return name, nil
		}
		name = unnamed + name
	}
}

// writtenWithout returns the text of a description, as it is kept, without the
// component at path.
func (c *Control) writtenWithout(ctx context.Context, blob string, path value.Path) ([]byte, error) {
	if blob == "" {
		return nil, nil
	}
	text, err := c.cfg.Blobs.Read(ctx, blob)
	if err != nil {
		return nil, err
	}
	w, err := decodeWritten(text)
	if err != nil {
		return nil, err
	}
	w.Revision = 0 // as that of others
	w.Set = slices.DeleteFunc(w.Set, func(s api.WrittenSet) bool { return path.Contains(value.Path(s.Path)) })
	w.Without = append(w.Without, string(path))
	return json.Marshal(w)
}

// endApart has d know which parts of a system are asked to end, and makes of the
// end of a system that has others a revision with nothing but those. The end of
// the last one is that of all.
func (c *Control) endApart(ctx context.Context, w *wanted, existing *inventory.System, d *draft) error {
	d.detached = slices.Clone(existing.Detached)
	for i := range d.detached {
		d.detached[i].Ending = d.detached[i].Ending || d.detached[i].Name == d.ends
	}
	if len(d.detached) == 0 {
		return nil
	}
	over := existing.Digest == value.Digest(noDescription)
	switch r := &w.request; {
	case r.Down && over && !beside(existing):
		return c.unknown(ctx, r.Name)
	case r.Down && len(staying(d.detached)) > 0:
		w.root, w.digest = noDescription, value.Digest(noDescription)
		r.Down, r.File = false, existing.File
		var err error
		r.Description, err = value.Encode(noDescription)
		return err
	case over && d.ends != "" && len(staying(d.detached)) == 0:
		w.root, w.digest = nil, ""
		r.Down, r.Description = true, nil
	}
	return nil
}

// parts puts the descriptions of the parts that go on into what is wanted.
func (c *Control) parts(ctx context.Context, w *wanted, d *draft) error {
	for _, part := range d.detached {
		if part.Ending {
			continue
		}
		wire, err := c.cfg.Blobs.Read(ctx, part.Blob)
		if err != nil {
			return fmt.Errorf("description of %s, which was detached: %w", part.Name, err)
		}
		if err := w.graft(wire, part); err != nil {
			return err
		}
	}
	if d.detaches == nil {
		return nil
	}
	d.detached = append(d.detached, *d.detaches)
	return w.graft(d.apart, *d.detaches)
}

func (w *wanted) graft(wire []byte, part inventory.Detached) error {
	alone, err := decodeComponent(wire)
	if err != nil {
		return fmt.Errorf("description of %s, which was detached: %w", part.Name, err)
	}
	if plan.Detaches(w.root, part.Path) {
		w.notes = append(w.notes, fmt.Sprintf("%s has detached itself before: it runs on as system %s, as it was then", part.Path, part.Name))
		w.root = w.root.Without(part.Path)
	}
	whole, ok := plan.Graft(w.root, alone, part.Path)
	if !ok {
		return &api.Error{
			Kind:    api.KindConflict,
			Message: fmt.Sprintf("the description has %s, which was detached: it runs on as system %s", part.Path, part.Name),
			Remedy:  fmt.Sprintf("take it out of the description, or end it first: aloft down %s", part.Name),
		}
	}
	w.root = whole
	return nil
}

// unchanged refuses a plan that detaches a part and would do something as well.
func unchanged(p *plan.Plan) error {
	if len(p.Steps) == 0 {
		return nil
	}
	what := "something"
	if len(p.Edits) > 0 {
		what = p.Edits[0].Path.String()
		if p.Edits[0].Reason != "" {
			what += " (" + p.Edits[0].Reason + ")"
		}
	}
	return &api.Error{
		Kind:    api.KindConflict,
		Message: fmt.Sprintf("nothing can be detached from %s now: %s is not as it is described", p.System, what),
		Remedy:  "repair the system first: 'aloft up' its file again",
	}
}

// keepApart has the store keep the description of a part that a plan detaches,
// and enters the parts in the head.
func (c *Control) keepApart(ctx context.Context, d *draft, head *controlpb.System) error {
	if d.detaches != nil {
		blob, _, err := c.cfg.Blobs.Put(ctx, bytes.NewReader(d.apart))
		if err != nil {
			return err
		}
		d.detached[len(d.detached)-1].Blob = blob
	}
	putDetached(head, d.detached)
	return nil
}

// detaching returns the path of a component that detaches itself once it has
// started (sfShouldDetach), and has. The lock is held.
func (s *system) detaching() (path value.Path, ok bool) {
	if s.head.Deployment != api.DeploymentDone || s.plan.Down {
		return value.Root, false
	}
	for _, k := range s.held.Ordered() {
		if _, apart := s.held.Apart(k.Path); !apart && k.State == inventory.Running && plan.DetachesItself(k.Attrs) {
			return k.Path, true
		}
	}
	return value.Root, false
}

// detachStarted detaches what is to be once it has started: one component, since
// that is a plan, whose end leads here again.
func (c *Control) detachStarted(ctx context.Context, s *system) {
	s.mu.Lock()
	path, ok := s.detaching()
	s.mu.Unlock()
	if !ok {
		return
	}
	d := &draft{auto: true}
	r, err := c.detach(ctx, api.PlanRequest{Name: s.name, Detach: string(path)}, d)
	if err == nil {
		r.Cause = path.String() + " detaches itself"
		_, err = c.planned(ctx, r, d)
	}
	if err == nil {
		c.keepDraft(d)
		_, err = c.Apply(ctx, s.name, d.plan.ID)
	}
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.Error("detach", "system", s.name, "component", path, "error", err)
	}
}
