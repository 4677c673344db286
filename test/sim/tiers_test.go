package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/internal/plan"
	"aloft/value"
)

// tiers are a balancer before copies that read copies of another set.
func tiers(web, store, app, kept string) string {
	return fmt.Sprintf(`sfConfig extends {
		front extends VM { lb extends Probe { servers LAZY web:app:out; } }
		web extends VM { sfCopies 3; %s app extends Probe { stores LAZY store:app:out; %s } }
		store extends VM { sfCopies 2; %s app extends Probe { %s } }
	}`, web, app, store, kept)
}

const (
	oneByOne = "sfMaxUnavailable 1;"
	withMore = "sfMaxUnavailable 0; sfMaxSurge 1;"
)

// expectTold checks that since mark none of those who read the stores was told of
// one that did not run, and returns the fewest that any of those that ran knew, and
// the most that were reconfigured at a time.
func (w *world) expectTold(mark int) (fewest, most int) {
	w.t.Helper()
	running, known, coming := map[value.Path]bool{}, map[value.Path][]value.Path{}, map[value.Path][]value.Path{}
	serves, busy := map[value.Path]bool{}, map[value.Path]bool{}
	fewest = 1000
	for i, c := range w.stage.trace() {
		store, reader := strings.HasPrefix(string(c.Path), "store"), strings.HasPrefix(string(c.Path), "web")
		begins := reader && !c.Done
		switch {
		case store && c.Op == "start" && c.Done && !c.Failed:
			running[c.Path] = true
		case store && (c.Op == "terminate" || c.Op == "ended") && !c.Done:
			running[c.Path] = false
		case begins && (c.Op == "deploy" || c.Op == "reconfigure"):
			coming[c.Path] = storesOf(c)
			busy[c.Path] = true
		case begins && (c.Op == "terminate" || c.Op == "ended"):
			delete(known, c.Path)
			delete(serves, c.Path)
		case reader && c.Done && (c.Op == "deploy" || c.Op == "reconfigure"):
			if !c.Failed {
				known[c.Path] = coming[c.Path]
			}
			delete(coming, c.Path)
			delete(busy, c.Path)
		case reader && c.Op == "start" && c.Done && !c.Failed:
			serves[c.Path] = true
		}
		if i < mark {
			continue
		}
		most = max(most, len(busy))
		for path := range serves {
			fewest = min(fewest, len(known[path]))
		}
		for _, all := range []map[value.Path][]value.Path{known, coming} {
			for path, list := range all {
				for _, p := range list {
					if !running[p] {
						w.t.Fatalf("at %v %s knows %s, which does not run", c, path, p)
					}
				}
			}
		}
	}
	return fewest, most
}

func storesOf(c call) (paths []value.Path) {
	v, _ := c.Attrs.Get("stores")
	list, _ := v.(value.Vector)
	for _, e := range list {
		if r, open := e.(*value.Reference); open {
			paths = append(paths, plan.Referred(r).Parent())
			continue
		}
		path, _, _ := strings.Cut(string(e.(value.String)), "@")
		paths = append(paths, value.Path(path))
	}
	return paths
}

// Where one update changes the copies of a set, and those that they read, each of
// the first is told of the batches of the others before its own turn, with what it
// has: not with what it is to be.
func TestLZ7CopiesAreToldOfTheBatchesOfOthers(t *testing.T) {
	replaced, reconfigured := [2]string{"fixed 1;", "fixed 2;"}, [2]string{"v 1;", "v 2;"}
	machines := [2]string{"cores 1;", "cores 2;"}
	for name, c := range map[string]struct{ app, kept, web, store [2]string }{
		"both are replaced":            {app: replaced, kept: replaced},
		"both are reconfigured":        {app: reconfigured, kept: reconfigured},
		"readers are replaced":         {app: replaced, kept: reconfigured},
		"readers are reconfigured":     {app: reconfigured, kept: replaced},
		"what is read is replaced":     {kept: replaced},
		"what is read is reconfigured": {kept: reconfigured},
		"all machines are replaced":    {web: machines, store: machines},
		"readers' machines are":        {web: machines, kept: replaced},
	} {
		for pace, p := range map[string][2]string{
			"one by one": {oneByOne, oneByOne}, "with more": {withMore, withMore},
			"more of what is read": {oneByOne, withMore}, "more readers": {withMore, oneByOne},
		} {
			t.Run(name+", "+pace, func(t *testing.T) {
				overSeeds(t, 2, func(t *testing.T, seed uint64) {
					scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
						text := func(v int) string { return tiers(p[0]+c.web[v], p[1]+c.store[v], c.app[v], c.kept[v]) }
						w.runs(text(0))
						mark := len(w.stage.trace())
						w.runs(text(1))
						fewest, most := w.expectTold(mark)
						if want := strings.Count(p[1], "Surge") + 1; fewest < want {
							t.Errorf("one of web knew %d stores, want %d at least", fewest, want)
						}
						if most > 2 { // a further copy, and one that it is beside
							t.Errorf("%d of web were changed at a time", most)
						}
						w.expectNoneDead(mark)
						w.expectLive("front:lb", "store1:app", "store2:app", "web1:app", "web2:app", "web3:app")
						for n := range 3 {
							path := fmt.Sprintf("web%d:app", n+1)
							if known := w.storesKnown(path); !slices.Equal(known, []value.Path{"store1:app", "store2:app"}) {
								t.Errorf("%s knows %v in the end", path, known)
							}
						}
						w.expectNoChange(text(1))
						w.down(false)
					})
				})
			})
		}
	}
}

// storesKnown returns the stores that a component was given last.
func (w *world) storesKnown(path string) (known []value.Path) {
	for _, c := range w.stage.trace() {
		if string(c.Path) == path && !c.Done && (c.Op == "deploy" || c.Op == "reconfigure") {
			known = storesOf(c)
		}
	}
	return known
}

// Until its own turn a copy is what it was, also where the update fails before.
func TestLZ7CopiesThatAreToldOfOthersStayWhatTheyWere(t *testing.T) {
	const fails = `fixed 2; failStart (IF ((LAZY sfCopyIndex) == 2) THEN -1 ELSE 0 FI);`
	for pace, p := range map[string]string{"one by one": oneByOne, "with more": withMore} {
		for name, app := range map[string][2]string{"replaced": {"fixed 1;", "fixed 2;"}, "reconfigured": {"v 1;", "v 2;"}} {
			t.Run(name+", "+pace, func(t *testing.T) {
				scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
					w.runs(tiers(p, p, app[0], "fixed 1;"))
					mark := len(w.stage.trace())
					if d := w.up(tiers(p, p, app[1], fails)); d.State != api.DeploymentDegraded {
						t.Errorf("up ended %s", d.State)
					}
					w.stage.die("web1:app", component.Abnormal)
					w.killDaemon("sys/web2", 2*time.Second)
					time.Sleep(10 * time.Minute)
					w.expectTold(mark)
					for _, c := range w.stage.trace()[mark:] {
						if n, _ := c.Attrs.Get(strings.Fields(app[0])[0]); strings.HasPrefix(string(c.Path), "web") && n == value.Integer(2) {
							t.Fatalf("%v: its turn has not come", c)
						}
					}
					w.runs(tiers(p, p, app[1], "fixed 3;"))
					w.expectTold(mark)
					w.expectLive("front:lb", "store1:app", "store2:app", "web1:app", "web2:app", "web3:app")
					w.expectNoChange(tiers(p, p, app[1], "fixed 3;"))
					w.down(false)
				})
			})
		}
	}
}

// Daemons die at any write of an update of both: it ends as it would have, and
// nobody was told of what did not run.
func TestLZ7CopiesAreToldOfTheBatchesOfOthersThroughCrashes(t *testing.T) {
	crashes := 0
	overSeeds(t, 6, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			pace := []string{oneByOne, withMore}[w.number(2)]
			w.runs(tiers(pace, pace, "fixed 1;", "fixed 1;"))
			mark := len(w.stage.trace())
			stop := w.crashing(4, 60, func(string) bool { return true })
			w.restartManager() // and from now on they crash
			for _, m := range w.running() {
				w.restartMachine(m, 0)
			}
			w.begin(tiers(pace, pace, "fixed 2;", "fixed 2;"))
			if d := w.end(); d.State != api.DeploymentDone {
				t.Errorf("up ended %s: %+v", d.State, d.Failures)
			}
			stop()
			w.expectTold(mark)
			time.Sleep(time.Minute)
			w.expectLive("front:lb", "store1:app", "store2:app", "web1:app", "web2:app", "web3:app")
			w.expectNoChange(tiers(pace, pace, "fixed 2;", "fixed 2;"))
			crashes += w.crashes
			w.down(false)
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}
