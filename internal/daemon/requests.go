package daemon

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"aloft/internal/control"
	"aloft/internal/event"
	"aloft/internal/ownership"
	"aloft/internal/server"
)

// tunnelAPI is the name under which a manager's Service API is reached by the
// others.
const tunnelAPI = "api"

// owners leads requests to the managers that own what they are about. It
// implements server.Owners.
type owners struct{ m *Manager }

func (o owners) Owner(ctx context.Context, system string) string {
	manager, self := o.m.control.Asked(ctx, system)
	if self {
		return ""
	}
	return manager
}

func (o owners) Dial(ctx context.Context, manager string) (net.Conn, error) {
	return o.m.node.Tunnel(ctx, manager, tunnelAPI)
}

// audit records that somebody asked for a change, and what came of it.
func (m *Manager) audit(_ context.Context, c server.Change) {
	by := fmt.Sprintf("%s (%s)", c.Caller.Name, c.Caller.Role)
	if c.System != "" {
		by += fmt.Sprintf(", fence %d", control.Fence(m.epoch(), m.keeper.Term(ownership.System(c.System))))
	}
	m.events.Emit(askedFor(c, by, m.world.MachineID, m.world.now()))
}

// audit records that somebody asked this machine for something at its own
// address. Managers hear of it when they next do of the machine.
func (m *Machine) audit(_ context.Context, c server.Change) {
	c.System, _, _ = strings.Cut(m.name, "/")
	c.Operation += " (" + m.name + ")"
	m.agent.Emit(askedFor(c, fmt.Sprintf("%s (%s)", c.Caller.Name, c.Caller.Role), m.id, m.world.now()))
}

// askedFor is the event that tells of a request.
func askedFor(c server.Change, by, origin string, at time.Time) event.Event {
	ev := event.Event{
		Origin: origin, Time: at.UTC(), System: c.System, Plan: c.Plan, Kind: event.ChangeAccepted,
		Reason: by + ": " + c.Operation,
	}
	if c.Err != nil {
		ev.Kind = event.ChangeRefused
		ev.Reason += ": " + c.Err.Error()
	}
	return ev
}
