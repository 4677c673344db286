package sim

import (
	"context"
	"errors"
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

// members returns the components whose outputs lb was given as its servers.
func members(c call) []value.Path {
	v, _ := c.Attrs.Get("servers")
	list, _ := v.(value.Vector)
	var paths []value.Path
	for _, e := range list {
		if r, open := e.(*value.Reference); open { // it could not be read yet
			paths = append(paths, plan.Referred(r).Parent())
			continue
		}
		path, _, _ := strings.Cut(string(e.(value.String)), "@")
		paths = append(paths, value.Path(path))
	}
	return paths
}

// expectNoneDead checks that at no instant since mark lb knew a server that did
// not run: while lb is reconfigured, neither one that it knew nor one that it
// gets to know (runtime.md LZ7, RT-05). It returns the fewest that lb knew, and
// the most servers that were away at a time.
func (w *world) expectNoneDead(mark int) (fewest, away int) {
	w.t.Helper()
	running := map[value.Path]bool{}
	var known, coming []value.Path
	fewest = 1000
	for i, c := range w.stage.trace() {
		server := strings.HasPrefix(string(c.Path), "web") && strings.HasSuffix(string(c.Path), ":app")
		switch {
		case c.Path == "front:lb" && (c.Op == "deploy" || c.Op == "reconfigure") && !c.Done:
			coming = members(c)
		case c.Path == "front:lb" && (c.Op == "deploy" || c.Op == "reconfigure") && !c.Failed:
			known, coming = coming, nil
			if i >= mark {
				fewest = min(fewest, len(known))
			}
		case server && c.Op == "start" && c.Done && !c.Failed:
			running[c.Path] = true
		case server && c.Op == "terminate" && !c.Done:
			running[c.Path] = false
		}
		if i < mark {
			continue
		}
		gone := 0
		for _, runs := range running {
			if !runs {
				gone++
			}
		}
		away = max(away, gone)
		for _, path := range slices.Concat(known, coming) {
			if !running[path] {
				w.t.Fatalf("at %v lb knows %s, which does not run", c, path)
			}
		}
	}
	return fewest, away
}

// Adding and removing a web machine: only that subtree acts, and the balancer
// follows by LZ7, before a server goes and after one runs.
func TestRT05BalancerFollowsAndKnowsNoServerThatDoesNotRun(t *testing.T) {
	overSeeds(t, 6, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(scaled(2))
			mark := len(w.stage.trace())
			w.runs(scaled(4))
			w.expectNoneDead(mark)
			w.expectServers("reconfigure", 4)
			mark = len(w.stage.trace())
			w.runs(scaled(3))
			w.expectDid(mark, "front:lb reconfigure", "web4:app terminate", "web4:app:of1 terminate", "web4:app:of2 terminate")
			w.expectNoneDead(mark)
			w.expectServers("reconfigure", 3)
			w.down(false)
		})
	})
}

// A balancer that cannot be told keeps what it has, and nothing is taken from it.
func TestRT05ServerStaysUntilTheBalancerKnows(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(n int) string {
			return strings.Replace(scaled(n), "lb extends Probe {", "lb extends Probe { failReconfigure 1;", 1)
		}
		w.runs(text(2))
		mark := len(w.stage.trace())
		if d := w.up(text(1)); d.State != api.DeploymentDegraded {
			t.Errorf("up ended %s", d.State)
		}
		w.expectDid(mark, "front:lb reconfigure")
		w.expectNoneDead(mark)
		w.runs(text(1))
		w.expectNoneDead(mark)
		w.expectLive("front:lb", "web1:app", "web1:app:of1", "web1:app:of2")
		w.down(false)
	})
}

// rolled is a set of copies that is updated in batches.
func rolled(n, unavailable int, app string) string {
	return fmt.Sprintf(`sfConfig extends {
		front extends VM { lb extends Probe { servers LAZY web:app:out; } }
		web extends VM { sfCopies %d; sfMaxUnavailable %d; app extends Probe { host LAZY web:ip; n LAZY sfCopyIndex; %s } }
	}`, n, unavailable, app)
}

func TestUP8BatchesBeginWhenTheOneBeforeRuns(t *testing.T) {
	for name, c := range map[string]struct{ old, new string }{
		"replaced": {"fixed 1;", "fixed 2;"}, "reconfigured": {"v 1;", "v 2;"},
	} {
		t.Run(name, func(t *testing.T) {
			overSeeds(t, 3, func(t *testing.T, seed uint64) {
				scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
					w.runs(rolled(5, 2, c.old))
					mark := len(w.stage.trace())
					w.runs(rolled(5, 2, c.new))
					fewest, away := w.expectNoneDead(mark)
					if fewest != 3 || name == "replaced" && away != 2 {
						t.Errorf("lb knew %d servers at least, %d were away at a time; want 3 and 2", fewest, away)
					}
					batch := 0 // that was seen last
					for _, c := range w.stage.trace()[mark:] {
						if at := map[value.Path]int{"web1:app": 1, "web2:app": 1, "web3:app": 2, "web4:app": 2, "web5:app": 3}[c.Path]; at != 0 {
							if batch > at {
								t.Errorf("%v after batch %d has begun", c, batch)
							}
							batch = at
						}
					}
					w.expectServers("reconfigure", 5)
					w.expectNoChange(rolled(5, 2, c.new))
					w.down(false)
				})
			})
		})
	}
}

func TestUP8FailedGateStopsTheUpdate(t *testing.T) {
	scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
		good, bad := rolled(4, 1, "fixed 1;"), rolled(4, 1, "fixed 2; failStart -1;")
		w.runs(good)
		mark := len(w.stage.trace())
		if d := w.up(bad); d.State != api.DeploymentDegraded {
			t.Errorf("up ended %s", d.State)
		}
		for _, did := range w.did(mark) {
			if !strings.HasPrefix(did, "web1:app ") && did != "front:lb reconfigure" {
				t.Errorf("after a gate that failed: %s", did)
			}
		}
		if fewest, _ := w.expectNoneDead(mark); fewest != 3 {
			t.Errorf("lb knows %d servers, want 3", fewest)
		}
		w.expectLive("front:lb", "web2:app", "web3:app", "web4:app")
		w.insist(api.PlanRequest{Name: "sys", Rollback: true})
		if d := w.end(); d.State != api.DeploymentDone {
			t.Errorf("rollback ended %s: %+v", d.State, d.Failures)
		}
		w.expectNoneDead(mark)
		w.expectServers("reconfigure", 4)
		w.expectNoChange(good)
		w.down(false)
	})
}

// Copies that do not run when an update begins are unavailable: they are the
// first batch, and no other is touched before they run.
func TestUP8CopiesThatHaveFailedBeforeCountAsUnavailable(t *testing.T) {
	scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
		text := func(v, fail int) string {
			return rolled(4, 1, fmt.Sprintf(`v %d; failStart (IF ((LAZY sfCopyIndex) == 3) THEN %d ELSE 0 FI);`, v, fail))
		}
		if d := w.up(text(1, -1)); d.State != api.DeploymentDegraded {
			t.Errorf("up ended %s", d.State)
		}
		mark := len(w.stage.trace())
		if d := w.up(text(2, -1)); d.State != api.DeploymentDegraded {
			t.Errorf("up ended %s", d.State)
		}
		for _, did := range w.did(mark) {
			if !strings.HasPrefix(did, "web3:app ") {
				t.Errorf("while another was away: %s", did)
			}
		}
		mark = len(w.stage.trace())
		w.runs(text(3, 0))
		var got []string
		for _, c := range w.stage.trace()[mark:] {
			if strings.HasPrefix(string(c.Path), "web") {
				got = append(got, fmt.Sprint(c.Path, " ", c.Op, " ", c.Done))
			}
		}
		want := []string{"web3:app deploy false", "web3:app deploy true", "web3:app start false", "web3:app start true"}
		for _, path := range []string{"web1:app", "web2:app", "web4:app"} {
			want = append(want, path+" reconfigure false", path+" reconfigure true")
		}
		if !slices.Equal(got, want) {
			t.Errorf("done:\n%s", strings.Join(got, "\n"))
		}
		w.expectServers("reconfigure", 4)
		w.expectNoChange(text(3, 0))
		w.down(false)
	})
}

// A server beside which something has come to its normal end, or has failed, runs:
// it is taken away in its batch, and not with all others that are like it.
func TestUP8CopiesOfWhichSomethingRunsAreUpdatedInBatches(t *testing.T) {
	for name, c := range map[string]struct {
		beside string
		first  string // how the first deployment ends
	}{
		"ended":  {`beside extends Probe { endsAfter 1000; endsHow "normal"; }`, api.DeploymentDone},
		"failed": {`beside extends Probe { failStart 1; }`, api.DeploymentDegraded},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
				text := func(cores int) string {
					return strings.Replace(rolled(3, 1, ""), "sfCopies", fmt.Sprintf("cores %d; %s sfCopies", cores, c.beside), 1)
				}
				if d := w.up(text(1)); d.State != c.first {
					t.Errorf("up ended %s", d.State)
				}
				time.Sleep(time.Minute)
				mark := len(w.stage.trace())
				if d := w.up(text(2)); d.State != api.DeploymentDone {
					t.Errorf("update ended %s: %+v", d.State, d.Failures)
				}
				if fewest, away := w.expectNoneDead(mark); fewest != 2 || away != 1 {
					t.Errorf("lb knew %d servers at least, %d were away at a time; want 2 and 1", fewest, away)
				}
				w.expectServers("reconfigure", 3)
				w.down(true)
			})
		})
	}
}

// The owner dies at some instant of a rolling update; whoever takes over goes on
// with the same plan, and no server is known that does not run.
func TestUP8SurvivesTheDeathOfTheOwner(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second, more: 2}, func(w *world) {
			w.runs(rolled(3, 1, "fixed 1;"))
			mark := len(w.stage.trace())
			p := w.begin(rolled(3, 1, "fixed 2;"))
			time.Sleep(time.Duration(w.number(60_000)) * time.Millisecond)
			owner, _ := w.owner(theSystem)
			w.kill(owner)
			w.another(theSystem, owner)
			if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID {
				t.Errorf("up ended %s with plan %s, want done with %s", d.State, d.Plan, p.ID)
			}
			w.expectNoneDead(mark)
			w.expectServers("reconfigure", 3)
			w.down(false)
		})
	})
}

// Who reads a machine that is replaced is given the new value, once it runs.
func TestLZ7ReadersOfWhatIsMadeAnewAreReconfigured(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			text := `sfConfig extends {
				m1 extends VM { cores 1; a extends Probe {} }
				m2 extends VM { b extends Probe { address LAZY m1:ip; below extends Probe {} } c extends Probe {} }
			}`
			w.runs(text)
			before, _ := w.last("m2:b", "deploy").Attrs.Get("address")
			mark := len(w.stage.trace())
			changed := strings.Replace(text, "cores 1", "cores 2", 1)
			w.runs(changed)
			w.expectDid(mark, "m1:a terminate", "m1:a deploy", "m1:a start", "m2:b reconfigure")
			w.follows(w.operations(mark), "m2:b reconfigure", "m1:a start")
			after, _ := w.last("m2:b", "reconfigure").Attrs.Get("address")
			if value.Equal(before, after) || after != value.String(w.machine("sys/m1").resource.Address) {
				t.Errorf("m2:b was told %v, and then %v", before, after)
			}
			w.expectNoChange(changed)
			w.down(false)
		})
	})
}

// A component whose data are elsewhere, as who has them confirms, goes without
// leave; if they are not any more when it ends, it stays, and its machine does.
func TestUP9WhatIsElsewhereTooGoesWithoutLeave(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		with := `sfConfig extends { m1 extends VM { a extends Probe {} } m2 extends VM { in extends { db extends Probe { dataDir "/nonexistent/data"; } } } }`
		without := `sfConfig extends { m1 extends VM { a extends Probe {} } }`
		planned := func(text string) *api.Plan {
			t.Helper()
			p, err := w.service().Plan(context.Background(), w.request(text))
			if err != nil || len(p.Data) != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			return p
		}
		w.runs(with)
		p := planned(without)
		if p.Data[0].Spare || !strings.Contains(p.Data[0].Why, "nobody else has it") {
			t.Errorf("data: %+v", p.Data)
		}
		if _, err := w.service().Apply(context.Background(), "sys", p.ID); err == nil {
			t.Error("data that nobody else has go without leave")
		}
		// It was so when it was planned, and is not any more: removed, or on a machine
		// that is replaced.
		was := w.machine("sys/m2").resource.Ref
		for _, text := range []string{without, strings.Replace(with, "m2 extends VM {", "m2 extends VM { cores 2;", 1)} {
			w.confirm("m2:in:db")
			p = planned(text)
			if !p.Data[0].Spare {
				t.Errorf("data: %+v", p.Data)
			}
			w.confirm()
			if _, err := w.service().Apply(context.Background(), "sys", p.ID); err != nil {
				t.Fatal(err)
			}
			if d := w.end(); d.State == api.DeploymentDone {
				t.Errorf("it ended %s", d.State)
			}
			w.expectLive("m1:a", "m2:in:db")
			if is := w.machine("sys/m2").resource.Ref; is != was {
				t.Errorf("its machine was %s, and is %s", was, is)
			}
		}
		w.confirm("m2:in:db")
		w.runs(without)
		w.expectLive("m1:a")
		w.down(false)
	})
}

// Data goes with nobody's leave but that of who names it; terminating the whole
// system asks for nothing else.
func TestUP9DataIsDestroyedWithLeaveAlone(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		with := `sfConfig extends { m1 extends VM { a extends Probe {} } m2 extends VM { db extends Probe { dataDir "/nonexistent/data"; } } }`
		without := `sfConfig extends { m1 extends VM { a extends Probe {} } }`
		refused := func(r api.PlanRequest) {
			t.Helper()
			p, err := w.service().Plan(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Data) != 1 || p.Data[0].Path != "m2:db" || p.Data[0].Machine != "sys/m2" || p.Data[0].Directory != "/nonexistent/data" || p.Data[0].Allowed {
				t.Errorf("data: %+v", p.Data)
			}
			mark := len(w.stage.trace())
			_, err = w.service().Apply(context.Background(), "sys", p.ID)
			if e, ok := errors.AsType[*api.Error](err); !ok || e.Kind != api.KindInvalid || !strings.Contains(e.Message, "m2:db") || !strings.Contains(e.Remedy, "--allow-data-loss m2:db") {
				t.Errorf("apply: %v; want it refused, with what to do", err)
			}
			w.expectDid(mark)
		}
		w.runs(without)
		w.runs(with)
		refused(w.request(without))                                                                 // update
		refused(w.request(strings.Replace(with, "m2 extends VM {", "m2 extends VM { cores 2;", 1))) // another machine
		refused(api.PlanRequest{Name: "sys", Rollback: true})                                       // rollback
		other := w.request(without)
		other.AllowDataLoss = []string{"m1:a"}
		refused(other)
		r := w.request(without)
		r.AllowDataLoss = []string{"m2:db"}
		w.insist(r)
		if d := w.end(); d.State != api.DeploymentDone {
			t.Errorf("with leave it ended %s", d.State)
		}
		w.expectLive("m1:a")
		w.runs(with)
		w.down(false)
	})
}

// Data that a component keeps when it is ended, in whichever way, are counted
// when its machine is.
func TestUP9DataOfWhatHasEndedAreCountedWithItsMachine(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		db := `db extends Probe { dataDir "/nonexistent/data"; keepOnTerminate true; }`
		text := func(inside string) string {
			return `sfConfig extends { m1 extends VM { sfOnChildEnd "ignore"; a extends Probe {} ` + inside + ` } m2 extends VM { b extends Probe {} } }`
		}
		without := `sfConfig extends { m2 extends VM { b extends Probe {} } }`
		counted := func(why string) {
			t.Helper()
			p := w.plan(without)
			if len(p.Data) != 1 || p.Data[0].Path != "m1:db" || p.Data[0].Machine != "sys/m1" || p.Data[0].Directory != "/nonexistent/data" || !strings.HasPrefix(p.Data[0].Why, why) {
				t.Errorf("data: %+v, want that %s", p.Data, why)
			}
			if _, err := w.service().Apply(context.Background(), "sys", p.ID); !errors.Is(err, &api.Error{Kind: api.KindInvalid}) {
				t.Errorf("apply: %v; want it refused", err)
			}
		}
		left := "it has left them on its machine m1, which is ended"
		w.runs(text(db))
		counted("its machine m1 is ended")
		w.runs(text(""))
		counted(left)
		w.restartManager()
		counted(left)
		w.runs(text("c extends Probe {}"))
		counted(left)
		w.runs(text(db)) // it has them again
		counted("its machine m1 is ended")
		w.stage.die("m1:db", component.Abnormal)
		time.Sleep(time.Minute)
		w.expectStates(map[string]string{"m1:db": "terminated"})
		counted("its machine m1 is ended")
		w.runs(text("c extends Probe {}")) // and it is no longer wanted
		counted(left)
		r := w.request(without)
		r.AllowDataLoss = []string{"m1:db"}
		w.insist(r)
		if d := w.end(); d.State != api.DeploymentDone {
			t.Errorf("with leave it ended %s", d.State)
		}
		w.runs(text("")) // another machine, on which nothing is left
		if p := w.plan(without); len(p.Data) != 0 {
			t.Errorf("data: %+v", p.Data)
		}
		w.down(false)
	})
}

// Data that a component has left are still there when another one is made in its
// place, or when it has others.
func TestUP9DataThatWereLeftAreNotThoseOfASuccessor(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(db string) string {
			return `sfConfig extends { m1 extends VM { a extends Probe {} ` + db + ` } m2 extends VM { b extends Probe {} } }`
		}
		probe := func(dir string) string {
			return text(`db extends Probe { fixed "` + dir + `"; dataDir "` + dir + `"; keepOnTerminate true; }`)
		}
		counted := func(want ...string) {
			t.Helper()
			var got []string
			for _, d := range w.plan(`sfConfig extends { m2 extends VM { b extends Probe {} } }`).Data {
				got = append(got, d.Path+" "+d.Directory)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("data: %q, want %q", got, want)
			}
		}
		w.runs(probe("/nonexistent/x"))
		counted("m1:db /nonexistent/x")
		w.runs(probe("/nonexistent/y"))
		counted("m1:db /nonexistent/x", "m1:db /nonexistent/y")
		w.runs(text("db extends { c extends Probe {} }"))
		counted("m1:db /nonexistent/x", "m1:db /nonexistent/y")
		w.restartManager()
		w.runs(probe("/nonexistent/x")) // it has them again
		counted("m1:db /nonexistent/x", "m1:db /nonexistent/y")
		w.runs(text(""))
		counted("m1:db /nonexistent/x", "m1:db /nonexistent/y")
		w.down(false)
	})
}

// A machine that is made anew has nothing of what was on the one before.
func TestUP9DataThatWentWithAMachineAreNotOnItsSuccessor(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(inside string) string {
			return `sfConfig extends { m1 extends VM { a extends Probe {} ` + inside + ` } m2 extends VM { b extends Probe {} } }`
		}
		w.runs(text(`db extends Probe { dataDir "/nonexistent/data"; keepOnTerminate true; }`))
		if err := w.cloud.Lose(w.machine("sys/m1").resource.Ref); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.expectStates(map[string]string{"m1": "failed"})
		w.runs(text(""))
		w.expectLive("m1:a", "m2:b")
		if p := w.plan(`sfConfig extends { m2 extends VM { b extends Probe {} } }`); len(p.Data) != 0 {
			t.Errorf("data: %+v", p.Data)
		}
		w.down(false)
	})
}

func TestUP9DataOfWhatAWorkflowHasCreatedAreCountedWithIt(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(run string) string {
			return `Sequence extends { sfClass "Sequence"; }
			sfConfig extends { m1 extends VM { ` + run + ` } }`
		}
		run := `run extends Sequence { db extends Probe { dataDir "/nonexistent/data"; } }`
		w.runs(text(run))
		w.until("m1:run:db", "running")
		p := w.plan(text(""))
		if len(p.Data) != 1 || p.Data[0].Path != "m1:run:db" || !strings.HasPrefix(p.Data[0].Why, "it is ended with m1:run, and does not keep its data") {
			t.Errorf("data: %+v", p.Data)
		}
		// Nothing asks it when it ends, so that its word now does not count.
		w.confirm("m1:run:db")
		if p = w.plan(text("")); len(p.Data) != 1 || p.Data[0].Spare {
			t.Errorf("data: %+v", p.Data)
		}
		r := w.request(text(""))
		r.AllowDataLoss = []string{"m1:run:db"}
		w.insist(r)
		if d := w.end(); d.State != api.DeploymentDone {
			t.Errorf("with leave it ended %s", d.State)
		}
		w.down(false)
	})
}

// confirm has these components, and no others, say that their data are elsewhere.
func (w *world) confirm(paths ...value.Path) {
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	w.stage.spare = map[value.Path]bool{}
	for _, path := range paths {
		w.stage.spare[path] = true
	}
}

// A component that has moved answers for the data that it has, and not for those
// on the machine where it was.
func TestUP9DataThatWereLeftByAMoveGoWithLeaveAlone(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(machines, on string) string {
			return `sfConfig extends { ` + machines + ` m2 extends VM { b extends Probe {} } db extends Probe { sfProcessHost LAZY ` + on + `:ip; dataDir "/nonexistent/data"; keepOnTerminate true; } }`
		}
		m1 := `m1 extends VM { a extends Probe {} }`
		w.runs(text(m1, "m1"))
		w.runs(text(m1, "m2"))
		w.confirm("db")
		p := w.plan(text("", "m2"))
		if len(p.Data) != 1 || p.Data[0].Path != "db" || p.Data[0].Machine != "sys/m1" || p.Data[0].Spare {
			t.Errorf("data: %+v", p.Data)
		}
		if _, err := w.service().Apply(context.Background(), "sys", p.ID); !errors.Is(err, &api.Error{Kind: api.KindInvalid}) {
			t.Errorf("apply: %v; want it refused", err)
		}
		w.down(false)
	})
}

// Whatever becomes of who reads a set in the middle of an update of it, it is told
// of what runs (runtime.md LZ7): not of what the plan has yet to make.
func TestLZ7ReaderThatReturnsDuringAnUpdateKnowsWhatRuns(t *testing.T) {
	for name, c := range map[string][2]string{
		"more":              {scaled(2), scaled(4)},
		"fewer":             {scaled(4), scaled(2)},
		"in batches":        {rolled(3, 1, "fixed 1;"), rolled(3, 1, "fixed 2;")},
		"more, in batches":  {rolled(2, 1, "fixed 1;"), rolled(4, 1, "fixed 2;")},
		"with further ones": {surged(2, 0, 1, "fixed 1;"), surged(2, 0, 1, "fixed 2;")},
		"with all of it":    {surged(2, 0, 1, "fixed 1;"), surged(3, 0, 1, "fixed 2;")},
	} {
		t.Run(name, func(t *testing.T) {
			overSeeds(t, 8, func(t *testing.T, seed uint64) {
				scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
					w.runs(c[0])
					mark := len(w.stage.trace())
					w.begin(c[1])
					time.Sleep(time.Duration(w.number(60_000)) * time.Millisecond)
					if w.number(2) == 0 {
						w.killDaemon("sys/front", time.Duration(w.number(5_000))*time.Millisecond)
					}
					w.stage.die("front:lb", component.Abnormal)
					if d := w.end(); d.State != api.DeploymentDone {
						if len(d.Failures) != 1 || !strings.Contains(d.Failures[0].Cause, "does not run") {
							t.Errorf("up ended %s: %+v", d.State, d.Failures)
						}
						time.Sleep(5 * time.Minute)
						w.runs(c[1]) // it died while it was reconfigured
					}
					time.Sleep(10 * time.Minute)
					w.expectNoneDead(mark)
					w.expectNoChange(c[1])
					w.down(false)
				})
			})
		})
	}
}

// A batch begins only when who reads the set is told of it: where that fails,
// nothing of the batch is ended, also not to be made anew.
func TestUP8BatchIsLeftAloneWhereItsReaderCannotBeTold(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := func(v int) string {
			return strings.Replace(rolled(3, 1, fmt.Sprintf("fixed %d;", v)), "lb extends Probe {", "lb extends Probe { failReconfigure 1;", 1)
		}
		w.runs(text(1))
		mark := len(w.stage.trace())
		if d := w.up(text(2)); d.State != api.DeploymentDegraded {
			t.Errorf("up ended %s", d.State)
		}
		w.expectDid(mark, "front:lb reconfigure")
		w.expectNoneDead(mark)
		w.runs(text(2))
		w.expectNoneDead(mark)
		w.down(false)
	})
}
