package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// scripted is a manager whose deploy does what the test says.
type scripted struct {
	component.Keep
	deploy, ping func(context.Context) error
}

func (scripted) Class() component.Class { return component.Class{Name: "Scripted"} }

func (s scripted) Deploy(ctx context.Context, _ *component.Call) error { return s.deploy(ctx) }

func (s scripted) Ping(ctx context.Context, _ *component.Call) error { return s.ping(ctx) }

func do(t *testing.T, deploy func(context.Context) error, limit time.Duration) (time.Duration, error) {
	t.Helper()
	begin := time.Now()
	err := Do(t.Context(), scripted{deploy: deploy}, plan.Deploy, &component.Call{}, limit)
	return time.Since(begin), err
}

func TestStuckOperationIsCancelledAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := do(t, func(ctx context.Context) error {
			<-ctx.Done()
			return &component.Failure{Err: ctx.Err(), Output: []string{"unpacking"}}
		}, time.Minute)
		if took != time.Minute || err == nil || !strings.Contains(err.Error(), "longer than its limit of 1m0s") {
			t.Errorf("after %s: %v", took, err)
		}
		if output, _ := component.Detail(err); !slices.Equal(output, []string{"unpacking"}) {
			t.Errorf("the output is lost: %v", output)
		}
	})
}

// TestLV2PingThatTakesTooLongStillSaysThatNothingHasEnded: what fails may be
// slow, too.
func TestLV2PingThatTakesTooLongStillSaysThatNothingHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for how, wrap := range map[string]func(error) error{
			"bare":       func(err error) error { return fmt.Errorf("%w: %w", err, component.ErrNoEnd) },
			"as failure": func(err error) error { return &component.Failure{Err: fmt.Errorf("%w: %w", err, component.ErrNoEnd)} },
		} {
			err := Ping(t.Context(), scripted{ping: func(ctx context.Context) error {
				<-ctx.Done()
				return wrap(ctx.Err())
			}}, &component.Call{}, 10*time.Second)
			if !errors.Is(err, component.ErrNoEnd) || !strings.Contains(err.Error(), "ping took longer than its limit of 10s") {
				t.Errorf("%s: %v", how, err)
			}
		}
	})
}

// Past its limit an operation says which attribute gives it longer, unless its
// manager knows better what to do.
func TestOverrunSaysWhatGivesItLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			action plan.Action
			err    error
			want   string
		}{
			"deploy":           {plan.Deploy, context.DeadlineExceeded, "longer with sfDeployTimeout"},
			"start":            {plan.Start, context.DeadlineExceeded, "longer with sfStartTimeout"},
			"reconfigure":      {plan.Reconfigure, context.DeadlineExceeded, "longer with sfDeployTimeout"},
			"terminate":        {plan.Terminate, context.DeadlineExceeded, "longer with sfTerminateTimeout"},
			"its manager":      {plan.Deploy, &component.Failure{Err: context.DeadlineExceeded, Remedy: "free its port"}, "free its port"},
			"an error besides": {plan.Deploy, errors.New("no such user"), ""},
		} {
			hangs := func(ctx context.Context, _ *component.Call) error { <-ctx.Done(); return c.err }
			err := bounded(t.Context(), scripted{}, hangs, &component.Call{}, string(c.action), time.Minute)
			if _, remedy := component.Detail(err); err == nil || !strings.Contains(remedy, c.want) || (c.want == "") != (remedy == "") {
				t.Errorf("%s: %v, remedy %q", name, err, remedy)
			}
		}
		// Who was cancelled by somebody has not taken too long.
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("down --now"))
		err := bounded(ctx, scripted{}, func(ctx context.Context, _ *component.Call) error { return ctx.Err() }, &component.Call{}, "deploy", time.Minute)
		if _, remedy := component.Detail(err); err == nil || err.Error() != "down --now" || remedy != "" {
			t.Errorf("cancelled: %v, remedy %q", err, remedy)
		}
	})
}

// A process that has long for its end is not cut short by the time that every
// terminate has, only by one that is given.
func TestTerminateWaitsForStopTimeout(t *testing.T) {
	for _, c := range []struct {
		stop, terminate int64
		want            time.Duration
	}{
		{0, 0, time.Minute}, {40, 0, time.Minute}, {41, 0, 61 * time.Second}, {600, 0, 620 * time.Second}, {600, 30, 30 * time.Second},
	} {
		attrs := value.NewComponent(false)
		if c.stop > 0 {
			attrs.Set(value.Attr{Name: "stopTimeout", Value: value.Integer(c.stop)})
		}
		if c.terminate > 0 {
			attrs.Set(value.Attr{Name: "sfTerminateTimeout", Value: value.Integer(c.terminate)})
		}
		if got := Limit(&component.Class{}, attrs, plan.Terminate); got != c.want {
			t.Errorf("stopTimeout %d, sfTerminateTimeout %d: %s, want %s", c.stop, c.terminate, got, c.want)
		}
	}
}

func TestManagerThatDoesNotStopIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		took, err := do(t, func(context.Context) error { <-release; return nil }, time.Minute)
		if took != time.Minute+Grace || err == nil || !strings.Contains(err.Error(), "did not stop when cancelled") {
			t.Errorf("after %s: %v", took, err)
		}
		close(release)
	})
}

func TestPanicOfAManagerIsItsError(t *testing.T) {
	_, err := do(t, func(context.Context) error { panic("nil map") }, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "Scripted crashed: nil map") {
		t.Errorf("error %v", err)
	}
}

func TestOwnErrorIsKeptWhenTheLimitIsNotReached(t *testing.T) {
	own := errors.New("no such user")
	if _, err := do(t, func(context.Context) error { return own }, time.Minute); !errors.Is(err, own) {
		t.Errorf("error %v", err)
	}
}

// TestLC1OnlyLegalMoves holds runtime.md LC1: what may follow what, besides the
// repetition of what a crash cut off; a restart that did not succeed leaves its
// component where it stopped, and is followed by a deploy.
func TestLC1OnlyLegalMoves(t *testing.T) {
	states := []inventory.State{
		inventory.Instantiated, inventory.Deploying, inventory.Deployed, inventory.Starting, inventory.Running,
		inventory.Reconfiguring, inventory.Terminating, inventory.Terminated, inventory.Failed,
	}
	legal := map[plan.Action][]inventory.State{
		plan.Deploy: {
			inventory.Instantiated, inventory.Deploying, inventory.Deployed, inventory.Terminated, inventory.Failed,
			inventory.Starting, inventory.Terminating,
		},
		plan.Start:       {inventory.Deployed, inventory.Starting, inventory.Running},
		plan.Reconfigure: {inventory.Running, inventory.Reconfiguring},
		plan.Terminate:   states,
	}
	for action, from := range legal {
		for _, s := range states {
			_, _, err := During(s, action)
			if got, want := err == nil, slices.Contains(from, s); got != want {
				t.Errorf("%s while %s: %v", action, s, err)
			}
		}
	}
}

func TestLimitsComeFromDescriptionThenClassThenTheirDefaults(t *testing.T) {
	class := &component.Class{StartTimeout: 5 * time.Minute}
	attrs := value.NewComponent(false, value.Attr{Name: "sfDeployTimeout", Value: value.Integer(7)})
	for action, want := range map[plan.Action]time.Duration{
		plan.Deploy: 7 * time.Second, plan.Start: 5 * time.Minute, plan.Terminate: time.Minute,
	} {
		if got := Limit(class, attrs, action); got != want {
			t.Errorf("%s may take %s, want %s", action, got, want)
		}
	}
}

// TestTR3RestartsPauseLongerAndAreGivenUp holds runtime.md TR3.
func TestTR3RestartsPauseLongerAndAreGivenUp(t *testing.T) {
	p := Policy{OnEnd: Restart, MaxRestarts: 10, Window: time.Hour}
	var r Restarts
	now := time.Unix(0, 0)
	var pauses []time.Duration
	for {
		pause, again := r.Next(now, p)
		if !again {
			break
		}
		pauses = append(pauses, pause)
		now = now.Add(time.Minute)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
	if pause, again := r.Next(now.Add(time.Hour), p); !again || pause != time.Second {
		t.Errorf("after a quiet window: %s, %v", pause, again)
	}
}
