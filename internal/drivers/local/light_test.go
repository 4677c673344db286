package local

import (
	"testing"

	"aloft/provider"
)

func TestLightMachineRunsItsDaemon(t *testing.T) {
	w := newWorld(t, Light)
	r := w.create("db")
	a := w.ask(r)
	if a.Parent != 1 {
		t.Errorf("daemon is a child of %d, want process 1", a.Parent)
	}
	if a.Host != "db" || a.Machine != r.Ref || a.UserData != "token-db" {
		t.Errorf("machine says %+v", a)
	}
	if got, err := w.d.Get(t.Context(), w.account, r.Ref); err != nil || got.State != provider.Running {
		t.Errorf("Get = %+v, %v; want it running", got, err)
	}
}
