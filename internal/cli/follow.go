package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
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
	news, err := listen(watch, cl, d.System, d.Cursor)
	if err != nil {
		return nil, ch.left(ctx, d, err)
	}
	var show progress = &lines{w: ch.human}
	if terminal(ch.human) && ch.Getenv("TERM") != "dumb" {
		show = newLive(ch.human, p, d, ch.palette(ch.human))
	}
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	shown := map[string]int64{} // by origin: what is told again after a cut
	killed := map[string]bool{} // what was told of processes that did not end
	defer func() { ch.warn(slices.Sorted(maps.Keys(killed))) }()
	for {
		ask := false
		select {
		case <-ctx.Done():
		case e, ok := <-news.events:
			if !ok {
				news.events, ask = nil, true
				break
			}
			if e.Plan != "" && e.Plan != d.Plan {
				break // of a plan before this one
			}
			if e.Sequence != 0 && e.Sequence <= shown[e.Origin] {
				break
			}
			shown[e.Origin] = max(shown[e.Origin], e.Sequence)
			show.event(e)
			if e.Kind == api.EventKilled {
				killed[e.Path+" had to be killed: "+e.Reason] = true
			}
			ask = e.Kind == api.EventPlan && e.Plan == d.Plan && e.State != api.DeploymentRunning
		case <-tick.C:
			ask = true
		}
		if ask {
			now, err := cl.Deployment(ctx, d.System)
			switch {
			case err == nil && now.Plan != d.Plan && now.Undoes == d.Revision:
				show.end()
				d.State, d.WillUndo, d.Failures = api.DeploymentDegraded, true, now.Undone // its end was missed
				return d, nil
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
				err != nil && news.events == nil: // nobody is left to hear from
				show.end()
				return nil, ch.left(ctx, d, err)
			}
		}
		if ctx.Err() != nil {
			show.end()
			return nil, ch.left(ctx, d, ctx.Err())
		}
		select {
		case err := <-news.broken:
			// Who was slower to show than things happened is cut, and goes on.
			if api.KindOf(err) == api.KindUnavailable {
				news, err = listen(watch, cl, d.System, news.cursor)
			}
			if err != nil {
				show.end()
				return nil, ch.left(ctx, d, err)
			}
		default:
		}
	}
}

// news is what comes of one stream of events.
type news struct {
	events chan api.Event // closed at its end
	broken chan error     // why it ended, if it broke
	cursor string         // of the last event; to be read once events is closed
}

// listen follows the events of a system behind a cursor until ctx ends.
func listen(ctx context.Context, cl *client.Client, system, after string) (*news, error) {
	seq, err := cl.Events(ctx, api.EventQuery{System: system, After: after, Follow: true})
	if err != nil {
		return nil, err
	}
	n := &news{events: make(chan api.Event), broken: make(chan error, 1), cursor: after}
	go func(events chan<- api.Event) {
		defer close(events)
		for e, err := range seq {
			if err != nil {
				n.broken <- err
				return
			}
			select {
			case events <- e:
				if e.Cursor != "" {
					n.cursor = e.Cursor
				}
			case <-ctx.Done():
				return
			}
		}
	}(n.events)
	return n, nil
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
	case api.EventPlan, api.EventKilled:
		return // the outcome follows, with what went wrong
	case api.EventChange:
		return // it is this command's own, or its answer goes to who asked
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
