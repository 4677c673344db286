package mariadb

import (
	"context"
	"testing"

	"aloft/component"
	"aloft/internal/host"
)

// UP9: what was confirmed for an end that came to nothing does not count for the
// next: the component has been put back, and has other data by then.
func TestUP9WhatWasConfirmedIsTakenBackByWhoIsPutBack(t *testing.T) {
	m := New(nil, nil)
	for name, op := range map[string]func(context.Context, *component.Call) error{"deploy": m.Deploy, "start": m.Start} {
		c := &component.Call{WorkDir: t.TempDir()}
		if err := host.WriteRecord(c.WorkDir, spareFile, spareRecord{Confirmed: true}); err != nil {
			t.Fatal(err)
		}
		if err := op(t.Context(), c); err == nil {
			t.Errorf("%s succeeds with no attributes", name)
		}
		var r spareRecord
		if _, err := host.ReadRecord(c.WorkDir, spareFile, &r); err != nil || r.Confirmed {
			t.Errorf("after %s: %+v, %v", name, r, err)
		}
	}
}

// UP9: what a replica has beyond its primary is found, whatever the order.
func TestWhatAServerHasBeyondAnother(t *testing.T) {
	for _, x := range []struct{ state, other, want string }{
		{"", "", ""},
		{"", "0-1-5", ""},
		{"0-1-5", "0-1-5", ""},
		{"0-1-5", "0-1-6", ""},
		{"0-1-6", "0-1-5", "0-1-6"},
		{"0-2-6", "0-1-7", "0-2-6"}, // changed by hand, on the replica
		{"0-1-7,0-2-6", "0-2-6,0-1-8", ""},
		{"1-1-7,0-1-6", "0-1-6", "1-1-7"},
		{"0-1-10", "0-1-9", "0-1-10"},
	} {
		if got, err := beyond(x.state, x.other); got != x.want || err != nil {
			t.Errorf("%q beyond %q: %q, %v, want %q", x.state, x.other, got, err, x.want)
		}
	}
}

// FuzzState: nothing is beyond itself, everything is beyond nothing, and what is
// no state is refused rather than taken for less.
func FuzzState(f *testing.F) {
	f.Add("0-1-5,0-2-6")
	f.Add("0-1")
	f.Add("-,1-1-18446744073709551616")
	f.Fuzz(func(t *testing.T, state string) {
		last, err := lastChanges(state)
		if err != nil {
			return
		}
		if more, err := beyond(state, state); more != "" || err != nil {
			t.Errorf("%q has %q beyond itself, %v", state, more, err)
		}
		more, err := beyond(state, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range last {
			if n > 0 && more == "" {
				t.Errorf("%q has nothing", state)
			}
		}
	})
}
