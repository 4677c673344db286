package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What TestMinorityRefusesWritesAndReadsWhatItHas says of members holds for
// clients of a Memory, to the second.
func TestClientThatIsCutOffRefusesWritesAndReadsWhatItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		defer m.Close()
		ctx := t.Context()
		a, b := m.Client(nil), m.Client(nil)
		rev := put(t, a, "a", "1")
		w := a.Watch(ctx, "", rev+1)
		a.Cut()
		put(t, b, "a", "2")
		begin := time.Now()
		_, err := a.Commit(ctx, Txn{Put: []Put{{Key: "a", Value: []byte("3")}}})
		if d := time.Since(begin); !errors.Is(err, ErrNoQuorum) || d != patience {
			t.Errorf("write: %v after %v", err, d)
		}
		if _, err := a.Get(ctx, "a"); !errors.Is(err, ErrNoQuorum) || time.Since(begin) != patience {
			t.Errorf("read: %v", err)
		}
		for name, r := range map[string]Reader{"local": a.Local(), "stale": Stale(a)} {
			if e, err := r.Get(ctx, "a"); err != nil || string(e.Value) != "1" || e.Revision != rev {
				t.Errorf("%s read: %+v, %v", name, e, err)
			}
			if all, at, err := r.List(ctx, ""); err != nil || len(all) != 1 || at != rev {
				t.Errorf("%s list: %+v at %d, %v", name, all, at, err)
			}
		}
		synctest.Wait()
		select {
		case b := <-w:
			t.Errorf("watch told %v", tell(b.Changes))
		default:
		}
		a.Mend()
		equal(t, next(t, w, 1), []string{"a=2"})
		if e, err := a.Get(ctx, "a"); err != nil || string(e.Value) != "2" {
			t.Errorf("read: %+v, %v", e, err)
		}
	})
}

// A short cut is not noticed but by the time it takes.
func TestCallOutlivesAShortCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		defer m.Close()
		c := m.Client(nil)
		c.Cut()
		time.AfterFunc(patience/2, c.Mend)
		begin := time.Now()
		put(t, c, "a", "1")
		if d := time.Since(begin); d != patience/2 {
			t.Errorf("took %v", d)
		}
	})
}

func TestFaultsHappenToTheCallsTheyAreMeantFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		defer m.Close()
		ctx := t.Context()
		var f Fault
		c := m.Client(func(call Call) Fault {
			if call.Op == OpCommit {
				return f
			}
			return Fault{}
		})
		commit := func() error {
			_, err := c.Commit(ctx, Txn{If: []Condition{{Key: "a"}}, Put: []Put{{Key: "a"}}})
			return err
		}
		f = Fault{Refuse: ErrNoQuorum}
		if err := commit(); !errors.Is(err, ErrNoQuorum) {
			t.Errorf("refused: %v", err)
		}
		f = Fault{Lose: ErrUncertain, Delay: time.Minute}
		begin := time.Now()
		if err := commit(); !errors.Is(err, ErrUncertain) || time.Since(begin) != time.Minute {
			t.Errorf("lost: %v", err)
		}
		f = Fault{}
		if err := commit(); !errors.Is(err, ErrConflict) {
			t.Errorf("what was lost took no effect: %v", err)
		}
		f = Fault{Delay: time.Hour}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := c.Commit(short, Txn{Put: []Put{{Key: "b"}}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("delayed: %v", err)
		}
		if _, err := c.Get(ctx, "b"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an abandoned call took effect: %v", err)
		}
	})
}
