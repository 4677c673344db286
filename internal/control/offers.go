package control

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"aloft/internal/inventory"
	"aloft/internal/place"
	"aloft/internal/plan"
	"aloft/internal/sdl/diag"
	"aloft/provider"
	"aloft/value"
)

// offerLimit is how long providers have to answer (broker.md WF2).
const offerLimit = 10 * time.Second

// place asks the providers and chooses. Machines that exist stay.
func (c *Control) place(ctx context.Context, survey *plan.Survey, existing *inventory.System) (place.Placement, error) {
	keep := plan.Keep(survey, existing)
	call := provider.Call{}
	for _, n := range survey.Needs {
		if _, kept := keep[n.Path]; !kept {
			call.Needs = append(call.Needs, n.Need)
		}
	}
	in := place.Input{
		Needs: survey.Needs, Previous: keep, Proposals: map[value.Path][]provider.Proposal{},
		NewID: func(value.Path) string { return c.cfg.NewID() },
	}
	for _, p := range c.cfg.Providers {
		in.Providers = append(in.Providers, p.Describe().Name)
	}
	var failures []error
	if len(call.Needs) > 0 {
		failures = c.offers(ctx, call, in.Proposals)
	}
	placement, short := place.Choose(in)
	if len(short) == 0 {
		return placement, nil
	}
	var problems diag.List
	for _, s := range short {
		d := diag.New(diag.NoOffer, diag.At(s.Need.Pos), "no machine for "+s.Need.Path.String()+": "+s.Reason)
		d.Path, d.Hints = s.Need.Path.String(), []string{s.Remedy}
		if survey.IsFurther(s.Need.Path) {
			d.Hints = append(d.Hints, "it is wanted only while others of its set are updated: without sfMaxSurge the update does not need it")
		}
		for _, err := range failures {
			d.Hints = append(d.Hints, err.Error())
		}
		problems.Add(d)
	}
	return nil, invalid(&problems)
}

// asPlaced returns where the machines of a survey are, or were last to be: for a
// plan that leaves them as they are.
func (c *Control) asPlaced(survey *plan.Survey, existing *inventory.System) place.Placement {
	placed := place.Placement{}
	if s := c.system(existing.Name); s != nil {
		s.mu.Lock()
		maps.Copy(placed, s.plan.Placement)
		s.mu.Unlock()
	}
	kept := place.Placement{}
	for _, n := range survey.Needs {
		choice, known := placed[n.Path]
		if m, exists := existing.Machines[n.Path]; exists {
			choice, known = place.Choice{MachineID: m.ID, Proposal: m.Proposal}, true
		}
		if choice.Kept = true; known {
			kept[n.Path] = choice
		}
	}
	return kept
}

// offers asks all providers at once. One that fails delays nobody.
func (c *Control) offers(ctx context.Context, call provider.Call, into map[value.Path][]provider.Proposal) []error {
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	answers := make([][]provider.Proposal, len(c.cfg.Providers))
	errs := make([]error, len(c.cfg.Providers))
	var wg sync.WaitGroup
	for i, p := range c.cfg.Providers {
		wg.Go(func() { answers[i], errs[i] = p.Offer(ctx, call, c.cfg.Accounts(p.Describe().Name)) })
	}
	wg.Wait()
	for _, answer := range answers {
		for _, proposal := range answer {
			into[value.Path(proposal.Need)] = append(into[value.Path(proposal.Need)], proposal)
		}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}
