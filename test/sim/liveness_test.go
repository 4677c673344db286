package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// asked returns when a component was pinged.
func (w *world) asked(path string) (at []time.Duration) {
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	for _, p := range w.stage.pings {
		if string(p.path) == path {
			at = append(at, p.at)
		}
	}
	return at
}

// mute has a component answer no ping from now on, until it is begun again.
func (w *world) mute(path string) {
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	for at, e := range w.stage.effects {
		if string(at.path) == path {
			e.mute = true
		}
	}
}

// level changes the level of a component, as of itself.
func (w *world) level(path string, to int) {
	w.stage.mu.Lock()
	defer w.stage.mu.Unlock()
	for at, e := range w.stage.effects {
		if string(at.path) == path {
			e.env.Output("level", value.Integer(to))
		}
	}
}

func TestLV1ChildrenArePingedEveryDelay(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM {
			a extends Probe { below extends Probe {} }
			often extends { sfLivenessDelay 3; b extends Probe {} }
			never extends Compound { sfLivenessDelay 0; c extends Probe {} }
		} m2 extends VM { d extends Probe {} } }`)
		time.Sleep(5 * time.Minute)
		for path, want := range map[string]int{"m1:a": 20, "m1:a:below": 20, "m1:often:b": 100, "m1:never:c": 0, "m2:d": 20} {
			if n := len(w.asked(path)); n < want-2 || n > want+2 {
				t.Errorf("%s was pinged %d times in five minutes, want %d", path, n, want)
			}
		}
		w.down(false)
	})
}

func TestLV2AndRT09ChildThatFailsItsPing(t *testing.T) {
	for _, c := range []struct {
		policy string
		states map[string]string
		begun  map[string]int
	}{
		{"restart", map[string]string{"m1:g": "running", "m1:g:a": "running", "m1:g:b": "running"}, map[string]int{"m1:g:a:deep": 2, "m1:g:b": 1}},
		{"ignore", map[string]string{"m1:g": "running", "m1:g:a": "running", "m1:g:a:deep": "terminated", "m1:g:b": "running"}, map[string]int{"m1:g:a:deep": 1, "m1:g:b": 1}},
		{"share", map[string]string{"m1:g": "terminated", "m1:g:a": "terminated", "m1:g:a:deep": "terminated", "m1:g:b": "terminated", "m1:c": "running"}, map[string]int{"m1:g:a:deep": 1, "m1:g:b": 1}},
	} {
		t.Run(c.policy, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				policy := `sfOnChildEnd "` + c.policy + `";`
				w.runs(`sfConfig extends { m1 extends VM { sfOnChildEnd "ignore";
					g extends Compound { ` + policy + ` a extends Compound { ` + policy + ` deep extends Probe {} } b extends Probe {} }
					c extends Probe {}
				} }`)
				w.mute("m1:g:a:deep")
				muted := len(w.asked("m1:g:a:deep"))
				time.Sleep(14 * time.Second)
				if failed := len(w.asked("m1:g:a:deep")) - muted; failed == 1 { // one is no end
					w.expectStates(map[string]string{"m1:g:a:deep": "running"})
				}
				time.Sleep(40 * time.Second)
				w.expectStates(c.states)
				for path, want := range c.begun {
					if n := len(w.starts(path)); n != want {
						t.Errorf("%s was begun %d times, want %d", path, n, want)
					}
				}
				deepest := func(path string) {
					if r := w.record(path); r.Type != "abnormal" || r.Path != "m1:g:a:deep" || r.Cause != "it does not answer" || r.Host != "sys/m1" {
						t.Errorf("%s was ended with the record %+v", path, r)
					}
				}
				deepest("m1:g:a:deep")
				if c.policy == "share" {
					deepest("m1:g:b")                                      // it shares the fate of another
					for _, path := range []string{"m1:g:a:deep", "m1:g"} { // the record is the deepest's
						if got := w.reason(path); got != "it does not answer" {
							t.Errorf("%s has ended because %q", path, got)
						}
					}
					w.expectState(api.SystemDegraded)
				}
				w.down(true)
			})
		})
	}
}

func TestLV4AssertionThatFailsIsAFailedPing(t *testing.T) {
	for name, c := range map[string]struct{ asserts, says string }{
		"an assertion": {`few extends Assertions { low ((LAZY ROOT:m1:gauge:level) < 5); }`, "low is false"},
		"a schema":     {`reads LAZY ROOT:m1:gauge:level; few extends Schema { reads extends Integer { maximum 5; } }`, "attribute reads"},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.runs(`#include "components.sf"
				sfConfig extends { m1 extends VM { sfOnChildEnd "ignore";
					gauge extends Probe { begins 3; }
					a extends Probe { ` + c.asserts + ` }
				} }`)
				time.Sleep(time.Minute)
				w.expectStates(map[string]string{"m1:a": "running"})
				w.level("m1:gauge", 7)
				time.Sleep(time.Minute)
				w.expectStates(map[string]string{"m1:gauge": "running", "m1:a": "terminated"})
				if got := w.reason("m1:a"); !strings.Contains(got, c.says) {
					t.Errorf("m1:a has ended because %q", got)
				}
				w.down(true)
			})
		})
	}
}
