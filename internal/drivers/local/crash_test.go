package local

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aloft/provider"
)

// killer is a log handler that kills its process at a given record: the driver
// logs each step of a machine's making and end.
type killer struct {
	slog.Handler
	left *atomic.Int32
}

func (k killer) Enabled(context.Context, slog.Level) bool { return true }
func (k killer) WithAttrs([]slog.Attr) slog.Handler       { return k }

func (k killer) Handle(context.Context, slog.Record) error {
	if k.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it takes effect
	}
	return nil
}

// manage is a managing daemon which does one thing and is killed on the way:
// its arguments are a Config, the thing, a Request and the number of the step.
func manage(args []string) error {
	var config Config
	var req provider.Request
	if err := errors.Join(json.Unmarshal([]byte(args[0]), &config), json.Unmarshal([]byte(args[2]), &req)); err != nil {
		return err
	}
	step, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	k := killer{Handler: slog.DiscardHandler, left: new(atomic.Int32)}
	k.left.Store(int32(step))
	config.Log = slog.New(k)
	d, err := New(config)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if args[1] == "create" {
		_, err = d.Create(ctx, provider.Account{}, req)
		return err
	}
	all, _, err := d.List(ctx, provider.Account{}, req.Mark, "")
	for _, r := range all {
		err = errors.Join(err, d.Destroy(ctx, provider.Account{}, r.Ref))
	}
	return err
}

// managed runs manage, killed at the step, and reports whether it was.
func (w *world) managed(what string, req provider.Request, step int) (killed bool) {
	w.t.Helper()
	config := w.config
	config.Log = nil
	c, err := json.Marshal(config)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := json.Marshal(req)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := exec.Command(config.Binary, "manager", string(c), what, string(r), strconv.Itoa(step)).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	} else if err != nil {
		w.t.Fatalf("%s: %v\n%s", what, err, out)
	}
	return false
}

func TestKillWhileMakingLeavesWhatCanBeResolved(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			w := newWorld(t, form)
			w.config.Form = form
			killed, step := true, 1
			defer func() {
				if step < 5 {
					t.Errorf("only %d steps were tried", step)
				}
			}()
			for ; killed; step++ {
				req := w.request("m")
				killed = w.managed("create", req, step)
				w.open()
				all, _, err := w.d.List(t.Context(), w.account, req.Mark, "")
				if err != nil {
					t.Fatal(err)
				}
				if killed && len(all) != 1 {
					t.Errorf("killed at step %d: %d machines in the books, want 1", step, len(all))
				}
				w.converges(step, all)
				if step%2 == 0 { // nobody asks for it again: it is destroyed
					for _, r := range all {
						if err := w.d.Destroy(t.Context(), w.account, r.Ref); err != nil {
							t.Errorf("destroy after step %d: %v", step, err)
						}
					}
					continue
				}
				r, err := w.d.Create(t.Context(), w.account, req)
				if err != nil {
					t.Fatalf("create again after step %d: %v", step, err)
				}
				if r.State != provider.Running || len(all) > 0 && r.Ref != all[0].Ref {
					t.Errorf("create again after step %d: %+v, before %+v", step, r, all)
				}
				if a := w.ask(r); a.UserData != "token-m" {
					t.Errorf("after step %d the machine says %+v", step, a)
				}
				if left, err := w.d.Residue(t.Context(), ""); err != nil || len(left) > 0 {
					t.Errorf("after step %d left over: %v, %v", step, left, err)
				}
				if err := w.d.Destroy(t.Context(), w.account, r.Ref); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// converges waits until a machine says what is so: running machines answer, of
// others nothing runs.
func (w *world) converges(step int, all []provider.Resource) {
	w.t.Helper()
	for _, r := range all {
		for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			now, err := w.d.Get(w.t.Context(), w.account, r.Ref)
			if err != nil {
				w.t.Fatal(err)
			}
			processes := w.tracesOf("process")
			if now.State != provider.Running && len(processes) == 0 {
				break
			}
			if c, err := w.tryDial(r.Address); err == nil {
				c.Close()
				break
			}
			if time.Now().After(until) {
				w.t.Errorf("killed at step %d: machine is %s (%s), of it run %q", step, now.State, now.Reason, processes)
				break
			}
		}
	}
}

func TestKillWhileDestroyingLeavesWhatCanBeDestroyed(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			w := newWorld(t, form)
			w.config.Form = form
			killed, step := true, 1
			defer func() {
				if step < 5 {
					t.Errorf("only %d steps were tried", step)
				}
			}()
			for ; killed; step++ {
				req := w.request("m")
				w.open()
				r, err := w.d.Create(t.Context(), w.account, req)
				if err != nil {
					t.Fatal(err)
				}
				killed = w.managed("destroy", req, step)
				w.open()
				got, err := w.d.Get(t.Context(), w.account, r.Ref)
				if err == nil && got.State != provider.Destroying || err != nil && provider.KindOf(err) != provider.NotFound {
					t.Errorf("killed at step %d: %+v, %v", step, got, err)
				}
				if err := w.d.Destroy(t.Context(), w.account, r.Ref); err != nil {
					t.Errorf("destroy again after step %d: %v", step, err)
				}
				left, err := w.d.Residue(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				if err := w.d.Remove(t.Context(), left); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestResidueIsFoundAndRemoved(t *testing.T) {
	w := newWorld(t, Light)
	r := w.create("m")
	w.ask(r)
	if left, err := w.d.Residue(t.Context(), ""); err != nil || len(left) != 0 {
		t.Fatalf("with a machine in the books: %v, %v", left, err)
	}
	// Its record is lost, as when somebody deletes it: all of it is left over.
	if err := os.Rename(w.d.folderOf(r.Ref)+"/record.json", w.d.folderOf(r.Ref)+"/lost"); err != nil {
		t.Fatal(err)
	}
	other := newWorld(t, Light)
	o := other.create("m")
	w.open()
	left, err := w.d.Residue(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, i := range left {
		kinds[i.Kind]++
	}
	if kinds[ItemProcess] != 1 || kinds[ItemLink] != 2 || kinds[ItemFolder] != 1 {
		t.Errorf("found %v", left)
	}
	if err := w.d.Remove(t.Context(), left); err != nil {
		t.Error(err)
	}
	if left, err := w.d.Residue(t.Context(), ""); err != nil || len(left) != 0 {
		t.Errorf("after removal: %v, %v", left, err)
	}
	if a := other.ask(o); a.Machine != o.Ref {
		t.Errorf("the other home's machine says %+v", a)
	}
	if _, err := w.d.Residue(t.Context(), other.config.ID); err == nil {
		t.Error("what another home has was offered for removal while that home exists")
	}
	// A home that was deleted with a machine running.
	if err := os.RemoveAll(other.config.Home + "/machines"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other.config.Home, other.config.Home+".gone"); err != nil {
		t.Fatal(err)
	}
	left, err = w.d.Residue(t.Context(), other.config.ID)
	if err != nil || len(left) < 4 || left[len(left)-1].Kind != ItemEntry {
		t.Errorf("of the deleted home: %v, %v", left, err)
	}
	if err := w.d.Remove(t.Context(), left); err != nil {
		t.Error(err)
	}
	if err := os.Rename(other.config.Home+".gone", other.config.Home); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(other.config.Home+"/machines", 0o711); err != nil {
		t.Fatal(err)
	}
	other.open() // to close it with nothing in its books
}

func TestWhatAKilledKeeperLeavesIsResidue(t *testing.T) {
	w := newWorld(t, Process)
	r := w.create("m")
	a := w.ask(r)
	if err := w.keeper(r).End(t.Context(), syscall.SIGKILL, endLimit); err != nil {
		t.Fatal(err)
	}
	if left, err := w.d.Residue(t.Context(), ""); err != nil || len(left) != 0 {
		t.Errorf("with the machine in the books: %v, %v", left, err)
	}
	if err := os.RemoveAll(w.d.folderOf(r.Ref)); err != nil {
		t.Fatal(err)
	}
	w.open()
	left, err := w.d.Residue(t.Context(), "")
	if err != nil || len(left) != 1 || left[0].Process.PID != a.Component {
		t.Errorf("found %v, %v; want process %d", left, err, a.Component)
	}
	if err := w.d.Remove(t.Context(), left); err != nil {
		t.Error(err)
	}
}

func TestTwoHomesSideBySide(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			a, b := newWorld(t, form), newWorld(t, form)
			ra, rb := a.create("m"), b.create("m")
			if ra.Address == rb.Address || a.ask(ra).Machine != ra.Ref || b.ask(rb).Machine != rb.Ref {
				t.Errorf("machines %+v and %+v", ra, rb)
			}
			if err := a.d.Destroy(t.Context(), a.account, ra.Ref); err != nil {
				t.Fatal(err)
			}
			if err := a.d.Close(); err != nil {
				t.Fatal(err)
			}
			if b.ask(rb).Machine != rb.Ref {
				t.Error("the other home's machine went too")
			}
		})
	}
}
