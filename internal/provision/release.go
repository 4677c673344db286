package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"aloft/provider"
)

// Claim adds a holder to a machine that exists. A machine held exclusively
// takes no second holder; a claim repeated is the same claim.
func (p *Provisioner) Claim(ctx context.Context, machineID, holder string, shared bool) error {
	done, err := p.machines.take(ctx, machineID)
	if err != nil {
		return err
	}
	defer done()
	e, _, err := p.existing(machineID)
	if err != nil {
		return err
	}
	switch {
	case e.State == Destroying:
		return fmt.Errorf("machine %s (%s) is being destroyed: %s", e.Name, e.Machine, e.Reason)
	case e.held(holder):
		return nil
	case !shared && len(e.Claims) > 0, slices.ContainsFunc(e.Claims, func(c Claim) bool { return !c.Shared }):
		return &provider.Error{
			Kind: provider.Conflict, Provider: "ledger", Op: "claim",
			Err: fmt.Errorf("machine %s (%s) is held by %s", e.Name, e.Machine, e.holders()),
		}
	}
	e.Claims = append(e.Claims, Claim{Holder: holder, Shared: shared})
	return p.rows.put(e)
}

// Release ends holder's claim. With the last claim the machine is destroyed:
// Release returns when the provider says it is gone. It succeeds when there is
// nothing to end; a destruction that an error or ctx cut short is finished by
// the next Release or Resume.
func (p *Provisioner) Release(ctx context.Context, machineID, holder string) error {
	done, err := p.machines.take(ctx, machineID)
	if err != nil {
		return err
	}
	defer done()
	e, err := p.rows.get(machineID)
	if err != nil || e == nil || e.State == Destroyed {
		return err
	}
	if e.State != Destroying {
		if !e.held(holder) && len(e.Claims) > 0 {
			return nil // it was ended before; the machine belongs to others
		}
		e.Claims = slices.DeleteFunc(e.Claims, func(c Claim) bool { return c.Holder == holder })
		if len(e.Claims) > 0 {
			return p.rows.put(e)
		}
	}
	v, err := p.vendor(e.Spec.Provider, e.Spec.Account)
	if err != nil {
		return err
	}
	if err := p.end(ctx, v, e, "released by "+holder); err != nil {
		return fmt.Errorf("destroy machine %s (%s) at %s: %w", e.Name, e.Machine, v.name, err)
	}
	return nil
}

// ReleaseHeld ends all claims of a holder who has lost what it knew of them, as
// Release does.
func (p *Provisioner) ReleaseHeld(ctx context.Context, holder string) error {
	entries, err := p.Entries()
	for _, e := range entries {
		if e.held(holder) && e.State != Destroyed {
			err = errors.Join(err, p.Release(ctx, e.Machine, holder))
		}
	}
	return err
}

// Abandon ends a machine that no holder will release any more, for a reason
// that the ledger keeps.
func (p *Provisioner) Abandon(ctx context.Context, machineID, reason string) error {
	done, err := p.machines.take(ctx, machineID)
	if err != nil {
		return err
	}
	defer done()
	e, err := p.rows.get(machineID)
	if err != nil || e == nil || e.State == Destroyed {
		return err
	}
	v, err := p.vendor(e.Spec.Provider, e.Spec.Account)
	if err != nil {
		return err
	}
	if err := p.end(ctx, v, e, reason); err != nil {
		return fmt.Errorf("end machine %s (%s) at %s: %w", e.Name, e.Machine, v.name, err)
	}
	return nil
}

// end takes e from wherever it is to destroyed.
func (p *Provisioner) end(ctx context.Context, v *vendor, e *Entry, reason string) error {
	if e.State != Destroying {
		e.State, e.Reason, e.Claims = Destroying, reason, nil
		if err := p.rows.put(e); err != nil {
			return err
		}
	}
	refs := []string{}
	if e.Ref != "" {
		refs = append(refs, e.Ref)
	}
	if e.Asked > 1 || e.Asked == 1 && e.Ref == "" {
		// There may be more than the ledger knows of.
		if err := sleep(ctx, v.caps.ListLag); err != nil {
			return err
		}
		found, err := p.withToken(ctx, v, e)
		if err != nil {
			return err
		}
		for _, r := range found {
			if r.Ref != e.Ref {
				refs = append(refs, r.Ref)
			}
		}
	}
	if e.Ref == "" && len(refs) > 0 {
		e.Ref = refs[0] // so that the ledger counts it
	}
	for _, ref := range refs {
		if err := p.destroyRef(ctx, v, ref); err != nil {
			return err
		}
	}
	e.State = Destroyed
	return p.rows.put(e)
}

// destroyRef destroys one resource and waits until the provider says it is
// gone.
func (p *Provisioner) destroyRef(ctx context.Context, v *vendor, ref string) error {
	_, err := invoke(ctx, v, TaskDestroy, retryable, func() (struct{}, error) {
		return call(ctx, v, TaskDestroy, func(ctx context.Context, a provider.Account) (struct{}, error) {
			return struct{}{}, v.Destroy(ctx, a, ref)
		})
	})
	if err != nil && provider.KindOf(err) != provider.NotFound {
		return err
	}
	since := time.Now()
	res, err := invoke(ctx, v, TaskGone, func(r provider.Resource, err error) bool {
		return err == nil || retryable(r, err)
	}, func() (provider.Resource, error) {
		return v.get(ctx, ref)
	})
	switch {
	case provider.KindOf(err) == provider.NotFound:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%s is still %s %s after it was destroyed", ref, res.State, time.Since(since).Round(time.Second))
}

// withToken lists what bears e's mark and token, the one to keep first.
func (p *Provisioner) withToken(ctx context.Context, v *vendor, e *Entry) ([]provider.Resource, error) {
	all, err := v.list(ctx, e.Mark)
	if err != nil {
		return nil, fmt.Errorf("look for token %s: %w", e.Token, err)
	}
	all = slices.DeleteFunc(all, func(r provider.Resource) bool {
		return r.Token != e.Token || r.State == provider.Destroying
	})
	rank := map[provider.State]int{provider.Running: 0, provider.Creating: 1, provider.Pending: 2, provider.Stopped: 3, provider.Failed: 4}
	slices.SortFunc(all, func(a, b provider.Resource) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), a.Created.Compare(b.Created), cmp.Compare(a.Ref, b.Ref))
	})
	return all, nil
}

// list returns every page of what bears mark.
func (v *vendor) list(ctx context.Context, mark provider.Mark) ([]provider.Resource, error) {
	type answer struct {
		found []provider.Resource
		next  provider.Page
	}
	var all []provider.Resource
	for page := provider.Page(""); ; {
		a, err := invoke(ctx, v, TaskList, retryable, func() (answer, error) {
			return call(ctx, v, TaskList, func(ctx context.Context, acc provider.Account) (answer, error) {
				found, next, err := v.List(ctx, acc, mark, page)
				return answer{found, next}, err
			})
		})
		if err != nil {
			return nil, err
		}
		all = append(all, a.found...)
		if page = a.next; page == "" {
			return all, nil
		}
	}
}
