package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"aloft/internal/provision"
	"aloft/provider"
)

// A machine that is not in the ledger is given its row again only if a system
// has it; whether one has, is asked of the store, and not guessed.
func TestAMachineThatNoSystemHasIsNotAdopted(t *testing.T) {
	known := provider.Resource{Token: "t", Mark: provider.Mark{System: "shop", Path: "web", Machine: "m"}}
	unmarked := provider.Resource{Token: "t", Mark: provider.Mark{System: "shop", Machine: "m"}}
	has := func(wanted bool, err error) func(context.Context, string) (bool, error) {
		return func(context.Context, string) (bool, error) { return wanted, err }
	}
	for name, c := range map[string]struct {
		policy string
		stray  provision.Stray
		wants  func(context.Context, string) (bool, error)
		want   provision.Fate // "": undecided
	}{
		"a system has it":             {"", provision.Stray{Resource: known}, has(true, nil), provision.Adopted},
		"no system has it":            {"", provision.Stray{Resource: known}, has(false, nil), provision.Removed},
		"only managers know":          {"", provision.Stray{Resource: known}, nil, provision.Adopted},
		"the store does not answer":   {"", provision.Stray{Resource: known}, has(false, errors.New("away")), ""},
		"it is a second one":          {"", provision.Stray{Resource: known, Second: true}, has(true, nil), provision.Removed},
		"its mark names no component": {"", provision.Stray{Resource: unmarked}, has(true, nil), provision.Removed},
		"all are to be destroyed":     {orphansDestroy, provision.Stray{Resource: known}, has(true, nil), provision.Removed},
		"all are to be kept":          {orphansKeep, provision.Stray{Resource: known}, has(false, nil), provision.Kept},
	} {
		got, err := newOrphans(c.policy, "here", c.wants, nil, slog.New(slog.DiscardHandler)).judge(t.Context(), c.stray)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
}
