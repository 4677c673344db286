package control

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/value"
)

// readers are the components of one plan that read others, by what they read,
// and which executors are still to hear of changes.
type readers struct {
	plan string // its id
	of   map[value.Path][]value.Path
	// stale are the paths of what has changed, by the executor that is to be
	// told; being a key, it is being told.
	stale map[string]map[value.Path]bool
	// differ are the components that do not run and of which others may read
	// something else by now than they have.
	differ map[value.Path]bool
}

// changed notes what others may read of a component before and after a report:
// where it differs, and once the component runs, those on other machines that
// have read it read it again (runtime.md LZ7); those on its own are seen to
// there. The lock is held.
func (s *system) changed(before *value.Component, now inventory.Component) {
	r := &s.readers
	if s.plan == nil || before == nil || now.Resolved == nil || value.Equal(before, now.Resolved) && !r.differ[now.Path] {
		return
	}
	if now.State == inventory.Running {
		delete(r.differ, now.Path)
		s.haveReread(now.Path)
		return
	}
	if r.differ == nil {
		r.differ = map[value.Path]bool{}
	}
	r.differ[now.Path] = true
}

// haveReread has the executors told whose components read what is at path. The
// lock is held.
func (s *system) haveReread(path value.Path) {
	r := s.readersNow()
	for _, reader := range r.of[path] {
		k := s.held.Components[reader]
		if k.State == inventory.Instantiated || k.Executor == "" || k.Executor == s.held.Components[path].Executor {
			continue // what does not run now reads it when it does
		}
		if told, under := r.stale[k.Executor]; under {
			told[path] = true
			continue
		}
		if r.stale == nil {
			r.stale = map[string]map[value.Path]bool{}
		}
		r.stale[k.Executor] = map[value.Path]bool{path: true}
		go s.control.spawn(func(ctx context.Context) { s.tellChanges(ctx, k.Executor) })
	}
}

// rereadAll has everything read again that may have changed unseen, as a system
// is taken over: whoever owned it before may not have come to tell. The lock is
// held.
func (s *system) rereadAll() {
	if s.plan == nil {
		return
	}
	for _, path := range slices.Sorted(maps.Keys(s.readersNow().of)) {
		s.haveReread(path)
	}
}

// readersNow returns who reads what by the present plan. The lock is held.
func (s *system) readersNow() *readers {
	r := &s.readers
	if r.plan != s.plan.ID {
		r.plan, r.of = s.plan.ID, map[value.Path][]value.Path{}
		for _, c := range s.plan.Components {
			for _, read := range c.Reads {
				r.of[read] = append(r.of[read], c.Path)
			}
		}
	}
	return r
}

// tellChanges tells an executor what has changed that its components read, until
// it knows all of it or this manager does not own the system any more.
func (s *system) tellChanges(ctx context.Context, executor string) {
	ctx, cancel := whileHeld(ctx, s.claim)
	defer cancel()
	for wait := firstPause; ; wait = min(2*wait, maxPause) {
		s.mu.Lock()
		stale := s.readers.stale[executor]
		if len(stale) == 0 || ctx.Err() != nil || s.gone(executor) {
			delete(s.readers.stale, executor)
			s.mu.Unlock()
			return
		}
		if s.head.Deployment == api.DeploymentRunning { // which leads readers around what comes and goes
			ended := s.ended
			s.mu.Unlock()
			select {
			case <-ended:
			case <-ctx.Done():
			}
			continue
		}
		s.readers.stale[executor] = map[value.Path]bool{}
		r, err := s.news(stale)
		s.mu.Unlock()
		if err == nil {
			err = s.control.reread(ctx, executor, r)
		}
		if code := status.Code(err); code == codes.OK || code == codes.Unimplemented { // of an older release
			wait = firstPause
			continue
		}
		s.mu.Lock()
		maps.Copy(s.readers.stale[executor], stale)
		s.mu.Unlock()
		pause(ctx, wait)
	}
}

// gone reports whether nothing of the system is processed by an executor any
// more. The lock is held.
func (s *system) gone(executor string) bool {
	return !slices.ContainsFunc(slices.Collect(maps.Values(s.held.Components)), func(c inventory.Component) bool { return c.Executor == executor })
}

// news is what others may read now of components. The lock is held.
func (s *system) news(of map[value.Path]bool) (*peerpb.RereadRequest, error) {
	r := &peerpb.RereadRequest{System: s.name, Fence: s.control.fence(s.claim), Revision: s.head.Revision, Components: map[string][]byte{}}
	for path := range of {
		if c := s.held.Components[path]; c.Resolved != nil {
			wire, err := value.Encode(c.Resolved)
			if err != nil {
				return nil, err
			}
			r.Components[string(path)] = wire
		}
	}
	return r, nil
}

func (c *Control) reread(ctx context.Context, executor string, r *peerpb.RereadRequest) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	machine, err := c.cfg.Machines.Machine(ctx, executor)
	if err != nil {
		return err
	}
	_, err = machine.Reread(ctx, r)
	return err
}
