// Package member decides about the members of a cluster: what their names and
// roles may be, who may be let in, promoted, demoted and removed, and what is
// said about it. It decides over rows that are handed in; it neither stores
// them nor knows who is alive.
package member

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"aloft/internal/member/memberpb"
)

// The roles of a member.
const (
	Manage = "manage" // holds the store and serves the Service API
	Host   = "host"   // makes machines out of its own host
)

var roles = []string{Manage, Host}

// ParseRoles reads "manage", "host" or "manage,host", in any order, and
// returns it sorted as in the constants above.
func ParseRoles(text string) ([]string, error) {
	var list []string
	for r := range strings.SplitSeq(text, ",") {
		r = strings.TrimSpace(r)
		if !slices.Contains(roles, r) {
			return nil, fmt.Errorf("role %q: want manage, host, or manage,host", r)
		}
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return Sorted(list), nil
}

// Sorted returns a list of roles in their usual order.
func Sorted(list []string) []string {
	var sorted []string
	for _, r := range roles {
		if slices.Contains(list, r) {
			sorted = append(sorted, r)
		}
	}
	return sorted
}

var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$`) })

// CheckName refuses what cannot be the name of a member.
func CheckName(name string) error {
	if !nameForm().MatchString(name) {
		return fmt.Errorf("name %q: want at most 63 letters, digits, dots, underscores and hyphens, the first and last a letter or digit", name)
	}
	return nil
}

// Is reports whether a member has a role.
func Is(m *memberpb.Member, role string) bool { return slices.Contains(m.Roles, role) }

// Managers returns the members that hold the store, or are about to.
func Managers(all []*memberpb.Member) []*memberpb.Member {
	var list []*memberpb.Member
	for _, m := range all {
		if Is(m, Manage) {
			list = append(list, m)
		}
	}
	return list
}

// voters returns the managers whose stores vote.
func voters(all []*memberpb.Member) []*memberpb.Member {
	return slices.DeleteFunc(Managers(all), func(m *memberpb.Member) bool { return m.Joining })
}

// Refusal is why something may not be done to the members, and what to do.
type Refusal struct {
	Reason string
	Remedy string // or ""
}

func (r *Refusal) Error() string { return r.Reason }

func refuse(remedy, format string, args ...any) error {
	return &Refusal{Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Unknown is that no member has a name.
type Unknown struct {
	Name  string
	Names []string // those there are
}

func (u *Unknown) Error() string {
	return fmt.Sprintf("the cluster has no member %s", u.Name)
}

// Find returns the member that name names: by its name, its id, or the
// beginning of its id, of at least four characters, if no other's begins so.
func Find(all []*memberpb.Member, name string) (*memberpb.Member, error) {
	var begins []*memberpb.Member
	unknown := &Unknown{Name: name}
	for _, m := range all {
		if m.Name == name || m.Id == name {
			return m, nil
		}
		if len(name) >= 4 && strings.HasPrefix(m.Id, name) {
			begins = append(begins, m)
		}
		unknown.Names = append(unknown.Names, m.Name)
	}
	switch len(begins) {
	case 0:
		return nil, unknown
	case 1:
		return begins[0], nil
	}
	return nil, refuse("give more of the id, or the name", "%s is the beginning of the ids of %d members", name, len(begins))
}

// Admit returns the row of a daemon that asks to be let in. Wanted is its row
// as it would have it; without a name it gets that of its host, or, if that is
// taken, one made from that and its id. A daemon that is let in already gets
// in again: its answer may have been lost. now is nil in a row that is new.
func Admit(all []*memberpb.Member, wanted *memberpb.Member) (*memberpb.Member, error) {
	chosen := wanted.Name
	if chosen != "" {
		if err := CheckName(chosen); err != nil {
			return nil, refuse("", "%v", err)
		}
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(all, func(m *memberpb.Member) bool { return m.Name == name && m.Id != wanted.Id })
	}
	for _, m := range all {
		switch {
		case m.Id == wanted.Id:
			if chosen == "" {
				wanted.Name = m.Name
			}
			wanted.Since = m.Since
		case m.Address != "" && m.Address == wanted.Address:
			return nil, refuse("give another with --listen", "address %s is that of member %s", wanted.Address, m.Name)
		}
	}
	switch {
	case wanted.Name != "" && taken(wanted.Name):
		return nil, refuse("give another with --name", "the cluster has a member called %s", wanted.Name)
	case wanted.Name == "":
		wanted.Name = wanted.Hostname
		if CheckName(wanted.Name) != nil || taken(wanted.Name) {
			wanted.Name = strings.Trim(wanted.Hostname+"-"+wanted.Id[:min(8, len(wanted.Id))], "-")
		}
	}
	return wanted, nil
}

// MayRemove says whether a member may cease to be a manager: by removal, or by
// demotion. The managers that remain must have a majority of the living. The
// warnings are for who asked.
func MayRemove(all []*memberpb.Member, alive func(id string) bool, who *memberpb.Member) (warnings []string, err error) {
	if !Is(who, Manage) || who.Joining {
		return nil, nil
	}
	var rest, living []*memberpb.Member
	for _, m := range voters(all) {
		if m.Id == who.Id {
			continue
		}
		rest = append(rest, m)
		if alive(m.Id) {
			living = append(living, m)
		}
	}
	switch {
	case len(rest) == 0:
		return nil, refuse("let another manager join, or promote a host, first", "%s is the last manager of the cluster", who.Name)
	case len(living) < majority(len(rest)):
		return nil, refuse("start the managers that are silent, or remove those first",
			"without %s the cluster would have %s, %d of them alive, which is no majority", who.Name, managers(len(rest)), len(living))
	}
	return even(len(rest)), nil
}

// MayLose says whether a member may be removed that machines, named SYSTEM/PATH,
// are on. By force it may, and the warnings say what is lost.
func MayLose(who *memberpb.Member, machines []string, force bool) (warnings []string, err error) {
	if len(machines) == 0 {
		return nil, nil
	}
	names := strings.Join(machines, ", ")
	if !force {
		return nil, refuse("end their systems first, or, if the host is gone for ever, give --force: its machines are lost",
			"machines of systems are on %s: %s", who.Name, names)
	}
	return []string{fmt.Sprintf("with %s are lost: %s; make them anew with 'aloft up', or end their systems with 'aloft down'", who.Name, names)}, nil
}

// MayPromote says whether a member may become a manager.
func MayPromote(all []*memberpb.Member, who *memberpb.Member) (warnings []string, err error) {
	if Is(who, Manage) {
		return nil, refuse("", "%s is a manager already", who.Name)
	}
	return even(len(voters(all)) + 1), nil
}

// Joined returns the warnings about a cluster as it is.
func Joined(all []*memberpb.Member) []string { return even(len(voters(all))) }

func majority(n int) int { return n/2 + 1 }

// even warns where one manager more costs a commit more time and survives no
// more failures.
func even(n int) []string {
	if n == 0 || n%2 == 1 {
		return nil
	}
	survives := func(n int) string {
		switch f := n - majority(n); f {
		case 0:
			return "no failure"
		case 1:
			return "one failure"
		default:
			return fmt.Sprintf("%d failures", f)
		}
	}
	return []string{fmt.Sprintf("%s survive %s, as %s would: an odd number is better", managers(n), survives(n), one(n-1))}
}

func managers(n int) string {
	if n == 1 {
		return "1 manager"
	}
	return fmt.Sprintf("%d managers", n)
}

func one(n int) string {
	if n == 1 {
		return "one"
	}
	return fmt.Sprint(n)
}
