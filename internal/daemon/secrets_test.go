package daemon

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"aloft/internal/identity"
	"aloft/internal/store"
)

func TestSecretsAreSealedAnewWhenAManagerWasRemoved(t *testing.T) {
	kv := store.NewMemory()
	defer kv.Close()
	m, err := identity.OpenManager(identity.ManagerConfig{
		Dir: t.TempDir(), ID: uuid.NewString(), Tokens: tokens{kv, time.Now}, Vault: vault{kv}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := secrets{kv, m}
	before, err := s.set(t.Context(), "db", []byte("content"), "somebody")
	if err != nil {
		t.Fatal(err)
	}
	other := uuid.NewString()
	token, err := m.NewJoinToken(t.Context(), identity.RoleManage, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	joining, err := identity.OpenJoining(t.TempDir(), other, identity.RoleManage, token.String())
	if err != nil {
		t.Fatal(err)
	}
	request, err := joining.Request()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Admit(t.Context(), token.String(), other, identity.RoleManage, request); err != nil {
		t.Fatal(err)
	}
	// Its removal makes a new key for secrets.
	if err := m.Remove(t.Context(), identity.KindManager, other); err != nil {
		t.Fatal(err)
	}
	if err := s.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, v, err := s.content(t.Context(), "db")
	if err != nil || string(v.Reveal()) != "content" {
		t.Fatalf("%s, %v", v.Reveal(), err)
	}
	if after.Key == before.Key || after.Version != before.Version || !after.Changed.AsTime().Equal(before.Changed.AsTime()) {
		t.Errorf("%v, then %v: want another key, and all else as it was", before, after)
	}
	if keys, err := s.keys(t.Context()); err != nil || len(keys) != 1 {
		t.Errorf("%d keys are left, %v; want the newest", len(keys), err)
	}
}
