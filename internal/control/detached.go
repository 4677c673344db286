package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/store"
	"aloft/value"
)

// A part that was detached (runtime.md TR4) stays in the rows of the system that
// it was deployed with, under the paths that its machines know: what changes is
// whom it ends with, and by which name people know it.

// originTable has a row for each name of a part that was detached.
var originTable = store.Table[*controlpb.Origin]{Prefix: "origin", Schema: 1}

// noDescription is the description of a system of which only detached parts are left.
var noDescription = value.NewComponent(false)

// origin returns the system that the one of a name was detached from, "" where
// none was.
func (r rows) origin(ctx context.Context, name string) (string, error) {
	row, err := originTable.Get(ctx, r.kv, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return row.Message.GetSystem(), err
}

// Origin returns the name under which machines know a system, and the path that
// the whole of it has there: both are others where it was detached.
func (c *Control) Origin(ctx context.Context, name string) (system string, top value.Path, err error) {
	p, is, err := c.detached(ctx, c.known, name)
	if err != nil || !is {
		return name, value.Root, err
	}
	return p.head.Name, p.top, nil
}

// Asked returns the manager that answers for the system of a name, and whether
// that is this one.
func (c *Control) Asked(ctx context.Context, name string) (manager string, self bool) {
	if !c.stands(name) {
		if from, err := c.known.origin(ctx, name); err == nil && from != "" {
			name = from
		}
	}
	return c.Owner(name)
}

// putDetached enters the parts of a system in its head.
func putDetached(head *controlpb.System, parts []inventory.Detached) {
	head.Detached = nil
	for _, d := range parts {
		head.Detached = append(head.Detached, &controlpb.Detached{
			Name: d.Name, Path: string(d.Path), Since: timestamppb.New(d.Since), Revision: d.Revision, Blob: d.Blob, Ending: d.Ending,
		})
	}
}

// detachedIn is the inverse of putDetached.
func detachedIn(head *controlpb.System) (parts []inventory.Detached) {
	for _, d := range head.Detached {
		parts = append(parts, inventory.Detached{
			Name: d.Name, Path: value.Path(d.Path), Since: d.Since.AsTime(), Revision: d.Revision, Blob: d.Blob, Ending: d.Ending,
		})
	}
	return parts
}

// staying returns the paths of those parts that go on.
func staying(parts []inventory.Detached) (paths []value.Path) {
	for _, d := range parts {
		if !d.Ending {
			paths = append(paths, d.Path)
		}
	}
	return paths
}

// forgetDetached takes the parts that have ended out of what is held and out of
// the head. The lock is held.
func (s *system) forgetDetached(b *batch, head *controlpb.System) {
	if len(s.held.Detached) == 0 {
		return
	}
	defer s.stir()
	s.held.Detached = slices.DeleteFunc(slices.Clone(s.held.Detached), func(d inventory.Detached) bool {
		if !d.Ending {
			return false
		}
		for path := range s.held.Components {
			if d.Path.Contains(path) {
				return false // it would not end
			}
		}
		b.drop(originTable.Key(d.Name))
		return true
	})
	putDetached(head, s.held.Detached)
}

// rest returns a picture without the parts that were detached, and whether there
// is anything else of the system.
func (p picture) rest() (_ picture, any bool) {
	if len(p.held.Detached) == 0 {
		return p, true
	}
	held := p.held.Clone()
	held.Detached = nil
	for path := range p.held.Components {
		if _, apart := p.held.Apart(path); apart {
			delete(held.Components, path)
			delete(held.Machines, path)
		}
	}
	ended := p.head.Deployment != api.DeploymentRunning && p.head.Description == value.Digest(noDescription) && !beside(p.held)
	head := p.head
	if head.Description == value.Digest(noDescription) && head.Deployment == api.DeploymentRunning {
		head = proto.CloneOf(head)
		head.Down = true // all but the parts
	}
	return picture{head: head, held: held, steady: steady(held)}, !ended
}

// part returns the picture of a part that was detached.
func (p picture) part(d inventory.Detached) picture {
	held := p.held.Clone()
	held.Name, held.Revision, held.Detached, held.Left = d.Name, d.Revision, nil, nil
	for path := range p.held.Components {
		if !d.Path.Contains(path) {
			delete(held.Components, path)
			delete(held.Machines, path)
		}
	}
	head := proto.CloneOf(p.head)
	head.Revision, head.Down = d.Revision, d.Ending
	if calm := steady(held); calm && !d.Ending { // the plan under way is not about it
		head.Deployment = api.DeploymentDone
	}
	return picture{head: head, held: held, steady: steady(held), top: d.Path}
}

// at returns the path of what is meant by path: of a part, the top is its own.
func (p picture) at(path value.Path) value.Path {
	if path == value.Root {
		return p.top
	}
	return path
}

// stands reports whether this manager holds a system of a name: there is no part
// of that name then.
func (c *Control) stands(name string) bool {
	s := c.system(name)
	return s != nil && held(s.claim) && !s.over()
}

// detached returns the picture of the part that has a name, by the rows to ask,
// false where none has.
func (c *Control) detached(ctx context.Context, by rows, name string) (picture, bool, error) {
	if c.stands(name) {
		return picture{}, false, nil
	}
	from, err := by.origin(ctx, name)
	if err != nil || from == "" {
		return picture{}, false, err
	}
	p, err := c.whole(ctx, from)
	if errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
		return picture{}, false, nil // it has just ended
	}
	if err != nil {
		return picture{}, false, err
	}
	for _, d := range p.held.Detached {
		if d.Name == name {
			return p.part(d), true, nil
		}
	}
	return picture{}, false, nil
}

// beside reports whether there is anything of a system but parts that were
// detached from it, and what is around them.
func beside(held *inventory.System) bool {
	for path := range held.Components {
		_, apart := held.Apart(path)
		if !apart && !slices.ContainsFunc(held.Detached, func(d inventory.Detached) bool { return path.Contains(d.Path) }) {
			return true
		}
	}
	return false
}

// errTaken says that another system has a name.
var errTaken = errors.New("another system has that name")

// free returns a condition on which a name is nobody's, or errTaken. A row that
// leads to a system which does not know of it is what a crash has left.
func (c *Control) free(ctx context.Context, name string) (store.Condition, error) {
	if _, err := systemTable.Get(ctx, c.store.kv, name); !errors.Is(err, store.ErrNotFound) {
		return store.Condition{}, cmp.Or(err, errTaken)
	}
	row, err := originTable.Get(ctx, c.store.kv, name)
	on := store.Condition{Key: originTable.Key(name), Revision: row.Revision}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return on, nil
	case err != nil:
		return on, err
	}
	from, err := systemTable.Get(ctx, c.store.kv, row.Message.System)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return on, nil
	case err != nil:
		return on, err
	case slices.ContainsFunc(from.Message.Detached, func(d *controlpb.Detached) bool { return d.Name == name }):
		return on, errTaken
	}
	return on, nil
}

// name has a part that is detached get its name, if nobody else has it, and b be
// written only as long as that is so. b is to name the part in the head.
func (c *Control) name(ctx context.Context, s *system, b *batch, part *inventory.Detached) error {
	on, err := c.free(ctx, part.Name)
	if err != nil {
		return taken(err, part.Name)
	}
	put, err := originTable.Put(&controlpb.Origin{System: s.name}, part.Name)
	if err != nil {
		return err
	}
	revision, err := s.claim.Commit(ctx, store.Txn{If: []store.Condition{on, {Key: systemTable.Key(part.Name)}}, Put: []store.Put{put}})
	if err != nil {
		return taken(err, part.Name)
	}
	b.on = append(b.on, store.Condition{Key: on.Key, Revision: revision})
	return nil
}

// nameNew has a new system get its name, if no part has it.
func (c *Control) nameNew(ctx context.Context, s *system, b *batch) error {
	on, err := c.free(ctx, s.name)
	if err != nil {
		return taken(err, s.name)
	}
	b.on = append(b.on, on)
	if on.Revision != 0 {
		b.drop(on.Key)
	}
	return nil
}

// unname frees the names of parts that are the system's own again.
func unname(b *batch, before, now []inventory.Detached) {
	for _, part := range before {
		if !slices.ContainsFunc(now, func(d inventory.Detached) bool { return d.Name == part.Name }) {
			b.drop(originTable.Key(part.Name))
		}
	}
}

// taken is the answer where a name was given to another in the meantime.
func taken(err error, name string) error {
	if _, is := errors.AsType[*store.ConflictError](err); !is && !errors.Is(err, errTaken) {
		return err
	}
	return &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("another system is called %s by now", name), Remedy: "ask again"}
}
