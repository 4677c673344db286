package member

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/internal/member/memberpb"
)

func TestAJoinIsAbandonedWhenItsTokenHasExpiredAndNobodyIsAtIt(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		kind    string
		until   time.Time // zero: a row of an older program, which had none
		inReach bool
		want    bool
	}{
		{"j", now.Add(-time.Second), false, true},
		{"j", now.Add(-time.Second), true, false},
		{"j", now.Add(time.Second), false, false},
		{"j", now, false, false},
		{"j", time.Time{}, false, false},
		{"m", now.Add(-time.Hour), false, false},
		{"h", now.Add(-time.Hour), false, false},
	} {
		all := cluster("a:m b:" + c.kind)
		if !c.until.IsZero() {
			all[1].Until = timestamppb.New(c.until)
		}
		got := Abandoned(all, func(id string) bool { return id == "id-of-a" || c.inReach }, now)
		if (len(got) == 1 && got[0] == all[1]) != c.want || len(got) > 1 {
			t.Errorf("%+v: abandoned are %v", c, got)
		}
	}
}

func TestALearnerWithoutAMemberIsAdrift(t *testing.T) {
	all := []*memberpb.Member{
		{Id: "a", Roles: []string{Manage}, Store: "a:7401"},
		{Id: "b", Roles: []string{Manage}, Store: "b:7401", Joining: true},
		{Id: "c", Roles: []string{Host}, Store: ""},
	}
	for learner, want := range map[Learner]bool{
		{Name: "b", Address: "b:7401"}: false,
		{Name: "", Address: "b:7401"}:  false,
		{Name: "", Address: "x:7401"}:  true,
		{Name: "x", Address: "b:7401"}: true,
		{Name: "c", Address: "c:7401"}: true,
		{Name: "", Address: ""}:        true,
	} {
		got := Adrift(all, []Learner{learner})
		if slices.Contains(got, learner) != want {
			t.Errorf("%+v adrift: %v, want %v", learner, got, want)
		}
	}
}

func TestAHostIsRemovedWithItsMachinesByForceAlone(t *testing.T) {
	who := &memberpb.Member{Name: "h"}
	if warnings, err := MayLose(who, nil, false); err != nil || warnings != nil {
		t.Errorf("without machines: %v, %v", warnings, err)
	}
	for _, force := range []bool{false, true} {
		warnings, err := MayLose(who, []string{"one/m1", "two/m"}, force)
		text := strings.Join(warnings, "\n")
		if err != nil {
			text = err.Error()
		}
		if (err == nil) != force || !strings.Contains(text, "one/m1, two/m") {
			t.Errorf("by force %v: %v, %v", force, warnings, err)
		}
	}
}
