package provision

import (
	"context"
	"errors"
	"fmt"

	"aloft/provider"
)

// Report compares the ledger with what the providers say exists.
type Report struct {
	// From the ledger: Created = InUse + Destroyed.
	Created   int // machines that a provider has accepted
	InUse     int // … that are not destroyed
	Destroyed int

	Missing []Entry // have run, and their provider knows them no more
	Strays  []Stray // bear the mark and are not in the ledger
}

// Stray is a resource with our mark that the ledger does not know.
type Stray struct {
	AccountName
	provider.Resource
	// Second says that the ledger knows its machine by another resource, or as
	// destroyed.
	Second bool
	Fate   Fate
	Err    error // why what was to become of it did not
}

// Fate is what becomes of a stray.
type Fate string

// The fates. Only one that is no Second, of our own home, can be adopted.
const (
	Kept    Fate = "kept"
	Adopted Fate = "adopted"
	Removed Fate = "destroyed"
)

// Judge says what is to become of a stray. With an error it is kept.
type Judge func(ctx context.Context, s Stray) (Fate, error)

// RemoveAll has every stray destroyed.
func RemoveAll(context.Context, Stray) (Fate, error) { return Removed, nil }

// Sweep looks in every account for what bears the mark of home ("": our own)
// and compares it with the ledger. Strays are reported, and judge says what
// becomes of each; nil: they are kept. What another home's ledger knows cannot
// be seen from here, so of another home everything is a stray.
func (p *Provisioner) Sweep(ctx context.Context, home string, judge Judge) (Report, error) {
	if home == "" {
		home = p.home
	}
	type listed struct {
		vendor *vendor
		found  []provider.Resource
	}
	var errs []error
	lists := map[AccountName]listed{}
	accounts := p.vendors.Accounts()
	for _, a := range accounts {
		v, err := p.vendor(a.Provider, a.Account)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found, err := v.list(ctx, provider.Mark{Home: home})
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep account %s at %s: %w", a.Account, a.Provider, err))
			continue
		}
		lists[a] = listed{v, found}
	}
	// The ledger is read after the lists: whatever a list shows had its row
	// written before it was made.
	rep, known, err := p.count()
	if err != nil {
		return rep, err
	}
	present := map[string]bool{}
	for _, a := range accounts {
		l, ok := lists[a]
		if !ok {
			continue
		}
		for _, r := range l.found {
			present[r.Mark.Machine] = true
			if r.State == provider.Destroying || home == p.home && mine(known[r.Mark.Machine], r) {
				continue
			}
			s := Stray{AccountName: a, Resource: r, Fate: Kept}
			if known, err := p.decide(ctx, l.vendor, &s, judge, home == p.home); err != nil {
				s.Err = err
				errs = append(errs, fmt.Errorf("%s at %s: %w", r.Ref, a.Provider, err))
			} else if known {
				continue
			}
			rep.Strays = append(rep.Strays, s)
		}
	}
	for _, e := range p.missing(known, present) {
		a := AccountName{e.Spec.Provider, e.Spec.Account}
		l, ok := lists[a]
		if !ok || home != p.home {
			continue // not looked at
		}
		// A list may lag; only Get tells.
		if _, err := l.vendor.get(ctx, e.Ref); provider.KindOf(err) == provider.NotFound {
			rep.Missing = append(rep.Missing, *e)
		}
	}
	return rep, errors.Join(errs...)
}

// decide has judge decide about a stray and does it. known says that it is none
// any more: somebody asked for its machine meanwhile, and was given it.
func (p *Provisioner) decide(ctx context.Context, v *vendor, s *Stray, judge Judge, ours bool) (known bool, err error) {
	done, err := p.machines.take(ctx, s.Mark.Machine)
	if err != nil {
		return false, err
	}
	defer done()
	if ours {
		e, err := p.rows.get(s.Mark.Machine)
		if err != nil || mine(e, s.Resource) {
			return err == nil, err
		}
		s.Second = e != nil
	}
	if judge == nil {
		return false, nil
	}
	fate, err := judge(ctx, *s)
	if err != nil {
		return false, err
	}
	switch {
	case fate == Removed:
		err = p.destroyRef(ctx, v, s.Ref)
	case fate != Adopted:
	case !ours || s.Second:
		err = errors.New("the ledger cannot have it")
	default:
		err = p.enter(*s)
	}
	if err == nil {
		s.Fate = fate
	}
	return false, err
}

// enter writes the row that a stray would have if it had been made with this
// ledger, held by the component in its mark.
func (p *Provisioner) enter(s Stray) error {
	r := s.Resource
	e := &Entry{
		Machine: r.Mark.Machine, Token: r.Token, Name: r.Name, Mark: r.Mark, State: Creating, Ref: r.Ref, Asked: 1, Seen: r,
		Spec: provider.Proposal{
			Provider: s.Provider, Account: s.Account, Region: r.Region, Template: r.Template, PerHour: r.PerHour,
		},
		Claims: []Claim{{Holder: Holder(r.Mark.System, r.Mark.Path)}}, Intended: r.Created,
	}
	if r.State == provider.Running {
		e.State = Running
	}
	return p.rows.put(e)
}

// count returns the ledger's part of a report, and its rows by machine id.
func (p *Provisioner) count() (rep Report, known map[string]*Entry, err error) {
	entries, err := p.rows.all()
	if err != nil {
		return rep, nil, err
	}
	known = make(map[string]*Entry, len(entries))
	for _, e := range entries {
		known[e.Machine] = e
		switch {
		case e.Ref == "":
		case e.State == Destroyed:
			rep.Created++
			rep.Destroyed++
		default:
			rep.Created++
			rep.InUse++
		}
	}
	return rep, known, nil
}

// missing returns the rows of machines that have run and are not present, in
// the ledger's order.
func (p *Provisioner) missing(known map[string]*Entry, present map[string]bool) (out []*Entry) {
	for _, id := range sortedKeys(known) {
		if e := known[id]; e.State == Running && !present[id] {
			out = append(out, e)
		}
	}
	return out
}

// mine reports whether e, a row or nil, accounts for r.
func mine(e *Entry, r provider.Resource) bool {
	switch {
	case e == nil || e.State == Destroyed:
		return false
	case e.Ref == "":
		return e.Token == r.Token // its answer is still under way
	}
	return e.Ref == r.Ref
}
