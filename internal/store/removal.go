package store

import (
	"fmt"
	"strings"
)

// Removal decides whether a member may be taken away: not the last that has a
// vote, and not one without which those that answer are no majority any more.
// The warning is for whoever asked. A member that is not there may go.
func Removal(members []Member, id MemberID) (warning string, err error) {
	voters, alive := 0, 0
	var who Member
	var silent []string
	for _, m := range members {
		switch {
		case m.ID == id:
			who = m
		case m.Learner:
		case m.Alive:
			voters++
			alive++
		default:
			voters++
			silent = append(silent, m.label())
		}
	}
	switch {
	case who.ID == "" || who.Learner:
		return "", nil
	case voters == 0:
		return "", fmt.Errorf("manager %s is the last one: its removal would end the cluster", who.label())
	case alive <= voters/2:
		return "", fmt.Errorf("without manager %s only %d of %d managers would answer, which is no majority (silent: %s): start these, or remove them first",
			who.label(), alive, voters, strings.Join(silent, ", "))
	}
	return Evenness(voters), nil
}

// Evenness returns a warning when a number of managers is even, else "".
func Evenness(voters int) string {
	if voters%2 == 1 {
		return ""
	}
	return fmt.Sprintf("%d managers bear the loss of %d, as %d would: an odd number is better", voters, (voters-1)/2, voters-1)
}
