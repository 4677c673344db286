package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/value"
)

// Times of asking machines what has drifted: machines without a session get one
// within reachTime, or are left out.
const (
	driftTime = 15 * time.Second // what does not answer at all is asked twice
	reachTime = time.Second
)

// longestDrift is how much is told of what has drifted, in bytes.
const longestDrift = 300

// drift asks the machines of a system what is not as its last operation has made
// it any more, and returns what they say by component, with notes on those that
// say nothing.
func (c *Control) drift(ctx context.Context, held *inventory.System) (map[value.Path]string, []string) {
	asked := map[string]string{} // names of those to be asked, by executor
	for _, k := range held.Components {
		if _, machine := held.Machines[k.Path]; machine || k.State != inventory.Running || k.Class == "" || k.Executor == "" {
			continue
		}
		asked[k.Executor] = inventory.MachineName(held.Name, k.Machine)
	}
	replies := c.checkAll(ctx, held.Name, value.Root, slices.Collect(maps.Keys(asked)), driftTime)
	found := map[value.Path]string{}
	var notes []string
	for executor, name := range asked {
		reply, answered := replies[executor]
		if !answered {
			notes = append(notes, fmt.Sprintf("machine %s does not say whether what runs on it is as it was made", name))
		}
		for _, d := range reply.GetDrifts() {
			path := value.Path(d.Path)
			if held.Components[path].Executor == executor {
				found[path] = brief(d.What)
			}
		}
	}
	slices.Sort(notes)
	return found, notes
}

// brief is what is told of what has drifted.
func brief(what string) string {
	what, _, _ = strings.Cut(what, "\n")
	return strings.ToValidUTF8(what[:min(len(what), longestDrift)], "")
}

// checkAll asks executors at once what has drifted of a system at or below path,
// and returns what those have answered that did within limit.
func (c *Control) checkAll(ctx context.Context, system string, path value.Path, executors []string, limit time.Duration) map[string]*peerpb.CheckReply {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var mu sync.Mutex // guards what is returned
	replies := map[string]*peerpb.CheckReply{}
	var wg sync.WaitGroup
	for _, executor := range slices.Sorted(slices.Values(executors)) {
		wg.Go(func() {
			reply, err := c.check(ctx, executor, &peerpb.CheckRequest{System: system, Path: string(path)})
			if err != nil {
				c.cfg.Log.Debug("ask what has drifted", "system", system, "machine", executor, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			replies[executor] = reply
		})
	}
	wg.Wait()
	return replies
}

func (c *Control) check(ctx context.Context, executor string, r *peerpb.CheckRequest) (*peerpb.CheckReply, error) {
	reach := ctx
	if !c.cfg.Machines.Connected(executor) {
		limited, cancel := context.WithTimeout(ctx, reachTime)
		defer cancel()
		reach = limited
	}
	m, err := c.cfg.Machines.Machine(reach, executor)
	if err != nil {
		return nil, err
	}
	return m.Check(ctx, r)
}
