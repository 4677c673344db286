package plan

import (
	"slices"
	"strings"
	"testing"

	"aloft/internal/inventory"
	"aloft/value"
)

// UP9: a machine that its host has given up is replaced by who asks for a plan
// where no data go with it, or those that he names, and by nobody else.
func TestUP9GivenUpMachineIsReplacedWithoutDataOrWithLeave(t *testing.T) {
	const dir = "/nonexistent/data"
	data := func(path, machine value.Path, class string, keep bool, state inventory.State) inventory.Component {
		attrs := value.NewComponent(false, value.Attr{Name: "keepOnTerminate", Value: value.Bool(keep)})
		return inventory.Component{Path: path, Class: class, Machine: machine, State: state, Attrs: attrs}
	}
	for name, c := range map[string]struct {
		holds *inventory.Component
		left  []inventory.Data
		allow []value.Path
		auto  bool
		stays bool
	}{
		"nothing":                    {},
		"nobody asks":                {auto: true, stays: true},
		"data":                       {holds: new(data("m:it", "m", "Store", true, inventory.Running)), stays: true},
		"data, with leave":           {holds: new(data("m:it", "m", "Store", true, inventory.Running)), allow: []value.Path{"m:it"}},
		"data, with leave of others": {holds: new(data("m:it", "m", "Store", true, inventory.Running)), allow: []value.Path{"m:other"}, stays: true},
		"of what has ended":          {holds: new(data("m:it", "m", "Store", true, inventory.Terminated)), stays: true},
		"removed as it has ended":    {holds: new(data("m:it", "m", "Store", false, inventory.Terminated))},
		"left there":                 {left: []inventory.Data{{Path: "m:gone", Class: "Store", Directory: dir}}, stays: true},
		"elsewhere":                  {holds: new(data("m:it", "m", "Database", false, inventory.Running))},
		"inside, elsewhere, dropped": {holds: new(data("m:it", "other", "Database", false, inventory.Running)), stays: true},
		"inside, elsewhere, kept":    {holds: new(data("m:it", "other", "Database", true, inventory.Running))},
		"placed there":               {holds: new(data("it", "m", "Store", false, inventory.Running)), stays: true},
		"on another":                 {holds: new(data("it", "other", "Store", false, inventory.Running))},
	} {
		t.Run(name, func(t *testing.T) {
			existing := &inventory.System{
				Components: map[value.Path]inventory.Component{"m": {Path: "m", State: inventory.Failed, Reason: inventory.GivenUp + "it burns"}},
				Machines:   map[value.Path]inventory.Machine{"m": {Path: "m", Data: c.left}},
			}
			if c.holds != nil {
				existing.Components[c.holds.Path] = *c.holds
			}
			s := &Survey{
				classes: classes{{Name: "Store", KeepsData: true}, {Name: "Database", KeepsData: true, DataElsewhere: true}},
				byPath:  map[value.Path]*surveyed{"m": {}},
			}
			GiveUp(s, existing, c.allow, c.auto)
			if stays := existing.Machines["m"].Renew == ""; stays != c.stays {
				t.Errorf("it stays: %t, want %t", stays, c.stays)
			}
			if noted := slices.ContainsFunc(s.Notes, func(n string) bool { return strings.HasPrefix(n, "m is left as it is, given up: it burns") }); noted != c.stays {
				t.Errorf("notes: %q", s.Notes)
			}
		})
	}
}
