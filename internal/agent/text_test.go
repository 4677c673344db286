package agent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/inventory"
	"aloft/value"
)

// tardy are things whose reconfigure takes a minute, and which do not start where
// v is bad.
type tardy struct{ *noting }

func (s tardy) Reconfigure(ctx context.Context, c *component.Call) error {
	err := s.noting.Reconfigure(ctx, c)
	time.Sleep(time.Minute)
	return err
}

func (s tardy) Start(ctx context.Context, c *component.Call) error {
	if err := s.noting.Start(ctx, c); err != nil {
		return err
	}
	if v, _ := c.Attrs.Get("v"); v == value.String("bad") {
		s.dies(c.Path)
		return errors.New("bad")
	}
	return nil
}

// dies has the thing at path run no longer.
func (s tardy) dies(path value.Path) {
	s.things.mu.Lock()
	defer s.things.mu.Unlock()
	delete(s.things.running, path)
}

// is returns the state of a component and its attribute v.
func is(t *tenant, c *held) (inventory.State, value.Value) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, _ := c.attrs.Get("v")
	return c.state, v
}

// restartingThing returns the component m:p, started by the plan "one" with v
// "good", at a time when it has died and pauses before its restart, and what
// delivers it a plan that reconfigures it to another v.
func restartingThing(t *testing.T, m *machine, a *Agent, n *noting) (*held, func(plan, v string, revision int64, needs ...string)) {
	t.Helper()
	things := tardy{n}
	a.cfg.Managers["Thing"] = things
	m.deliver(a, with(t, m.part("one", 1, "m:p", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
		p.Components[0].Attributes = attr(t, "v", value.String("good"))
	}))
	time.Sleep(time.Minute)
	tenant := a.tenant("sys")
	c := tenant.component("m:p")
	things.dies("m:p")
	go tenant.componentEnded(t.Context(), c, component.Record{Type: component.Abnormal, Cause: "killed"})
	time.Sleep(100 * time.Millisecond)
	return c, func(plan, v string, revision int64, needs ...string) {
		m.deliver(a, with(t, m.part(plan, revision, "m:p", "m:p reconfigure"), func(p *peerpb.Part) {
			p.Components[0].Attributes, p.Components[0].Digest = attr(t, "v", value.String(v)), plan
			p.Steps[0].Needs, p.Listens = needs, needs
		}))
	}
}

// LZ7: what changes while a reconfigure applies the first reference to it reaches
// the component.
func TestLZ7WhatChangesDuringTheStepThatBringsTheReferenceIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		a.cfg.Managers["Thing"] = tardy{n}
		defer run(t, a)()
		m.deliver(a, with(t, m.part("one", 1, "m:p", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
			p.Components[0].Attributes = attr(t, "v", value.String("none"))
		}))
		time.Sleep(time.Minute)
		m.deliver(a, with(t, m.part("two", 2, "m:p", "m:p reconfigure"), func(p *peerpb.Part) {
			readingS(t)(p)
			p.Components[0].Digest = "2"
		}))
		hears(t, a, firstOwner, "two", "s/start", "old")
		time.Sleep(30 * time.Second) // the manager is at it
		_, err := a.Reread(t.Context(), &peerpb.RereadRequest{
			System: "sys", Fence: firstOwner, Revision: 2, Components: map[string][]byte{"s": attr(t, "ip", value.String("new"))},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		tenant := a.tenant("sys")
		if _, v := is(tenant, tenant.component("m:p")); v != value.String("new") {
			t.Errorf("it has %v, done: %q", v, n.all())
		}
	})
}

// UP4: a component that does not come back with what a reconfigure was to apply
// comes back as it was.
func TestUP4ReconfigureThatFailsDuringARestartLeavesWhatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		c, reconfigure := restartingThing(t, m, a, n)
		reconfigure("two", "bad", 2)
		journalled := func(when string) {
			t.Helper()
			if row, _, err := a.cfg.Journal.Components.Get(t.Context(), "sys", "m:p"); err != nil || row.KeptDigest != "1" {
				t.Errorf("%s the journal has %v, %v", when, row, err)
			}
		}
		for !slices.Contains(n.all(), "m:p start bad") {
			time.Sleep(100 * time.Millisecond)
		}
		journalled("while it is tried") // what a daemon that takes over brings back
		time.Sleep(time.Hour)
		journalled("in the end")
		if got := m.outcomes("two", 1); !slices.Equal(got, []string{"m:p/reconfigure failed"}) {
			t.Errorf("%q", got)
		}
		if state, v := is(a.tenant("sys"), c); state != inventory.Running || v != value.String("good") {
			t.Errorf("it is %s with %v; done: %q", state, v, n.all())
		}
	})
}

// LZ7: a plan that took the place of one that was bringing a component back
// applies nothing to it before its step.
func TestLZ7NextPlanAppliesNothingBeforeItsStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		c, reconfigure := restartingThing(t, m, a, n)
		reconfigure("two", "bad", 2)
		time.Sleep(300 * time.Millisecond)
		reconfigure("three", "third", 3, "x/start") // which does not run yet
		time.Sleep(10 * time.Minute)
		if state, v := is(a.tenant("sys"), c); v != value.String("good") || slices.Contains(n.all(), "m:p deploy third") {
			t.Errorf("before its step it is %s with %v; done: %q", state, v, n.all())
		}
	})
}
