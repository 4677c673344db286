package control

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/event"
	"aloft/value"
)

// courier brings one executor its part, and then the facts it listens for, in
// order, again from the start whenever the session was lost: all of it is
// idempotent.
type courier struct {
	system   *system
	executor string
	part     *peerpb.Part

	mu     sync.Mutex
	facts  []*peerpb.Fact
	told   int    // how many of facts the executor has
	stop   bool   // the plan is interrupted
	failed string // why the executor does not take the part, told once; or ""
	news   chan struct{}
}

func newCourier(s *system, executor string, part *peerpb.Part) *courier {
	part.Fence = s.control.fence(s.claim)
	return &courier{system: s, executor: executor, part: part, news: make(chan struct{}, 1), stop: s.head.Interrupted}
}

// push has a fact brought.
func (k *courier) push(f *peerpb.Fact) {
	k.mu.Lock()
	k.facts = append(k.facts, f)
	k.mu.Unlock()
	k.wake()
}

func (k *courier) interrupt() {
	k.mu.Lock()
	k.stop = true
	k.mu.Unlock()
	k.wake()
}

func (k *courier) wake() {
	select {
	case k.news <- struct{}{}:
	default:
	}
}

// idle reports whether the executor has all there is for it.
func (k *courier) idle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.told == len(k.facts)
}

// flush waits, for a moment, until every executor in reach knows how the plan
// has ended for it.
func flush(ctx context.Context, couriers []*courier) {
	for end := time.Now().Add(flushLimit); time.Now().Before(end) && ctx.Err() == nil; {
		busy := false
		for _, k := range couriers {
			busy = busy || !k.idle() && k.system.control.cfg.Machines.Connected(k.executor)
		}
		if !busy {
			return
		}
		t := time.NewTimer(firstPause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// Times of a courier.
const (
	flushLimit = 2 * time.Second
	callLimit  = 30 * time.Second
	firstPause = 20 * time.Millisecond
	maxPause   = 2 * time.Second
)

// run brings what there is until ctx ends.
func (k *courier) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		machine, err := k.system.control.cfg.Machines.Machine(ctx, k.executor)
		if err == nil {
			if err = k.bring(ctx, machine); err == nil {
				return
			}
			k.refused(err)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		pause = min(2*pause, maxPause)
	}
}

// bring delivers the part, then facts as they come. It returns nil only when
// ctx ends.
func (k *courier) bring(ctx context.Context, machine peerpb.MachineClient) error {
	if err := k.deliver(ctx, machine); err != nil {
		return err
	}
	k.mu.Lock()
	k.failed = ""
	k.mu.Unlock()
	told, interrupted := 0, false
	for {
		k.mu.Lock()
		facts, stop := k.facts[told:], k.stop
		k.mu.Unlock()
		if stop && !interrupted {
			call, cancel := context.WithTimeout(ctx, callLimit)
			_, err := machine.Interrupt(call, &peerpb.InterruptRequest{System: k.part.System, Plan: k.part.Plan, Fence: k.part.Fence})
			cancel()
			if err != nil {
				return err
			}
			interrupted = true
		}
		if len(facts) > 0 {
			call, cancel := context.WithTimeout(ctx, callLimit)
			_, err := machine.Tell(call, &peerpb.TellRequest{Fence: k.part.Fence, Facts: facts})
			cancel()
			if err != nil {
				return err
			}
			told += len(facts)
			k.mu.Lock()
			k.told = told
			k.mu.Unlock()
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.news:
		}
	}
}

func (k *courier) deliver(ctx context.Context, machine peerpb.MachineClient) error {
	// Taking a part may have to wait for operations that the one before began.
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	return k.system.control.deliver(ctx, machine, k.part)
}

// refused tells once why an executor does not take its part, in the log and to
// those who follow the plan: a lost session is no news, anything else is.
func (k *courier) refused(err error) {
	if c := status.Code(err); c == codes.Unavailable || c == codes.Canceled {
		return
	}
	text := err.Error()
	k.mu.Lock()
	known := text == k.failed
	k.failed = text
	k.mu.Unlock()
	if !known {
		k.system.control.cfg.Log.Warn("part not taken", "system", k.part.System, "peer", k.executor, "error", err)
		k.system.waits(k.executor, status.Convert(err).Message())
	}
}

// stuck reports whether the executor, though in reach, does not take its part.
func (k *courier) stuck() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed != ""
}

// waits tells that a machine does not take its part yet, and why.
func (s *system) waits(executor, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, path := "the managing daemon", value.Path("")
	for _, m := range s.held.Machines {
		if m.ID == executor {
			who, path = "machine "+m.Path.String(), m.Path
		}
	}
	s.control.cfg.Emit(event.Event{
		Origin: s.control.cfg.Host.MachineID, Time: s.control.now(), System: s.name, Revision: s.head.Revision, Plan: s.head.Plan,
		Path: path, Incarnation: executor, Kind: event.PlanWaits, Reason: who + " does not take its part yet: " + why,
	})
}
