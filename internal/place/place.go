// Package place decides where machines come from: it turns needs, proposals and
// the previous placement into a Placement. It is pure: equal input gives equal
// output, and nothing is moved without a stated reason.
package place

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"aloft/provider"
	"aloft/value"
)

// Need is a machine that a system wants.
type Need struct {
	Path     value.Path
	Provider string // "auto", or a module's or an account's name
	Pos      value.Pos
	provider.Need
}

// Choice is where one machine comes from.
type Choice struct {
	MachineID  string // the incarnation (UUID); kept from the previous placement
	Proposal   provider.Proposal
	Alternates []provider.Proposal // in order; falling back to one is no deviation
	Reason     string
	Kept       bool // the machine exists already
}

// Placement maps the path of each machine component to its choice.
type Placement map[value.Path]Choice

// Shortfall is a need that nobody offers.
type Shortfall struct {
	Need   Need
	Reason string
	Remedy string
}

// Input is what a placement is made from. Proposals are by need, as providers
// gave them, best first. NewID gives the id of the i-th new machine.
type Input struct {
	Needs     []Need
	Proposals map[value.Path][]provider.Proposal
	Providers []string // enabled modules, in order of preference
	Previous  Placement
	NewID     func(value.Path) string
}

// Choose places every need. What exists stays where it is; for the rest the
// cheapest proposal wins, ties by order of providers and then of proposals.
func Choose(in Input) (Placement, []Shortfall) {
	placement := make(Placement, len(in.Needs))
	var short []Shortfall
	for _, n := range in.Needs {
		if old, ok := in.Previous[n.Path]; ok {
			old.Kept = true
			old.Reason = "exists"
			placement[n.Path] = old
			continue
		}
		offers := slices.Clone(in.Proposals[n.Path])
		offers = slices.DeleteFunc(offers, func(p provider.Proposal) bool { return !serves(n, p) })
		if len(offers) == 0 {
			short = append(short, shortfall(in, n))
			continue
		}
		rank := func(p provider.Proposal) int { return slices.Index(in.Providers, p.Provider) }
		slices.SortStableFunc(offers, func(a, b provider.Proposal) int {
			return cmp.Or(cmp.Compare(a.PerHour, b.PerHour), cmp.Compare(rank(a), rank(b)))
		})
		reason := "only offer"
		if len(offers) > 1 {
			reason = fmt.Sprintf("cheapest of %d offers", len(offers))
		}
		placement[n.Path] = Choice{MachineID: in.NewID(n.Path), Proposal: offers[0], Alternates: offers[1:], Reason: reason}
	}
	return placement, short
}

// serves reports whether p meets n in what every module must respect.
func serves(n Need, p provider.Proposal) bool {
	if !wants(n, p.Provider, p.Account) || p.Cores < n.Cores || p.Memory < n.Memory || p.Disk < n.Disk {
		return false
	}
	if n.Region != "" && n.Region != p.Region {
		return false
	}
	return n.MaxPrice == 0 || p.PerHour <= n.MaxPrice
}

func wants(n Need, provider, account string) bool {
	return n.Provider == "" || strings.EqualFold(n.Provider, "auto") ||
		strings.EqualFold(n.Provider, provider) || n.Provider == account
}

func shortfall(in Input, n Need) Shortfall {
	s := Shortfall{Need: n}
	known := slices.ContainsFunc(in.Providers, func(p string) bool { return wants(n, p, "") })
	switch {
	case !known:
		s.Reason = fmt.Sprintf("no provider is called %q; there are: %s", n.Provider, strings.Join(in.Providers, ", "))
		s.Remedy = `set cloudProvider to one of them, or to "auto"`
	case len(in.Proposals[n.Path]) == 0:
		s.Reason = fmt.Sprintf("no provider offers %d cores, %d MiB of memory, %d GB of disk%s", n.Cores, n.Memory, n.Disk, template(n))
		s.Remedy = "ask for less, or for another template"
	default:
		s.Reason = "every offer misses a requirement (size, region, or the price cap)"
		s.Remedy = "relax cores, memory, disk, region or maxPrice"
	}
	return s
}

func template(n Need) string {
	if n.Template == "" {
		return ""
	}
	return fmt.Sprintf(" with template %q", n.Template)
}
