package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/plan"
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
	to := c.asItIs(head)
	to.Cause, to.Now, to.AllowDataLoss = "down "+r.Name, r.Now, r.AllowDataLoss
	root, err := c.description(ctx, head)
	if err != nil {
		return r, err
	}
	if plan.Has(root, p.top) { // it has detached itself, and would come anew
		root = root.Without(p.top)
		if d.written, err = c.writtenWithout(ctx, head.WrittenBlob, p.top); err != nil {
			return r, err
		}
	}
	to.Description, err = value.Encode(root)
	return to, err
}

// asItIs begins a request that changes nothing of what a system is to be.
func (c *Control) asItIs(head *controlpb.System) api.PlanRequest {
	return api.PlanRequest{Name: head.Name, File: head.File, Base: head.Revision, AllowUnresolved: true} // as it was taken
}

// description returns the description of a system.
func (c *Control) description(ctx context.Context, head *controlpb.System) (*value.Component, error) {
	wire, err := c.cfg.Blobs.Read(ctx, head.DescriptionBlob)
	if err != nil {
		return nil, err
	}
	return decodeComponent(wire)
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
	root, err := c.description(ctx, head)
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
	to := c.asItIs(head)
	to.Cause = "detach " + path.String()
	to.Description, err = value.Encode(root.Without(path))
	return to, err
}

// longestName is how many letters the name of a system may have.
const longestName = 63

// freeName returns the name that the part at path gets: that of the component,
// in the letters of a system's name, prefixed where that is taken.
func (c *Control) freeName(ctx context.Context, path value.Path) (string, error) {
	name := strings.Trim(inventory.Hostname(value.Path(strings.ToLower(path.Name()))), "-")
	if name == "" {
		name = "part"
	}
	for prefix := ""; len(prefix) < longestName; prefix += unnamed {
		name := prefix + name
		name = strings.TrimRight(name[:min(len(name), longestName)], "-")
		_, err := c.free(ctx, name)
		if !errors.Is(err, errTaken) {
			return name, err
		}
	}
	return "", &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("every name for %s is taken by another system", path)}
}

// writtenWithout returns the text of a description, as it is kept, without the
// component at path.
func (c *Control) writtenWithout(ctx context.Context, blob string, path value.Path) ([]byte, error) {
	if blob == "" {
		return nil, nil
	}
	w, err := c.readWritten(ctx, blob)
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

// parts puts the descriptions of the parts that go on into what is wanted. One that
// was asked to end, and would not, is the system's again where that wants it.
func (c *Control) parts(ctx context.Context, w *wanted, d *draft) error {
	d.detached = slices.DeleteFunc(d.detached, func(part inventory.Detached) bool { return part.Ending && plan.Has(w.root, part.Path) })
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
			Message: fmt.Sprintf("the description has %s again, or copies around it, which was detached: it runs on as system %s", part.Path, part.Name),
			Remedy:  fmt.Sprintf("take it out of the description, or end it first: aloft down %s", part.Name),
		}
	}
	w.root = whole
	return nil
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
// that is a plan.
func (c *Control) detachStarted(ctx context.Context, s *system) {
	s.mu.Lock()
	path, ok := s.detaching()
	if ok = ok && !time.Now().Before(s.nextCut); ok {
		s.nextCut = time.Now().Add(againAfter)
	}
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
	if err != nil {
		if ctx.Err() == nil {
			c.cfg.Log.Error("detach", "system", s.name, "component", path, "error", err)
		}
		return
	}
	s.mu.Lock()
	s.nextCut = time.Time{} // there may be another
	s.mu.Unlock()
}
