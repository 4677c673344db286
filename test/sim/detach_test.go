package sim

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// twoShops is a system of two parts that do not need each other.
const twoShops = `sfConfig extends {
	old extends { sfLivenessDelay 7; shop extends VM { a extends Probe { n 1; b extends Probe { from LAZY PARENT:out; } } } }
	other extends VM { c extends Probe {} }
}`

// detach makes the part of a system at path one of its own, and waits until it is.
func (w *world) detach(system, path string) *api.Plan {
	w.t.Helper()
	p := w.insist(api.PlanRequest{Name: system, Detach: path})
	if p.Detaches == nil || p.Empty {
		w.t.Fatalf("detach %s: %+v", path, p)
	}
	if d := w.endOf(system); d.State != api.DeploymentDone {
		w.t.Fatalf("detach ended %s: %+v", d.State, d.Failures)
	}
	return p
}

// ends ends a system of any name.
func (w *world) endsSystem(name string) {
	w.t.Helper()
	p := w.insist(api.PlanRequest{Name: name, Down: true})
	if d := w.endOf(p.System); d.State != api.DeploymentDone {
		w.t.Fatalf("down %s ended %s: %+v", name, d.State, d.Failures)
	}
}

// expectSystems checks which systems there are: each as "name state", and of
// which components.
func (w *world) expectSystems(want map[string][]string) {
	w.t.Helper()
	time.Sleep(2 * time.Second)
	list, err := w.service().Systems(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	got := map[string][]string{}
	for _, s := range list {
		st, err := w.service().Status(context.Background(), s.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		paths := []string{}
		for _, c := range st.Components {
			paths = append(paths, c.Path)
		}
		if st.State != s.State || st.System != s.Name || len(paths) != s.Components {
			w.t.Errorf("listed as %+v, and is %+v", s, st)
		}
		got[s.Name+" "+s.State] = paths
	}
	for name, paths := range want {
		if !slices.Equal(got[name], paths) {
			w.t.Errorf("%s: %v, want %v", name, got[name], paths)
		}
	}
	if len(got) != len(want) {
		w.t.Errorf("systems: %v, want %v", got, want)
	}
}

// Nothing is asked of what is detached, and the end of the system that it was
// deployed with does not reach it.
func TestTR4DetachedPartRunsOnAsASystemOfItsOwn(t *testing.T) {
	overSeeds(t, 5, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(twoShops)
			mark := len(w.stage.trace())
			if p := w.detach("sys", "old:shop"); p.Detaches.Name != "shop" || len(p.Steps) > 0 {
				t.Errorf("plan of a detachment: %+v", p)
			}
			shop := []string{"old:shop", "old:shop:a", "old:shop:a:b"}
			w.expectSystems(map[string][]string{"sys running": {"ROOT", "old", "other", "other:c"}, "shop running": shop})
			w.expectDid(mark)
			w.expectNoChange(strings.Replace(twoShops, "shop extends VM { a extends Probe { n 1; b extends Probe { from LAZY PARENT:out; } } }", "", 1))

			w.endsSystem("sys")
			w.expectSystems(map[string][]string{"shop running": shop})
			w.expectDid(mark, "other:c terminate")
			w.expectGone()
			w.expectLive("old:shop:a", "old:shop:a:b")
			time.Sleep(time.Minute)
			w.balance(1)
			w.expectMachines(1)
			if v, err := w.service().Get(context.Background(), "shop", "old:shop:a:n", false); err != nil || string(v.Value) != "1" {
				t.Errorf("read of a detached part: %+v, %v", v, err)
			}
			if pinged, err := w.service().Ping(context.Background(), "shop", ""); err != nil || !pinged.OK || len(pinged.Components) < 3 {
				t.Errorf("ping of a detached part: %+v, %v", pinged, err)
			}

			w.endsSystem("shop")
			w.expectSystems(map[string][]string{})
			w.expectNothing()
		})
	})
}

// What is detached is looked after as before, whether there still is the system
// that it was deployed with or not.
func TestTR4DetachedPartIsMendedByItself(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed}, func(w *world) {
			text := strings.Replace(twoShops, "shop extends VM {", "shop extends VM { sfOnIsolation \"stop\"; ", 1)
			w.runs(text)
			w.detach("sys", "old:shop")
			w.endsSystem("sys")
			w.restartManager()
			w.restartMachine(w.machine("sys/old:shop"), time.Second)
			time.Sleep(time.Minute)
			w.expectSystems(map[string][]string{"shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}})

			lost := w.machine("sys/old:shop")
			w.cut(lost)
			time.Sleep(5 * time.Minute)
			w.expectSystems(map[string][]string{"shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}})
			if now := w.other(lost); now == nil {
				t.Error("its machine is lost, and there is no other")
			}
			w.endsSystem("shop")
			w.expectSystems(map[string][]string{})
		})
	})
}

// A system may come back beside a part of it that was detached, but cannot have
// the same part twice; a part that ends makes room for it.
func TestTR4SystemComesBackBesideItsDetachedPart(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(twoShops)
			w.detach("sys", "old:shop")
			w.endsSystem("sys")
			if _, err := w.service().Plan(context.Background(), w.request(twoShops)); !errors.Is(err, &api.Error{Kind: api.KindConflict}) || !strings.Contains(err.Error(), "system shop") {
				t.Errorf("up of what is detached: %v", err)
			}
			if _, err := w.service().Plan(context.Background(), w.requestFor("shop", prelude+twoShops)); !errors.Is(err, &api.Error{Kind: api.KindConflict}) || !strings.Contains(err.Error(), "aloft down shop") {
				t.Errorf("up under the name of what is detached: %v", err)
			}
			w.runs(`sfConfig extends { other extends VM { c extends Probe { n 2; } } }`)
			w.expectSystems(map[string][]string{"sys running": {"ROOT", "other", "other:c", "old"}, "shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}})
			w.endsSystem("shop")
			w.runs(twoShops)
			w.expectLive("old:shop:a", "old:shop:a:b", "other:c")
			w.detach("sys", "other")
			w.detach("sys", "old")
			// Nothing is left of it but what was detached.
			w.expectSystems(map[string][]string{"other running": {"other", "other:c"}, "old running": {"old", "old:shop", "old:shop:a", "old:shop:a:b"}})
			w.expectGone()
			w.endsSystem("other")
			w.endsSystem("old")
			w.expectSystems(map[string][]string{})
			w.expectNothing()
		})
	})
}

// A name that another system has is not given twice, whoever was first.
func TestTR4NameOfADetachedPartIsItsAlone(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.insist(w.requestFor("shop", prelude+`sfConfig extends { m extends VM { x extends Probe {} } }`))
		w.endOf("shop")
		w.runs(twoShops)
		if p := w.detach("sys", "old:shop"); p.Detaches.Name != "unnamed_shop" {
			t.Errorf("a part gets the name of another system: %+v", p.Detaches)
		}
		w.endsSystem("shop")
		w.endsSystem("unnamed_shop")
		w.expectLive("other:c")
		w.down(false)
	})
}

// What cannot end without the other stays with it.
func TestTR4PartThatIsTiedToTheRestIsNotDetached(t *testing.T) {
	for name, c := range map[string]struct{ text, path, want string }{
		"reads another part": {`a extends VM { x extends Probe { from LAZY b:y:out; } } b extends VM { y extends Probe {} }`, "a", "refers to b:y:out"},
		"is read by another": {`a extends VM { x extends Probe { from LAZY b:y:out; } } b extends VM { y extends Probe {} }`, "b", "refers to b:y:out"},
		"on a machine of it": {`a extends VM { x extends Probe {} }`, "a:x", "runs on machine a"},
		"machine of another": {`a extends VM {} g extends { sfProcessHost LAZY a:ip; x extends Probe {} }`, "a", "refers to a"},
		"copies":             {`a extends VM { sfCopies 2; x extends Probe {} }`, "a1", "copy"},
		"no component":       {`a extends VM { x extends Probe {} }`, "b", "no component b"},
		"the whole":          {`a extends VM { x extends Probe {} }`, "ROOT", "no component inside"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs("sfConfig extends { " + c.text + " }")
				_, err := w.service().Plan(context.Background(), api.PlanRequest{Name: "sys", Detach: c.path})
				if text := ""; err == nil || !strings.Contains(err.Error()+details(err)+text, c.want) {
					t.Errorf("detach %s: %v%s; want %q", c.path, err, details(err), c.want)
				}
				w.down(false)
			})
		})
	}
}

// A manager that crashes at any write, and one that takes over, leave a part where
// it was or on its own, and never between.
func TestTR4DetachmentSurvivesCrashes(t *testing.T) {
	crashes := 0
	overSeeds(t, 12, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(twoShops)
			mark := len(w.stage.trace())
			stop := w.crashing(6, 12, isManager)
			w.restartManager() // and from now on it crashes
			for {
				_, err := w.apply(api.PlanRequest{Name: "sys", Detach: "old:shop"})
				if errors.Is(err, &api.Error{Kind: api.KindConflict}) && strings.Contains(err.Error(), "already") {
					break // the answer was lost
				}
				time.Sleep(time.Second)
			}
			w.endOf("sys")
			for {
				_, err := w.apply(api.PlanRequest{Name: "sys", Down: true})
				if errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
					break
				}
				time.Sleep(time.Second)
			}
			stop()
			w.expectSystems(map[string][]string{"shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}})
			w.expectLive("old:shop:a", "old:shop:a:b")
			for _, what := range w.did(mark) {
				if what != "other:c terminate" && !strings.HasSuffix(what, " crash") {
					t.Errorf("%s, which was not asked for", what)
				}
			}
			w.expectMachines(1)
			w.endsSystem("shop")
			w.expectSystems(map[string][]string{})
			w.expectNothing()
			crashes += w.crashes
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

// The managers after the one that detached a part know it, and answer for it.
func TestTR4DetachedPartSurvivesTheDeathOfItsOwner(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second, more: 2}, func(w *world) {
			w.runs(twoShops)
			w.detach("sys", "old:shop")
			w.endsSystem("sys")
			owner, _ := w.owner(theSystem)
			w.kill(owner)
			w.another(theSystem, owner)
			w.expectSystems(map[string][]string{"shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}})
			w.endsSystem("shop")
			w.expectSystems(map[string][]string{})
			w.expectNothing()
		})
	})
}

// A component may say itself that it leaves its system once it has started.
func TestTR4ComponentDetachesItselfOnceItHasStarted(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			text := strings.Replace(twoShops, "shop extends VM {", "shop extends VM { sfShouldDetach true;", 1)
			text = strings.Replace(text, "other extends VM {", "other extends VM { sfShouldDetach true;", 1)
			w.up(text)
			time.Sleep(10 * time.Second)
			parts := map[string][]string{"shop running": {"old:shop", "old:shop:a", "old:shop:a:b"}, "other running": {"other", "other:c"}}
			both := map[string][]string{"sys running": {"ROOT", "old"}}
			maps.Copy(both, parts)
			w.expectSystems(both)
			w.expectNoChange(text) // they are there
			w.endsSystem("sys")
			w.expectSystems(parts)
			w.endsSystem("shop")
			w.runs(strings.Replace(text, "sfShouldDetach true", "", 1))
			w.expectSystems(map[string][]string{"sys running": {"ROOT", "old", "old:shop", "old:shop:a", "old:shop:a:b"}, "other running": {"other", "other:c"}})
			w.endsSystem("other")
			w.endsSystem("sys")
			w.expectSystems(map[string][]string{})
			w.expectNothing()
		})
	})
}
