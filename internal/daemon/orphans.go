package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/internal/event"
	"aloft/internal/provision"
	"aloft/value"
)

// What a daemon does with orphans, which it looks for when it starts: machines
// that bear its home's id and are not in the ledger, what machines leave on this
// host, and rows of the ledger whose machine is gone.
const (
	// orphansAdopt gives a machine that a system has its row again; all else is
	// ended. It is what a home does whose settings say nothing.
	orphansAdopt = "adopt"
	// orphansDestroy ends all of it.
	orphansDestroy = "destroy"
	// orphansKeep changes nothing: a person looks, and says 'aloft doctor --fix'.
	orphansKeep = "keep"
)

// checkOrphans refuses a policy that there is not.
func checkOrphans(policy string) error {
	switch policy {
	case "", orphansAdopt, orphansDestroy, orphansKeep:
		return nil
	}
	return fmt.Errorf("orphans %q: want adopt, destroy or keep", policy)
}

// setOrphans has the daemon of the home do so from now on.
func (h *home) setOrphans(policy string) error {
	if err := checkOrphans(policy); err != nil {
		return err
	}
	is, err := readSettings(h.dir)
	if err != nil || is.Orphans == policy {
		return err
	}
	is.Orphans = policy
	return is.write(h.dir)
}

// orphans deals with those of a daemon, and tells of each.
type orphans struct {
	policy string
	origin string // machine id of the daemon
	// wants says whether a system has a machine; nil where only managers know.
	// There a machine that bears the name of a component is taken for wanted,
	// and the part that its owner sends says what is too much.
	wants func(ctx context.Context, machine string) (bool, error)
	emit  func(event.Event)
	log   *slog.Logger

	mu   sync.Mutex
	seen map[event.Kind]int // guarded by mu: how many became what, since the start
}

func newOrphans(policy, origin string, wants func(context.Context, string) (bool, error), emit func(event.Event), log *slog.Logger) *orphans {
	if policy == "" {
		policy = orphansAdopt
	}
	return &orphans{policy: policy, origin: origin, wants: wants, emit: emit, log: log, seen: map[event.Kind]int{}}
}

// judge decides about a machine that is not in the ledger.
func (o *orphans) judge(ctx context.Context, s provision.Stray) (provision.Fate, error) {
	switch {
	case o.policy == orphansKeep:
		return provision.Kept, nil
	case o.policy == orphansDestroy, s.Second, s.Mark.System == "", s.Mark.Path == "", s.Mark.Machine == "", s.Token == "":
		return provision.Removed, nil
	case o.wants == nil:
		return provision.Adopted, nil
	}
	wanted, err := o.wants(ctx, s.Mark.Machine)
	if err != nil {
		return "", fmt.Errorf("whether a system has machine %s: %w", s.Mark.Machine, err)
	}
	if wanted {
		return provision.Adopted, nil
	}
	return provision.Removed, nil
}

// sweep compares the ledger of p with what the providers have. It reports
// whether the ledger has more machines now.
func (o *orphans) sweep(ctx context.Context, p *provision.Provisioner) (more bool) {
	report, err := p.Sweep(ctx, "", o.judge)
	if err != nil && ctx.Err() == nil {
		o.log.Warn("look for orphans", "error", err)
	}
	kinds := map[provision.Fate]event.Kind{
		provision.Kept: event.OrphanKept, provision.Adopted: event.OrphanAdopted, provision.Removed: event.OrphanDestroyed,
	}
	for _, s := range report.Strays {
		more = more || s.Fate == provision.Adopted
		what := fmt.Sprintf("machine %s at %s, which the ledger does not have", s.Ref, s.Provider)
		if s.Err != nil {
			what += ": " + s.Err.Error()
		}
		o.tell(kinds[s.Fate], event.Event{System: s.Mark.System, Path: value.Path(s.Mark.Path), Incarnation: s.Mark.Machine}, what)
	}
	for _, e := range report.Missing {
		kind, what := o.missing(ctx, p, e)
		o.tell(kind, event.Event{System: e.Mark.System, Path: value.Path(e.Mark.Path), Incarnation: e.Machine}, what)
	}
	return more
}

// missing deals with a row whose machine is gone. One that a system has is that
// system's to make anew.
func (o *orphans) missing(ctx context.Context, p *provision.Provisioner, e provision.Entry) (event.Kind, string) {
	what := fmt.Sprintf("the row of machine %s, which %s knows no more", e.Name, e.Spec.Provider)
	if o.policy == orphansKeep || o.wants == nil {
		return event.OrphanKept, what
	}
	wanted, err := o.wants(ctx, e.Machine)
	if err == nil && wanted {
		return event.OrphanKept, what + "; its system has it: make it anew with 'aloft up'"
	}
	if err == nil {
		err = p.Abandon(ctx, e.Machine, "gone at its provider, and no system has it")
	}
	if err != nil {
		return event.OrphanKept, what + ": " + err.Error()
	}
	return event.OrphanDestroyed, what
}

// tidy deals with what a crash left of machines on this host, before any is
// made. It has no row that it could be given.
func (o *orphans) tidy(ctx context.Context, p premises) {
	left, err := p.left(ctx, p.home, o.policy != orphansKeep)
	if err != nil && ctx.Err() == nil {
		o.log.Warn("look for orphans", "error", err)
	}
	for _, l := range left {
		kind, what := event.OrphanDestroyed, l.Kind+" "+l.Name
		if !l.Removed {
			kind = event.OrphanKept
			what += ": " + l.Reason
		}
		o.tell(kind, event.Event{}, what)
	}
}

// forgotten ends the machines of components that a daemon with a lost journal
// knows nothing of: those it has adopted bear the component's name.
type forgotten struct{ p *provision.Provisioner }

func (f forgotten) end(ctx context.Context, system string, path value.Path) error {
	return f.p.ReleaseHeld(ctx, provision.Holder(system, path.String()))
}

// tell records what became of an orphan.
func (o *orphans) tell(kind event.Kind, ev event.Event, what string) {
	o.log.Warn("orphan "+outcome(kind), "what", what, "system", ev.System, "component", ev.Path, "policy", o.policy)
	ev.Origin, ev.Time, ev.Kind, ev.Reason = o.origin, time.Now(), kind, what
	o.emit(ev)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[kind]++
}

// outcome is what became of an orphan, in a word.
func outcome(kind event.Kind) string { return strings.TrimPrefix(string(kind), "orphan.") }

// check tells what was found at the start.
func (o *orphans) check() api.Check {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := api.Check{Name: "orphans", State: api.CheckOK}
	c.Detail = fmt.Sprintf("found when the daemon started: %d adopted, %d destroyed, %d kept; policy %s",
		o.seen[event.OrphanAdopted], o.seen[event.OrphanDestroyed], o.seen[event.OrphanKept], o.policy)
	if o.seen[event.OrphanKept] > 0 {
		c.State = api.CheckWarning
		c.Remedy = "'aloft events' tells of each; 'aloft doctor --fix' removes what is left over"
	}
	return c
}
