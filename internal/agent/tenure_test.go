package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/internal/plan"
)

// granting is an owner that lets the machine go on until it is cut off.
type granting struct {
	*machine
	mu  sync.Mutex
	cut bool // guarded by mu
}

func (g *granting) Hold(_ context.Context, systems []string) (*peerpb.HoldReply, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut {
		return nil, errors.New("no manager is in reach")
	}
	return &peerpb.HoldReply{Systems: systems}, nil
}

// HL2: before anything with a tenure is begun, and as long as it may run, the
// keeper of the machine knows when to end it, should the daemon hang: never
// later than the tenure ends that the owner counts on, and not before the daemon
// itself had its time to stop it.
func TestHL2TheKeeperKnowsTheEndOfATenureBeforeAnythingRuns(t *testing.T) {
	const tenure = 30 * time.Second
	for _, stubborn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t)
			g := &granting{machine: m}
			a := m.agent()
			begun := time.Now()
			a.cfg.Owner, a.cfg.Clock = g, func() (string, time.Duration) { return "boot", time.Hour + time.Since(begun) }
			var mu sync.Mutex
			var until time.Duration // guarded by mu, as what follows
			refuse := true
			asked := 0 // things that were begun when it was first said
			a.cfg.Leash = func(at time.Duration) error {
				mu.Lock()
				defer mu.Unlock()
				if refuse {
					return errors.New("the keeper does not listen")
				}
				if until == 0 {
					asked = len(m.things.calls())
				}
				until = at
				return nil
			}
			said := func() time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return until
			}
			signed := func(id string) *peerpb.SignedPart {
				s := m.part(id, 1, "m:p", "m:p deploy", "m:p start")
				var part peerpb.Part
				if err := proto.Unmarshal(s.Part, &part); err != nil {
					t.Fatal(err)
				}
				part.Components[0].OnIsolation, part.Components[0].Tenure = "stop", int64(tenure/time.Second)
				s.Part, _ = proto.Marshal(&part)
				return s
			}
			defer run(t, a)()
			m.deliver(a, signed("one"))
			time.Sleep(10 * time.Second)
			if slices.Contains(m.things.calls(), "m:p start") {
				t.Error("it was started though nobody would end it")
			}
			mu.Lock()
			refuse = false
			mu.Unlock()
			m.deliver(a, signed("two"))
			time.Sleep(10 * time.Second)
			if calls := m.things.calls(); !slices.Contains(calls, "m:p start") {
				t.Fatalf("it was not started: %v", calls)
			}
			if calls := m.things.calls(); asked < len(calls) && calls[asked] != "m:p deploy" && calls[asked] != "m:p start" {
				t.Errorf("the end was said after %q", calls[:asked])
			}
			for range 60 {
				time.Sleep(time.Second)
				if _, now := a.cfg.Clock(); said() < now+plan.StopTime || said() > now+tenure {
					t.Fatalf("while the owner answers the end is said to be in %s", said()-now)
				}
			}
			if stubborn {
				m.things.mu.Lock()
				m.things.fail["m:p terminate"] = 1000
				m.things.mu.Unlock()
			}
			g.mu.Lock()
			g.cut = true
			g.mu.Unlock()
			_, cut := a.cfg.Clock()
			time.Sleep(tenure)
			switch end := said(); {
			case stubborn && (end == 0 || end > cut+tenure):
				t.Errorf("what cannot be stopped is ended %s after the cut, want within %s", end-cut, tenure)
			case !stubborn && end != 0:
				t.Errorf("nothing runs, and all is to be ended %s after the cut", end-cut)
			}
		})
	}
}
