package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/value"
)

// surged is a set of copies that is updated in batches, with more of them beside.
func surged(n, unavailable, surge int, app string) string {
	return strings.Replace(rolled(n, unavailable, app), "sfMaxUnavailable", fmt.Sprintf("sfMaxSurge %d; sfMaxUnavailable", surge), 1)
}

// expectNoFurther checks that the set has these copies and no others, of which
// there is neither a component nor a machine.
func (w *world) expectNoFurther(n int) {
	w.t.Helper()
	paths := []string{"front:lb"}
	for i := range n {
		paths = append(paths, fmt.Sprintf("web%d:app", i+1))
	}
	w.expectLive(paths...)
	w.balance(n + 1)
}

// fewestServing returns how many servers ran at least, at any instant since mark.
func (w *world) fewestServing(mark int) int {
	running := map[value.Path]bool{}
	fewest := 1000
	for i, c := range w.stage.trace() {
		if !strings.HasPrefix(string(c.Path), "web") {
			continue
		}
		switch {
		case c.Op == "start" && c.Done && !c.Failed:
			running[c.Path] = true
		case (c.Op == "terminate" || c.Op == "reconfigure") && !c.Done:
			delete(running, c.Path)
		case c.Op == "reconfigure" && !c.Failed:
			running[c.Path] = true
		}
		if i >= mark {
			fewest = min(fewest, len(running))
		}
	}
	return fewest
}

func TestUP8FurtherCopiesServeWhileOthersAreUpdated(t *testing.T) {
	for _, c := range []struct{ n, unavailable, surge, serve int }{
		{1, 0, 1, 1}, {3, 0, 1, 3}, {3, 0, 2, 3}, {2, 1, 1, 1}, {2, 0, 5, 2},
	} {
		for name, v := range map[string][2]string{"replaced": {"fixed 1;", "fixed 2;"}, "reconfigured": {"v 1;", "v 2;"}} {
			t.Run(fmt.Sprintf("%d of %d away, %d more, %s", c.unavailable, c.n, c.surge, name), func(t *testing.T) {
				overSeeds(t, 2, func(t *testing.T, seed uint64) {
					scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
						w.runs(surged(c.n, c.unavailable, c.surge, v[0]))
						if did := w.did(0); slices.Contains(did, fmt.Sprintf("web%d:app deploy", c.n+1)) {
							t.Errorf("further copies while none was updated: %v", did)
						}
						mark := len(w.stage.trace())
						w.runs(surged(c.n, c.unavailable, c.surge, v[1]))
						fewest, _ := w.expectNoneDead(mark)
						if serving := w.fewestServing(mark); fewest < c.serve || serving < c.serve {
							t.Errorf("lb knew %d servers at least, and %d ran; want %d", fewest, serving, c.serve)
						}
						more := min(c.n, c.surge)
						for i := range more {
							w.expectOnce(mark, fmt.Sprintf("web%d:app", c.n+i+1), "deploy", "start", "terminate")
						}
						w.expectNoFurther(c.n)
						w.expectServers("reconfigure", c.n)
						w.expectNoChange(surged(c.n, c.unavailable, c.surge, v[1]))
						w.down(false)
					})
				})
			})
		}
	}
}

// expectOnce checks what was done with a component since mark, each once.
func (w *world) expectOnce(mark int, path string, ops ...string) {
	w.t.Helper()
	var want, got []string
	for _, op := range ops {
		want = append(want, path+" "+op)
	}
	for _, did := range w.did(mark) {
		if strings.HasPrefix(did, path+" ") {
			got = append(got, did)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("of %s was done %v, want %v", path, got, want)
	}
}

// A further copy that fails, or a batch behind it, stops the update; what serves
// goes on, and the next plan leaves no further copy behind.
func TestUP8NoFurtherCopyOutlivesThePlanThatFollowsAFailedOne(t *testing.T) {
	for name, fail := range map[string]string{
		"a further copy": `failStart (IF ((LAZY sfCopyIndex) == 4) THEN -1 ELSE 0 FI);`,
		"a batch":        `failStart (IF ((LAZY sfCopyIndex) == 2) THEN -1 ELSE 0 FI);`,
	} {
		for then, next := range map[string]func(w *world, good string) string{
			"rollback": func(w *world, good string) string {
				w.insist(api.PlanRequest{Name: "sys", Rollback: true})
				if d := w.end(); d.State != api.DeploymentDone {
					w.t.Errorf("rollback ended %s: %+v", d.State, d.Failures)
				}
				return good
			},
			"repaired": func(w *world, _ string) string {
				text := surged(3, 0, 1, "fixed 3;")
				w.runs(text)
				return text
			},
		} {
			t.Run(name+" fails, "+then, func(t *testing.T) {
				scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
					good := surged(3, 0, 1, "fixed 1;")
					w.runs(good)
					mark := len(w.stage.trace())
					if d := w.up(surged(3, 0, 1, "fixed 2; "+fail)); d.State != api.DeploymentDegraded {
						t.Errorf("up ended %s", d.State)
					}
					if serving := w.fewestServing(mark); serving < 3 {
						t.Errorf("%d servers ran, want 3", serving)
					}
					text := next(w, good)
					if serving := w.fewestServing(mark); serving < 3 {
						t.Errorf("%d servers ran in the end, want 3", serving)
					}
					w.expectNoneDead(mark)
					w.expectNoFurther(3)
					w.expectNoChange(text)
					w.down(false)
				})
			})
		}
	}
}

func TestUP8UndoLeavesNoFurtherCopy(t *testing.T) {
	scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
		undoing := func(app string) string {
			return strings.Replace(surged(2, 0, 1, app), "sfConfig extends {", `sfConfig extends { sfOnFailure "undo";`, 1)
		}
		good := undoing("fixed 1;")
		w.runs(good)
		mark := len(w.stage.trace())
		w.begin(undoing(`fixed 2; failStart (IF ((LAZY sfCopyIndex) == 2) THEN -1 ELSE 0 FI);`))
		time.Sleep(30 * time.Minute)
		w.expectState(api.SystemRunning)
		w.expectNoneDead(mark)
		if serving := w.fewestServing(mark); serving < 2 {
			t.Errorf("%d servers ran, want 2", serving)
		}
		w.expectNoFurther(2)
		w.expectNoChange(good)
		w.down(false)
	})
}

// The owner dies at some instant of an update with further copies; whoever takes
// over goes on with the same plan, and never do fewer serve.
func TestUP8FurtherCopiesSurviveTheDeathOfTheOwner(t *testing.T) {
	overSeeds(t, 6, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second, more: 2}, func(w *world) {
			w.runs(surged(2, 0, 1, "fixed 1;"))
			mark := len(w.stage.trace())
			p := w.begin(surged(2, 0, 1, "fixed 2;"))
			time.Sleep(time.Duration(w.number(90_000)) * time.Millisecond)
			owner, _ := w.owner(theSystem)
			w.kill(owner)
			w.another(theSystem, owner)
			if d := w.end(); d.State != api.DeploymentDone || d.Plan != p.ID {
				t.Errorf("up ended %s with plan %s, want done with %s", d.State, d.Plan, p.ID)
			}
			w.expectNoneDead(mark)
			if serving := w.fewestServing(mark); serving < 2 {
				t.Errorf("%d servers ran, want 2", serving)
			}
			w.expectNoFurther(2)
			w.expectServers("reconfigure", 2)
			w.down(false)
		})
	})
}

// Copies that are not machines have further ones on the machine where they are,
// whose daemon dies at some instant.
func TestUP8FurtherCopiesOnOneMachineSurviveTheDeathOfItsDaemon(t *testing.T) {
	text := func(v int) string {
		return fmt.Sprintf(`sfConfig extends {
			front extends VM { lb extends Probe { servers LAZY m:web:app:out; } }
			m extends VM { sfMaxUnavailable 0; sfMaxSurge 2; web extends { sfCopies 3; app extends Probe { fixed %d; } } }
		}`, v)
	}
	overSeeds(t, 6, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			w.runs(text(1))
			mark := len(w.stage.trace())
			w.begin(text(2))
			time.Sleep(time.Duration(w.number(60_000)) * time.Millisecond)
			w.killDaemon("sys/m", 2*time.Second)
			if d := w.end(); d.State != api.DeploymentDone {
				t.Errorf("up ended %s: %+v", d.State, d.Failures)
			}
			for i := range 2 {
				if path := fmt.Sprintf("m:web%d:app", i+4); !slices.Contains(w.did(mark), path+" start") {
					t.Errorf("no further copy %s", path)
				}
			}
			w.killDaemon("sys/m", 2*time.Second)
			time.Sleep(time.Minute)
			w.expectLive("front:lb", "m:web1:app", "m:web2:app", "m:web3:app")
			if states := w.states(); len(states) != 10 {
				t.Errorf("there is %v", states)
			}
			w.expectNoChange(text(2))
			w.runs(text(3))
			w.expectLive("front:lb", "m:web1:app", "m:web2:app", "m:web3:app")
			w.down(false)
		})
	})
}

// Two sets that are updated with one plan have further copies each, also where one
// reads the other.
func TestUP8FurtherCopiesOfTwoSetsAtOnce(t *testing.T) {
	for name, stores := range map[string]string{"apart": "", "one reads the other": "stores LAZY store:app:out;"} {
		t.Run(name, func(t *testing.T) { updatesTwoSets(t, stores) })
	}
}

func updatesTwoSets(t *testing.T, stores string) {
	text := func(v int) string {
		return fmt.Sprintf(`sfConfig extends {
			front extends VM { lb extends Probe { servers LAZY web:app:out; stores LAZY store:app:out; } }
			web extends VM { sfCopies 2; sfMaxUnavailable 0; sfMaxSurge 1; app extends Probe { fixed %[1]d; %[2]s } }
			store extends VM { sfCopies 2; sfMaxUnavailable 0; sfMaxSurge 1; app extends Probe { fixed %[1]d; } }
		}`, v, stores)
	}
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(text(1))
			mark := len(w.stage.trace())
			w.runs(text(2))
			if fewest, _ := w.expectNoneDead(mark); fewest != 2 {
				t.Errorf("lb knew %d servers at least, want 2", fewest)
			}
			w.expectLive("front:lb", "web1:app", "web2:app", "store1:app", "store2:app")
			w.balance(5)
			w.expectNoChange(text(2))
			w.down(false)
		})
	})
}

// Others can be added and removed, also of the set, by the plan that updates it.
func TestUP8FurtherCopiesAreBesideThoseThatComeAndGo(t *testing.T) {
	for name, n := range map[string]int{"more": 4, "fewer": 2} {
		t.Run(name, func(t *testing.T) {
			overSeeds(t, 3, func(t *testing.T, seed uint64) {
				scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
					w.runs(surged(3, 0, 1, "fixed 1;"))
					mark := len(w.stage.trace())
					w.runs(surged(n, 0, 1, "fixed 2;"))
					w.expectNoneDead(mark)
					if serving := w.fewestServing(mark); serving < min(3, n) {
						t.Errorf("%d servers ran, want %d", serving, min(3, n))
					}
					w.expectNoFurther(n)
					w.expectServers("reconfigure", n)
					w.expectNoChange(surged(n, 0, 1, "fixed 2;"))
					w.down(false)
				})
			})
		})
	}
}

// A plan that is interrupted leaves nothing behind when the system is ended.
func TestUP8FurtherCopiesEndWithAnUpdateThatIsInterrupted(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			w.runs(surged(2, 0, 1, "fixed 1;"))
			w.begin(surged(2, 0, 1, "fixed 2;"))
			time.Sleep(time.Duration(w.number(60_000)) * time.Millisecond)
			w.down(true)
			w.expectLive()
			w.balance(0)
		})
	})
}

// Daemons die at any write of an update with further copies: it ends as it would
// have, and nothing is left of them.
func TestUP8FurtherCopiesSurviveCrashesAtAnyInstant(t *testing.T) {
	crashes := 0
	overSeeds(t, 8, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(surged(2, 0, 1, "fixed 1;"))
			mark := len(w.stage.trace())
			stop := w.crashing(4, 60, func(string) bool { return true })
			w.restartManager() // and from now on they crash
			for _, m := range w.running() {
				w.restartMachine(m, 0)
			}
			w.begin(surged(2, 0, 1, "fixed 2;"))
			if d := w.end(); d.State != api.DeploymentDone {
				t.Errorf("up ended %s: %+v", d.State, d.Failures)
			}
			stop()
			w.expectNoneDead(mark)
			time.Sleep(time.Minute)
			w.expectNoFurther(2)
			w.expectServers("reconfigure", 2)
			w.expectNoChange(surged(2, 0, 1, "fixed 2;"))
			crashes += w.crashes
			w.down(false)
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

func TestUP1WhatReplacesACopyRunsBeforeItIsEnded(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			text := func(cores int) string {
				return fmt.Sprintf(`sfConfig extends {
					front extends VM { lb extends Probe { servers LAZY web:app:out; } }
					web extends VM { sfCopies 1; sfReplace "before"; cores %d; app extends Probe { host LAZY web:ip; n LAZY sfCopyIndex; } }
				}`, cores)
			}
			w.runs(text(1))
			old := w.machine("sys/web1")
			mark := len(w.stage.trace())
			w.runs(text(2))
			if fewest, _ := w.expectNoneDead(mark); fewest != 1 || w.fewestServing(mark) != 1 {
				t.Errorf("lb knew %d servers at least, and %d ran; want 1", fewest, w.fewestServing(mark))
			}
			if w.machine("sys/web1") == old {
				t.Error("the machine is not replaced")
			}
			w.expectNoFurther(1)
			w.expectServers("reconfigure", 1)
			w.expectNoChange(text(2))
			w.down(false)
		})
	})
}

// A promise that an update cannot keep is not broken silently: what is new and
// needs one of the copies by name is refused, and can be made before.
func TestUP8WhatNeedsOneOfTheCopiesDoesNotTakeAllDown(t *testing.T) {
	text := func(v int, more string) string {
		return fmt.Sprintf(`sfConfig extends {
			front extends VM { lb extends Probe { servers LAZY web:app:out; } %s }
			web extends VM { sfCopies 2; sfMaxUnavailable 0; sfMaxSurge 1; app extends Probe { fixed %d; } }
		}`, more, v)
	}
	const reader = "other extends Probe { reads LAZY ATTRIB web1:app:out; }"
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(text(1, ""))
		mark := len(w.stage.trace())
		if _, err := w.apply(w.request(text(2, reader))); err == nil || !strings.Contains(details(err), "further copies of web") {
			t.Errorf("an update with a new reader: %v%s", err, details(err))
		}
		w.runs(text(1, reader))
		w.runs(text(2, reader))
		w.expectNoneDead(mark)
		w.down(false)
	})
}

// Who comes to read a set with the update of it, or is made anew by that, runs
// before the first batch, and is told of each like all others.
func TestUP8NewReaderIsToldOfEachBatch(t *testing.T) {
	for name, readers := range map[string][2]string{
		"a new one":              {"", "lb extends Probe { servers LAZY web:app:out; }"},
		"one that is replaced":   {"lb extends Probe { fixed 1; servers LAZY web:app:out; }", "lb extends Probe { fixed 2; servers LAZY web:app:out; }"},
		"one that has failed":    {"lb extends Probe { failStart 1; servers LAZY web:app:out; }", "lb extends Probe { servers LAZY web:app:out; }"},
		"one of known attribute": {"", "lb extends Probe { reads LAZY web:app:out; servers LAZY web:app:out; }"},
	} {
		for kind, set := range map[string]string{"with a further copy": "sfMaxUnavailable 0; sfMaxSurge 1;", "in batches": "sfMaxUnavailable 1;"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				overSeeds(t, 3, func(t *testing.T, seed uint64) {
					scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
						text := func(v, reader int) string {
							return fmt.Sprintf(`sfConfig extends {
								front extends VM { %s }
								web extends VM { sfCopies 3; %s app extends Probe { host LAZY web:ip; n LAZY sfCopyIndex; fixed %d; } }
							}`, readers[reader], set, v)
						}
						w.up(text(1, 0))
						mark := len(w.stage.trace())
						w.runs(text(2, 1))
						fewest, _ := w.expectNoneDead(mark)
						want := 2
						if kind == "with a further copy" {
							want = 3
						}
						if serving := w.fewestServing(mark); serving != want || fewest != want {
							t.Errorf("lb knew %d servers at least, and %d ran; want %d", fewest, serving, want)
						}
						w.expectNoFurther(3)
						w.expectServers("reconfigure", 3)
						w.expectNoChange(text(2, 1))
						w.down(false)
					})
				})
			})
		}
	}
}

// A balancer that is lost in the middle of an update is back before the rest of
// the copies is updated, and never are more away than the description allows.
func TestUP8LossOfTheReaderTakesNoCopiesDown(t *testing.T) {
	overSeeds(t, 6, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 10 * time.Second}, func(w *world) {
			w.runs(surged(3, 0, 1, "fixed 1;"))
			mark := len(w.stage.trace())
			w.begin(surged(3, 0, 1, "fixed 2;"))
			time.Sleep(time.Duration(w.number(90_000)) * time.Millisecond)
			if err := w.cloud.Lose(w.machine("sys/front").resource.Ref); err != nil {
				t.Fatal(err)
			}
			w.end()
			time.Sleep(40 * time.Minute)
			if serving := w.fewestServing(mark); serving < 3 {
				t.Errorf("%d servers ran, want 3", serving)
			}
			w.expectNoChange(surged(3, 0, 1, "fixed 2;"))
			w.expectNoFurther(3)
			w.expectServers("reconfigure", 3)
			w.down(false)
		})
	})
}

// What an update that failed has left out of what readers are told stays left out,
// and what it has told them of besides stays known, whatever becomes of the
// readers before the next plan (runtime.md LZ7).
func TestLZ7AfterAFailedUpdateReadersThatReturnKnowWhatRuns(t *testing.T) {
	const breaks = `fixed 2; failStart (IF ((LAZY sfCopyIndex) == 2) THEN -1 ELSE 0 FI);`
	for name, returns := range map[string]func(w *world){
		"its process ends":      func(w *world) { w.stage.die("front:lb", component.Abnormal) },
		"its daemon dies":       func(w *world) { w.killDaemon("sys/front", 2*time.Second) },
		"a server is restarted": func(w *world) { w.stage.die("web3:app", component.Abnormal) },
		"its daemon dies, then it ends": func(w *world) {
			w.killDaemon("sys/front", 2*time.Second)
			time.Sleep(time.Minute)
			w.stage.die("front:lb", component.Abnormal)
		},
	} {
		for kind, text := range map[string]func(app string) string{
			"with a further copy": func(app string) string { return surged(3, 0, 1, app) },
			"in batches":          func(app string) string { return rolled(3, 1, app) },
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
					w.runs(text("fixed 1;"))
					mark := len(w.stage.trace())
					if d := w.up(text(breaks)); d.State != api.DeploymentDegraded {
						t.Errorf("up ended %s", d.State)
					}
					known := w.serversKnown()
					returns(w)
					time.Sleep(10 * time.Minute)
					if name != "a server is restarted" { // it is away meanwhile
						w.expectNoneDead(mark)
					}
					if is := w.serversKnown(); !slices.Equal(is, known) || slices.Contains(is, "web2:app") {
						t.Errorf("lb knows %v, and knew %v", is, known)
					}
					w.runs(text("fixed 3;"))
					w.expectNoFurther(3)
					w.expectServers("reconfigure", 3)
					w.down(false)
				})
			})
		}
	}
}

// serversKnown returns the servers that lb was given last.
func (w *world) serversKnown() (known []value.Path) {
	for _, c := range w.stage.trace() {
		if c.Path == "front:lb" && c.Done && !c.Failed && (c.Op == "deploy" || c.Op == "reconfigure") {
			known = members(c)
		}
	}
	return known
}

// A copy that an update adds is told to nobody before it runs, also not with what
// is told of the others meanwhile.
func TestLZ7NewCopyThatDoesNotStartIsToldToNobody(t *testing.T) {
	ip := func(text string) string { return strings.Replace(text, "web:app:out", "web:ip", 1) }
	for name, text := range map[string]func(n int, app string) string{
		"with a further copy": func(n int, app string) string { return ip(surged(n, 0, 1, app)) },
		"in batches":          func(n int, app string) string { return ip(rolled(n, 1, app)) },
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
				w.runs(text(2, "fixed 1;"))
				mark := len(w.stage.trace())
				if d := w.up(text(3, `fixed 2; failStart (IF ((LAZY sfCopyIndex) == 3) THEN -1 ELSE 0 FI);`)); d.State != api.DeploymentDegraded {
					t.Errorf("up ended %s", d.State)
				}
				ip, _ := w.last("web3:app", "deploy").Attrs.Get("host")
				for _, c := range w.stage.trace()[mark:] {
					if servers, _ := c.Attrs.Get("servers"); c.Path == "front:lb" && strings.Contains(value.Source(servers), value.Source(ip)) {
						w.t.Fatalf("%v tells of web3, which does not run: %s", c, value.Source(servers))
					}
				}
				w.runs(text(3, "fixed 3;"))
				w.expectNoFurther(3)
				w.down(false)
			})
		})
	}
}
