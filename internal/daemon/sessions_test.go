package daemon

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"aloft/internal/identity"
	"aloft/internal/peer"
	"aloft/internal/store"
)

func TestManagerHasOneSessionWithItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := store.NewMemory()
		defer rows.Close()
		id, err := identity.OpenManager(identity.ManagerConfig{
			Dir: t.TempDir(), ID: "00000000-0000-4000-8000-000000000001", Tokens: tokens{rows, time.Now}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		node := peer.NewNode(peer.Config{Identity: id, Log: slog.New(slog.DiscardHandler), Host: peer.NewNetwork(1).Host("manager")})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- node.Run(ctx) }()
		self := &toSelf{node: node, id: "00000000-0000-4000-8000-000000000001"}
		first, err := self.session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if again, err := self.session(t.Context()); err != nil || again != first {
			t.Errorf("asked again: %v, %v; want the first, %v", again, err, first)
		}
		first.Close()
		<-first.Done()
		if after, err := self.session(t.Context()); err != nil || after == first {
			t.Errorf("after its end: %v, %v; want another", after, err)
		}
		cancel()
		<-ended
	})
}

// A machine whose session has ended is silent since then, also in the moment
// before that is noted. // LZ8
func TestMachineIsNotSilentSinceBeforeItWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAbsence()
		begun := time.Now()
		time.Sleep(time.Hour)
		if at := a.since("m"); !at.Equal(begun) {
			t.Errorf("never heard: silent since %v", at.Sub(begun))
		}
		a.note(peer.Change{Peer: peer.Peer{ID: "m"}, Session: alive{}})
		time.Sleep(time.Hour)
		if at := a.since("m"); !at.Equal(time.Now()) {
			t.Errorf("its end is not noted yet: silent since %v", at.Sub(begun))
		}
		a.note(peer.Change{Peer: peer.Peer{ID: "m"}})
		time.Sleep(time.Hour)
		if at := a.since("m"); at.Sub(begun) != 2*time.Hour {
			t.Errorf("its end is noted: silent since %v", at.Sub(begun))
		}
	})
}

// alive is some session.
type alive struct{ peer.Session }
