package control

import (
	"slices"
	"testing"

	"aloft/component"
	"aloft/internal/plan"
)

type classes []component.Class

func (cs classes) Class(name string) (component.Class, bool) {
	i := slices.IndexFunc(cs, func(c component.Class) bool { return c.Name == name })
	if i < 0 {
		return component.Class{}, false
	}
	return cs[i], true
}

func (cs classes) Names() []string { return nil }

// HL3, UP9: sfReplaceOnLoss true on a machine gives leave for what is lost with
// that, and not to drop what its components have on another one.
func TestHL3UP9ReplacementHasNoLeaveForDataElsewhere(t *testing.T) {
	may := plan.OnLoss{Replace: true}
	s := &system{
		control: &Control{cfg: Config{Classes: classes{{Name: "Store", KeepsData: true}, {Name: "Database", KeepsData: true, DataElsewhere: true}}}},
		plan: &plan.Plan{Components: []plan.Component{
			{Path: "web", Class: "VM", OnLoss: may},
			{Path: "web:db", Class: "Database", Machine: "web", OnLoss: may},
			{Path: "web:files", Class: "Store", Machine: "web", OnLoss: may},
			{Path: "web:others", Class: "Store", Machine: "other", OnLoss: may},
			{Path: "web:kept", Class: "Store", Machine: "web"},
		}},
	}
	if got := s.replaceable("web"); !slices.Equal(got, []string{"web:files"}) {
		t.Errorf("may be lost: %v", got)
	}
}
