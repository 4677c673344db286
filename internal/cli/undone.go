package cli

import (
	"context"
	"fmt"
	"time"

	"aloft/api"
	"aloft/client"
)

// undoPatience is how long the plan that undoes another may take to begin.
const undoPatience = time.Minute

// undone waits until a plan that failed is undone (runtime.md UP4), and tells
// of both, or why it is not. It is never nil: what was asked for was not done.
func (ch *change) undone(ctx context.Context, cl *client.Client, d *api.Deployment) error {
	ch.failures(d)
	if len(d.Failures) == 0 {
		ch.failuresOf(ctx, cl, d)
	}
	if d.NotUndone == "" {
		fmt.Fprintf(ch.human, "\nrevision %d of %s failed; it is to be undone\n", d.Revision, d.System)
	}
	for began := time.Now(); ; {
		now, err := cl.Deployment(ctx, d.System)
		switch {
		case err != nil && api.KindOf(err) == api.KindNotFound:
			return fail(ch.next(), "revision %d of %s failed, and all of it was undone", d.Revision, d.System)
		case err != nil && ctx.Err() == nil && time.Since(began) > undoPatience:
			return ch.notRunning(err)
		case err != nil:
		case now.Undoes == d.Revision && now.Ended():
			return ch.undoneBy(now, d)
		case now.Plan != d.Plan && now.Undoes != d.Revision:
			return fail("'aloft history "+d.System+"' shows by what", "revision %d of %s failed, and another request took over", d.Revision, d.System)
		case now.Plan == d.Plan && now.NotUndone != "":
			return fail("'aloft rollback "+d.System+"' shows what going back takes; "+ch.next(), "revision %d of %s failed, and is not undone by itself: %s", d.Revision, d.System, now.NotUndone)
		case now.Plan == d.Plan && time.Since(began) > undoPatience:
			return fail("it is tried again; 'aloft events "+d.System+"' shows what keeps it", "revision %d of %s failed, and its undoing does not begin", d.Revision, d.System)
		}
		select {
		case <-ctx.Done():
			return ch.left(ctx, d, ctx.Err())
		case <-time.After(holdPause):
		}
	}
}

// undoneBy tells how the plan that undid d has ended.
func (ch *change) undoneBy(now, d *api.Deployment) error {
	what := "it is again as it was before"
	if now.Down {
		what = "nothing of it is left"
	}
	if now.State == api.DeploymentDone && len(now.Failures) == 0 {
		return fail(ch.next(), "revision %d of %s failed and was undone: %s", d.Revision, d.System, what)
	}
	for _, f := range now.Failures {
		fmt.Fprintf(ch.Stderr, "not undone: %s, %s: %s\n", f.Path, f.Operation, f.Cause)
	}
	again := "aloft rollback " + d.System
	if now.Down {
		again = "aloft down " + d.System // there is no revision to go back to
	}
	return fail("'aloft status "+d.System+"' shows what is left; '"+again+"' tries again", "revision %d of %s failed, and was undone in part only", d.Revision, d.System)
}

// next says what to do once a failure was undone.
func (ch *change) next() string {
	if ch.file == "" {
		return "once the cause is gone, say the same again"
	}
	return "once the cause is gone: aloft up " + ch.file
}

// failuresOf tells of what failed in a plan whose end was missed, as it is
// remembered.
func (ch *change) failuresOf(ctx context.Context, cl *client.Client, d *api.Deployment) {
	list, err := cl.Revisions(ctx, d.System)
	if err != nil {
		return // a new system may be gone by now; that it failed is told
	}
	for _, r := range list {
		for _, text := range r.Failures {
			if r.Revision == d.Revision {
				fmt.Fprintf(ch.Stderr, "%s: %s\n", ch.palette(ch.Stderr).red("failed"), text)
			}
		}
	}
}
