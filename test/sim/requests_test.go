package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"
	"time"

	"aloft/api"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// prelude names the classes, as the library does.
const prelude = `
VM extends { sfClass "VM"; cloudProvider "sim"; }
Probe extends { sfClass "Probe"; }
Compound extends { sfClass "Compound"; }
`

// request resolves the text of a description.
func (w *world) request(text string) api.PlanRequest {
	w.t.Helper()
	return w.requestFor("sys", prelude+text)
}

// requestFor resolves the text of a description for a system of any name.
func (w *world) requestFor(system, text string) api.PlanRequest {
	w.t.Helper()
	source := resolve.Source{Name: "sys.sf", Folder: resolve.Folder{FS: fstest.MapFS{"sys.sf": {Data: []byte(text)}}}}
	res, err := resolve.Resolve(context.Background(), source, resolve.Options{Now: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	if res.Diagnostics.Errors() > 0 {
		for _, d := range res.Diagnostics.All() {
			w.t.Error(d)
		}
		w.t.FailNow()
	}
	wire, err := value.Encode(res.Description.Root)
	if err != nil {
		w.t.Fatal(err)
	}
	return api.PlanRequest{Name: system, File: "/sys.sf", Description: wire}
}

// apply plans and applies a request without waiting for its end.
func (w *world) apply(r api.PlanRequest) (*api.Plan, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // who calls a dead daemon gives up
	defer cancel()
	p, err := w.service().Plan(ctx, r)
	if err != nil || p.Attached || p.Empty {
		return p, err
	}
	_, err = w.service().Apply(ctx, r.Name, p.ID)
	return p, err
}

// begin applies a description.
func (w *world) begin(text string) *api.Plan {
	w.t.Helper()
	return w.insist(w.request(text))
}

// insist applies a request, again where the manager crashed under it.
func (w *world) insist(r api.PlanRequest) *api.Plan {
	w.t.Helper()
	for {
		p, err := w.apply(r)
		switch {
		case err == nil:
			return p
		case r.Now && errors.Is(err, &api.Error{Kind: api.KindNotFound}):
			return nil // it was terminated, and the answer was lost
		case errors.Is(err, fs.ErrNotExist):
			// A call of a daemon that is dead goes on here, and its successor has
			// cleared away what it was writing.
		case !errors.Is(err, errPower) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, &api.Error{Kind: api.KindStale}):
			w.t.Fatalf("up or down: %v%s", err, details(err))
		}
		time.Sleep(time.Second)
	}
}

func details(err error) (text string) {
	if e, ok := errors.AsType[*api.Error](err); ok {
		for _, d := range e.Diagnostics {
			text += fmt.Sprintf("\n%+v", d)
		}
	}
	return text
}

// patience is how long a deployment may take, in fake time.
const patience = 6 * time.Hour

// end waits for the end of the newest deployment, in whichever daemon.
func (w *world) end() *api.Deployment {
	w.t.Helper()
	return w.endOf("sys")
}

// endOf waits likewise for a system of any name.
func (w *world) endOf(system string) *api.Deployment {
	w.t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(100 * time.Millisecond) {
		if d, err := w.service().Deployment(context.Background(), system); err == nil && d.Ended() {
			return d
		}
	}
	d, err := w.service().Deployment(context.Background(), system)
	w.t.Fatalf("the deployment does not end: %+v, %v", d, err)
	return nil
}

// up deploys a description and waits for the end.
func (w *world) up(text string) *api.Deployment {
	w.t.Helper()
	if p := w.begin(text); p.Empty {
		w.t.Fatal("up: no changes")
	}
	return w.end()
}

// runs is up for a description that is expected to run.
func (w *world) runs(text string) {
	w.t.Helper()
	if d := w.up(text); d.State != api.DeploymentDone {
		w.t.Fatalf("up ended %s: %+v", d.State, d.Failures)
	}
	w.expectState(api.SystemRunning)
}

// down terminates the system and checks that nothing is left of it.
func (w *world) down(now bool) {
	w.t.Helper()
	w.insist(api.PlanRequest{Name: "sys", Down: true, Now: now})
	w.endOrGone()
	w.expectGone()
	w.expectNothing()
}
