package sim

import (
	"context"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// UP9: an automatic undo never removes data that existed before it.
func TestUP9UndoDoesNotRemoveDataThatWereThereBefore(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"replaced": {
			`a extends Probe { fixed 1; dataDir "/nonexistent/d"; keepOnTerminate true; }`,
			`a extends Probe { fixed 2; dataDir "/nonexistent/d"; keepOnTerminate false; } bad extends Probe { failStart -1; }`,
		},
		"left": {
			``,
			`a extends Probe { dataDir "/nonexistent/d"; keepOnTerminate false; } bad extends Probe { failStart -1; }`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				text := func(inside string) string {
					return `sfConfig extends { sfOnFailure "undo"; m1 extends VM { b extends Probe {} ` + inside + ` } }`
				}
				w.runs(text(`a extends Probe { fixed 1; dataDir "/nonexistent/d"; keepOnTerminate true; }`))
				if c.before == "" {
					w.runs(text(""))
				}
				mark := len(w.stage.trace())
				w.begin(text(c.after))
				time.Sleep(10 * time.Minute)
				for _, call := range w.stage.trace()[mark:] {
					if keep, _ := call.Attrs.Get("keepOnTerminate"); call.Path == "m1:a" && call.Op == "terminate" && keep != value.Bool(true) {
						t.Errorf("%v: the data that were there before the update are destroyed", call)
					}
				}
				w.expectState(api.SystemDegraded)
				events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys"})
				if err != nil {
					t.Fatal(err)
				}
				told := 0
				for e, err := range events {
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(e.Reason, "not undone: the plan would destroy the data of m1:a") {
						told++
					}
				}
				if told != 1 {
					t.Errorf("it was told %d times that it is not undone", told)
				}
				w.down(false)
			})
		})
	}
}

// What the failed update has made goes with its undo, with the data that it has
// come to have.
func TestUP9UndoEndsTheDataThatTheFailedUpdateMade(t *testing.T) {
	for name, inside := range map[string]string{
		"beside": `a extends Probe { dataDir "/nonexistent/d"; keepOnTerminate false; } bad extends Probe { failStart -1; }`,
		"inside": `} m2 extends VM { a extends Probe { dataDir "/nonexistent/d"; } bad extends Probe { failStart -1; }`,
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				text := func(inside string) string {
					return `sfConfig extends { sfOnFailure "undo"; m1 extends VM { b extends Probe {} ` + inside + ` } }`
				}
				w.runs(text(""))
				w.begin(text(inside))
				time.Sleep(10 * time.Minute)
				w.expectState(api.SystemRunning)
				w.expectLive("m1:b")
				w.expectNoChange(text(""))
				w.down(false)
			})
		})
	}
}
