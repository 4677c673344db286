package vm

import (
	"fmt"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/internal/provision"
	"aloft/internal/sdl/catalog"
	"aloft/provider"
	"aloft/value"
)

// Class describes VM.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "VM",
	Site:   component.SiteResource,
	Schema: catalog.Schema("VM"),
	Attributes: []component.Attribute{
		{Name: "cloudProvider", Fixed: true},
		{Name: "vol-image", Fixed: true},
		{Name: "template", Fixed: true},
		{Name: "cores", Fixed: true},
		{Name: "memory", Fixed: true},
		{Name: "disk", Fixed: true},
		{Name: "region", Fixed: true},
		{Name: "account", Fixed: true},
		{Name: "maxPrice", Fixed: true},
		{Name: "ports", Fixed: true},
		{Name: "sshKey", Fixed: true},
		{Name: "userData", Fixed: true},
	},
	Outputs: []component.Output{
		{Name: "ip", Kind: value.KindString, Doc: "address that the system's other machines reach it by"},
		{Name: "publicIp", Kind: value.KindString, Doc: "address that the outside reaches it by; ip where there is none"},
		{Name: "hostname", Kind: value.KindString, Doc: "its host name"},
		{Name: "id", Kind: value.KindString, Doc: "machine id: the UUID of this incarnation"},
		{Name: "provider", Kind: value.KindString, Doc: "provider it was made at"},
		{Name: "price", Kind: value.KindDouble, Doc: "what it costs per hour"},
		{Name: "state", Kind: value.KindString, Doc: "what its provider reported last"},
	},
	Children:     true,
	Reconfigures: true,
	KeepsNothing: "nobody would answer for a machine that runs on, and costs",
	Check:        check,
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	for _, name := range []string{"sshKey", "userData"} {
		if s, ok := attrs.Get(name); ok && s != value.String("") && s.Kind() != value.KindNull {
			problems = append(problems, component.Problem{
				Attr: name, Expected: "nothing", Found: s.Kind().String(),
				Message: name + " is not handed to machines by this release",
				Remedy:  "leave it out; use aloft exec to reach the machine, and components to set it up",
			})
		}
	}
	if a, ok := attrs.Get("vol-image"); ok {
		if b, ok := attrs.Get("template"); ok && !value.Equal(a, b) {
			problems = append(problems, component.Problem{
				Attr: "template", Expected: "the same as vol-image", Found: fmt.Sprint(b),
				Message: "template and vol-image name two templates", Remedy: "leave one of them out",
			})
		}
	}
	return problems
}

// want reads what the plan decided of the machine. The machine id is the
// token: an id has one machine, ever.
func want(c *component.Call) (provision.Want, error) {
	id, _ := c.Attrs.Get(plan.AttrMachine)
	machineID, ok := id.(value.String)
	p, _ := c.Attrs.Get(plan.AttrProposal)
	proposal, placed := p.(*value.Component)
	if !ok || machineID == "" || !placed {
		return provision.Want{}, fmt.Errorf("%s: the plan has placed no machine here", c.Path)
	}
	r := reader{proposal}
	return provision.Want{
		System: c.System, Path: c.Path.String(), MachineID: string(machineID), Token: string(machineID),
		Name: r.text("hostname"),
		Proposal: provider.Proposal{
			Need: c.Path.String(), Provider: r.text("provider"), Account: r.text("account"), Host: r.text("host"),
			Region: r.text("region"), Zone: r.text("zone"), Size: r.text("size"), Template: r.text("template"),
			Cores: r.int("cores"), Memory: r.int("memory"), Disk: r.int("disk"),
			PerHour: r.float("perHour"), Currency: r.text("currency"), Isolation: r.bool("isolation"),
		},
	}, nil
}

// machineName is the name people know the machine by: SYSTEM/PATH.
func machineName(c *component.Call) string { return inventory.MachineName(c.System, c.Path) }

// reader reads a proposal from its data component. What is absent is zero: the
// planner wrote it.
type reader struct{ c *value.Component }

func (r reader) text(name string) string {
	v, _ := r.c.Get(name)
	s, _ := v.(value.String)
	return string(s)
}

func (r reader) int(name string) int {
	v, _ := r.c.Get(name)
	n, _ := v.(value.Integer)
	return int(n)
}

func (r reader) float(name string) float64 {
	v, _ := r.c.Get(name)
	f, _ := v.(value.Double)
	return float64(f)
}

func (r reader) bool(name string) bool {
	v, _ := r.c.Get(name)
	b, _ := v.(value.Bool)
	return bool(b)
}
