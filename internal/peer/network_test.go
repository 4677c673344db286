package peer

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// simulated runs f with a manager and a machine that have a session.
func simulated(t *testing.T, seed uint64, f func(t *testing.T, w *world, boss *manager, m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(seed)}
		boss, m := w.pair()
		m.contact(boss.address)
		boss.session(m.id)
		f(t, w, boss, m)
	})
}

func TestDelaysComeFromTheSeedAlone(t *testing.T) {
	// Names of hosts are part of the dice, so the daemons are not involved here.
	delays := func(seed uint64) (took []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := NewNetwork(seed)
			w.Delay(time.Millisecond, time.Second)
			for range 5 {
				from := time.Now()
				if err := w.carry(t.Context(), road{"a", "b"}); err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Since(from))
				w.carry(t.Context(), road{"b", "a"}) // other roads roll their own dice
			}
		})
		return took
	}
	first := delays(1)
	if again := delays(1); !slices.Equal(first, again) {
		t.Errorf("the same seed gave %v and %v", first, again)
	}
	if other := delays(2); slices.Equal(first, other) {
		t.Errorf("two seeds gave %v", first)
	}
	for _, d := range first {
		if d < time.Millisecond || d > time.Second {
			t.Errorf("delay of %v", d)
		}
	}
}

func TestCallTakesTheDelayOfBothWays(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		w.sim.Delay(time.Second, time.Second)
		from := time.Now()
		if _, err := peerpb.NewMachineClient(boss.session(m.id)).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(from); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestHeldMessagesArriveWhenReleased(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		client := peerpb.NewMachineClient(boss.session(m.id))
		release := w.sim.Stall(m.id, boss.id) // the answers
		answered := make(chan error, 1)
		go func() {
			_, err := client.Tell(context.Background(), &peerpb.TellRequest{})
			answered <- err
		}()
		time.Sleep(time.Hour)
		if len(m.called()) != 1 || len(answered) != 0 {
			t.Errorf("handled %d times, answered %d times", len(m.called()), len(answered))
		}
		release()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlineHoldsWhileMessagesDoNotMove(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		defer w.sim.Stall(boss.id, m.id)()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := peerpb.NewMachineClient(boss.session(m.id)).Tell(ctx, &peerpb.TellRequest{})
		if status.Code(err) != codes.DeadlineExceeded || len(m.called()) != 0 {
			t.Errorf("got %v, handled %d times", err, len(m.called()))
		}
	})
}

func TestLostMessageBreaksTheSessionAndItComesBack(t *testing.T) {
	var noEffect, effect int
	for seed := range uint64(48) {
		simulated(t, seed, func(t *testing.T, w *world, boss *manager, m *machine) {
			client := peerpb.NewMachineClient(boss.session(m.id))
			w.sim.Loss(0.5)
			_, err := client.Tell(t.Context(), &peerpb.TellRequest{})
			w.sim.Loss(0)
			if err == nil {
				return
			}
			if status.Code(err) != codes.Unavailable {
				t.Errorf("lost call: %v", err)
			}
			if len(m.called()) == 0 {
				noEffect++
			} else {
				effect++
			}
			time.Sleep(time.Minute)
			if _, err := peerpb.NewMachineClient(boss.session(m.id)).Tell(t.Context(), &peerpb.TellRequest{}); err != nil {
				t.Errorf("call after that: %v", err)
			}
		})
	}
	if noEffect == 0 || effect == 0 {
		t.Errorf("calls lost before their effect: %d, after it: %d; want some of both", noEffect, effect)
	}
}

func TestBrokenConnectionIsMadeAnew(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		s := boss.session(m.id)
		m.hold = make(chan struct{})
		failed := make(chan error, 1)
		go func() {
			_, err := peerpb.NewMachineClient(s).Inspect(context.Background(), &peerpb.InspectRequest{})
			failed <- err
		}()
		synctest.Wait()
		broken := s.(*session).current()
		w.sim.Break(boss.id, m.id)
		<-broken.done
		if err := <-failed; status.Code(err) != codes.Unavailable {
			t.Errorf("call under way: %v", err)
		}
		time.Sleep(time.Second) // the machine may come back before this end has noticed: then the session goes on
		if err := tell(t.Context(), peerpb.NewMachineClient(boss.session(m.id))); err != nil {
			t.Errorf("call afterwards: %v", err)
		}
	})
}

func TestIsolatedHostIsReachedByNobody(t *testing.T) {
	simulated(t, 1, func(t *testing.T, w *world, boss *manager, m *machine) {
		heal := w.sim.Isolate(boss.id)
		from := time.Now()
		if _, err := m.node.Dial(t.Context(), boss.address); err == nil || time.Since(from) != handshakeTime {
			t.Errorf("after %v: %v", time.Since(from), err)
		}
		heal()
		if _, err := m.node.Dial(t.Context(), boss.address); err != nil {
			t.Error(err)
		}
		if _, err := m.node.Dial(t.Context(), "nobody:7400"); err == nil {
			t.Error("dialled a host that does not listen")
		}
	})
}

func TestHandlerSeesCancellationMetadataAndItsErrorsTravel(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		boss, m := w.pair()
		s, err := boss.node.Dial(t.Context(), m.address)
		if err != nil {
			t.Fatal(err)
		}
		client := peerpb.NewMachineClient(s)
		if _, err := client.Deliver(t.Context(), &peerpb.SignedPart{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("a method that is not implemented: %v", err)
		}
		m.hold = make(chan struct{})
		ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "key", "value"))
		failed := make(chan error, 1)
		go func() {
			_, err := client.Inspect(ctx, &peerpb.InspectRequest{})
			failed <- err
		}()
		cancel()
		if err := <-failed; status.Code(err) != codes.Canceled {
			t.Errorf("cancelled call: %v", err)
		}
		// The stop of the machine waits for its handlers: it would hang if the
		// handler had not been told.
		m.stop()
	})
}

func TestMachineEnrolsOverALossyNetwork(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, sim: NewNetwork(seed)}
			boss := w.manager()
			boss.listen()
			w.sim.Delay(time.Millisecond, 20*time.Millisecond)
			w.sim.Loss(0.4)
			m := boss.machine()
			m.enrol()
			m.contact(boss.address)
			for !m.identity.Enrolled() {
				if time.Sleep(time.Second); time.Since(m.born) > 10*time.Minute {
					t.Fatal("not enrolled in ten minutes")
				}
			}
			w.sim.Loss(0)
			time.Sleep(time.Minute)
			checkBothWays(t, boss, m)
		})
	}
}

func TestStrangerCannotStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(1)}
		boss := w.manager()
		boss.listen()
		s, err := boss.machine().node.Dial(t.Context(), boss.address)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		<-s.Done()
		if stayed := time.Since(from); stayed != strangerTime {
			t.Errorf("stayed %v", stayed)
		}
	})
}

func TestReachFollowsAChangedAddressAndRefusesAnotherMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sim: NewNetwork(1)}
		boss, m := w.pair()
		other := boss.machine()
		other.listen()
		other.enrol()
		reach := boss.node.NewReach()
		background(t, reach.Run)
		reach.Set(m.id, other.address)
		time.Sleep(time.Minute)
		if _, ok := boss.node.Session(m.id); ok {
			t.Error("another machine passed for this one")
		}
		reach.Set(m.id, m.address)
		time.Sleep(2 * reachAfter)
		s, ok := boss.node.Session(m.id)
		if !ok {
			t.Fatal("no session at the new address")
		}
		reach.Remove(m.id)
		s.Close()
		time.Sleep(time.Minute)
		if _, ok := boss.node.Session(m.id); ok {
			t.Error("a removed target was dialled")
		}
	})
}
