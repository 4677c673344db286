package sim

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"aloft/api"
	"aloft/internal/provision"
)

// expectGone checks that the system is known no more.
func (w *world) expectGone() {
	w.t.Helper()
	if st, err := w.service().Status(context.Background(), "sys"); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
		w.t.Errorf("status: %+v, %v; want not found", st, err)
	}
}

// expectNothing checks that there is no machine and nothing on one, and that
// the ledger's sums are right.
func (w *world) expectNothing() {
	w.t.Helper()
	time.Sleep(time.Minute) // for destructions that are finished afterwards
	if left := w.cloud.Resources(); len(left) > 0 {
		w.t.Errorf("machines are left over: %+v", left)
	}
	if live := w.stage.live(); len(live) > 0 {
		w.t.Errorf("components are left over: %v", live)
	}
	w.balance(0)
}

// balance checks the ledger: machines created = in use + destroyed.
func (w *world) balance(inUse int) {
	w.t.Helper()
	ledger := provision.LedgerOf(ledgerRows{w.rows}, "machine/")
	p, err := provision.New(provision.Config{Home: homeID, Vendors: provision.Fixed{w.cloud.Driver()}, Ledger: ledger, Log: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := p.Sweep(context.Background(), "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Created != r.InUse+r.Destroyed || r.InUse != inUse || len(r.Strays) > 0 || len(r.Missing) > 0 {
		w.t.Errorf("ledger: created %d, in use %d (want %d), destroyed %d, strays %v, missing %v", r.Created, r.InUse, inUse, r.Destroyed, r.Strays, r.Missing)
	}
}

// states returns the state of each component by path.
func (w *world) states() map[string]string {
	w.t.Helper()
	st, err := w.service().Status(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	states := map[string]string{}
	for _, c := range st.Components {
		states[c.Path] = c.State
	}
	return states
}

// expectState checks the state of the system, and when it runs that of each
// component; states come a moment after facts.
func (w *world) expectState(want string) {
	w.t.Helper()
	time.Sleep(2 * time.Second)
	st, err := w.service().Status(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	if st.State != want {
		w.t.Errorf("the system is %s, want %s: %+v", st.State, want, st.Components)
	}
}

// expectLive checks what is deployed on the machines.
func (w *world) expectLive(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.stage.live(); !slices.Equal(got, want) {
		w.t.Errorf("on the machines are %v, want %v", got, want)
	}
}

// expectStates checks the states of some components.
func (w *world) expectStates(want map[string]string) {
	w.t.Helper()
	got := w.states()
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			w.t.Errorf("%s is %q, want %q", path, got[path], want[path])
		}
	}
}

// expectNoWrong checks that nothing happened that must never happen.
func (w *world) expectNoWrong() {
	w.t.Helper()
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	for _, what := range w.stage.wrong {
		w.t.Error(what)
	}
}
