package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/internal/journal/journalpb"
)

const (
	done    = peerpb.Outcome_OUTCOME_DONE
	failed  = peerpb.Outcome_OUTCOME_FAILED
	skipped = peerpb.Outcome_OUTCOME_SKIPPED
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) (*Journal, *File) {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return New(f), f
}

func fresh(t testing.TB) (*Journal, *File) {
	return open(t, filepath.Join(t.TempDir(), "journal"))
}

func step(id string) Step {
	return Step{
		System: "guestbook", Plan: "p1", ID: id, Revision: 3,
		Path: "web:nginx", Action: peerpb.Action_ACTION_DEPLOY, Token: "t-" + id,
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unfinished returns the steps of guestbook's plan that have no result.
func unfinished(t testing.TB, j *Journal) []Entry {
	t.Helper()
	all, err := j.Steps(t.Context(), "guestbook", "p1")
	must(t, err)
	return slices.DeleteFunc(all, func(e Entry) bool { return e.Result != nil })
}

func TestCrashBetweenIntentAndResultLeavesAnUnfinishedStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, f := open(t, path)
	must(t, j.Begin(t.Context(), step("a")))
	must(t, j.End(t.Context(), step("a"), Result{Outcome: done}))
	must(t, j.Begin(t.Context(), step("b")))
	copyOf := onDisk(t, path) // when Begin has returned
	must(t, f.Close())

	j, _ = open(t, copyOf)
	left := unfinished(t, j)
	if len(left) != 1 || left[0].Step != step("b") || left[0].Attempt != 1 || left[0].Intent.IsZero() {
		t.Errorf("got %+v", left)
	}
	must(t, j.Begin(t.Context(), step("b")))
	again := unfinished(t, j)
	if again[0].Attempt != 2 || !again[0].Intent.Equal(left[0].Intent) {
		t.Errorf("begun again: %+v after %+v", again[0], left[0])
	}
}

func TestStepIsNotRunTwiceAfterItsResult(t *testing.T) {
	j, _ := fresh(t)
	must(t, j.Begin(t.Context(), step("a")))
	record := &peerpb.Record{Type: "abnormal", Cause: "port in use"}
	must(t, j.End(t.Context(), step("a"), Result{Outcome: failed, Record: record, Component: []byte("c")}))
	err := j.Begin(t.Context(), step("a"))
	var settled *SettledError
	if !errors.Is(err, ErrSettled) || !errors.As(err, &settled) {
		t.Fatalf("begin again: %v", err)
	}
	if r := settled.Result; r.Outcome != failed || !proto.Equal(r.Record, record) || string(r.Component) != "c" || r.Time.IsZero() {
		t.Errorf("result %+v", r)
	}
	if err := j.End(t.Context(), step("a"), Result{Outcome: failed}); err != nil {
		t.Errorf("the same outcome again: %v", err)
	}
	if err := j.End(t.Context(), step("a"), Result{Outcome: done}); !errors.Is(err, ErrSettled) {
		t.Errorf("another outcome: %v", err)
	}
}

func TestStepKeepsItsToken(t *testing.T) {
	j, _ := fresh(t)
	must(t, j.Begin(t.Context(), step("a")))
	other := step("a")
	other.Token = "another"
	if err := j.Begin(t.Context(), other); err == nil || !strings.Contains(err.Error(), "begun with token t-a, and now with another") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyASkippedStepEndsWithoutBeginning(t *testing.T) {
	j, _ := fresh(t)
	if err := j.End(t.Context(), step("a"), Result{Outcome: done}); err == nil {
		t.Error("a step that never began is done")
	}
	must(t, j.End(t.Context(), step("b"), Result{Outcome: skipped}))
	all, err := j.Steps(t.Context(), "guestbook", "p1")
	must(t, err)
	if len(all) != 1 || all[0].Result.Outcome != skipped || all[0].Attempt != 0 || !all[0].Intent.IsZero() {
		t.Errorf("got %+v", all)
	}
}

func TestResultAndWhatFollowsFromItAreOneWrite(t *testing.T) {
	j, _ := fresh(t)
	must(t, j.Begin(t.Context(), step("a")))
	must(t, j.End(
		t.Context(), step("a"), Result{Outcome: done},
		j.Components.Set(&journalpb.Component{System: "guestbook", Path: "web:nginx", State: "deployed"}),
		j.Facts.Set(&peerpb.Fact{System: "guestbook", Plan: "p1", Step: "a", Outcome: done}),
	))
	c, ok, err := j.Components.Get(t.Context(), "guestbook", "web:nginx")
	if err != nil || !ok || c.State != "deployed" {
		t.Error(c, ok, err)
	}
	// A write that cannot be made takes the result with it.
	must(t, j.Begin(t.Context(), step("b")))
	bad := j.Components.Set(&journalpb.Component{System: "guestbook", Path: "\xff"})
	if err := j.End(t.Context(), step("b"), Result{Outcome: done}, bad); err == nil {
		t.Fatal("a path that is no text was written")
	}
	if left := unfinished(t, j); len(left) != 1 || left[0].Step != step("b") {
		t.Errorf("unfinished: %v", left)
	}
}

func TestTablesKeepSystemsApart(t *testing.T) {
	j, _ := fresh(t)
	ctx := t.Context()
	must(t, j.Save(
		ctx,
		j.Components.Set(&journalpb.Component{System: "a", Path: "x"}),
		j.Components.Set(&journalpb.Component{System: "a", Path: `"odd/name":y`}),
		j.Components.Set(&journalpb.Component{System: "a", Path: ""}),
		j.Components.Set(&journalpb.Component{System: "ab", Path: "x"}),
		j.Parts.Set(&journalpb.Part{System: "a"}),
		j.Fences.Set(&journalpb.Fence{Shard: "a", Epoch: 1, Term: 4}),
	))
	of := func(names ...string) (paths []string) {
		rows, err := j.Components.List(ctx, names...)
		must(t, err)
		for _, c := range rows {
			paths = append(paths, c.System+"|"+c.Path)
		}
		slices.Sort(paths)
		return paths
	}
	if got := of("a"); !slices.Equal(got, []string{`a|`, `a|"odd/name":y`, `a|x`}) {
		t.Errorf("components of a: %q", got)
	}
	if got := of(); len(got) != 4 {
		t.Errorf("all components: %q", got)
	}
	must(t, j.Save(ctx, j.Components.Drop("a", "x")))
	if _, ok, _ := j.Components.Get(ctx, "a", "x"); ok {
		t.Error("a dropped row is there")
	}
	if f, ok, _ := j.Fences.Get(ctx, "a"); !ok || f.Term != 4 {
		t.Errorf("fence %v", f)
	}
}

func TestForgetLeavesOtherPlansAndTheComponents(t *testing.T) {
	j, _ := fresh(t)
	ctx := t.Context()
	for i := range 500 {
		s := step(fmt.Sprint(i))
		must(t, j.End(ctx, s, Result{Outcome: skipped},
			j.Facts.Set(&peerpb.Fact{System: s.System, Plan: s.Plan, Step: s.ID})))
	}
	other := step("a")
	other.Plan = "p2"
	must(t, j.Begin(ctx, other, j.Components.Set(&journalpb.Component{System: "guestbook", Path: "x"})))
	must(t, j.Forget(ctx, "guestbook", "p1"))
	steps, _ := j.Steps(ctx, "guestbook", "")
	facts, _ := j.Facts.List(ctx, "guestbook")
	components, _ := j.Components.List(ctx, "guestbook")
	if len(steps) != 1 || len(facts) != 0 || len(components) != 1 {
		t.Errorf("%d steps, %d facts, %d components", len(steps), len(facts), len(components))
	}
}

func TestManyWritersShareFlushes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	_, f := open(t, path)
	const writers, each = 16, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("row/%d/%d", w, i)
				saved, err := f.Save(context.Background(), []string{key}, [][]byte{[]byte(key)}, []int64{0})
				if !saved || err != nil {
					t.Error(saved, err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	must(t, f.Scan(t.Context(), "row/", func(key string, value []byte, _ int64) error {
		if n++; key != string(value) {
			t.Errorf("%s holds %s", key, value)
		}
		return nil
	}))
	if n != writers*each {
		t.Errorf("%d rows, want %d", n, writers*each)
	}
	if frames := len(framesOf(t, path, f)); frames > writers*each/2 {
		t.Errorf("%d flushes for %d writes", frames, writers*each)
	}
}

func TestOneOfTwoWritersOfARevisionIsRefused(t *testing.T) {
	_, f := fresh(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			saved, err := f.Save(context.Background(), []string{"a", "b"}, [][]byte{{1}, {2}}, []int64{0, Any})
			if err != nil {
				t.Error(err)
			}
			if saved {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers made the same row", won.Load())
	}
}

func TestSecondOpenIsRefusedWithARemedy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	open(t, path)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Errorf("got %v", err)
	}
}

func TestDamagedFileIsAnErrorWithARemedy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, f := open(t, path)
	for i := range 300 {
		must(t, j.End(t.Context(), step(fmt.Sprint(i)), Result{Outcome: skipped}))
	}
	must(t, f.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	page := os.Getpagesize()
	for name, b := range map[string][]byte{
		"not a journal":  []byte(strings.Repeat("some text ", 2000)),
		"one page left":  whole[:page],
		"cut in half":    whole[:len(whole)/2],
		"metas and void": slices.Concat(whole[:2*page], make([]byte, len(whole)-2*page)),
		"middle is lost": slices.Concat(whole[:4*page], make([]byte, len(whole)-6*page), whole[len(whole)-2*page:]),
	} {
		t.Run(name, func(t *testing.T) {
			torn := filepath.Join(t.TempDir(), "torn")
			must(t, os.WriteFile(torn, b, 0o600))
			f, err := Open(torn)
			if err == nil {
				_ = f.Close()
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move torn and torn.ahead away") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFileOfANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	_, f := open(t, path)
	must(t, f.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(metaBucket).Put(schemaKey, []byte{schema + 1})
	}))
	must(t, f.Close())
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "upgrade this daemon") {
		t.Errorf("got %v", err)
	}
}

func FuzzStepRow(f *testing.F) {
	good, _ := proto.Marshal(&journalpb.Step{System: "a", Plan: "p", Id: "1", Result: &journalpb.Result{}})
	f.Add(good)
	f.Add([]byte{0xff})
	j := New(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := j.steps.decode("step", b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
			return
		}
		e := entryOf(m)
		if back := entryOf(&journalpb.Step{
			System: e.System, Plan: e.Plan, Id: e.ID, Revision: e.Revision,
			Path: string(e.Path), Action: e.Action, Token: e.Token,
		}); back.Step != e.Step {
			t.Errorf("%+v became %+v", e.Step, back.Step)
		}
	})
}

func BenchmarkBeginEnd(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j, _ := fresh(b)
			var n atomic.Int64
			// SetParallelism counts in processors.
			procs := runtime.GOMAXPROCS(min(writers, runtime.GOMAXPROCS(0)))
			defer runtime.GOMAXPROCS(procs)
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s := step(fmt.Sprint(n.Add(1)))
					must(b, j.Begin(context.Background(), s))
					must(b, j.End(context.Background(), s, Result{Outcome: done}))
				}
			})
		})
	}
}
