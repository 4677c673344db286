package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// job is a probe that ends normally after some time.
func job(name string, ms int, more ...string) string {
	return fmt.Sprintf(`%s extends Probe { endsAfter %d; endsHow "normal"; %s } `, name, ms, strings.Join(more, " "))
}

// bad is a probe that ends abnormally after some time.
func bad(name string, ms int, more ...string) string {
	return fmt.Sprintf(`%s extends Probe { endsAfter %d; %s } `, name, ms, strings.Join(more, " "))
}

// within puts components into the machine m1.
func within(parts ...string) string {
	return `sfConfig extends { m1 extends VM { sfOnChildEnd "ignore"; ` + strings.Join(parts, "\n") + ` } }`
}

// of writes a component of a class.
func of(name, class string, parts ...string) string {
	return fmt.Sprintf("%s extends { sfClass %q; %s } ", name, class, strings.Join(parts, " "))
}

// begins deploys and starts a system whose components may have ended by then.
func (w *world) begins(text string) {
	w.t.Helper()
	if d := w.up(text); d.State != api.DeploymentDone {
		w.t.Fatalf("up ended %s: %+v", d.State, d.Failures)
	}
}

// expectEnd checks that a component has ended, as what, and why.
func (w *world) expectEnd(path, how, why string) {
	w.t.Helper()
	w.expectStates(map[string]string{path: "terminated"})
	if got := w.reason(path); got != why {
		w.t.Errorf("%s has ended because %q, want %q", path, got, why)
	}
	want := api.SystemRunning
	if how != "normal" {
		want = api.SystemDegraded
	}
	if got := w.system(); got != want {
		w.t.Errorf("%s has ended, and the system is %s, want %s", path, got, want)
	}
}

// system returns the state of the system.
func (w *world) system() string {
	w.t.Helper()
	st, err := w.service().Status(context.Background(), "sys")
	if err != nil {
		w.t.Fatal(err)
	}
	return st.State
}

// op is a step of a probe in words, with the seconds since mark.
func (w *world) course(mark int) (did []string) {
	for _, c := range w.stage.trace()[mark:] {
		switch {
		case c.Op == "ended":
			did = append(did, c.Path.Name()+" ended")
		case c.Done && !c.Failed:
			did = append(did, c.Path.Name()+" "+c.Op)
		case c.Done:
			did = append(did, c.Path.Name()+" "+c.Op+" failed")
		}
	}
	return did
}

// expectCourse checks what probes did since mark, in its order.
func (w *world) expectCourse(mark int, want ...string) {
	w.t.Helper()
	if got := w.course(mark); !slices.Equal(got, want) {
		w.t.Errorf("course:\n  %s\nwant:\n  %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// ran is what is done for a component that runs to its normal end.
func ran(name string) []string {
	return []string{name + " deploy", name + " start", name + " ended", name + " terminate"}
}

func together(lists ...[]string) []string { return slices.Concat(lists...) }

func TestRT08SequenceCreatesItsActionsOneAfterTheOther(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := within(of("s", "org.smartfrog.sfcore.workflow.combinators.Sequence", job("a", 1000), job("b", 2000), job("c", 500)))
		w.runs(text)
		time.Sleep(30 * time.Second)
		w.expectCourse(0, together(ran("a"), ran("b"), ran("c"))...)
		w.expectStates(map[string]string{"m1:s:a": "terminated", "m1:s:c": "terminated"})
		w.expectEnd("m1:s", "normal", "all its actions have ended")
		w.expectNoChange(text) // what has ended normally is not missing
		w.down(false)
	})
}

func TestRT08EmptySequenceEndsAtOnce(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("s", "Sequence")))
		time.Sleep(time.Second)
		w.expectEnd("m1:s", "normal", "Empty Sequence")
		w.down(false)
	})
}

func TestRT08SequenceEndsWithTheActionThatFails(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("s", "Sequence", job("a", 100), bad("b", 100), job("c", 100))))
		time.Sleep(10 * time.Second)
		w.expectCourse(0, together(ran("a"), ran("b"))...)
		w.expectEnd("m1:s", "abnormal", "it was told to")
		w.down(true)
	})
}

func TestRT08ActionsMayStandInAChildCalledActions(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("s", "Sequence", "actions extends { ", job("a", 100), job("b", 100), "}")))
		time.Sleep(10 * time.Second)
		w.expectCourse(0, together(ran("a"), ran("b"))...)
		w.expectEnd("m1:s", "normal", "all its actions have ended")
		w.down(false)
	})
}

func TestRT08ParallelDeploysAllThenStartsAll(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("p", "org.smartfrog.sfcore.workflow.combinators.Parallel", job("a", 2000), job("b", 1000), job("c", 3000))))
		time.Sleep(30 * time.Second)
		w.expectCourse(0, "a deploy", "b deploy", "c deploy", "a start", "b start", "c start",
			"b ended", "b terminate", "a ended", "a terminate", "c ended", "c terminate")
		w.expectEnd("m1:p", "normal", "all its actions have ended")
		w.down(false)
	})
}

func TestRT08ParallelCreatesEachInItsOwnTask(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("p", "Parallel", "asynchCreateChild true;", job("a", 9000, "deployTakes 4000;"), job("b", 9000, "deployTakes 2000;"))))
		time.Sleep(30 * time.Second)
		w.expectCourse(0, "b deploy", "b start", "a deploy", "a start", "b ended", "b terminate", "a ended", "a terminate")
		w.expectEnd("m1:p", "normal", "all its actions have ended")
		w.down(false)
	})
}

func TestRT08ParallelEndsWithAChildThatFailsAndTheOthersInReverse(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("p", "Parallel", "a extends Probe {}", bad("b", 1000), "c extends Probe {}")))
		time.Sleep(10 * time.Second)
		w.expectCourse(0, "a deploy", "b deploy", "c deploy", "a start", "b start", "c start", "b ended", "b terminate", "c terminate", "a terminate")
		w.expectEnd("m1:p", "abnormal", "it was told to")
		w.down(true)
	})
}

func TestRT08ParallelForgivesAChildThatFails(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("p", "Parallel", "terminateOnAbnormalChildTermination false;", job("a", 1000), bad("b", 12000))))
		time.Sleep(5 * time.Second)
		w.expectStates(map[string]string{"m1:p": "running", "m1:p:a": "terminated", "m1:p:b": "running"})
		time.Sleep(30 * time.Second)
		w.expectEnd("m1:p", "normal", "all its actions have ended") // though the last one failed
		w.down(false)
	})
}

func TestRT08ParallelWithAChildThatCannotBeCreated(t *testing.T) {
	for name, c := range map[string]struct{ attrs, how, why string }{
		"ends with it":               {"", "abnormal", "it was told to fail"},
		"in its own task, likewise":  {"asynchCreateChild true;", "abnormal", "it was told to fail"},
		"in its own task, forgiven":  {"asynchCreateChild true; terminateOnAbnormalChildDeploy false;", "normal", "all its actions have ended"},
		"forgiven only in own tasks": {"terminateOnAbnormalChildDeploy false;", "abnormal", "it was told to fail"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.begins(within(of("p", "Parallel", c.attrs, job("a", 3000), "b extends Probe { failDeploy 1; }")))
				time.Sleep(10 * time.Second)
				w.expectEnd("m1:p", c.how, c.why)
				w.expectLive()
				w.down(c.how != "normal")
			})
		})
	}
}

func TestRT08EmptyParallel(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("p", "Parallel"), of("q", "Parallel", "terminateOnEmptyDeploy true;")))
		time.Sleep(5 * time.Second)
		w.expectEnd("m1:q", "normal", "Empty Parallel")
		w.expectStates(map[string]string{"m1:p": "running"})
		w.down(false)
	})
}

func TestRT08RepeatRunsItsActionSoManyTimes(t *testing.T) {
	for times, runs := range map[int]int{0: 0, 1: 1, 3: 3} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.begins(within(of("r", "Repeat", fmt.Sprintf("repeat %d;", times), job("action", 500))))
				time.Sleep(10 * time.Second)
				w.expectCourse(0, slices.Repeat(ran("action"), runs)...)
				w.expectStates(map[string]string{"m1:r": "terminated"})
				w.down(false)
			})
		})
	}
}

func TestRT08RepeatForEverAndItsFailure(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("r", "Repeat", "repeat -1;", job("action", 1000)), of("f", "Repeat", "repeat 5;", bad("action", 1000))))
		time.Sleep(20 * time.Second)
		if n := len(w.starts("m1:r:action")); n < 15 {
			t.Errorf("the action was begun %d times in 20 s", n)
		}
		w.expectEnd("m1:f", "abnormal", "it was told to")
		if n := len(w.starts("m1:f:action")); n != 1 {
			t.Errorf("the action that failed was begun %d times", n)
		}
		w.down(true)
	})
}

func TestRT08RetryRunsItsActionAgainAfterAnAbnormalEnd(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("gives", "Retry", "retry 2;", bad("action", 100)),
			of("none", "Retry", "retry 0;", bad("action", 100)),
			of("heals", "Retry", "retry 5;", "action extends Probe { failStart 2; endsAfter 60000; endsHow \"normal\"; }"),
			"sees extends Probe { later LAZY PARENT:heals:count; }",
		))
		time.Sleep(30 * time.Second)
		w.expectStates(map[string]string{"m1:gives": "terminated", "m1:none": "terminated", "m1:heals": "running"})
		for path, want := range map[string]int{"m1:gives:action": 3, "m1:none:action": 1, "m1:heals:action": 3} {
			if n := len(w.starts(path)); n != want {
				t.Errorf("%s was begun %d times, want %d", path, n, want)
			}
		}
		time.Sleep(time.Minute)
		if got := w.reason("m1:heals"); got != "it was told to" && got != "ended by itself" {
			t.Errorf("m1:heals has ended because %q", got)
		}
		w.down(true)
	})
}

func TestRT08RetryRefusesLessThanNothing(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		if _, err := w.service().Plan(context.Background(), w.request(within(of("r", "Retry", "retry -1;", job("action", 1))))); err == nil || !strings.Contains(details(err), "cannot be tried less than once") {
			t.Errorf("retry -1: %v", err)
		}
	})
}

func TestRT08TryRunsTheChildNamedByTheRecord(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("n", "Try", job("action", 100), job("normal", 200), job("abnormal", 300)),
			of("a", "Try", bad("action", 100), job("normal", 200), job("abnormal", 300)),
			of("f", "Try", job("action", 100), bad("normal", 200)),
			of("c", "Try", "action extends Probe { failDeploy 1; }", job("abnormal", 200)),
		))
		time.Sleep(10 * time.Second)
		for path, want := range map[string]int{"m1:n:normal": 1, "m1:n:abnormal": 0, "m1:a:normal": 0, "m1:a:abnormal": 1, "m1:f:normal": 1, "m1:c:abnormal": 1} {
			if n := len(w.starts(path)); n != want {
				t.Errorf("%s was begun %d times, want %d", path, n, want)
			}
		}
		// Each has ended as the child that was run, also after an abnormal end.
		w.expectEnd("m1:f", "abnormal", "it was told to")
		w.expectStates(map[string]string{"m1:n": "terminated", "m1:a": "terminated", "m1:c": "terminated"})
		w.down(true)
	})
}

func TestRT08TryWithoutSuchAChildEndsAsItsAction(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("a", "Try", bad("action", 100), job("normal", 200))))
		time.Sleep(10 * time.Second)
		w.expectEnd("m1:a", "abnormal", "it was told to")
		w.down(true)
	})
	scenario(t, options{seed: 1}, func(w *world) { // and recovers where there is one
		w.begins(within(of("a", "Try", bad("action", 100), job("abnormal", 200))))
		time.Sleep(10 * time.Second)
		w.expectEnd("m1:a", "normal", "it was told to")
		w.down(false)
	})
}

func TestRT08TimeoutEndsItsActionAndItselfAbnormally(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("t", "Timeout", "time 20000;", "action extends Probe {}")))
		time.Sleep(10 * time.Second)
		w.expectLive("m1:t:action")
		time.Sleep(20 * time.Second)
		w.expectLive()
		w.expectEnd("m1:t", "abnormal", "the time of its action is over")
		w.down(true)
	})
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("in", "Timeout", "time 5000;", job("action", 1000)), of("none", "Timeout", "action extends Probe {}")))
		time.Sleep(time.Minute)
		w.expectEnd("m1:in", "normal", "it was told to")
		w.expectStates(map[string]string{"m1:none": "running"}) // 0 is no limit
		w.down(false)
	})
}

func TestRT08DuringEndsItsActionAndItselfNormally(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("d", "During", "time 5000;", "action extends Probe {}"),
			of("none", "During", "time -1;", "action extends Probe {}"),
			of("once", "During", "action extends Probe {}"),
		))
		time.Sleep(10 * time.Second)
		w.expectEnd("m1:d", "normal", "its time is over")
		w.expectEnd("m1:once", "normal", "its time is over")
		w.expectStates(map[string]string{"m1:none": "running"})
		w.expectLive("m1:none:action")
		if n := len(w.starts("m1:once:action")); n != 0 {
			t.Error("the action of a During without time was begun")
		}
		w.down(false)
	})
}

func TestRT08DelayWaitsThenCreatesItsAction(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("d", "Delay", "time 20000;", bad("action", 1000)), of("e", "Delay", "time 3000;")))
		time.Sleep(10 * time.Second)
		w.expectLive()
		w.expectEnd("m1:e", "normal", "its time is over")
		time.Sleep(20 * time.Second)
		if at := w.starts("m1:d:action"); len(at) != 1 {
			t.Errorf("the action was begun at %v", at)
		}
		w.expectEnd("m1:d", "abnormal", "it was told to") // it ends as its action does
		w.down(true)
	})
}

func TestRT08FinallyStartsItsActionWhenItIsEnded(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("f", "Finally", "action extends Probe {}")))
		time.Sleep(10 * time.Second)
		w.expectCourse(0, "action deploy")
		w.down(false)
		w.expectCourse(0, "action deploy", "action start", "action terminate")
	})
}
