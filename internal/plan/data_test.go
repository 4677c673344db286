package plan

import (
	"testing"

	"aloft/internal/inventory"
	"aloft/value"
)

// UP9: a machine that ends takes the data on it along, and not those that a
// component of it has on another machine; these go only where it drops them.
func TestUP9DataOnAnotherMachineAreNotThoseOfAMachineThatEnds(t *testing.T) {
	known := classes{
		{Name: "Store", KeepsData: true},
		{Name: "Database", KeepsData: true, DataElsewhere: true},
		{Name: "Scripts", KeepsData: true, DataElsewhere: true, Disposable: true},
		{Name: "Cache", KeptIsData: true},
	}
	for _, c := range []struct {
		class string
		keep  bool
		lost  bool
	}{
		{"Store", true, true},
		{"Store", false, true},
		{"Database", true, false},
		{"Database", false, true},
		{"Scripts", true, false},
		{"Scripts", false, false},
		{"Cache", true, true},
		{"Cache", false, false},
	} {
		attrs := value.NewComponent(false, value.Attr{Name: "keepOnTerminate", Value: value.Bool(c.keep)})
		held := inventory.Component{Path: "m:it", Class: c.class, Machine: "m", State: inventory.Running, Attrs: attrs, Resolved: attrs}
		m := &maker{
			in: Input{
				Existing: &inventory.System{Components: map[value.Path]inventory.Component{held.Path: held}},
				Survey:   &Survey{classes: known},
			},
			plan: &Plan{Steps: []Step{{Path: "m", Action: Terminate}, {Path: "m:it", Action: Terminate}}},
		}
		m.data()
		if lost := len(m.plan.Data) == 1; lost != c.lost {
			t.Errorf("%s, kept %t, with its machine: %+v", c.class, c.keep, m.plan.Data)
		}
		class, _ := known.Class(c.class)
		if holds := holdsData(&surveyed{class: class, attrs: attrs}); holds != ((c.class == "Store" || c.class == "Cache") && c.keep) {
			t.Errorf("%s, kept %t, on a machine that is lost: holds data %t", c.class, c.keep, holds)
		}
	}
}

// UP9: who holds data answers for those, and not for what it has left elsewhere;
// and only where its end asks it again.
func TestUP9SpareIsOfOneComponentThatIsEndedItself(t *testing.T) {
	p := &Plan{
		Data: []Data{{Path: "db", Machine: "a", Left: true}, {Path: "db", Machine: "b"}, {Path: "b:run:made", Machine: "b"}},
		Steps: []Step{
			{ID: "db/terminate", Path: "db", Action: Terminate},
			{ID: "a/terminate", Path: "a", Action: Terminate},
			{ID: "b/terminate", Path: "b", Action: Terminate},
			{ID: "b:run/terminate", Path: "b:run", Action: Terminate},
		},
	}
	p.Spare(&p.Data[1])
	p.Spare(&p.Data[2])
	if p.Data[0].Spare || !p.Data[1].Spare || p.Data[2].Spare {
		t.Errorf("data: %+v", p.Data)
	}
	there := map[StepID]bool{}
	for _, s := range p.Steps {
		there[s.ID] = true
	}
	for _, s := range p.Steps {
		for _, id := range s.Needs {
			if !there[id] {
				t.Errorf("%s waits for %s, which is no step", s.ID, id)
			}
		}
		if needs := len(s.Needs); needs != map[StepID]int{"b/terminate": 1}[s.ID] || s.Spare != (s.ID == "db/terminate") {
			t.Errorf("step %+v", s)
		}
	}
}
