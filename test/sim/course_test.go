package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// killDaemon kills the daemon of a machine and starts it again after a pause.
func (w *world) killDaemon(name string, pause time.Duration) {
	w.t.Helper()
	m := w.machine(name)
	w.mu.Lock()
	old := m.daemon
	w.mu.Unlock()
	w.replaceDaemon(m, old, pause)
}

func TestRepeatGoesOnInItsThirdRoundAfterItsDaemonWasKilled(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("r", "Repeat", "repeat 5;", job("action", 60000))))
		time.Sleep(150 * time.Second)
		if n := len(w.starts("m1:r:action")); n != 3 {
			t.Fatalf("the action was begun %d times, want 3", n)
		}
		w.killDaemon("sys/m1", 5*time.Second)
		w.restartManager()
		time.Sleep(10 * time.Second)
		if n := len(w.starts("m1:r:action")); n != 3 {
			t.Errorf("the action, which went on, was begun %d times, want 3", n)
		}
		time.Sleep(5 * time.Minute)
		if n := len(w.starts("m1:r:action")); n != 5 {
			t.Errorf("the action was begun %d times, want 5", n)
		}
		w.expectEnd("m1:r", "normal", "it was told to")
		w.down(false)
	})
}

func TestCourseTimesGoOnWhileItsDaemonIsDown(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("t", "Timeout", "time 60000;", "action extends Probe {}"), of("d", "Delay", "time 45000;", job("action", 1))))
		time.Sleep(30 * time.Second)
		w.killDaemon("sys/m1", 40*time.Second)
		time.Sleep(5 * time.Second)
		w.expectStates(map[string]string{"m1:t": "terminated", "m1:d": "terminated"})
		if n := len(w.starts("m1:t:action")) + len(w.starts("m1:d:action")); n != 2 {
			t.Errorf("the actions were begun %d times, want each once", n)
		}
		w.down(true)
	})
}

func TestCourseSurvivesCrashesAtAnyWrite(t *testing.T) {
	crashes := 0
	overSeeds(t, 12, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 2 * time.Second}, func(w *world) {
			text := within(
				of("s", "Sequence", job("a", 1000), of("p", "Parallel", job("b", 3000), job("c", 1500)), of("r", "Repeat", "repeat 2;", job("action", 700))),
				of("y", "Retry", "retry 100;", `action extends Probe { failStart 2; endsAfter 500; endsHow "normal"; }`),
			)
			stop := w.crashing(6, 40, func(string) bool { return true })
			w.begin(text)
			w.end()
			for began := time.Now(); w.states()["m1:s"] != "terminated" || w.states()["m1:y"] != "terminated"; time.Sleep(time.Second) {
				if time.Since(began) > patience {
					w.t.Fatalf("it does not end: %v", w.states())
				}
			}
			stop()
			did := w.course(0)
			if ended, next := slices.Index(did, "a ended"), slices.Index(did, "b deploy"); ended < 0 || ended > next {
				w.t.Errorf("a does not end before b is deployed: %v", did)
			}
			w.expectEnd("m1:s", "normal", "all its actions have ended")
			if runs := len(w.starts("m1:s:r:action")); runs < 2 {
				w.t.Errorf("what is repeated twice was begun %d times", runs)
			}
			w.expectLive()
			w.down(false)
			crashes += w.crashes
		})
	})
	if crashes == 0 {
		t.Error("nothing crashed")
	}
}

func TestWF3DownEndsChildrenInReverseAndLeavesNothing(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("p", "Parallel", "a extends Probe {}", "b extends Probe { c extends Probe {} }", of("d", "Sequence", "e extends Probe {}"))))
		time.Sleep(5 * time.Second)
		w.expectLive("m1:p:a", "m1:p:b", "m1:p:b:c", "m1:p:d:e")
		mark := len(w.stage.trace())
		w.down(false)
		w.expectCourse(mark, "e terminate", "c terminate", "b terminate", "a terminate")
	})
}

func TestCourseIsUpdatedWhileItRuns(t *testing.T) {
	text := func(n, m, time int) string {
		return within(of("p", "During", fmt.Sprintf("time %d;", time), fmt.Sprintf(`action extends Compound { a extends Probe { n %d; } b extends Probe { n 1; fixed %d; } }`, n, m)))
	}
	for name, c := range map[string]struct {
		n, m, time int
		did        []string
	}{
		"what it has created is reconfigured": {2, 1, -1, []string{"m1:p:action:a reconfigure"}},
		"what cannot change in place begins the course anew": {1, 2, -1, []string{
			"m1:p:action:a deploy", "m1:p:action:a start", "m1:p:action:a terminate",
			"m1:p:action:b deploy", "m1:p:action:b start", "m1:p:action:b terminate",
		}},
		"an attribute of the course begins it anew": {1, 1, 3600000, []string{
			"m1:p:action:a deploy", "m1:p:action:a start", "m1:p:action:a terminate",
			"m1:p:action:b deploy", "m1:p:action:b start", "m1:p:action:b terminate",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs(text(1, 1, -1))
				time.Sleep(5 * time.Second)
				w.expectNoChange(text(1, 1, -1))
				mark := len(w.stage.trace())
				w.begins(text(c.n, c.m, c.time))
				time.Sleep(5 * time.Second)
				w.expectDid(mark, c.did...)
				w.expectState(api.SystemRunning)
				w.expectNoChange(text(c.n, c.m, c.time))
				w.expectLive("m1:p:action:a", "m1:p:action:b")
				w.down(false)
			})
		})
	}
}

func TestCourseMayCreateOthersAfterAnUpdate(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(within(of("p", "Parallel", "a extends Probe {}", "b extends Probe {}")))
		time.Sleep(5 * time.Second)
		w.begins(within(of("p", "Parallel", "a extends Probe {}", "c extends Probe {}")))
		time.Sleep(5 * time.Second)
		w.expectLive("m1:p:a", "m1:p:c")
		w.begins(within("p extends Compound { a extends Probe {} }")) // and not be a course any more
		time.Sleep(5 * time.Second)
		w.expectLive("m1:p:a")
		w.begins(within(of("p", "Parallel", "a extends Probe {}"))) // and be one again
		time.Sleep(5 * time.Second)
		w.expectLive("m1:p:a")
		w.expectState(api.SystemRunning)
		w.begins(within("d extends Probe {}"))
		w.expectLive("m1:d")
		w.down(false)
	})
}

func TestOtherComponentsWaitForWhatACourseCreates(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("s", "Sequence", job("first", 20000), "second extends Probe {}"),
			"reads extends Probe { later LAZY PARENT:s:second:out; }",
		))
		time.Sleep(time.Minute)
		if at, second := w.starts("m1:reads"), w.starts("m1:s:second"); len(at) != 1 || len(second) != 1 || at[0] < second[0] {
			t.Errorf("m1:reads was begun at %v, m1:s:second at %v", at, second)
		}
		w.down(false)
	})
}

func TestTR4ActionThatEndsOnceItHasStarted(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("s", "Sequence", "a extends Probe { sfShouldTerminate true; }", "b extends Probe {}"),
			of("q", "Sequence", "c extends Probe { sfShouldTerminateQuietly true; }", "d extends Probe {}"),
		))
		time.Sleep(5 * time.Second)
		w.expectLive("m1:s:b") // of q nobody was told that c has ended
		w.expectStates(map[string]string{"m1:q": "running", "m1:q:c": "terminated", "m1:q:d": "instantiated"})
		w.down(false)
	})
}

// What is to leave its system and cannot is told so before anything is done.
func TestTR4ComponentThatCannotLeaveItsSystemIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ inside, says string }{
		"on a machine of it": {"a extends Probe { sfShouldDetach true; }", "runs on machine m1, which ends with its system"},
		"as is found then":   {"a extends Probe { sfShouldDetach LAZY b:out; } b extends Probe {}", "has to be known before"},
		"in a course":        {of("s", "Sequence", "a extends Probe { sfShouldDetach true; }"), "is created by a workflow component"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				if _, err := w.apply(w.request(within(c.inside))); err == nil || !strings.Contains(details(err), c.says) {
					t.Errorf("%v %s", err, details(err))
				}
				w.up(within("a extends Probe { sfShouldDetach false; }"))
				w.down(false)
			})
		})
	}
}

func TestCourseIsRefusedWhereItCannotCreate(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"above machines":     {`sfConfig extends { s extends { sfClass "Sequence"; a extends VM {} } }`, "would run on the managing host itself"},
		"a machine":          {`sfConfig extends { m1 extends VM { s extends { sfClass "Sequence"; a extends VM {} } } }`, "would have to create a machine"},
		"on another machine": {`sfConfig extends { m2 extends VM {} m1 extends VM { s extends { sfClass "Sequence"; a extends Probe { sfProcessHost LAZY ROOT:m2:ip; } } } }`, "would have to create this on another machine"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				if _, err := w.apply(w.request(c.text)); err == nil || !strings.Contains(details(err), c.says) {
					t.Errorf("%v %s; want %q", err, details(err), c.says)
				}
			})
		})
	}
}

// cond writes an attribute that is a condition.
func cond(name, class string, parts ...string) string { return of(name, class, parts...) }

func TestRT08IfAsksOnceAndRunsABranch(t *testing.T) {
	branches := job("then", 100) + job("else", 100)
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("yes", "org.smartfrog.sfcore.workflow.conditional.IfImpl", cond("condition", "org.smartfrog.sfcore.workflow.conditional.conditions.BooleanValue", "value true;"), branches),
			of("no", "If", cond("condition", "BooleanValue", "value false;"), branches),
			of("none", "If", cond("condition", "BooleanValue", "value false;"), job("then", 100)),
			of("fails", "If", cond("condition", "BooleanValue", "value true;"), bad("then", 100)),
		))
		time.Sleep(5 * time.Second)
		for path, want := range map[string]int{"m1:yes:then": 1, "m1:yes:else": 0, "m1:no:then": 0, "m1:no:else": 1, "m1:none:then": 0} {
			if n := len(w.starts(path)); n != want {
				t.Errorf("%s was begun %d times, want %d", path, n, want)
			}
		}
		w.expectStates(map[string]string{"m1:yes": "terminated", "m1:no": "terminated", "m1:none": "terminated", "m1:yes:condition": "terminated"})
		if got := w.reason("m1:none"); got != "there is no branch else" {
			t.Errorf("without that branch it has ended because %q", got)
		}
		w.expectEnd("m1:fails", "abnormal", "it was told to") // it ends with its branch
		w.down(true)
	})
}

func TestRT08IfEndsWithAConditionThatCannotBeCreated(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("i", "If", "condition extends Probe { failDeploy 1; }", job("then", 100))))
		time.Sleep(5 * time.Second)
		w.expectEnd("m1:i", "abnormal", "it was told to fail")
		w.down(true)
	})
}

func TestRT08WaitForAsksUntilItIsTrue(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("w", "WaitFor", "interval 1000; timeout 600000;", cond("condition", "RunningFor", "seconds 30;"), job("then", 1000), job("else", 1000))))
		time.Sleep(20 * time.Second)
		w.expectStates(map[string]string{"m1:w": "running", "m1:w:condition": "running", "m1:w:then": "instantiated"})
		time.Sleep(20 * time.Second)
		if then, other := len(w.starts("m1:w:then")), len(w.starts("m1:w:else")); then != 1 || other != 0 {
			t.Errorf("then was begun %d times, else %d times", then, other)
		}
		w.expectEnd("m1:w", "normal", "it was told to")
		w.down(false)
	})
}

// RT08: the time of RunningFor is the sum of what it says of it.
func TestRT08RunningForAddsUpItsUnits(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("w", "WaitFor", "interval 1000; timeout 200000000;",
			cond("condition", "RunningFor", "days 1; hours 2; minutes 3; seconds 4; milliseconds 5000;"), `then extends Probe {}`)))
		const sum = 26*time.Hour + 3*time.Minute + 9*time.Second
		time.Sleep(sum - time.Minute)
		if n := len(w.starts("m1:w:then")); n != 0 {
			t.Error("it is true a minute too soon")
		}
		time.Sleep(2 * time.Minute)
		if n := len(w.starts("m1:w:then")); n != 1 {
			t.Errorf("a minute after its time then was begun %d times", n)
		}
		w.down(false)
	})
}

func TestRT08WaitForGivesUp(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("w", "WaitFor", "interval 700; timeout 20000;", cond("condition", "Equals", "left 1; right 2;"), job("then", 1000), `else extends Probe { later LAZY PARENT:failureText; }`),
			of("n", "WaitFor", "interval 700; timeout 5000;", cond("condition", "BooleanValue", "value false;")),
		))
		time.Sleep(15 * time.Second)
		w.expectStates(map[string]string{"m1:w": "running", "m1:w:else": "instantiated", "m1:n": "terminated"})
		time.Sleep(15 * time.Second)
		w.expectLive("m1:w:else")
		for _, c := range w.stage.trace() {
			if c.Path == "m1:w:else" && c.Op == "start" {
				if v, _ := c.Attrs.Get("later"); v != value.String("the condition did not become true in time: 1 is not 2") {
					t.Errorf("failureText is %v", v)
				}
			}
		}
		w.down(false)
	})
}

func TestRT08Conditions(t *testing.T) {
	cases := map[string]struct {
		text string
		want bool
	}{
		"True":                                  {cond("condition", "BooleanValue", "value true;"), true},
		"False":                                 {cond("condition", "BooleanValue", "value false;"), false},
		"a LAZY value":                          {cond("condition", "BooleanValue", "value LAZY ROOT:m1:probe:flag;"), true},
		"Equals":                                {cond("condition", "Equals", `left "m1:probe@sys/m1"; right LAZY ROOT:m1:probe:out;`), true},
		"Equals of other kinds":                 {cond("condition", "Equals", `left 1; right "1";`), false},
		"Equals of what cannot be read":         {cond("condition", "Equals", `left 1; right LAZY ROOT:m1:later:out;`), false},
		"Equals of another machine's":           {cond("condition", "Equals", `left "m2:far@sys/m2"; right LAZY ROOT:m2:far:out;`), true},
		"ReferenceResolves":                     {cond("condition", "ReferenceResolves", `reference LAZY ROOT:m1:probe:out;`), true},
		"ReferenceResolves to nothing":          {cond("condition", "ReferenceResolves", `reference LAZY ROOT:m1:later:out;`), false},
		"RunningFor":                            {cond("condition", "RunningFor", ""), true},
		"RunningFor longer":                     {cond("condition", "RunningFor", "hours 1; milliseconds 1;"), false},
		"IsAlive":                               {cond("condition", "IsAlive", `target LAZY ROOT:m1:probe;`), true},
		"IsAlive of what died":                  {cond("condition", "IsAlive", `target LAZY ROOT:m1:mute;`), false},
		"IsAlive of what was never created":     {cond("condition", "IsAlive", `target LAZY ROOT:m1:later;`), false},
		"IsAlive elsewhere":                     {cond("condition", "IsAlive", `target LAZY ROOT:m2:far;`), true},
		"Not":                                   {cond("condition", "Not", cond("condition", "BooleanValue", "value false;")), true},
		"Not not":                               {cond("condition", "Not", cond("condition", "BooleanValue", "value true;")), false},
		"And":                                   {cond("condition", "And", cond("a", "BooleanValue", "value true;"), cond("b", "BooleanValue", "value true;")), true},
		"And stops at the first false":          {cond("condition", "And", cond("a", "BooleanValue", "value false;"), cond("b", "BooleanValue", "value LAZY ROOT:m1:later:out;")), false},
		"And of nothing":                        {cond("condition", "And", ""), true},
		"Or stops at the first true":            {cond("condition", "Or", cond("a", "BooleanValue", "value true;"), cond("b", "BooleanValue", "value LAZY ROOT:m1:later:out;")), true},
		"Or":                                    {cond("condition", "Or", cond("a", "BooleanValue", "value false;"), cond("b", "BooleanValue", "value false;")), false},
		"Or of nothing":                         {cond("condition", "Or", ""), false},
		"And in Or in Not":                      {cond("condition", "Not", cond("condition", "Or", cond("a", "And", cond("x", "BooleanValue", "value true;"), cond("y", "BooleanValue", "value false;")))), true},
		"what is no condition cannot be asked.": {"condition extends Probe {}", false},
	}
	var names []string
	var text strings.Builder
	for name, c := range cases {
		fmt.Fprintf(&text, "c%d extends { sfClass \"If\"; %s then extends Probe {} else extends Probe {} }\n", len(names), strings.ReplaceAll(c.text, "ROOT:m1:later", "ROOT:m1:wait:action"))
		names = append(names, name)
	}
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(`sfConfig extends {
			m1 extends VM { sfOnChildEnd "ignore"; probe extends Probe { flag true; } mute extends Probe { mute true; }
				wait extends { sfClass "Delay"; time 3600000; action extends Probe {} }
				d extends { sfClass "Delay"; time 2000; action extends { sfClass "Parallel"; asynchCreateChild true; ` + text.String() + ` } }
			}
			m2 extends VM { far extends Probe {} }
		}`)
		time.Sleep(30 * time.Second)
		for i, name := range names {
			branch, other := "else", "then"
			if cases[name].want {
				branch, other = other, branch
			}
			at := fmt.Sprintf("m1:d:action:c%d:", i)
			if yes, no := len(w.starts(at+branch)), len(w.starts(at+other)); yes != 1 || no != 0 {
				t.Errorf("%s: %s was begun %d times, %s %d times", name, branch, yes, other, no)
			}
		}
		w.down(false)
	})
}
