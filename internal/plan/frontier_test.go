package plan

import (
	"slices"
	"testing"
)

func ids(steps []Step) []StepID {
	var out []StepID
	for _, s := range steps {
		out = append(out, s.ID)
	}
	return out
}

func TestFailureSkipsWhatNeedsItAndOpensTheBarrier(t *testing.T) {
	f := NewFrontier([]Step{
		{ID: "vm/deploy"},
		{ID: "db/deploy", Needs: []StepID{"vm/deploy"}},
		{ID: "app/deploy", Needs: []StepID{"vm/deploy"}},
		{ID: "barrier/deployed", After: []StepID{"vm/deploy", "db/deploy", "app/deploy"}},
		{ID: "db/start", Needs: []StepID{"db/deploy"}, After: []StepID{"barrier/deployed"}},
		{ID: "app/start", Needs: []StepID{"app/deploy"}, After: []StepID{"barrier/deployed"}},
	})
	if got := ids(f.Ready()); !slices.Equal(got, []StepID{"vm/deploy"}) {
		t.Fatalf("ready %v", got)
	}
	ready, _ := f.Settle("vm/deploy", Done)
	if got := ids(ready); !slices.Equal(got, []StepID{"db/deploy", "app/deploy"}) {
		t.Fatalf("ready %v", got)
	}
	_, skipped := f.Settle("db/deploy", Failed)
	if len(skipped) != 1 || skipped[0].ID != "db/start" || skipped[0].Reason != "waits on deploy db, which failed" {
		t.Fatalf("skipped %v", skipped)
	}
	ready, _ = f.Settle("app/deploy", Done)
	if got := ids(ready); !slices.Equal(got, []StepID{"barrier/deployed"}) {
		t.Fatalf("ready %v", got)
	}
	ready, _ = f.Settle("barrier/deployed", Done)
	if got := ids(ready); !slices.Equal(got, []StepID{"app/start"}) {
		t.Fatalf("ready %v", got)
	}
	if f.Settle("app/start", Done); f.Pending() != 0 {
		t.Fatalf("%d steps pending", f.Pending())
	}
}

func TestFactOfAnotherMachineIsWaitedForAndMayArriveTwiceOrEarly(t *testing.T) {
	f := NewFrontier([]Step{{ID: "web/deploy", Needs: []StepID{"db/deploy"}}})
	if got := f.Ready(); got != nil {
		t.Fatalf("ready %v before the fact", got)
	}
	ready, _ := f.Settle("db/deploy", Done)
	again, _ := f.Settle("db/deploy", Done)
	if len(ready) != 1 || again != nil {
		t.Fatalf("ready %v, then %v", ready, again)
	}
}

func TestInterruptionSkipsOnlyWhatHasNotBegun(t *testing.T) {
	f := NewFrontier([]Step{{ID: "a/deploy"}, {ID: "b/deploy", Needs: []StepID{"a/deploy"}}})
	f.Ready()
	if got := f.SkipRest("interrupted"); len(got) != 1 || got[0].ID != "b/deploy" {
		t.Fatalf("skipped %v", got)
	}
	if f.Settle("a/deploy", Done); f.Pending() != 0 {
		t.Fatalf("%d steps pending", f.Pending())
	}
}
