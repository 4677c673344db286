package haproxy

import (
	"net/netip"
	"slices"
)

// A running HAProxy has a fixed number of slots for servers. Which of them are
// used, and by which address, is changed while it runs; only more slots than
// there are take a reload.

// slotStep is the number by which slots are made; one at least is left over.
const slotStep = 16

// fresh puts the servers into as many slots as they need, with some to spare.
// A spare slot has no address.
func fresh(want []netip.AddrPort) []netip.AddrPort {
	slots := make([]netip.AddrPort, (len(want)/slotStep+1)*slotStep)
	copy(slots, want)
	return slots
}

// change is what to do with the slots of a running HAProxy.
type change struct {
	slots []netip.AddrPort // as they are in the end
	add   []int            // slots that get the address they have in slots
	drop  []int            // slots that are drained, and spare then
}

// assign puts the servers into the slots of a running HAProxy: those that have
// one keep it. It returns false if the slots to spare are too few: one that is
// being drained cannot be given to another server yet.
func assign(have, want []netip.AddrPort) (change, bool) {
	c := change{slots: slices.Clone(have)}
	for i, at := range have {
		if at.IsValid() && (!slices.Contains(want, at) || slices.Contains(have[:i], at)) {
			c.slots[i] = netip.AddrPort{}
			c.drop = append(c.drop, i)
		}
	}
	for _, at := range want {
		if slices.Contains(c.slots, at) {
			continue
		}
		i := slices.IndexFunc(c.slots, func(s netip.AddrPort) bool { return !s.IsValid() })
		for i >= 0 && have[i].IsValid() { // it is being drained
			next := slices.IndexFunc(c.slots[i+1:], func(s netip.AddrPort) bool { return !s.IsValid() })
			if next < 0 {
				return change{}, false
			}
			i += 1 + next
		}
		if i < 0 {
			return change{}, false
		}
		c.slots[i] = at
		c.add = append(c.add, i)
	}
	return c, true
}
