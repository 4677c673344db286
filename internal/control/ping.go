package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/value"
)

// pingTime is how long machines have to answer for what runs on them: a
// component that does not answer is asked twice, and whoever passes the request
// on waits a little longer.
const pingTime = 10 * time.Second

// Ping asks the machines of a system whether a component and those below it
// still are what their last operation has made of them. What is only state, as a
// compound above machines, is not asked.
func (c *Control) Ping(ctx context.Context, name, path string) (*api.Ping, error) {
	p, err := value.ParsePath(path)
	if err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	pic, err := c.picture(ctx, name)
	if err != nil {
		return nil, err
	}
	held, p := pic.held, pic.at(p)
	if _, ok := held.Components[p]; !ok {
		return nil, c.noComponent(held, p)
	}
	var executors []string
	for _, k := range held.Ordered() {
		if by := pinger(held, k); p.Contains(k.Path) && by != "" && !slices.Contains(executors, by) {
			executors = append(executors, by)
		}
	}
	replies := c.checkAll(ctx, pic.head.Name, p, executors, pingTime)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return pinged(held, p, replies), nil
}

// pinger returns the id of the machine that is asked for a component; "": none
// is.
func pinger(held *inventory.System, k inventory.Component) string {
	m, machine := held.Machines[k.Path]
	switch {
	case k.State != inventory.Running:
		return ""
	case machine:
		return m.ID
	case k.Class == "":
		return ""
	}
	return k.Executor
}

// pinged says what machines have replied for the component at path and those
// below it, by machine id.
func pinged(held *inventory.System, path value.Path, replies map[string]*peerpb.CheckReply) *api.Ping {
	ping := &api.Ping{System: held.Name, Path: path.String(), OK: true, Components: []api.Pinged{}, Silent: []string{}}
	for _, k := range held.Ordered() {
		if !path.Contains(k.Path) {
			continue
		}
		by := pinger(held, k)
		if by == "" && k.State == inventory.Running {
			continue // it is only state
		}
		one := api.Pinged{Path: k.Path.String(), Class: k.Class, Machine: machineOf(held, k)}
		reply, answered := replies[by]
		switch {
		case by == "":
			one.Known, one.OK = true, endedWell(k) || k.Flow != "" && k.State == inventory.Terminated
			one.Reason = "it is " + string(k.State)
			if k.Reason != "" {
				one.Reason += ": " + k.Reason
			}
		case !answered:
			silent := one.Machine
			if silent == "" {
				silent = managingHost
			}
			one.Reason = fmt.Sprintf("%s did not answer", silent)
			if !slices.Contains(ping.Silent, silent) {
				ping.Silent = append(ping.Silent, silent)
			}
		default:
			one.Known, one.OK, one.Reason = replied(held, k, reply)
		}
		ping.OK = ping.OK && one.OK
		ping.Components = append(ping.Components, one)
	}
	return ping
}

// replied reads out of what its machine has replied whether a component answers.
func replied(held *inventory.System, k inventory.Component, reply *peerpb.CheckReply) (known, ok bool, reason string) {
	if _, machine := held.Machines[k.Path]; machine {
		return true, true, "" // its daemon has replied
	}
	for _, d := range reply.Drifts {
		if d.Path == string(k.Path) {
			return true, false, brief(d.What)
		}
	}
	if slices.Contains(reply.Asked, string(k.Path)) {
		return true, true, ""
	}
	if k.Reason != "" {
		return false, false, "it was not asked: " + k.Reason
	}
	return false, false, "it was not asked: something else is being done with it"
}
