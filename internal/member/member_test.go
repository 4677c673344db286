package member

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"aloft/internal/member/memberpb"
)

// cluster reads "a:m b:mh c:h d:j": names, and whether they manage, host, or
// are about to manage.
func cluster(text string) (all []*memberpb.Member) {
	for f := range strings.FieldsSeq(text) {
		name, kind, _ := strings.Cut(f, ":")
		m := &memberpb.Member{Id: "id-of-" + name, Name: name, Address: name + ":7400"}
		if strings.ContainsAny(kind, "mj") {
			m.Roles = append(m.Roles, Manage)
		}
		if strings.Contains(kind, "h") {
			m.Roles = append(m.Roles, Host)
		}
		m.Joining = strings.Contains(kind, "j")
		all = append(all, m)
	}
	return all
}

func TestAManagerWhoseRemovalBreaksTheMajorityStays(t *testing.T) {
	for _, c := range []struct{ members, dead, who, refused, warned string }{
		{"a:m", "", "a", "last manager", ""},
		{"a:mh b:h", "", "a", "last manager", ""},
		{"a:m b:j", "", "a", "last manager", ""},
		{"a:m b:m", "", "b", "", ""},
		{"a:m b:m", "a", "b", "no majority", ""},
		{"a:m b:m c:m", "", "c", "", "2 managers survive no failure, as one would"},
		{"a:m b:m c:m", "c", "c", "", "2 managers"},
		{"a:m b:m c:m", "c", "b", "no majority", ""},
		{"a:m b:m c:m d:m", "", "d", "", ""},
		{"a:m b:m c:m d:m e:m", "", "e", "", "4 managers survive one failure, as 3 would"},
		{"a:m b:m c:m d:m e:m", "d e", "c", "no majority", ""},
		{"a:m b:h", "", "b", "", ""},
		{"a:m b:j", "", "b", "", ""},
	} {
		t.Run(c.members+" less "+c.who, func(t *testing.T) {
			all := cluster(c.members)
			who, err := Find(all, c.who)
			if err != nil {
				t.Fatal(err)
			}
			dead := strings.Fields(c.dead)
			warnings, err := MayRemove(all, func(id string) bool { return !slices.Contains(dead, strings.TrimPrefix(id, "id-of-")) }, who)
			switch {
			case c.refused == "" && err != nil, c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("refused with %v, want %q", err, c.refused)
			case c.warned == "" && len(warnings) > 0, !strings.Contains(strings.Join(warnings, "\n"), c.warned):
				t.Errorf("warned of %q, want %q", warnings, c.warned)
			}
		})
	}
}

func TestAMemberIsAdmittedUnderANameOfItsOwn(t *testing.T) {
	for _, c := range []struct{ name, hostname, want, refused string }{
		{"", "box", "box", ""},
		{"", "a", "a-12345678", ""},
		{"", "-", "12345678", ""},
		{"b", "box", "b", ""},
		{"a", "box", "", "a member called a"},
		{"no good", "box", "", "letters"},
	} {
		m, err := Admit(cluster("a:m"), &memberpb.Member{Id: "12345678-9", Name: c.name, Hostname: c.hostname, Address: "x:1"})
		switch {
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%q of %s: %v, want it refused: %s", c.name, c.hostname, err, c.refused)
		case c.refused == "" && (err != nil || m.Name != c.want):
			t.Errorf("%q of %s is %v, %v, want %s", c.name, c.hostname, m, err, c.want)
		}
	}
}

func TestAJoinRepeatedKeepsItsName(t *testing.T) {
	m, err := Admit(cluster("a:m box:j"), &memberpb.Member{Id: "id-of-box", Hostname: "other", Address: "box:7400"})
	if err != nil || m.Name != "box" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestAnAddressHasOneMember(t *testing.T) {
	_, err := Admit(cluster("a:m"), &memberpb.Member{Id: "12345678-9", Name: "b", Address: "a:7400"})
	if err == nil || !strings.Contains(err.Error(), "that of member a") {
		t.Error(err)
	}
}

func TestMembersAreFoundByNameIdAndBeginningOfIt(t *testing.T) {
	all := []*memberpb.Member{{Id: "aaaa-1", Name: "x"}, {Id: "aaaa-2", Name: "y"}, {Id: "bbbb-1", Name: "aaaa-1"}}
	for name, want := range map[string]string{"x": "aaaa-1", "aaaa-2": "aaaa-2", "bbbb": "bbbb-1"} {
		if m, err := Find(all, name); err != nil || m.Id != want {
			t.Errorf("%s is %v, %v", name, m, err)
		}
	}
	if _, err := Find(all, "aaaa"); err == nil {
		t.Error("found one of two")
	}
	if _, err := Find(all, "bb"); err == nil {
		t.Error("found by two characters")
	} else if u, ok := errors.AsType[*Unknown](err); !ok || len(u.Names) != 3 {
		t.Errorf("%v", err)
	}
}

func TestRolesAreReadInAnyOrder(t *testing.T) {
	for text, want := range map[string]string{"manage": "manage", "host,manage": "manage,host", "host, host": "host", "": "!", "boss": "!"} {
		got, err := ParseRoles(text)
		if err != nil {
			got = []string{"!"}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
