package agent

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/flow"
	"aloft/internal/inventory"
	"aloft/value"
)

// lonely is a machine whose owner can be cut off, and what is asked there.
type lonely struct {
	*machine
	owner *granting
	agent *Agent
}

// newLonely begins an agent that manages things with m, of which it may be told
// to be slow. It ends with the test.
func newLonely(t *testing.T, manager func(*things) component.Manager) *lonely {
	m := newMachine(t)
	l := &lonely{machine: m, owner: &granting{machine: m}, agent: m.agent()}
	begun := time.Now()
	if manager != nil {
		l.agent.cfg.Managers["Thing"] = manager(m.things)
	}
	l.agent.cfg.Owner, l.agent.cfg.Clock = l.owner, func() (string, time.Duration) { return "boot", time.Hour + time.Since(begun) }
	t.Cleanup(run(t, l.agent))
	return l
}

// cut cuts the owner off, or lets it be heard of again.
func (l *lonely) cut(off bool) {
	l.owner.mu.Lock()
	l.owner.cut = off
	l.owner.mu.Unlock()
}

// fails has the terminate of a component fail so often.
func (l *lonely) fails(path string, times int) {
	l.things.mu.Lock()
	l.things.fail[path+" terminate"] = times
	l.things.mu.Unlock()
}

func (l *lonely) runs(path value.Path) bool {
	l.things.mu.Lock()
	defer l.things.mu.Unlock()
	return l.things.running[path]
}

// state returns the state of a component, and why.
func (l *lonely) state(path value.Path) (inventory.State, string) {
	t := l.agent.tenant("sys")
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.comps[path].state, t.comps[path].reason
}

// with is a part of which each component, and the part itself, is changed.
func (l *lonely) with(s *peerpb.SignedPart, each func(*peerpb.Component), all func(*peerpb.Part)) *peerpb.SignedPart {
	l.t.Helper()
	var p peerpb.Part
	if err := proto.Unmarshal(s.Part, &p); err != nil {
		l.t.Fatal(err)
	}
	for _, c := range p.Components {
		each(c)
	}
	if all != nil {
		all(&p)
	}
	var err error
	if s.Part, err = proto.Marshal(&p); err != nil {
		l.t.Fatal(err)
	}
	return s
}

func losesAfter10s(c *peerpb.Component) { c.ParentLoss = 10_000 }

func stopsAfter60s(c *peerpb.Component) { c.OnIsolation, c.Tenure = "stop", 60 }

// HL2, LV3: who has lost its parent and does not end at once is ended again and
// again; none of it outlives its tenure, and it comes back when it is heard of.
func TestHL2WhatHasLostItsParentAndDoesNotEndIsTriedAgain(t *testing.T) {
	for name, stubborn := range map[string]string{"itself": "m:p", "what is below it": "m:p:q"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLonely(t, nil)
				l.deliver(l.agent, l.with(l.part("one", 1, "m:p m:p:q", "m:p deploy", "m:p:q deploy", "m:p start", "m:p:q start"),
					func(c *peerpb.Component) { losesAfter10s(c); stopsAfter60s(c) }, nil))
				time.Sleep(20 * time.Second)
				l.fails(stubborn, 3)
				l.cut(true)
				time.Sleep(40 * time.Second)
				if l.runs("m:p") || l.runs("m:p:q") {
					t.Errorf("it runs on: %v", l.things.calls())
				}
				if state, reason := l.state("m:p"); state != inventory.Terminated || reason != inventory.Orphaned {
					t.Errorf("it is %s: %s", state, reason)
				}
				l.cut(false)
				time.Sleep(time.Minute)
				if !l.runs("m:p") || !l.runs("m:p:q") {
					t.Errorf("it has not come back: %v", l.things.calls())
				}
				if state, reason := l.state("m:p"); state != inventory.Running || reason != "" {
					t.Errorf("it is %s: %s", state, reason)
				}
			})
		})
	}
}

// LV3, HL2: what has not ended when its parent, or its owner, is heard of again
// is ended then, and brought back: it is not left as it is.
func TestLV3WhatCouldNotBeEndedIsBroughtBackWhole(t *testing.T) {
	for name, bound := range map[string]func(*peerpb.Component){"parent loss": losesAfter10s, "tenure": stopsAfter60s} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLonely(t, nil)
				l.deliver(l.agent, l.with(l.part("one", 1, "m:p", "m:p deploy", "m:p start"), bound, nil))
				time.Sleep(20 * time.Second)
				l.fails("m:p", 1_000_000)
				l.cut(true)
				time.Sleep(2 * time.Minute)
				if state, _ := l.state("m:p"); state != inventory.Terminating {
					t.Errorf("what could not be ended is %s", state)
				}
				l.fails("m:p", 0)
				l.cut(false)
				time.Sleep(time.Minute)
				if state, reason := l.state("m:p"); state != inventory.Running || reason != "" {
					t.Errorf("it is %s: %s", state, reason)
				}
				calls := l.things.calls()
				if want := []string{"m:p terminate", "m:p deploy", "m:p start"}; !slices.Equal(calls[len(calls)-3:], want) {
					t.Errorf("asked at last %v, want %v", calls[len(calls)-3:], want)
				}
			})
		})
	}
}

// slow is a manager whose start of m:p:q, once it is told to, ends with its call.
type slow struct {
	*things
	mu sync.Mutex
	is bool // guarded by mu
}

func (s *slow) be(is bool) {
	s.mu.Lock()
	s.is = is
	s.mu.Unlock()
}

func (s *slow) Start(ctx context.Context, c *component.Call) error {
	s.mu.Lock()
	is := s.is
	s.mu.Unlock()
	if is && c.Path == "m:p:q" {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return s.things.Start(ctx, c)
}

// LV3, HL2: a restart that is cut off, since the parent is lost or the tenure is
// over, leaves nothing of what it has brought back already, and all of it comes
// back.
func TestLV3ARestartThatIsCutOffLeavesNothingRunning(t *testing.T) {
	for name, bound := range map[string]func(*peerpb.Component){"parent loss": losesAfter10s, "tenure": stopsAfter60s} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *slow
				l := newLonely(t, func(m *things) component.Manager { s = &slow{things: m}; return s })
				l.deliver(l.agent, l.with(l.part("one", 1, "m:p m:p:q m:p:r",
					"m:p deploy", "m:p:q deploy", "m:p:r deploy", "m:p start", "m:p:q start", "m:p:r start"), bound, nil))
				time.Sleep(20 * time.Second)
				s.be(true)
				tenant := l.agent.tenant("sys")
				l.agent.spawn(func(ctx context.Context) {
					tenant.componentEnded(ctx, tenant.component("m:p"), component.Record{Type: component.Abnormal})
				})
				time.Sleep(3 * time.Second)
				l.cut(true)
				if !l.runs("m:p") {
					t.Fatal("the restart has not come far enough")
				}
				time.Sleep(time.Minute)
				if l.runs("m:p") {
					state, reason := l.state("m:p")
					t.Errorf("m:p, which is %s (%s), runs on: %v", state, reason, l.things.calls())
				}
				s.be(false)
				l.cut(false)
				time.Sleep(time.Minute)
				for _, path := range []value.Path{"m:p", "m:p:q", "m:p:r"} {
					if state, reason := l.state(path); !l.runs(path) || state != inventory.Running || reason != "" {
						t.Errorf("%s has not come back, it is %s: %s", path, state, reason)
					}
				}
			})
		})
	}
}

// telling is a manager that tells how things are ended: their attribute v, and
// whether they come back.
type telling struct {
	*things
	mu  sync.Mutex
	how []string // guarded by mu
}

func (m *telling) Terminate(ctx context.Context, c *component.Call) error {
	v, _ := c.Attrs.Get("v")
	how := " for good"
	if c.Returns {
		how = " for now"
	}
	m.mu.Lock()
	m.how = append(m.how, value.Source(v)+how)
	m.mu.Unlock()
	return m.things.Terminate(ctx, c)
}

// LV3, HL2: what a plan is to end, or to replace, is ended for good though its
// parent or its owner is silent just then; what ended for now before the plan
// came is, too, with all that it had: otherwise its data would stay.
func TestLV3WhatIsToGoEndsForGood(t *testing.T) {
	wire, err := value.Encode(value.NewComponent(false, value.Attr{Name: "v", Value: value.Integer(7)}))
	if err != nil {
		t.Fatal(err)
	}
	for name, bound := range map[string]func(*peerpb.Component){"parent loss": losesAfter10s, "tenure": stopsAfter60s} {
		has7 := func(c *peerpb.Component) { bound(c); c.Attributes = wire }
		await := func(p *peerpb.Part) { p.Steps[0].Needs, p.Listens = []string{"x/terminate"}, []string{"x/terminate"} }
		for what, c := range map[string]struct {
			plan   func(*lonely) *peerpb.SignedPart
			before bool // the silence is before the plan
			want   []string
		}{
			"removed": {func(l *lonely) *peerpb.SignedPart {
				return l.with(l.part("two", 2, "", "m:p terminate"), has7, await)
			}, false, []string{"7 for good"}},
			"replaced": {func(l *lonely) *peerpb.SignedPart {
				return l.with(l.part("two", 2, "m:p", "m:p terminate", "m:p deploy", "m:p start"), has7, await)
			}, false, []string{"7 for good", "7 for good"}},
			"removed after it has ended": {func(l *lonely) *peerpb.SignedPart {
				return l.with(l.part("two", 2, "", "m:p terminate"), has7, await)
			}, true, []string{"7 for now", "7 for good"}},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var m *telling
					l := newLonely(t, func(s *things) component.Manager { m = &telling{things: s}; return m })
					l.deliver(l.agent, l.with(l.part("one", 1, "m:p", "m:p deploy", "m:p start"), has7, nil))
					time.Sleep(20 * time.Second)
					if !c.before {
						l.deliver(l.agent, c.plan(l))
					}
					l.cut(true)
					time.Sleep(2 * time.Minute)
					if c.before {
						l.deliver(l.agent, c.plan(l))
					}
					l.cut(false)
					time.Sleep(time.Minute)
					if _, err := l.agent.Tell(t.Context(), &peerpb.TellRequest{Fence: &peerpb.Fence{Epoch: 1, Term: 1}, Facts: []*peerpb.Fact{
						{System: "sys", Plan: "two", Step: "x/terminate", Outcome: peerpb.Outcome_OUTCOME_DONE},
					}}); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					m.mu.Lock()
					defer m.mu.Unlock()
					if !slices.Equal(m.how, c.want) {
						t.Errorf("ended %v, want %v", m.how, c.want)
					}
				})
			})
		}
	}
}

// hanging is an owner of which, each time it is told to, one question hangs.
type hanging struct {
	*granting
	hangs int // how many did; guarded by mu
}

func (h *hanging) Hold(ctx context.Context, systems []string) (*peerpb.HoldReply, error) {
	h.mu.Lock()
	hang := h.cut
	h.cut = false
	h.mu.Unlock()
	if hang {
		h.mu.Lock()
		h.hangs++
		h.mu.Unlock()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &peerpb.HoldReply{Systems: systems}, nil
}

// LV3, HL2: one question to the owner that hangs ends nothing, whenever it comes,
// also of what has the least patience that there can be.
func TestLV3OneQuestionThatHangsEndsNothing(t *testing.T) {
	for name, bound := range map[string]func(*peerpb.Component){
		"parent loss of 5 s": func(c *peerpb.Component) { c.ParentLoss = 5000 },
		"parent loss of 9 s": func(c *peerpb.Component) { c.ParentLoss = 9000 },
		"tenure of 30 s":     func(c *peerpb.Component) { c.OnIsolation, c.Tenure = "stop", 30 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLonely(t, nil)
				h := &hanging{granting: l.owner}
				l.agent.cfg.Owner = h
				l.deliver(l.agent, l.with(l.part("one", 1, "m:p", "m:p deploy", "m:p start"), bound, nil))
				time.Sleep(20 * time.Second)
				for range 10 {
					l.cut(true)
					time.Sleep(29700 * time.Millisecond)
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				if calls := l.things.calls(); h.hangs != 10 || len(calls) > 2 {
					t.Errorf("%d questions hung, and asked was %v", h.hangs, calls)
				}
			})
		})
	}
}

// parallel is a workflow component's manager.
type parallel struct{ component.Keep }

func (parallel) Class() component.Class {
	return component.Class{Name: flow.Parallel, Workflow: true, OpenAttributes: true, Children: true, Reconfigures: true}
}

// LV3, WF3: what a workflow component has created ends with what is around it,
// and is created again by that one alone, also where the daemon ends meanwhile.
func TestLV3WhatAWorkflowHasCreatedIsNotBroughtBackOutsideOfIt(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t)
			agent := func() *Agent {
				a := m.agent()
				a.cfg.Managers[flow.Parallel] = parallel{}
				return a
			}
			a := agent()
			end := run(t, a)
			defer func() { end() }()
			l := &lonely{machine: m, agent: a}
			m.deliver(a, l.with(m.part("one", 1, "m:p m:p:w m:p:w:x", "m:p deploy", "m:p:w deploy", "m:p start", "m:p:w start"),
				func(c *peerpb.Component) {
					c.LivenessDelay, c.LivenessFactor = 1000, 1
					switch c.Path {
					case "m:p:w":
						c.Class = flow.Parallel
					case "m:p:w:x":
						c.Creator = "m:p:w"
					}
				}, nil))
			time.Sleep(20 * time.Second)
			if !l.runs("m:p:w:x") {
				t.Fatalf("the workflow has created nothing: %v", m.things.calls())
			}
			tenant := a.tenant("sys")
			p := tenant.component("m:p")
			tenant.mu.Lock()
			for range 3 {
				p.recent.Next(time.Now(), p.policy) // so that the next pause is 8 s
			}
			tenant.mu.Unlock()
			a.spawn(func(ctx context.Context) { tenant.componentEnded(ctx, p, component.Record{Type: component.Abnormal}) })
			time.Sleep(4 * time.Second)
			if state, reason := l.state("m:p:w:x"); state != inventory.Terminated || reason == restarting {
				t.Errorf("in the pause it is %s: %s", state, reason)
			}
			before := len(m.things.calls())
			if killed {
				end()
				a = agent()
				end = run(t, a)
				l.agent = a
			}
			time.Sleep(time.Minute)
			calls := m.things.calls()[before:]
			want := []string{"m:p:w:x deploy", "m:p:w:x start"}
			if !killed { // else it finds m:p running
				want = append([]string{"m:p terminate", "m:p deploy", "m:p start"}, want...)
			}
			if !slices.Equal(calls, want) {
				t.Errorf("killed %t: asked %v, want %v", killed, calls, want)
			}
			for _, path := range []value.Path{"m:p", "m:p:w", "m:p:w:x"} {
				if state, reason := l.state(path); state != inventory.Running || reason != "" {
					t.Errorf("killed %t: %s is %s: %s", killed, path, state, reason)
				}
			}
		})
	}
}
