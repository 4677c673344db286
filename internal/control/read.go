package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Times of a read.
const (
	// readHold is how long a read that cannot be answered yet is held before
	// the reader has to ask again: it shows that this daemon lives.
	readHold = 5 * time.Second
	readTick = time.Second
	// circleSure is how long a circle of waits must have been there: a reader
	// that has just given up may still be known as one that waits.
	circleSure = 2 * time.Second
	// cutAfter is how long a machine is silent before what it holds cannot be
	// read (runtime.md LZ8).
	cutAfter = 10 * time.Second
)

// maxNames bounds what a machine may ask for, while it keeps the system's lock
// from others.
const maxNames = 1000

var stepActions = map[peerpb.Action]plan.Action{
	peerpb.Action_ACTION_DEPLOY: plan.Deploy, peerpb.Action_ACTION_START: plan.Start,
	peerpb.Action_ACTION_RECONFIGURE: plan.Reconfigure, peerpb.Action_ACTION_TERMINATE: plan.Terminate,
}

// Read answers the reference of a component on machine from (runtime.md LZ1,
// LZ2), as soon as what it leads to can be read, or says within seconds that
// it has to be asked again. Only who processes the reader may ask. What is
// another manager's to answer is passed on to it, once.
func (c *Control) Read(ctx context.Context, from string, r *peerpb.ReadRequest, passed bool) (*peerpb.ReadReply, error) {
	s, err := c.owned(ctx, r.System)
	if elsewhere, is := errors.AsType[*Elsewhere](err); is && !passed {
		owner, err := c.cfg.Others(ctx, elsewhere.Manager)
		if err != nil {
			return nil, status.Errorf(codes.Unavailable, "manager %s: %v", elsewhere.Manager, err)
		}
		r.Machine = from
		return owner.Read(ctx, r)
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	if s == nil || !s.processes(from, value.Path(r.Reader)) {
		return nil, status.Errorf(codes.PermissionDenied, "no component %s of system %s is processed there", value.Path(r.Reader), r.System)
	}
	if len(r.Names) > maxNames {
		return nil, status.Errorf(codes.InvalidArgument, "the reference has %d names, and may have %d", len(r.Names), maxNames)
	}
	step := plan.ID(value.Path(r.Reader), stepActions[r.Action])
	hold := time.NewTimer(readHold)
	defer hold.Stop()
	tick := time.NewTicker(readTick)
	defer tick.Stop()
	var circleSince time.Time
	for {
		s.mu.Lock()
		moved := s.moved
		a := s.answer(r)
		var circle []plan.StepID
		if a.on != "" {
			s.reads[step] = append(s.reads[step], a.on)
			circle = s.circle(step)
		}
		s.mu.Unlock()
		switch {
		case !a.wait:
			return a.reply, a.err
		case circle == nil:
			circleSince = time.Time{}
		case circleSince.IsZero():
			circleSince = time.Now()
		}
		again := true
		select {
		case <-moved:
		case <-tick.C:
		case <-hold.C:
			again = false
		case <-ctx.Done():
			again = false
		}
		again = again && held(s.claim)
		over := circle != nil && time.Since(circleSince) >= circleSure
		s.unwait(step, a.on)
		switch {
		case over:
			return nil, status.Error(codes.Aborted, "this wait can never end: "+plan.Waiting(circle))
		case !again:
			return &peerpb.ReadReply{Pending: true}, nil
		}
	}
}

// unwait ends the wait of a step for another one.
func (s *system) unwait(step, on plan.StepID) {
	if on == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.reads[step]
	i := slices.Index(left, on)
	if left = slices.Delete(left, i, i+1); len(left) == 0 {
		delete(s.reads, step)
	} else {
		s.reads[step] = left
	}
}

// circle returns the waits that lead from a step back to it. The lock is held.
func (s *system) circle(step plan.StepID) []plan.StepID {
	return plan.Circle(step, func(id plan.StepID) []plan.StepID {
		return append(s.frontier.Waits(id), slices.Sorted(slices.Values(s.reads[id]))...)
	})
}

// stir wakes the reads that wait. The lock is held.
func (s *system) stir() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// processes reports whether a machine processes a component, now or once the
// plan is done.
func (s *system) processes(machine string, path value.Path) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, held := s.held.Components[path]; held && k.Executor == machine {
		return true
	}
	want, ok := s.wanted(path)
	return ok && want.Executor == machine
}

// answer is what can be said to a read now: a reply, an error, or that it has
// to wait, for a step of the plan if it is one.
type answer struct {
	reply *peerpb.ReadReply
	err   error
	wait  bool
	on    plan.StepID
	told  bool // the reply is by the word of a machine, not by the description
}

// answer looks up what a read asks for. The lock is held.
func (s *system) answer(r *peerpb.ReadRequest) answer {
	for n := len(r.Names); n >= 0; n-- {
		path := value.PathOf(r.Names[:n]...)
		k, held := s.held.Components[path]
		want, wanted := s.wanted(path)
		if !held && !wanted {
			continue
		}
		rest := r.Names[n:]
		if len(rest) == 0 {
			a := s.readable(r, path, r.Running, nil)
			a.told = true
			return a
		}
		given := k.Attrs
		if wanted {
			given = want.Attrs.Component
		}
		if v, ok := given.Get(rest[0]); ok {
			return s.reply(path, value.NewComponent(false, value.Attr{Name: rest[0], Value: v}), rest)
		}
		a := s.readable(r, path, false, rest)
		a.told = true
		return a
	}
	return answer{err: status.Errorf(codes.NotFound, "system %s has no component %s", s.name, value.PathOf(r.Names...))}
}

// readable answers with an output of a component, or with the whole of it,
// once its state allows, if its machine can be asked. The lock is held.
func (s *system) readable(r *peerpb.ReadRequest, path value.Path, running bool, rest []string) answer {
	k := s.held.Components[path]
	if len(rest) > 0 && inventory.IsFailure(rest[0]) {
		return s.failure(k, rest)
	}
	if on := s.pending(path, running); on != "" {
		if since, cut := s.cutOff(k); cut && !r.Cached {
			return s.unavailable(k, since)
		}
		return answer{wait: true, on: on}
	}
	since, cut := s.cutOff(k)
	if cut && !r.Cached {
		return s.unavailable(k, since)
	}
	switch k.State {
	case inventory.Deployed, inventory.Reconfiguring, inventory.Starting, inventory.Running:
		if running && k.State != inventory.Running && k.State != inventory.Reconfiguring {
			if k.State == inventory.Deployed {
				return s.never(k)
			}
			return answer{wait: true}
		}
		return s.reply(path, k.Resolved, rest)
	case inventory.Deploying, inventory.Terminating:
		if cut && k.Resolved != nil {
			return s.reply(path, k.Resolved, rest)
		}
		return answer{wait: true} // its own machine brings it back
	}
	if k.Reason == inventory.Restarting || s.mayCome(k) {
		return answer{wait: true}
	}
	return s.never(k)
}

// mayCome reports whether a workflow component that has not ended may yet create
// a component. The lock is held.
func (s *system) mayCome(k inventory.Component) bool {
	path, err := value.ParsePath(k.Flow)
	if k.Flow == "" || err != nil {
		return false
	}
	switch s.held.Components[path].State {
	case inventory.Deploying, inventory.Deployed, inventory.Starting, inventory.Running, inventory.Reconfiguring:
		return true
	}
	return s.pending(path, true) != ""
}

// pending returns the step of the plan by which a component comes to be
// deployed, or to run, if that is yet to end. The lock is held.
func (s *system) pending(path value.Path, running bool) plan.StepID {
	if s.head.Deployment != api.DeploymentRunning {
		return ""
	}
	actions := []plan.Action{plan.Deploy}
	if running {
		actions = []plan.Action{plan.Start, plan.Deploy}
	}
	for _, action := range actions {
		id := plan.ID(path, action)
		if _, planned := s.frontier.Step(id); planned && s.frontier.Outcome(id) == "" {
			return id
		}
	}
	return ""
}

// cutOff reports whether the machine that holds a component has been silent
// for too long. The lock is held.
func (s *system) cutOff(k inventory.Component) (since time.Time, cut bool) {
	since, silent := s.control.unheard(s.held, k)
	return since, silent && time.Since(since) >= cutAfter
}

// unheard reports whether the machine that holds a component is there and has
// no session, and since when.
func (c *Control) unheard(held *inventory.System, k inventory.Component) (since time.Time, silent bool) {
	if k.Executor == "" || !up(held, k.Machine) {
		return time.Time{}, false
	}
	return c.cfg.Machines.Silent(k.Executor)
}

// up reports whether a machine is there.
func up(held *inventory.System, machine value.Path) bool {
	switch held.Components[machine].State {
	case inventory.Deployed, inventory.Starting, inventory.Running, inventory.Reconfiguring:
		return true
	}
	return machine == value.Root // the managing host
}

func (s *system) unavailable(k inventory.Component, since time.Time) answer {
	return answer{reply: &peerpb.ReadReply{Unavailable: silence(s.name, k, since)}}
}

// managingHost is what the host is called that holds what is above machines.
const managingHost = "the managing host"

// silence says that the machine of a component does not answer.
func silence(system string, k inventory.Component, since time.Time) string {
	name := managingHost
	if k.Machine != value.Root {
		name = "machine " + inventory.MachineName(system, k.Machine)
	}
	return fmt.Sprintf("%s has not answered since %s", name, since.UTC().Format(time.RFC3339))
}

// failure answers with the record of a failure, which is there or not: nobody
// waits for it (runtime.md TR5).
func (s *system) failure(k inventory.Component, rest []string) answer {
	if _, failed := k.Resolved.Get(rest[0]); k.Resolved == nil || !failed {
		return answer{err: status.Errorf(codes.NotFound, "%s has not failed", k.Path)}
	}
	return s.reply(k.Path, k.Resolved, rest)
}

// never is the answer where a component does not reach the state that is
// waited for (runtime.md LZ6).
func (s *system) never(k inventory.Component) answer {
	text := fmt.Sprintf("%s is %s", k.Path, k.State)
	if k.Reason != "" {
		text += ": " + k.Reason
	}
	return answer{err: status.Error(codes.FailedPrecondition, text)}
}

// reply follows the rest of a read in the attributes of a component. A
// reference on the way leads elsewhere: the reader follows it.
func (s *system) reply(path value.Path, c *value.Component, rest []string) answer {
	var v value.Value = c
	for i, name := range rest {
		at := value.PathOf(append(path.Names(), rest[:i]...)...)
		if led, ok := v.(*value.Reference); ok && led.Lazy && !led.Data && led.Apply == nil && !led.Assert {
			on := *led
			on.Parts = slices.Clone(led.Parts)
			for _, more := range rest[i:] {
				on.Parts = append(on.Parts, value.Part{Kind: value.PartHere, Name: more})
			}
			v = &on
			break
		}
		in, isComponent := v.(*value.Component)
		if !isComponent {
			return answer{err: status.Errorf(codes.NotFound, "%s is not a component", at)}
		}
		next, ok := in.Get(name)
		if !ok {
			return answer{err: status.Error(codes.NotFound, missing(at, name, in))}
		}
		v = next
	}
	wire, err := value.Encode(v)
	if err != nil {
		return answer{err: err}
	}
	return answer{reply: &peerpb.ReadReply{Value: wire}}
}

// missing says that a component has no attribute of a name, and which ones are
// close to it.
func missing(at value.Path, name string, in *value.Component) string {
	var names []string
	for a := range in.All() {
		names = append(names, a.Name)
	}
	text := fmt.Sprintf("%s has no attribute %s", at, name)
	if near := diag.Nearest(name, names); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %s?", near[0])
	}
	return text
}
