package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/peer"
)

// troubled deploys a forest, has trouble befall the owner of the system at some
// instant, and checks that the deployment ends as if nothing had been.
func troubled(t *testing.T, n int, trouble func(w *world, owner *seat) (over func())) {
	overSeeds(t, n, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 10)), 3, 9)
		scenario(t, options{seed: seed, random: 10 * time.Second, more: 2}, func(w *world) {
			p := w.begin(f.text(nil))
			time.Sleep(time.Duration(w.number(80_000)) * time.Millisecond)
			owner, _ := w.owner(theSystem)
			over := trouble(w, owner)
			time.Sleep(time.Duration(w.number(60_000)) * time.Millisecond)
			over()
			if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID || d.Revision != 1 {
				t.Errorf("up ended %s with plan %s, revision %d, want done with %s and 1: %+v", d.State, d.Plan, d.Revision, p.ID, d.Failures)
			}
			time.Sleep(time.Minute)
			w.expectState(api.SystemRunning)
			f.checkDeployed(w, 0)
			f.expectMadeOnce(w)
			w.expectMachines(3)
			w.down(false)
		})
	})
}

// The network and the store of the owner stand still; then it goes on, and
// believes for a moment that it still owns. // RT-06, DI8
func TestRT06OwnerThatIsFrozenAndGoesOnHarmsNothing(t *testing.T) {
	troubled(t, 6, func(w *world, owner *seat) func() {
		thaw := w.freeze(owner)
		w.another(theSystem, owner)
		return thaw
	})
}

// The owner reaches every machine, and cannot write. // RT-06, DI8
func TestRT06OwnerCutOffFromTheStoreIsReplaced(t *testing.T) {
	troubled(t, 6, func(w *world, owner *seat) func() {
		mend := owner.cut()
		w.another(theSystem, owner)
		return mend
	})
}

// The owner keeps its systems, since it lives, and reaches no machine. // RT-06
func TestRT06OwnerCutOffFromTheMachinesGoesOnLater(t *testing.T) {
	troubled(t, 6, func(w *world, owner *seat) func() {
		var heal []func()
		for n := range 6 {
			heal = append(heal, w.net.Cut(owner.name, fmt.Sprintf("10.100.0.%d", n+1)))
		}
		return func() {
			for _, h := range heal {
				h()
			}
			if now, _ := w.owner(theSystem); now != owner {
				w.t.Errorf("the system went from %s to %s, which had no reason to take it", owner.name, now.name)
			}
		}
	})
}

// The executor of an account changes while machines are made and ended, with
// answers of the provider lost: none is lost, none is made twice. // RT-06, LC7
func TestLC7AccountChangesItsOwnerInTheMiddleOfCreateAndDestroy(t *testing.T) {
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		o := options{seed: seed, random: 5 * time.Second, more: 2}
		o.cloud.Faults.LostAnswers = 0.2
		o.cloud.Latency, o.cloud.ListLag, o.cloud.Shutdown = 500*time.Millisecond, 3*time.Second, 10*time.Second
		scenario(t, o, func(w *world) {
			w.begin(sixMachines)
			kill := func(within int) (killed *seat) {
				time.Sleep(time.Duration(w.number(within)) * time.Millisecond)
				killed, _ = w.owner(theAccount)
				w.kill(killed)
				w.another(theAccount, killed)
				return killed
			}
			first := kill(3000)
			if d := w.end(); d.State != api.DeploymentDone {
				t.Fatalf("up ended %s: %+v", d.State, d.Failures)
			}
			w.expectMachines(6)
			w.enthrone(first)
			time.Sleep(10 * time.Second)
			w.insist(api.PlanRequest{Name: "sys", Down: true})
			kill(15_000)
			w.endOrGone()
			w.expectNothing()
		})
	})
}

// No machine reaches another, so what crosses machines goes through the owner;
// what does not goes on while a machine is cut off from everybody. // DI3
func TestDI3FactsAndPartsGoThroughTheOwner(t *testing.T) {
	scenario(t, options{seed: 1, more: 2}, func(w *world) {
		for n := range 3 {
			for m := range n {
				defer w.net.Cut(fmt.Sprintf("10.100.0.%d", m+1), fmt.Sprintf("10.100.0.%d", n+1))()
			}
		}
		w.begin(`sfConfig extends {
			m1 extends VM { a extends Probe { deployTakes 60000; } b extends Probe { reads LAZY m1:a:out; } }
			m2 extends VM { c extends Probe { reads LAZY m1:b:out; } }
			m3 extends VM { d extends Probe {} }
		}`)
		w.until("m1:a", "deploying")
		heal := w.net.Isolate(w.machine("sys/m1").resource.Address)
		time.Sleep(3 * time.Minute)
		ops := w.operations(0)
		w.follows(ops, "m1:b deploy", "m1:a deploy")
		if _, begun := ops["m2:c deploy"]; begun {
			t.Error("m2:c was deployed though nobody could know that m1:b is")
		}
		if _, begun := ops["m3:d deploy"]; !begun {
			t.Error("m3:d waited for what it does not need")
		}
		heal()
		if d := w.end(); d.State != api.DeploymentDone {
			t.Fatalf("up ended %s: %+v", d.State, d.Failures)
		}
		w.follows(w.operations(0), "m2:c deploy", "m1:b deploy")
		w.down(false)
	})
}

// TestDI8FormerOwnerIsAnsweredStaleOwner has what an owner sent before it was
// replaced arrive at a machine afterwards, and again at that machine's next
// daemon: every kind of command is refused as of a stale owner. // RT-06, DI8
func TestDI8FormerOwnerIsAnsweredStaleOwner(t *testing.T) {
	scenario(t, options{seed: 1, more: 2}, func(w *world) {
		const text = `sfConfig extends {
			m1 extends VM { a extends Probe { deployTakes 60000; } }
			m2 extends VM { b extends Probe { reads LAZY m1:a:out; } }
		}`
		p := w.begin(text)
		w.until("m1:a", "deploying")
		owner, term := w.owner(theSystem)
		w.kill(owner)
		w.another(theSystem, owner)
		if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID {
			t.Fatalf("up ended %s with plan %s, want done with %s: %+v", d.State, d.Plan, p.ID, d.Failures)
		}
		mark := len(w.stage.trace())
		m2 := w.machine("sys/m2")
		for _, daemon := range []string{"the same daemon", "the next daemon"} {
			for name, err := range w.heldBack(owner, m2, term, p.ID) {
				if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "stale owner") {
					t.Errorf("%s of the former owner to %s: %v; want it refused as of a stale owner", name, daemon, err)
				}
			}
			w.restartMachine(m2, time.Second)
			time.Sleep(20 * time.Second)
		}
		for _, c := range w.stage.trace()[mark:] {
			if c.Op != "adopt" {
				t.Errorf("a command of the former owner had an effect: %v", c)
			}
		}
		w.expectNoChange(text)
		w.down(false)
	})
}

// heldBack sends a machine what a manager that is dead may have sent it, as that
// manager, and returns the answers.
func (w *world) heldBack(from *seat, to *machine, term int64, planID string) map[string]error {
	w.t.Helper()
	answers := map[string]error{}
	fence := &peerpb.Fence{Epoch: 1, Term: term}
	w.must(func() error {
		is, err := identity.OpenManager(identity.ManagerConfig{Dir: w.folder(from) + "/identity", ID: from.id, Log: w.log})
		if err != nil {
			return err
		}
		part, err := proto.Marshal(&peerpb.Part{
			Schema: 1, System: "sys", Revision: 1, Plan: planID, Executor: to.resource.Mark.Machine, Machine: "sys/m2", Fence: fence, OnFailure: "keep",
		})
		if err != nil {
			return err
		}
		signature, chain, err := is.Sign(part)
		if err != nil {
			return err
		}
		return w.calling(from, is, to.resource.Address+":7400", func(ctx context.Context, s peer.Session) error {
			c := peerpb.NewMachineClient(s)
			_, answers["Deliver"] = c.Deliver(ctx, &peerpb.SignedPart{Part: part, Signature: signature, Chain: chain})
			_, answers["Tell"] = c.Tell(ctx, &peerpb.TellRequest{Fence: fence, Facts: []*peerpb.Fact{{
				System: "sys", Revision: 1, Plan: planID, Step: "m1:a/deploy", Outcome: peerpb.Outcome_OUTCOME_FAILED,
			}}})
			_, answers["Interrupt"] = c.Interrupt(ctx, &peerpb.InterruptRequest{System: "sys", Plan: planID, Fence: fence})
			return nil
		})
	})
	return answers
}
