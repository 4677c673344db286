package agent

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/value"
)

// noting are things that note what their attribute v was at each call.
type noting struct {
	*things
	known bool // v is an attribute of the class, for which it waits

	mu  sync.Mutex
	did []string
}

func (n *noting) Class() component.Class {
	c := n.things.Class()
	if n.known {
		c.Attributes = append(c.Attributes, component.Attribute{Name: "v"})
	}
	return c
}

func (n *noting) note(op string, c *component.Call) {
	text := "?"
	if v, _ := c.Attrs.Get("v"); v != nil {
		if s, ok := v.(value.String); ok {
			text = string(s)
		}
	}
	n.mu.Lock()
	n.did = append(n.did, string(c.Path)+" "+op+" "+text)
	n.mu.Unlock()
}

func (n *noting) Deploy(ctx context.Context, c *component.Call) error {
	n.note("deploy", c)
	return n.things.Deploy(ctx, c)
}

func (n *noting) Start(ctx context.Context, c *component.Call) error {
	n.note("start", c)
	return n.things.Start(ctx, c)
}

func (n *noting) Reconfigure(ctx context.Context, c *component.Call) error {
	n.note("reconfigure", c)
	return n.things.Reconfigure(ctx, c)
}

func (n *noting) Terminate(ctx context.Context, c *component.Call) error {
	n.note("terminate", c)
	return n.things.Terminate(ctx, c)
}

func (n *noting) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.did)
}

// noted returns an agent whose things note what they do.
func noted(t *testing.T) (*machine, *Agent, *noting) {
	m := newMachine(t)
	n := &noting{things: m.things}
	a := m.agent()
	a.cfg.Managers["Thing"] = n
	return m, a, n
}

// leads is a reference to what is below ROOT.
func leads(names ...string) *value.Reference {
	r := &value.Reference{Lazy: true, Parts: []value.Part{{Kind: value.PartRoot}}}
	for _, n := range names {
		r.Parts = append(r.Parts, value.Part{Kind: value.PartHere, Name: n})
	}
	return r
}

// with is a part that was changed.
func with(t *testing.T, s *peerpb.SignedPart, change func(p *peerpb.Part)) *peerpb.SignedPart {
	t.Helper()
	var p peerpb.Part
	if err := proto.Unmarshal(s.Part, &p); err != nil {
		t.Fatal(err)
	}
	change(&p)
	var err error
	if s.Part, err = proto.Marshal(&p); err != nil {
		t.Fatal(err)
	}
	return s
}

// attr is the wire form of a component with one attribute.
func attr(t *testing.T, name string, v value.Value) []byte {
	t.Helper()
	wire, err := value.Encode(value.NewComponent(false, value.Attr{Name: name, Value: v}))
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// readingS has the first component of a part read the attribute ip of s, which is
// elsewhere.
func readingS(t *testing.T) func(p *peerpb.Part) {
	return func(p *peerpb.Part) {
		p.Components[0].Attributes = attr(t, "v", leads("s", "ip"))
		p.Steps[0].Needs, p.Listens = []string{"s/start"}, []string{"s/start"}
	}
}

var firstOwner = &peerpb.Fence{Epoch: 1, Term: 1}

// hears tells an agent that a step elsewhere is done, and which ip there is.
func hears(t *testing.T, a *Agent, owner *peerpb.Fence, plan, step, ip string) {
	t.Helper()
	f := &peerpb.Fact{System: "sys", Plan: plan, Step: step, Outcome: peerpb.Outcome_OUTCOME_DONE, Component: attr(t, "ip", value.String(ip))}
	if _, err := a.Tell(t.Context(), &peerpb.TellRequest{Fence: owner, Facts: []*peerpb.Fact{f}}); err != nil {
		t.Fatal(err)
	}
}

// rereads tells an agent that s has another ip.
func rereads(t *testing.T, a *Agent, ip string) error {
	_, err := a.Reread(t.Context(), &peerpb.RereadRequest{
		System: "sys", Fence: firstOwner, Revision: 1, Components: map[string][]byte{"s": attr(t, "ip", value.String(ip))},
	})
	return err
}

func TestLZ7WhatWasToldBeforeTheDaemonEndedIsTakenUpByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		end := run(t, a)
		m.deliver(a, with(t, m.part("one", 1, "m:p", "m:p deploy", "m:p start"), readingS(t)))
		hears(t, a, firstOwner, "one", "s/start", "old")
		time.Sleep(time.Minute)
		if err := a.tenant("sys").relearn(t.Context(), map[string][]byte{"s": attr(t, "ip", value.String("new"))}); err != nil {
			t.Fatal(err)
		}
		end() // before anybody has read it
		a = m.agent()
		a.cfg.Managers["Thing"] = n
		defer run(t, a)()
		time.Sleep(time.Minute)
		if did := n.all(); !slices.Contains(did, "m:p reconfigure new") {
			t.Errorf("done: %q", did)
		}
	})
}

func TestLZ7ReconfigureThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		m.deliver(a, with(t, m.part("one", 1, "m:p", "m:p deploy", "m:p start"), readingS(t)))
		hears(t, a, firstOwner, "one", "s/start", "old")
		time.Sleep(time.Minute)
		m.things.mu.Lock()
		m.things.fail["m:p reconfigure"] = 1
		m.things.mu.Unlock()
		if err := rereads(t, a, "new"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		c := a.tenant("sys").component("m:p")
		if v, _ := c.attrs.Get("v"); v != value.String("new") || c.reason != "" {
			t.Errorf("it has %v (%q): %q", v, c.reason, n.all())
		}
		again := 0
		for _, did := range n.all() {
			if did == "m:p reconfigure new" {
				again++
			}
		}
		if again != 2 {
			t.Errorf("tried %d times", again)
		}
	})
}

func TestLZ7ChangesGoOnAlongAChainOfReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		m.deliver(a, with(t, m.part("one", 1, "m:a m:b", "m:a deploy", "m:a start", "m:b deploy", "m:b start"), func(p *peerpb.Part) {
			readingS(t)(p)
			p.Components[1].Attributes = attr(t, "v", leads("m", "a", "v"))
		}))
		hears(t, a, firstOwner, "one", "s/start", "old")
		time.Sleep(time.Minute)
		if err := rereads(t, a, "new"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if did := n.all(); !slices.Contains(did, "m:b reconfigure new") {
			t.Errorf("done: %q", did)
		}
	})
}

// measuring are things that say another number after each operation.
type measuring struct{ *noting }

func (m measuring) Start(ctx context.Context, c *component.Call) error {
	c.Env.Output("latency", value.Integer(len(m.all())))
	return m.noting.Start(ctx, c)
}

func (m measuring) Reconfigure(ctx context.Context, c *component.Call) error {
	c.Env.Output("latency", value.Integer(len(m.all())))
	return m.noting.Reconfigure(ctx, c)
}

func TestLZ7TwoThatChangeEachOtherComeToRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		a.cfg.Managers["Thing"] = measuring{n}
		defer run(t, a)()
		m.deliver(a, with(t, m.part("one", 1, "m:a m:b", "m:a deploy", "m:b deploy", "m:a start", "m:b start"), func(p *peerpb.Part) {
			p.Components[0].Attributes = attr(t, "v", leads("m", "b", "latency"))
			p.Components[1].Attributes = attr(t, "v", leads("m", "a", "latency"))
		}))
		time.Sleep(10 * time.Minute)
		before := len(n.all())
		time.Sleep(time.Hour)
		if did := len(n.all()) - before; did > 30 {
			t.Errorf("%d operations in an hour in which nobody asked for one", did)
		}
	})
}

func TestWhatThePlanReplacesIsNotTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		m.deliver(a, with(t, m.part("one", 1, "m:p", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
			p.Components[0].Attributes = attr(t, "v", value.String("old"))
		}))
		time.Sleep(time.Minute)
		m.deliver(a, with(t, m.part("two", 2, "m:p", "m:p terminate", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
			p.Components[0].Attributes, p.Components[0].Digest = attr(t, "v", value.String("new")), "2"
			p.Steps[0].Needs, p.Listens = []string{"x/deploy"}, []string{"x/deploy"}
		}))
		tn := a.tenant("sys")
		tn.takeUp(t.Context(), tn.component("m:p")) // as when its certificate is another one
		hears(t, a, firstOwner, "two", "x/deploy", "")
		time.Sleep(time.Minute)
		want := []string{"m:p deploy old", "m:p start old", "m:p terminate old", "m:p deploy new", "m:p start new"}
		if did := n.all(); !slices.Equal(did, want) {
			t.Errorf("done: %q", did)
		}
	})
}

func TestWhatHasEndedIsNotTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "m:p", "m:p deploy", "m:p start"))
		time.Sleep(time.Minute)
		tn := a.tenant("sys")
		c := tn.component("m:p")
		go tn.componentEnded(context.WithoutCancel(t.Context()), c, component.Record{Type: component.Abnormal, Cause: "killed"})
		time.Sleep(500 * time.Millisecond) // of the pause before its restart
		tn.takeUp(t.Context(), c)
		time.Sleep(time.Minute)
		if did := n.all(); slices.Contains(did, "m:p reconfigure ?") {
			t.Errorf("done: %q", did)
		}
	})
}

// What a former owner says late does not take the place of what the present one
// has told with a plan; nor does what was so before a later plan.
func TestLateNewsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "m:q", "m:q deploy", "m:q start"))
		time.Sleep(time.Second)
		second := &peerpb.Fence{Epoch: 1, Term: 2}
		m.deliver(a, with(t, m.part("two", 2, "m:q m:p", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
			p.Components[1].Attributes = attr(t, "v", leads("s", "ip"))
			p.Steps[0].Needs, p.Listens = []string{"x/deploy"}, []string{"x/deploy", "s/start"}
			p.Fence = second
		}))
		hears(t, a, second, "two", "s/start", "new")
		if err := rereads(t, a, "old"); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("by the former owner: %v", err)
		}
		_, err := a.Reread(t.Context(), &peerpb.RereadRequest{System: "sys", Fence: second, Revision: 1, Components: map[string][]byte{"s": attr(t, "ip", value.String("old"))}})
		if status.Code(err) != codes.FailedPrecondition {
			t.Errorf("of the revision before: %v", err)
		}
		hears(t, a, second, "two", "x/deploy", "")
		time.Sleep(time.Minute)
		if did := n.all(); !slices.Contains(did, "m:p deploy new") {
			t.Errorf("done: %q", did)
		}
	})
}

type silentOwner struct{ *granting }

func (s silentOwner) Read(ctx context.Context, _ *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// HL2: what reads anew from an owner that does not answer ends with its tenure.
func TestHL2ReadingAnewDoesNotOutlastATenure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, n := noted(t)
		n.known = true
		g := &granting{machine: m}
		begun := time.Now()
		a.cfg.Owner, a.cfg.Clock = silentOwner{g}, func() (string, time.Duration) { return "boot", time.Hour + time.Since(begun) }
		defer run(t, a)()
		m.deliver(a, with(t, m.part("one", 1, "m:p", "m:p deploy", "m:p start"), func(p *peerpb.Part) {
			readingS(t)(p)
			p.Components[0].OnIsolation, p.Components[0].Tenure = "stop", 30
		}))
		hears(t, a, firstOwner, "one", "s/start", "old")
		time.Sleep(20 * time.Second)
		g.mu.Lock()
		g.cut = true
		g.mu.Unlock()
		cut := time.Now()
		time.Sleep(12 * time.Second)
		_, err := a.Reread(t.Context(), &peerpb.RereadRequest{
			System: "sys", Fence: firstOwner, Revision: 1, Components: map[string][]byte{"s": attr(t, "name", value.String("s"))}, // without ip
		})
		if err != nil {
			t.Fatal(err)
		}
		for !slices.Contains(n.all(), "m:p terminate old") && time.Since(cut) < 2*time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(cut); took > 17*time.Second {
			t.Errorf("ended %s after the cut", took)
		}
	})
}
