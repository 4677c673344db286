package plan

import (
	"slices"
	"testing"
	"time"

	"aloft/value"
)

func TestCircle(t *testing.T) {
	type edges = map[StepID][]StepID
	for name, c := range map[string]struct {
		waits edges
		want  []StepID
		words string
	}{
		"nothing":        {waits: edges{}},
		"waits that end": {waits: edges{"a/deploy": {"b/deploy", "c/deploy"}, "b/deploy": {"c/deploy"}}},
		"itself": {
			waits: edges{"a/deploy": {"a/deploy"}}, want: []StepID{"a/deploy", "a/deploy"},
			words: "deploy a waits for a deployed",
		},
		"three": {
			waits: edges{"a/deploy": {"b/deploy"}, "b/deploy": {"m:c/start"}, "m:c/start": {"a/deploy"}},
			want:  []StepID{"a/deploy", "b/deploy", "m:c/start", "a/deploy"},
			words: "deploy a waits for b deployed, which waits for m:c running, which waits for a deployed",
		},
		"over a barrier": {
			waits: edges{"a/deploy": {"b/start"}, "b/start": {"/deployed"}, "/deployed": {"a/deploy"}},
			want:  []StepID{"a/deploy", "b/start", "/deployed", "a/deploy"},
			words: "deploy a waits for b running, which waits for everything deployed, which waits for a deployed",
		},
		"the shorter of two": {
			waits: edges{"a/deploy": {"b/deploy", "d/deploy"}, "b/deploy": {"c/deploy"}, "c/deploy": {"a/deploy"}, "d/deploy": {"a/deploy"}},
			want:  []StepID{"a/deploy", "d/deploy", "a/deploy"},
			words: "deploy a waits for d deployed, which waits for a deployed",
		},
		"one that it is not part of": {waits: edges{"a/deploy": {"b/deploy"}, "b/deploy": {"c/deploy"}, "c/deploy": {"b/deploy"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Circle("a/deploy", func(id StepID) []StepID { return c.waits[id] })
			if !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
			if got := Waiting(got); got != c.words {
				t.Errorf("told as %q, want %q", got, c.words)
			}
		})
	}
}

func TestLC4WaitLimitIsWhatTheComponentSays(t *testing.T) {
	for _, c := range []struct {
		says value.Value
		want time.Duration
	}{
		{nil, 15 * time.Minute},
		{value.Integer(60), time.Minute},
		{value.Long(3), 3 * time.Second},
		{value.Double(0.5), 500 * time.Millisecond},
		{value.String("60"), 15 * time.Minute},
		{value.Integer(-1), 15 * time.Minute},
		{value.Long(1 << 62), 15 * time.Minute},
	} {
		attrs := value.NewComponent(false)
		if c.says != nil {
			attrs.Set(value.Attr{Name: "sfWaitTimeout", Value: c.says})
		}
		if got := WaitLimit(attrs); got != c.want {
			t.Errorf("%v: %v, want %v", c.says, got, c.want)
		}
	}
}

func TestOverdueNamesWhatWasWaitedFor(t *testing.T) {
	got := Overdue(time.Minute, []Await{{Step: "m1:a/deploy", Attribute: "reads", Machine: "sys/m1"}, {Step: "m2/start", Attribute: "later"}})
	want := "waited 1m0s for m1:a deployed, which attribute reads refers to, on machine sys/m1, and for m2 running, which attribute later refers to"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// awaiting is a step that needs its parent, two references and a barrier.
func awaiting() *Frontier {
	return NewFrontier([]Step{{
		ID: "b/start", Needs: []StepID{"p/start", "x/start", "y/start"}, After: []StepID{"/deployed"},
		Awaits: []Await{{Step: "x/start", Attribute: "x"}, {Step: "y/start", Attribute: "y"}},
	}})
}

func TestStepAwaitsOnceOnlyReferencesAreOpen(t *testing.T) {
	f := awaiting()
	expect := func(when string, want ...StepID) {
		t.Helper()
		if got := ids(f.Awaiting()); !slices.Equal(got, want) {
			t.Errorf("%s: awaiting %v, want %v", when, got, want)
		}
	}
	expect("at first")
	f.Settle("p/start", Done)
	expect("with the barrier closed")
	f.Settle("x/start", Done)
	expect("with the barrier closed and a reference settled")
	f.Settle("/deployed", Done)
	expect("with the barrier open", "b/start")
	expect("asked again")
	if got := f.Waits("b/start"); !slices.Equal(got, []StepID{"y/start"}) {
		t.Errorf("it waits for %v", got)
	}
	open := f.Expire("b/start")
	if len(open) != 1 || open[0].Attribute != "y" {
		t.Errorf("expired with %v open", open)
	}
	if again := f.Expire("b/start"); again != nil {
		t.Errorf("expired twice: %v", again)
	}
	if ready, skipped := f.Settle("y/start", Failed); len(ready)+len(skipped) > 0 {
		t.Errorf("once expired, it became ready %v or skipped %v", ready, skipped)
	}
	if f.Pending() != 1 {
		t.Errorf("%d pending, want the expired one", f.Pending())
	}
	f.Settle("b/start", Failed)
	if f.Pending() != 0 {
		t.Errorf("%d pending", f.Pending())
	}
}

func TestStepThatBecameReadyDoesNotExpire(t *testing.T) {
	f := awaiting()
	for _, id := range []StepID{"p/start", "/deployed", "x/start", "y/start"} {
		f.Settle(id, Done)
	}
	if got := f.Awaiting(); len(got) > 0 {
		t.Errorf("awaiting %v", got)
	}
	if open := f.Expire("b/start"); open != nil {
		t.Errorf("expired with %v", open)
	}
}

func TestStepWithNothingButReferencesAwaitsAtOnce(t *testing.T) {
	f := NewFrontier([]Step{{ID: "b/deploy", Needs: []StepID{"a/deploy"}, Awaits: []Await{{Step: "a/deploy"}}}})
	if got := ids(f.Awaiting()); !slices.Equal(got, []StepID{"b/deploy"}) {
		t.Errorf("awaiting %v", got)
	}
}
