// Package lifecycle is the state machine of one component and the call of its
// manager: which operation is legal when, how long it may take, and what a
// manager's misbehaviour looks like to the rest. It holds no components, keeps
// no record and starts one goroutine for each call, which it abandons only
// when the manager does not return in time.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// Grace is how long a manager may take to return once its call is cancelled.
const Grace = 5 * time.Second

// Limits of operations where neither the class nor the description says
// otherwise (runtime.md LC4, LC5).
const (
	deployLimit    = 600 * time.Second
	startLimit     = 120 * time.Second
	terminateLimit = 60 * time.Second
)

// During returns the state a component is in while action runs on it from
// state s, and the one it is in when the action has succeeded. Actions repeat
// after a crash, so each is legal from its own intermediate state, too.
func During(s inventory.State, action plan.Action) (during, after inventory.State, err error) {
	type move struct{ during, after inventory.State }
	var to move
	legal := false
	switch action {
	case plan.Deploy:
		to = move{inventory.Deploying, inventory.Deployed}
		switch s {
		case "", inventory.Instantiated, inventory.Deploying, inventory.Deployed, inventory.Terminated, inventory.Failed:
			legal = true
		case inventory.Starting, inventory.Terminating:
			legal = true // a restart that did not succeed stopped there
		}
	case plan.Start:
		to = move{inventory.Starting, inventory.Running}
		switch s {
		case inventory.Deployed, inventory.Starting, inventory.Running:
			legal = true
		}
	case plan.Reconfigure:
		to = move{inventory.Reconfiguring, inventory.Running}
		legal = s == inventory.Running || s == inventory.Reconfiguring
	case plan.Terminate:
		to = move{inventory.Terminating, inventory.Terminated}
		legal = true
	}
	if !legal {
		return "", "", fmt.Errorf("%s is not possible while %s", action, orNothing(s))
	}
	return to.during, to.after, nil
}

func orNothing(s inventory.State) string {
	if s == "" {
		return "not deployed"
	}
	return string(s)
}

// Limit returns how long action may take on a component of class with attrs.
func Limit(class *component.Class, attrs *value.Component, action plan.Action) time.Duration {
	if s, ok := seconds(attrs, limitAttribute(action)); ok {
		return s
	}
	switch action {
	case plan.Deploy, plan.Reconfigure:
		return orElse(class.DeployTimeout, deployLimit)
	case plan.Start:
		return orElse(class.StartTimeout, startLimit)
	default:
		// What its process has for its end, and a while for what follows.
		s, _ := seconds(attrs, "stopTimeout")
		return max(terminateLimit, s+terminateLimit/3)
	}
}

// limitAttribute names the attribute that limits an operation; "" where there is
// none.
func limitAttribute(action plan.Action) string {
	switch action {
	case plan.Deploy, plan.Reconfigure:
		return "sfDeployTimeout"
	case plan.Start:
		return "sfStartTimeout"
	case plan.Terminate:
		return "sfTerminateTimeout"
	}
	return ""
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

func seconds(attrs *value.Component, name string) (time.Duration, bool) {
	v, _ := attrs.Get(name)
	switch v := v.(type) {
	case value.Integer:
		return time.Duration(v) * time.Second, v > 0
	case value.Long:
		return time.Duration(v) * time.Second, v > 0
	case value.Double:
		return time.Duration(float64(v) * float64(time.Second)), v > 0
	default:
		return 0, false
	}
}

// Do calls the manager's operation and returns its error. Past the limit the
// call is cancelled; a manager that does not return within Grace after that is
// left alone and the operation counts as failed. A panic of the manager is its
// error.
func Do(ctx context.Context, m component.Manager, action plan.Action, call *component.Call, limit time.Duration) error {
	return bounded(ctx, m, operation(m, action), call, string(action), limit)
}

// Ping asks the manager whether its component lives, in the same way.
func Ping(ctx context.Context, m component.Manager, call *component.Call, limit time.Duration) error {
	return bounded(ctx, m, m.Ping, call, "ping", limit)
}

func bounded(ctx context.Context, m component.Manager, operation func(context.Context, *component.Call) error, call *component.Call, what string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, overrun{what, limit})
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the manager of %s crashed: %v\n%s", m.Class().Name, p, debug.Stack())
			}
		}()
		done <- operation(ctx, call)
	}()
	select {
	case err := <-done:
		return explain(ctx, err)
	case <-ctx.Done():
	}
	grace := time.NewTimer(Grace)
	defer grace.Stop()
	select {
	case err := <-done:
		return explain(ctx, err)
	case <-grace.C:
		cause := context.Cause(ctx)
		return failure(fmt.Errorf("%w, and did not stop when cancelled", cause), cause, nil, "")
	}
}

// overrun is the end of an operation that has taken too long.
type overrun struct {
	what  string
	limit time.Duration
}

func (o overrun) Error() string {
	return fmt.Sprintf("%s took longer than its limit of %s", o.what, o.limit)
}

// remedy says which attribute gives it longer. The limit of a ping is the time
// between two.
func (o overrun) remedy() string {
	attribute := limitAttribute(plan.Action(o.what))
	if attribute == "" {
		return ""
	}
	return "see what it waits for; if it only needs longer, give it longer with " + attribute
}

// failure is err with what a manager has said of it; where that is cut off at its
// limit and says not what to do, the limit does.
func failure(err, cause error, output []string, remedy string) error {
	if o, ok := errors.AsType[overrun](cause); ok && remedy == "" {
		remedy = o.remedy()
	}
	if len(output) == 0 && remedy == "" {
		return err
	}
	return &component.Failure{Err: err, Output: output, Remedy: remedy}
}

// explain replaces the bare news that a context ended by why it did. What a ping
// says of the component stays.
func explain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		if cause := context.Cause(ctx); cause != ctx.Err() {
			output, remedy := component.Detail(err)
			said := cause
			if errors.Is(err, component.ErrNoEnd) {
				said = fmt.Errorf("%w: %w", cause, component.ErrNoEnd)
			}
			return failure(said, cause, output, remedy)
		}
	}
	return err
}

func operation(m component.Manager, action plan.Action) func(context.Context, *component.Call) error {
	switch action {
	case plan.Deploy:
		return m.Deploy
	case plan.Start:
		return m.Start
	case plan.Reconfigure:
		return m.Reconfigure
	default:
		return m.Terminate
	}
}
