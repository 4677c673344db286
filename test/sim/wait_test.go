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
	"aloft/value"
)

// failure returns the failure of a component, or fails the test.
func (w *world) failure(d *api.Deployment, path string) api.Failure {
	w.t.Helper()
	for _, f := range d.Failures {
		if f.Path == path {
			return f
		}
	}
	w.t.Fatalf("%s has not failed: %+v", path, d.Failures)
	return api.Failure{}
}

// until waits for a component to be in a state.
func (w *world) until(path, state string) {
	w.t.Helper()
	for began := time.Now(); w.states()[path] != state; time.Sleep(time.Second) {
		if time.Since(began) > patience {
			w.t.Fatalf("%s is %s, not %s", path, w.states()[path], state)
		}
	}
}

// changes returns when components came into a state, in the order of time.
func (w *world) changes(state string) (at []time.Time) {
	w.t.Helper()
	events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys"})
	if err != nil {
		w.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.State == state && strings.Contains(e.Path, ":") {
			at = append(at, e.Time)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

// restartReasons returns what the events of restarts of a component say.
func (w *world) restartReasons(path string) (reasons []string) {
	w.t.Helper()
	events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys", Path: path})
	if err != nil {
		w.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Kind == "restart" {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// machineState returns the state of a machine.
func (w *world) machineState(name string) string {
	w.t.Helper()
	machines, err := w.service().Machines(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range machines {
		if m.Name == name {
			return m.State
		}
	}
	return ""
}

// unseen is a reference made of text at run time: planning cannot see where it
// leads. The description has to have the attribute nothing.
func unseen(reference string) string {
	return fmt.Sprintf(`APPLY { sfFunctionClass "Ref"; reference (%q ++ LAZY ROOT:nothing); }`, reference)
}

func TestDeadMachineIsWaitedForAsLongAsTheDescriptionSays(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends {
			m1 extends VM { a extends Probe { deployTakes 120000; } }
			m2 extends VM {
				b extends Probe { sfWaitTimeout 200; reads LAZY m1:a:out; below extends Probe {} }
				c extends Probe {}
			}
		}`
		w.begin(text)
		w.until("m1:a", "deploying")
		heal := w.net.Isolate(w.machine("sys/m1").resource.Address)
		w.until("m2:b", "failed")
		d := w.end()
		f := w.failure(d, "m2:b")
		for _, part := range []string{"waited 3m20s for m1:a deployed", "attribute reads", "sys/m1"} {
			if !strings.Contains(f.Cause, part) {
				t.Errorf("the cause says nothing of %q: %s", part, f.Cause)
			}
		}
		if f.Operation != "deploy" || !strings.Contains(f.Remedy, "sfWaitTimeout") {
			t.Errorf("failure: %+v", f)
		}
		w.expectState(api.SystemDegraded)
		w.expectStates(map[string]string{"m2:b": "failed", "m2:b:below": "instantiated", "m2:c": "running"})
		heal()
		time.Sleep(5 * time.Minute)
		w.runs(text)
		w.expectLive("m1:a", "m2:b", "m2:b:below", "m2:c")
		if v, _ := w.last("m2:b", "deploy").Attrs.Get("reads"); v != value.String("m1:a@sys/m1") {
			t.Errorf("m2:b read %v", v)
		}
		w.down(false)
	})
}

func TestLC4StartThatWaitsTooLongUndoesTheComponent(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends {
			m1 extends VM { a extends Probe { startTakes 100000; } }
			m2 extends VM {
				b extends Probe { sfWaitTimeout 30; later LAZY m1:a:out; below extends Probe {} }
				c extends Probe { sfWaitTimeout 101; later LAZY m1:a:out; }
			}
			m3 extends VM { sfWaitTimeout 30; about LAZY m1:a; d extends Probe {} }
			note extends { sfWaitTimeout 30; about LAZY m1:a; }
		}`
		d := w.up(text)
		if d.State != api.DeploymentDegraded || len(d.Failures) != 3 {
			t.Errorf("up ended %s: %+v", d.State, d.Failures)
		}
		for path, operation := range map[string]string{"m2:b": "start", "m3": "deploy", "note": "start"} {
			state := map[string]string{"deploy": "deployed", "start": "running"}[operation]
			if f := w.failure(d, path); f.Operation != operation || !strings.Contains(f.Cause, "waited 30s for m1:a "+state) {
				t.Errorf("failure: %+v", f)
			}
		}
		w.expectLive("m1:a", "m2:c")
		w.balance(2) // nothing was made of the third machine
		w.runs(text)
		w.expectLive("m1:a", "m2:b", "m2:b:below", "m2:c", "m3:d")
		w.down(false)
	})
}

func TestLZ1LZ2ReferenceThatPlanningCannotSeeIsReadOverMachines(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { nothing "";
			m1 extends VM {
				a extends Probe { deployTakes 60000; startTakes 60000; given "as written"; on LAZY ROOT:m3; }
				near extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; }
			}
			m2 extends VM {
				b extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; }
				c extends Probe { reads ` + unseen("ROOT:m1:a:given") + `; }
				d extends Probe { later ` + unseen("ROOT:m1:a") + `; }
				e extends Probe { reads ` + unseen("ROOT:m1:a:on:ip") + `; }
				f extends Probe { reads ` + unseen("OPTIONAL ROOT:m1:a:uot") + `; }
			}
			m3 extends VM {}
		}`)
		ops := w.operations(0)
		for path, want := range map[value.Path]value.Value{
			"m1:near": value.String("m1:a@sys/m1"), "m2:b": value.String("m1:a@sys/m1"), "m2:c": value.String("as written"),
			"m2:e": value.String(w.machine("sys/m3").resource.Address), "m2:f": value.Null{},
		} {
			if v, _ := w.last(path, "deploy").Attrs.Get("reads"); v != want {
				t.Errorf("%s read %v, want %v", path, v, want)
			}
		}
		w.follows(ops, "m2:b deploy", "m1:a deploy")
		w.follows(ops, "m1:near deploy", "m1:a deploy")
		if c, a := ops["m2:c deploy"], ops["m1:a deploy"]; c.end > a.end {
			t.Errorf("m2:c waited for what the description gives")
		}
		w.follows(ops, "m2:d start", "m1:a start") // read as a whole at start: it has to run
		if v, _ := w.last("m2:d", "start").Attrs.Get("later"); v == nil || v.Kind() != value.KindComponent {
			t.Errorf("m2:d read %v", v)
		}
		w.down(false)
	})
}

func TestLZ6ReadThatCannotBeAnsweredFailsTheReader(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		d := w.up(`sfConfig extends { nothing "";
			m1 extends VM { a extends Probe { failDeploy -1; deployTakes 20000; } slow extends Probe { deployTakes 120000; } ok extends Probe {} }
			m2 extends VM {
				b extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; }
				c extends Probe { reads ` + unseen("ROOT:m1:ok:uot") + `; }
				d extends Probe { reads ` + unseen("ROOT:m1:gone") + `; }
				e extends Probe { sfWaitTimeout 30; reads ` + unseen("ROOT:m1:slow:out") + `; }
			}
		}`)
		for path, want := range map[string]string{
			"m2:b": "m1:a is failed: it was told to fail", "m2:c": "m1:ok has no attribute uot; did you mean out?",
			"m2:d": "m1 has no attribute gone", "m2:e": "waited 30s for m1:slow:out",
		} {
			if f := w.failure(d, path); !strings.Contains(f.Cause, want) {
				t.Errorf("%s: %s; want %s", path, f.Cause, want)
			}
		}
		w.expectLive("m1:ok", "m1:slow")
		w.down(false)
	})
}

func TestRT12LZ5WaitsThatGoRoundAreFoundWithinSeconds(t *testing.T) {
	for name, text := range map[string]string{
		"three machines": `sfConfig extends { nothing "";
			m1 extends VM { a extends Probe { reads ` + unseen("ROOT:m2:b:out") + `; } }
			m2 extends VM { b extends Probe { reads ` + unseen("ROOT:m3:c:out") + `; } }
			m3 extends VM { c extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; } }
		}`,
		"one machine": `sfConfig extends { nothing "";
			m1 extends VM {
				a extends Probe { reads ` + unseen("ROOT:m1:b:out") + `; }
				b extends Probe { reads ` + unseen("ROOT:m1:c:out") + `; }
				c extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; }
			}
		}`,
		"an edge of the plan": `sfConfig extends { nothing "";
			m1 extends VM {
				a extends Probe { reads ` + unseen("ROOT:m1:b:out") + `; }
				b extends Probe { reads LAZY ROOT:m2:c:out; }
			}
			m2 extends VM { c extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; } }
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				d := w.up(text)
				began, found := w.changes("deploying"), w.changes("failed")
				if len(began) == 0 || len(found) == 0 {
					t.Fatalf("begun at %v, failed at %v", began, found)
				}
				if took := found[0].Sub(began[len(began)-1]); took > 5*time.Second {
					t.Errorf("it was found %v after the last of them had begun", took)
				}
				var circles int
				for _, f := range d.Failures {
					if strings.Contains(f.Cause, "this wait can never end: deploy ") && strings.Count(f.Cause, "waits for") == 3 {
						circles++
					}
				}
				if circles == 0 {
					t.Errorf("no failure tells of a circle: %+v", d.Failures)
				}
				w.expectLive()
				w.down(false)
			})
		})
	}
}

func TestLZ5WaitsThatGoRoundOnOneMachineAreFoundWithoutTheOwner(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begin(`sfConfig extends { nothing "";
			m1 extends VM {
				first extends Probe {
					deployTakes 60000;
					a extends Probe { reads ` + unseen("ROOT:m1:first:b:out") + `; }
					b extends Probe { reads ` + unseen("ROOT:m1:first:c:out") + `; }
					c extends Probe { reads ` + unseen("ROOT:m1:first:a:out") + `; }
				}
			}
		}`)
		w.until("m1:first", "deploying")
		heal := w.net.Isolate(w.machine("sys/m1").resource.Address)
		time.Sleep(65 * time.Second)
		heal()
		d := w.end()
		if !slices.ContainsFunc(d.Failures, func(f api.Failure) bool {
			return strings.Contains(f.Cause, "this wait can never end") && strings.Count(f.Cause, "waits for") == 3
		}) {
			t.Errorf("no failure tells of a circle: %+v", d.Failures)
		}
		if failed := w.changes("failed"); failed[0].Sub(w.changes("deployed")[0]) > 5*time.Second {
			t.Errorf("it was found at %v", failed)
		}
		w.expectLive("m1:first")
		w.down(false)
	})
}

func TestLZ8ValueOfAMachineThatIsCutOffIsNeverStale(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends { nothing "";
			m1 extends VM { a extends Probe { given "as written"; } }
			m2 extends VM { b extends Probe { REMOVED } }
		}`
		w.runs(strings.Replace(text, "REMOVED", "", 1))
		get := func(path string, cached bool) (string, time.Duration, error) {
			began := time.Now()
			v, err := w.service().Get(context.Background(), "sys", path, cached)
			if err != nil {
				return "", time.Since(began), err
			}
			return string(v.Value), time.Since(began), nil
		}
		holder := w.machine("sys/m1")
		heal := w.net.Isolate(holder.resource.Address)
		for w.machineState("sys/m1") != "lost" {
			time.Sleep(100 * time.Millisecond)
		}
		for _, c := range []struct {
			path   string
			cached bool
			want   string // "": unavailable
			after  time.Duration
		}{
			{"m1:a:out", false, "", 10 * time.Second},
			{"m1:a", false, "", 0},
			{"ROOT", false, "", 0},
			{"m1:a:out", true, `"m1:a@sys/m1"`, 0},
			{"m1:a:given", false, `"as written"`, 0},
			{"m1:ip", false, `"` + holder.resource.Address + `"`, 0},
			{"m2:b:out", false, `"m2:b@sys/m2"`, 0},
		} {
			got, took, err := get(c.path, c.cached)
			if unavailable := errors.Is(err, &api.Error{Kind: api.KindUnavailable}); got != c.want || unavailable != (c.want == "") {
				t.Errorf("get %s: %s, %v; want %q", c.path, got, err, c.want)
			}
			if c.want == "" && !strings.Contains(fmt.Sprint(err), "machine sys/m1 has not answered since ") {
				t.Errorf("get %s: %v", c.path, err)
			}
			if took > c.after {
				t.Errorf("get %s took %v, want at most %v", c.path, took, c.after)
			}
		}

		// A read of a component says the same.
		d := w.up(strings.Replace(text, "REMOVED", "} c extends Probe { reads "+unseen("ROOT:m1:a:out")+";", 1))
		if f := w.failure(d, "m2:c"); !strings.Contains(f.Cause, "unavailable: machine sys/m1 has not answered since ") {
			t.Errorf("m2:c failed with: %s", f.Cause)
		}
		heal()
		time.Sleep(5 * time.Minute)
		if got, took, err := get("m1:a:out", false); got != `"m1:a@sys/m1"` || took > 0 {
			t.Errorf("once it answers: %s, %v after %v", got, err, took)
		}
		w.runs(strings.Replace(text, "REMOVED", "} c extends Probe { reads "+unseen("ROOT:m1:a:out")+";", 1))
		w.down(false)
	})
}

func TestDI9LZ8RestartWithoutTheOwnerUsesRecordedValuesAndSaysSo(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { nothing "";
			m1 extends VM { a extends Probe {} }
			m2 extends VM { b extends Probe { reads ` + unseen("ROOT:m1:a:out") + `; } }
		}`)
		heal := w.net.Isolate(w.machine("sys/m2").resource.Address)
		w.stage.die("m2:b", component.Abnormal)
		time.Sleep(2 * time.Minute)
		w.expectLive("m1:a", "m2:b")
		if v, _ := w.last("m2:b", "start").Attrs.Get("reads"); v != value.String("m1:a@sys/m1") {
			t.Errorf("it was restarted with %v", v)
		}
		heal()
		time.Sleep(5 * time.Minute)
		restarts := w.restartReasons("m2:b")
		if len(restarts) != 1 || !strings.Contains(restarts[0], "restarted with the recorded values of m2:b:reads") {
			t.Errorf("events of the restart: %q", restarts)
		}
		w.stage.die("m2:b", component.Abnormal)
		time.Sleep(2 * time.Minute)
		if restarts = w.restartReasons("m2:b"); len(restarts) != 2 || strings.Contains(restarts[1], "recorded") {
			t.Errorf("events of both restarts: %q", restarts)
		}
		w.down(false)
	})
}
