package sim

import (
	"context"
	"strings"
	"testing"

	"aloft/api"
)

// Who follows a plan has heard of all that it did when its end is told.
func TestTheEndOfAPlanIsToldAfterWhatItDid(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM { a extends Probe {} } m2 extends VM { b extends Probe {} } }`)
		events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys"})
		if err != nil {
			t.Fatal(err)
		}
		running := map[string]bool{}
		for e, err := range events {
			switch {
			case err != nil:
				t.Fatal(err)
			case e.Kind == api.EventComponent && e.State == api.ComponentRunning:
				running[e.Path] = true
			case e.Kind == api.EventPlan && e.State == api.DeploymentDone:
				for path := range strings.FieldsSeq("m1 m2 m1:a m2:b") {
					if !running[path] {
						t.Errorf("the end was told before %s was said to run", path)
					}
				}
				w.down(false)
				return
			}
		}
		t.Error("the end of the plan was not told")
	})
}
