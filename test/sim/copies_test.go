package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"aloft/value"
)

// scaled is a system with machines that are copies, components that are copies
// inside them, and one component that refers to all of them.
func scaled(n int) string {
	return fmt.Sprintf(`sfConfig extends {
		front extends VM { lb extends Probe { servers LAZY web:app:out; } }
		web extends VM {
			sfCopies %d;
			app extends Probe { host LAZY web:ip; n LAZY sfCopyIndex; of extends Probe { sfCopies 2; } }
		}
	}`, n)
}

// TestUP5UP7CopiesAreScaledByTheirNumber takes a set of machines from one to three to
// two (runtime.md UP7): only the difference is made and removed, and who refers
// to the set is given the new values.
func TestUP5UP7CopiesAreScaledByTheirNumber(t *testing.T) {
	overSeeds(t, 5, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(scaled(1))
			w.expectNoChange(scaled(1))
			w.expectLive("front:lb", "web1:app", "web1:app:of1", "web1:app:of2")
			w.expectServers("deploy", 1)
			first := w.machine("sys/web1")

			mark := len(w.stage.trace())
			w.runs(scaled(3))
			made := []string{"front:lb reconfigure"}
			for _, m := range []string{"web2", "web3"} {
				for _, c := range []string{":app", ":app:of1", ":app:of2"} {
					made = append(made, m+c+" deploy", m+c+" start")
				}
			}
			w.expectDid(mark, made...)
			w.expectServers("reconfigure", 3)
			w.expectNoChange(scaled(3))
			w.balance(4)

			mark = len(w.stage.trace())
			w.runs(scaled(2))
			w.expectDid(mark, "front:lb reconfigure", "web3:app terminate", "web3:app:of1 terminate", "web3:app:of2 terminate")
			w.expectServers("reconfigure", 2)
			w.expectLive("front:lb", "web1:app", "web1:app:of1", "web1:app:of2", "web2:app", "web2:app:of1", "web2:app:of2")
			if again := w.machine("sys/web1"); again != first {
				t.Error("the copy that stays has another machine")
			}
			time.Sleep(time.Minute)
			w.balance(3)
			w.down(false)
		})
	})
}

// expectServers checks what lb was given in its last operation: the output of
// each of n copies, in order.
func (w *world) expectServers(op string, n int) {
	w.t.Helper()
	got, _ := w.last("front:lb", op).Attrs.Get("servers")
	var want value.Vector
	for i := 1; i <= n; i++ {
		path := value.Path(fmt.Sprintf("web%d:app", i))
		made := w.last(path, "deploy").Attrs
		if index, _ := made.Get("n"); index != value.Integer(i) {
			w.t.Errorf("%s is told that it is copy %v", path, index)
		}
		ip, _ := made.Get("host")
		if want := value.String(w.machine(fmt.Sprintf("sys/web%d", i)).resource.Address); ip != want {
			w.t.Errorf("%s is told that its machine is %v, not %v", path, ip, want)
		}
		want = append(want, value.String(fmt.Sprintf("%s@sys/web%d", path, i)))
	}
	if v, ok := got.(value.Vector); !ok || !slices.EqualFunc(v, want, value.Equal) {
		w.t.Errorf("at %s the servers are %v, want %v", op, got, want)
	}
}

// TestLZ4ReferencesToCopiesOrderNoStart has a component start before the copies
// that it refers to do, as the definition order of sfOrder "depth" wants: a
// reference to one component would have contradicted it (runtime.md LZ4).
func TestLZ4ReferencesToCopiesOrderNoStart(t *testing.T) {
	scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
		w.runs(`sfConfig extends {
			sfOrder "depth";
			front extends VM { lb extends Probe { servers LAZY web:given; } }
			web extends VM { sfCopies 2; given 1; app extends Probe {} }
		}`)
		ops := w.operations(0)
		for _, copied := range []string{"web1:app start", "web2:app start"} {
			w.follows(ops, copied, "front:lb start")
		}
		w.down(false)
	})
}
