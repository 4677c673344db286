package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"aloft/api"
	"aloft/client"
)

// askAgain is how often follow asks whether the deployment has ended, besides
// listening to its events: a daemon that was killed may have told nobody.
const askAgain = 2 * time.Second

// progress shows events to a person.
type progress interface {
	event(api.Event)
	// end takes away what is not meant to stay.
	end()
}

// follow shows what happens under a deployment until it has ended. When ctx
// ends first, the deployment goes on, and follow says how to go on watching.
func (ch *change) follow(ctx context.Context, cl *client.Client, p *api.Plan, d *api.Deployment) (*api.Deployment, error) {
	if d.Ended() {
		return d, nil
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	seq, err := cl.Events(watch, api.EventQuery{System: d.System, After: d.Cursor, Follow: true})
	if err != nil {
		return nil, ch.left(ctx, d, err)
	}
	var show progress = &lines{w: ch.human}
	if terminal(ch.human) && ch.Getenv("TERM") != "dumb" {
		show = newLive(ch.human, p, d, ch.palette(ch.human))
	}
	events, broken := make(chan api.Event), make(chan error, 1)
	go func() {
		defer close(events)
		for e, err := range seq {
			if err != nil {
				broken <- err
				return
			}
			select {
			case events <- e:
			case <-watch.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		ask := false
		select {
		case <-ctx.Done():
		case e, ok := <-events:
			if !ok {
				events, ask = nil, true
				break
			}
			if e.Plan != "" && e.Plan != d.Plan {
				break // of a plan before this one
			}
			show.event(e)
			ask = e.Kind == api.EventPlan && e.Plan == d.Plan && e.State != api.DeploymentRunning
		case <-tick.C:
			ask = true
		}
		if ask {
			now, err := cl.Deployment(ctx, d.System)
			switch {
			case err == nil && now.Plan != d.Plan:
				show.end()
				return nil, fail("'aloft status "+d.System+"' shows what it is now", "another request took over: %s goes to revision %d", d.System, now.Revision)
			case err == nil && now.Ended():
				show.end()
				return now, nil
			case err != nil && api.KindOf(err) == api.KindNotFound && ch.request.Down:
				show.end()
				d.State = api.DeploymentDone
				return d, nil
			case errors.Is(err, client.ErrNoDaemon) && ch.fullDisk() != nil, // and will not be soon
				err != nil && events == nil: // nobody is left to hear from
				show.end()
				return nil, ch.left(ctx, d, err)
			}
		}
		if ctx.Err() != nil {
			show.end()
			return nil, ch.left(ctx, d, ctx.Err())
		}
		select {
		case err := <-broken:
			show.end()
			return nil, ch.left(ctx, d, err)
		default:
		}
	}
}

// left says that the deployment goes on unwatched, and how to watch it again.
func (ch *change) left(ctx context.Context, d *api.Deployment, err error) error {
	again := "aloft down " + d.System
	if ch.file != "" {
		again = "aloft up " + ch.file
	}
	if ctx.Err() == nil {
		if full := ch.fullDisk(); full != nil {
			return fmt.Errorf("the daemon is gone while %s was changed: %w", d.System, full)
		}
		err = ch.notRunning(err)
		return remedied{fmt.Errorf("the daemon is gone while %s was changed: %w", d.System, err), "'" + again + "' goes on where it stopped"}
	}
	fmt.Fprintf(ch.Stderr, "aloft: interrupted; revision %d of %s goes on without you\n", d.Revision, d.System)
	fmt.Fprintf(ch.Stderr, "  follow it with '%s' or 'aloft events %s -f'\n", again, d.System)
	return exitStatus(exitInterrupted)
}

// lines shows one line per event.
type lines struct{ w io.Writer }

func (l *lines) end() {}

func (l *lines) event(e api.Event) {
	who := e.Path
	switch e.Kind {
	case api.EventProgress:
		return // many, and each replaces the one before
	case api.EventPlan:
		return // the outcome follows
	case api.EventMachine:
		who = "machine " + e.Machine
	case api.EventSystem:
		who = e.System
	}
	line := who + " " + eventText(e)
	if e.Machine != "" && e.Kind != api.EventMachine {
		line += " on " + e.Machine
	}
	fmt.Fprintln(l.w, strings.TrimSpace(line))
}
