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
	Removed bool
}

// Sweep looks in every account for what bears the mark of home ("": our own)
// and compares it with the ledger. Strays are reported, and destroyed when
// remove is set. What another home's ledger knows cannot be seen from here, so
// of another home everything is a stray.
func (p *Provisioner) Sweep(ctx context.Context, home string, remove bool) (Report, error) {
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
			s := Stray{AccountName: a, Resource: r}
			if remove {
				if err := p.destroyRef(ctx, l.vendor, r.Ref); err != nil {
					errs = append(errs, fmt.Errorf("remove %s at %s: %w", r.Ref, a.Provider, err))
				} else {
					s.Removed = true
				}
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
