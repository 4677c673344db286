package plan

import (
	"aloft/internal/inventory"
	"aloft/provider"
	"aloft/value"
)

// withProposal returns attrs with what the manager of a machine must know
// beyond the description.
func withProposal(attrs *value.Component, machineID string, path value.Path, system string, p provider.Proposal) *value.Component {
	out := value.NewComponent(attrs.Data)
	for a := range attrs.All() {
		out.Set(a)
	}
	out.Set(value.Attr{Name: AttrMachine, Value: value.String(machineID)})
	out.Set(value.Attr{Name: AttrProposal, Value: value.NewComponent(true,
		value.Attr{Name: "name", Value: value.String(inventory.MachineName(system, path))},
		value.Attr{Name: "hostname", Value: value.String(inventory.Hostname(path))},
		value.Attr{Name: "provider", Value: value.String(p.Provider)},
		value.Attr{Name: "account", Value: value.String(p.Account)},
		value.Attr{Name: "host", Value: value.String(p.Host)},
		value.Attr{Name: "template", Value: value.String(p.Template)},
		value.Attr{Name: "region", Value: value.String(p.Region)},
		value.Attr{Name: "zone", Value: value.String(p.Zone)},
		value.Attr{Name: "size", Value: value.String(p.Size)},
		value.Attr{Name: "cores", Value: value.Integer(p.Cores)},
		value.Attr{Name: "memory", Value: value.Integer(p.Memory)},
		value.Attr{Name: "disk", Value: value.Integer(p.Disk)},
		value.Attr{Name: "perHour", Value: value.Double(p.PerHour)},
		value.Attr{Name: "currency", Value: value.String(p.Currency)},
		value.Attr{Name: "isolation", Value: value.Bool(p.Isolation)},
	)})
	return out
}
