package sim

import (
	"context"
	"testing"
	"time"

	"aloft/value"
)

// output returns what can be read of a component now, as it is written.
func (w *world) output(path string) string {
	w.t.Helper()
	v, err := w.service().Get(context.Background(), "sys", path, false)
	if err != nil {
		return err.Error()
	}
	decoded, err := value.Decode(v.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return value.Source(decoded)
}

func TestRT08RetryTellsHowOftenItsActionWasBegun(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			of("first", "Retry", "retry 5;", "action extends Probe {}"),
			of("third", "Retry", "retry 5;", `action extends Probe { failStart 2; }`),
			of("slow", "Retry", "retry 5;", bad("action", 10000)),
		))
		time.Sleep(5 * time.Second)
		for path, want := range map[string]string{"m1:first:count": "1", "m1:third:count": "3", "m1:slow:count": "1"} {
			if got := w.output(path); got != want {
				t.Errorf("%s is %s, want %s", path, got, want)
			}
		}
		time.Sleep(10 * time.Second) // it has failed once meanwhile
		if got := w.output("m1:slow:count"); got != "2" {
			t.Errorf("m1:slow:count is %s, want 2", got)
		}
		w.down(false)
	})
}

func TestRT08RetryEndsNormallyAsItsActionDoes(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(of("r", "Retry", "retry 3;", `action extends Probe { failStart 2; endsAfter 1000; endsHow "normal"; }`)))
		time.Sleep(10 * time.Second)
		if n := len(w.starts("m1:r:action")); n != 3 {
			t.Errorf("the action was begun %d times, want 3", n)
		}
		w.expectEnd("m1:r", "normal", "it was told to")
		w.down(false)
	})
}

func TestRT08ReferenceResolvesTellsItsAnswer(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.begins(within(
			"probe extends Probe {}",
			of("wait", "Delay", "time 3600000;", "action extends Probe {}"),
			of("yes", "WaitFor", "interval 1000; timeout 100000;", cond("condition", "And",
				cond("a", "ReferenceResolves", "reference LAZY ROOT:m1:probe:out;"), cond("b", "RunningFor", "hours 1;"))),
			of("no", "WaitFor", "interval 1000; timeout 100000;", cond("condition", "ReferenceResolves", "reference LAZY ROOT:m1:wait:action:out;")),
		))
		time.Sleep(10 * time.Second)
		for path, want := range map[string]string{"m1:yes:condition:a:result": "true", "m1:no:condition:result": "false"} {
			if got := w.output(path); got != want {
				t.Errorf("%s is %s, want %s", path, got, want)
			}
		}
		w.down(false)
	})
}
