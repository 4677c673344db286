package sim

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

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

// What had to be killed is told once, to who waits for the end, and holds nothing up.
func TestWhatHadToBeKilledIsToldOnceBeforeTheEnd(t *testing.T) {
	overSeeds(t, 4, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(`sfConfig extends { m1 extends VM { a extends Probe { deaf true; } } m2 extends VM { b extends Probe {} } }`)
			w.down(false)
			events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys"})
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for e, err := range events {
				switch {
				case err != nil:
					t.Fatal(err)
				case e.Kind == api.EventKilled, e.Kind == api.EventPlan && e.State == api.DeploymentDone:
					told = append(told, strings.Join([]string{e.Kind, e.Path, e.Reason}, " "))
				}
			}
			if want := []string{"plan  ", "killed m1:a it did not listen", "plan  "}; !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
		})
	})
}
