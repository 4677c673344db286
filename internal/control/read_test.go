package control

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/value"
)

// here are machines that are all in reach.
type here struct{ nothing }

func (here) Connected(string) bool           { return true }
func (here) Silent(string) (time.Time, bool) { return time.Time{}, false }

// deploying makes a system of n components w0, w1... on the machine m, none of
// which is deployed yet.
func deploying(n int) (*Control, *system) {
	c := &Control{systems: map[string]*system{}, cfg: Config{Machines: here{}}}
	s := newSystem(c, "sys", &ownership.Claim{})
	s.held = (&inventory.System{Name: "sys"}).Clone()
	s.head = &controlpb.System{Name: "sys", Deployment: api.DeploymentRunning}
	p := &plan.Plan{ID: "p", System: "sys"}
	for i := range n {
		path := value.Path(fmt.Sprint("w", i))
		s.held.Components[path] = inventory.Component{Path: path, Executor: "m", State: inventory.Instantiated, Attrs: value.NewComponent(false)}
		p.Steps = append(p.Steps, plan.Step{ID: plan.ID(path, plan.Deploy), Path: path, Action: plan.Deploy, Executor: "m"})
	}
	s.begin(p, nil)
	c.systems["sys"] = s
	return c, s
}

// A path without end would keep the system's lock from everybody.
func TestAReadOfAnEndlessPathIsRefused(t *testing.T) {
	c, _ := deploying(1)
	names := slices.Repeat([]string{"x"}, 50_000)
	_, err := c.Read(t.Context(), "m", &peerpb.ReadRequest{System: "sys", Names: names, Reader: "w0", Action: peerpb.Action_ACTION_DEPLOY}, false)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

// A read costs what it waits for, however many others wait.
func TestManyReadsThatWaitLeaveTheSystemFree(t *testing.T) {
	const many = 3000
	synctest.Test(t, func(t *testing.T) {
		c, s := deploying(many)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range many {
			go func() {
				_, _ = c.Read(ctx, "m", &peerpb.ReadRequest{
					System: "sys", Names: []string{fmt.Sprint("w", i/2*2+1), "out"}, Reader: fmt.Sprint("w", i/2*2), Action: peerpb.Action_ACTION_DEPLOY,
				}, false)
			}()
		}
		synctest.Wait()
		count := func() (n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, on := range s.reads {
				n += len(on)
			}
			return n
		}
		if n := count(); n != many {
			t.Errorf("%d reads wait, want %d", n, many)
		}
		cancel()
		synctest.Wait()
		if n := count(); n != 0 || len(s.reads) != 0 {
			t.Errorf("%d waits are left", n)
		}
	})
}

// A component that waits for one that waits for it is told, and nothing of the
// circle stays behind.
func TestLZ5ReadsThatWaitForEachOtherAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := deploying(2)
		errs := make(chan error, 2)
		for i := range 2 {
			go func() {
				_, err := c.Read(t.Context(), "m", &peerpb.ReadRequest{
					System: "sys", Names: []string{fmt.Sprint("w", 1-i), "out"}, Reader: fmt.Sprint("w", i), Action: peerpb.Action_ACTION_DEPLOY,
				}, false)
				errs <- err
			}()
		}
		begun := time.Now()
		told := 0
		for range 2 {
			// Where one is told first, the other waits for a step that fails then.
			switch err := <-errs; status.Code(err) {
			case codes.Aborted:
				told++
			case codes.OK:
			default:
				t.Errorf("got %v", err)
			}
		}
		if told == 0 {
			t.Error("none of them was told")
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("told after %s", d)
		}
		synctest.Wait()
		if len(s.reads) != 0 {
			t.Errorf("%d waits are left", len(s.reads))
		}
	})
}

// An interrupted plan does not wait for ever for a machine that is in reach
// and takes no part.
func TestAnInterruptedPlanGivesUpAMachineThatTakesNoPart(t *testing.T) {
	for name, interrupted := range map[string]bool{"interrupted": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, s := deploying(1)
				s.head.Interrupted = interrupted
				s.since["w0/deploy"] = time.Now()
				s.couriers["m"] = &courier{system: s, executor: "m", failed: "too large"}
				time.Sleep(abandonAfter + time.Second)
				s.mu.Lock()
				s.giveUp()
				given := len(s.queue) == 1
				s.mu.Unlock()
				if given != interrupted {
					t.Errorf("given up: %v", given)
				}
			})
		})
	}
}

func TestAPartThatNoMachineCouldBeGivenIsRefusedWhilePlanning(t *testing.T) {
	attrs := value.NewComponent(false, value.Attr{Name: "n", Value: value.String(make([]byte, maxPart))})
	p := &plan.Plan{ID: "p", System: "sys", Components: []plan.Component{{Path: "a", Executor: "m", Attrs: plan.Attributes{Component: attrs}}}}
	p.Steps = []plan.Step{{ID: "a/deploy", Path: "a", Action: plan.Deploy, Executor: "m"}}
	if err := deliverable(p); err == nil {
		t.Error("accepted")
	}
	p.Components[0].Attrs.Component = value.NewComponent(false)
	if err := deliverable(p); err != nil {
		t.Error(err)
	}
}
