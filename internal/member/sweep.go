package member

import (
	"slices"
	"time"

	"aloft/internal/member/memberpb"
)

// Learner is a store without a vote.
type Learner struct {
	Name    string // id of its manager; "": it has never started
	Address string // host:port of its peer
}

// Abandoned returns the members whose join was cut and not given again while
// their token could be used. Who is in reach is at it still.
func Abandoned(all []*memberpb.Member, inReach func(id string) bool, now time.Time) (list []*memberpb.Member) {
	for _, m := range all {
		if m.Joining && m.Until != nil && now.After(m.Until.AsTime()) && !inReach(m.Id) {
			list = append(list, m)
		}
	}
	return list
}

// Adrift returns the learners that no member is joining with: they count
// among those that must catch up, and never will.
func Adrift(all []*memberpb.Member, learners []Learner) []Learner {
	return slices.DeleteFunc(slices.Clone(learners), func(l Learner) bool {
		return slices.ContainsFunc(all, func(m *memberpb.Member) bool {
			return Is(m, Manage) && (m.Id == l.Name || l.Name == "" && m.Store == l.Address)
		})
	})
}
