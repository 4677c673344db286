package control

import (
	"context"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/inventory"
)

// reachLimit is how long another manager has to tell whom it reaches.
const reachLimit = 3 * time.Second

// answering returns whether the machines of systems answer their owners: machines
// have sessions with two managers only, so that what is silent here may be in
// good order. Where an owner cannot be asked, that is not known.
func (c *Control) answering(ctx context.Context, held ...*inventory.System) func(machine string) inventory.MachineState {
	away := map[string][]string{} // machines, by the manager to be asked
	states := map[string]inventory.MachineState{}
	for _, h := range held {
		manager, here := c.Owner(h.Name)
		for _, m := range h.Machines {
			switch {
			case c.cfg.Machines.Connected(m.ID):
				states[m.ID] = inventory.MachineRunning
			case here:
				states[m.ID] = inventory.MachineLost
			default:
				states[m.ID] = inventory.MachineUnknown
				away[manager] = append(away[manager], m.ID)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	var mu sync.Mutex // guards states
	var wg sync.WaitGroup
	for manager, ids := range away {
		wg.Go(func() {
			owner, err := c.cfg.Others(ctx, manager)
			if err != nil {
				return
			}
			r, err := owner.Reached(ctx, &peerpb.ReachedRequest{Machines: ids})
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				states[id] = inventory.MachineLost
			}
			for _, id := range r.Machines {
				states[id] = inventory.MachineRunning
			}
		})
	}
	wg.Wait()
	return func(machine string) inventory.MachineState { return states[machine] }
}
