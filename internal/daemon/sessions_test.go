package daemon

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"aloft/internal/identity"
	"aloft/internal/peer"
	"aloft/internal/store"
)

func TestManagerHasOneSessionWithItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := store.NewMemory()
		defer rows.Close()
		id, err := identity.OpenManager(identity.ManagerConfig{
			Dir: t.TempDir(), ID: "00000000-0000-4000-8000-000000000001", Tokens: tokens{rows}, Log: slog.New(slog.DiscardHandler),
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
