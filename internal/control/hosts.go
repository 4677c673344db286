package control

import (
	"context"

	"aloft/internal/inventory"
)

// MachinesOn returns the machines of all systems, as SYSTEM/PATH, that are made
// out of a host, which is given by its machine id.
func (c *Control) MachinesOn(ctx context.Context, host string) (names []string, err error) {
	pictures, err := c.pictures(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pictures {
		for _, m := range p.held.OrderedMachines() {
			if k := p.held.Components[m.Path]; m.Proposal.Host == host && k.State != inventory.Instantiated {
				names = append(names, inventory.MachineName(p.held.Name, m.Path))
			}
		}
	}
	return names, nil
}
