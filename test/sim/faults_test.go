package sim

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/component"
	"aloft/internal/journal"
	"aloft/internal/store"
	"aloft/provider"
	"aloft/test/plain"
)

// fault is a mistake that can be switched on in a simulated world, to show that
// the simulation would find it in the product: -sim.fault NAME. Each is made by
// what lies around the daemons, so that the product has no switch for it.
type fault string

// The planted faults. What finds each of them stands in the list of faults.
const (
	noFencing      fault = "no-fencing"      // a machine remembers no owner, and obeys whoever comes
	answerFirst    fault = "answer-first"    // the journal answers before what it wrote is on disk
	lostUndo       fault = "lost-undo"       // what a failed deploy has made is not undone
	newTokens      fault = "new-tokens"      // each request to a provider has a token of its own
	forgottenStep  fault = "forgotten-step"  // a step that is settled is run again when its part comes again
	reportFirst    fault = "report-first"    // a manager acknowledges what is not in its store yet
	halfSave       fault = "half-save"       // of the rows that a crash finds under way some are written
	lostComponents fault = "lost-components" // a machine's daemon that starts again knows of no component
	doubleStart    fault = "double-start"    // a component that runs is begun once more by its next daemon
	lostEnd        fault = "lost-end"        // a component that was terminated goes on
	lostRow        fault = "lost-row"        // what a component came to never reaches the store
	noConditions   fault = "no-conditions"   // the store carries out what is written on a condition without it
	unfenced       fault = "unfenced"        // who owned a system before writes on after another took it over
	factTwice      fault = "fact-twice"      // a fact that is written already is written once more, later
	lostChange     fault = "lost-change"     // a watch that is cut goes on without what it missed
	clockTenure    fault = "clock-tenure"    // a machine counts by its clock how long it may go on
)

// faults lists them all, with the test that finds each.
var faults = map[fault]string{
	noFencing:      "TestDI8HeldBackCommandOfAnEarlierOwnerChangesNothing",
	answerFirst:    "TestAnyDayEndsWell",
	lostUndo:       "TestLC8FailedOperationUndoesItsSubtreeAlone",
	newTokens:      "TestAnyDayEndsWell",
	forgottenStep:  "TestAnyDayEndsWell",
	reportFirst:    "TestAnyDayEndsWell",
	halfSave:       "TestEveryDaemonCrashesAndTheDeploymentEnds",
	lostComponents: "TestAnyDayEndsWell",
	doubleStart:    "TestAnyDayEndsWell",
	lostEnd:        "TestAnyDayEndsWell",
	lostRow:        "TestAnyDayEndsWell",
	noConditions:   "TestRT06OwnerThatIsFrozenAndGoesOnHarmsNothing",
	unfenced:       "TestRT06OwnerThatIsFrozenAndGoesOnHarmsNothing",
	factTwice:      "TestAnyDayEndsWell",
	lostChange:     "TestRT07DI6OwnerKilledAtAnyInstantIsReplaced",
	clockTenure:    "TestHL2TenuresAreNotCountedByClocks",
}

// planted is the fault that is switched on, or "".
func planted(f fault) bool { return fault(*onlyFault) == f }

// plantedRows is a daemon's disk with the fault that is switched on.
func plantedRows(d drive) journal.Rows {
	switch fault(*onlyFault) {
	case noFencing, forgottenStep, lostComponents, answerFirst:
		return &faultyRows{d}
	}
	return d
}

type faultyRows struct{ drive }

// forgets reports whether a row that is there is not found.
func forgets(key string) bool {
	return planted(noFencing) && strings.HasPrefix(key, "fence/") || planted(forgottenStep) && strings.HasPrefix(key, "step/")
}

func (f *faultyRows) Load(ctx context.Context, key string) ([]byte, int64, error) {
	if forgets(key) {
		return nil, 0, nil
	}
	return f.drive.Load(ctx, key)
}

func (f *faultyRows) Scan(ctx context.Context, prefix string, visit func(string, []byte, int64) error) error {
	if forgets(prefix) || planted(lostComponents) && strings.HasPrefix(prefix, "component") {
		return nil
	}
	return f.drive.Scan(ctx, prefix, visit)
}

func (f *faultyRows) Save(ctx context.Context, keys []string, values [][]byte, revisions []int64) (bool, error) {
	for _, key := range keys {
		switch {
		case forgets(key): // it was not found, and is believed not to be there
			revisions = whatever(len(keys))
		case planted(answerFirst):
			return f.later(keys, values, revisions)
		}
	}
	return f.drive.Save(ctx, keys, values, revisions)
}

func whatever(n int) []int64 {
	any := make([]int64, n)
	for i := range any {
		any[i] = journal.Any
	}
	return any
}

// later answers at once. The rows can be read, and are lost if the power fails
// within the next minute.
func (f *faultyRows) later(keys []string, values [][]byte, revisions []int64) (bool, error) {
	f.power.mu.Lock()
	off := f.power.off
	f.power.mu.Unlock()
	if off {
		return false, errPower
	}
	before := map[string]row{}
	f.mu.Lock()
	for _, key := range keys {
		before[key] = f.rows[key]
	}
	f.mu.Unlock()
	copies := make([][]byte, len(values))
	for i, v := range values {
		copies[i] = bytes.Clone(v)
	}
	saved := f.apply(keys, copies, revisions)
	f.power.mu.Lock()
	defer f.power.mu.Unlock()
	synced := false
	time.AfterFunc(time.Minute, func() {
		f.power.mu.Lock()
		defer f.power.mu.Unlock()
		synced = true
	})
	f.power.lost = append(f.power.lost, func() {
		if synced {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for key, r := range before {
			if r.value == nil {
				delete(f.rows, key)
			} else {
				f.rows[key] = r
			}
		}
	})
	return saved, nil
}

// plantedStore is a manager's store with the fault that is switched on.
func plantedStore(p powered) store.KV {
	switch fault(*onlyFault) {
	case reportFirst, lostRow, unfenced, factTwice, lostChange:
		return faultyStore{p}
	}
	return p
}

type faultyStore struct{ powered }

func (f faultyStore) Commit(ctx context.Context, t store.Txn) (int64, error) {
	fact := func(p store.Put) bool {
		return strings.HasPrefix(p.Key, "component/") || strings.HasPrefix(p.Key, "step/")
	}
	switch fault(*onlyFault) {
	case lostChange:
		return f.powered.Commit(ctx, t)
	case unfenced:
		if !slices.ContainsFunc(t.Put, func(p store.Put) bool { return strings.HasPrefix(p.Key, "owner/") }) {
			t.If = slices.DeleteFunc(slices.Clone(t.If), func(c store.Condition) bool { return strings.HasPrefix(c.Key, "owner/") })
		}
		return f.powered.Commit(ctx, t)
	case factTwice:
		revision, err := f.powered.Commit(ctx, t)
		again := store.Txn{Put: slices.DeleteFunc(slices.Clone(t.Put), func(p store.Put) bool { return !fact(p) })}
		if err == nil && len(again.Put) > 0 {
			time.AfterFunc(time.Minute, func() { _, _ = f.powered.Commit(context.WithoutCancel(ctx), again) })
		}
		return revision, err
	}
	if planted(lostRow) {
		t.Put = slices.DeleteFunc(slices.Clone(t.Put), func(p store.Put) bool {
			return strings.HasPrefix(p.Key, "component/")
		})
		return f.powered.Commit(ctx, t)
	}
	for _, p := range t.Put {
		if !fact(p) {
			return f.powered.Commit(ctx, t)
		}
	}
	_, revision, err := f.List(ctx, "no such row")
	time.AfterFunc(2*time.Second, func() { _, _ = f.powered.Commit(context.WithoutCancel(ctx), t) })
	return revision + 1, err
}

// Watch is cut every half a minute, for ten seconds.
func (f faultyStore) Watch(ctx context.Context, prefix string, from int64) <-chan store.Batch {
	in := f.powered.Watch(ctx, prefix, from)
	if !planted(lostChange) {
		return in
	}
	out := make(chan store.Batch)
	go func() {
		defer close(out)
		for begun := time.Now(); ; {
			b, open := <-in
			if !open {
				return
			}
			if b.Err == nil && time.Since(begun)%(30*time.Second) > 20*time.Second {
				continue
			}
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// plantedSince is how long ago a machine was booted, with the fault that is
// switched on.
func (w *world) plantedSince(machine string, booted time.Time) time.Duration {
	if planted(clockTenure) {
		return w.clock(machine).now().Sub(booted)
	}
	return time.Since(booted)
}

// plantedCloud is the provider with the fault that is switched on.
func (w *world) plantedCloud() provider.Provider {
	if planted(newTokens) {
		return &faultyCloud{Provider: w.cloud.Driver(), world: w}
	}
	return stubborn{w.cloud.Driver(), w}
}

type faultyCloud struct {
	provider.Provider
	world *world
}

func (f *faultyCloud) Create(ctx context.Context, a provider.Account, r provider.Request) (provider.Resource, error) {
	r.Token = f.world.newID()
	return f.Provider.Create(ctx, a, r)
}

// plantedProbe is the manager of probes with the fault that is switched on.
func plantedProbe(p *probe) component.Manager {
	if planted(lostUndo) || planted(doubleStart) || planted(lostEnd) {
		return &faultyProbe{p}
	}
	return p
}

type faultyProbe struct{ *probe }

func (f *faultyProbe) Terminate(ctx context.Context, c *component.Call) error {
	if planted(lostEnd) {
		return nil
	}
	if planted(lostUndo) {
		f.stage.mu.Lock()
		e := f.stage.effects[f.at(c)]
		begun := e == nil || e.starts > 0
		f.stage.mu.Unlock()
		if !begun {
			return nil
		}
	}
	return f.probe.Terminate(ctx, c)
}

func (f *faultyProbe) Start(ctx context.Context, c *component.Call) error {
	if planted(doubleStart) {
		f.stage.mu.Lock()
		if e := f.stage.effects[f.at(c)]; e != nil {
			e.running = false
		}
		f.stage.mu.Unlock()
	}
	return f.probe.Start(ctx, c)
}

// TestPlantedFaultsAreFound runs a test with each fault, seed after seed, until
// it fails. It would not if the simulation could not see the fault.
func TestPlantedFaultsAreFound(t *testing.T) {
	if *onlyFault != "" {
		t.Skip("it runs itself")
	}
	const within = "200"
	binary := plain.Binary(t)
	for f, finder := range faults {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			run := exec.CommandContext(ctx, binary, "-test.run", "^"+finder+"$", "-test.failfast", "-sim.fault", string(f), "-sim.seeds", within)
			out, err := run.CombinedOutput()
			if err == nil || ctx.Err() != nil {
				t.Fatalf("fault %s was planted, and %s went well over %s seeds: %v", f, finder, within, err)
			}
			// A daemon that cannot live with what the fault has left behind has found it, too.
			if at := bytes.Index(out, []byte("panic: ")); at >= 0 {
				t.Logf("found by a crash: %.2000s", out[at:])
				return
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "_test.go:") && !strings.Contains(line, "begins") && !strings.Contains(line, "ends") {
					t.Logf("found: %.300s", strings.TrimSpace(line))
					return
				}
			}
			t.Errorf("fault %s: %s did not end as a test does: %v\n%.2000s", f, finder, err, out)
		})
	}
}
