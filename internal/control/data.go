package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/inventory"
	"aloft/internal/plan"
	"aloft/value"
)

// allowedLoss reads the components whose data may be destroyed.
func allowedLoss(texts []string) ([]value.Path, error) {
	paths := make([]value.Path, len(texts))
	for i, text := range texts {
		p, err := value.ParsePath(text)
		if err != nil {
			return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
		}
		paths[i] = p
	}
	return paths, nil
}

// undoes gives a plan leave to destroy the data of what the plan that it undoes
// has made, or has had leave for (runtime.md UP9).
func undoes(p, failed *plan.Plan) {
	for i := range p.Data {
		d := &p.Data[i]
		leave := slices.ContainsFunc(failed.Data, func(o plan.Data) bool { return o.Allowed && o.Path == d.Path })
		d.Allowed = d.Allowed || leave || failed.Made(*d)
	}
}

// lossless refuses a plan that destroys data without leave (runtime.md UP9).
func lossless(p *plan.Plan) error {
	lost := p.Loses()
	if len(lost) == 0 {
		return nil
	}
	var flags []string
	for _, d := range lost {
		if flag := " --allow-data-loss " + d.Path.String(); !slices.Contains(flags, flag) {
			flags = append(flags, flag) // it may have more than one, as where it was before
		}
	}
	return &api.Error{
		Kind:    api.KindInvalid,
		Message: fmt.Sprintf("the plan would destroy the data of %s: %s", lost[0].Path, lost[0].Why),
		Remedy:  "save it first; if it may go:" + strings.Join(flags, ""),
	}
}

// spareTime is how long those who hold data have to say that all of it is
// elsewhere.
const spareTime = 15 * time.Second

// spare asks those whose data the plan would destroy, and who can find it out,
// whether all of it is elsewhere, as a replica's is on its primary.
func (c *Control) spare(ctx context.Context, held *inventory.System, p *plan.Plan) {
	ctx, cancel := context.WithTimeout(ctx, spareTime)
	defer cancel()
	var asked []*plan.Data
	var answers []*peerpb.SpareReply
	var wg sync.WaitGroup
	for i := range p.Data {
		d := &p.Data[i]
		k := held.Components[d.Path]
		executor := k.Executor
		if k.State == inventory.Terminated || d.Left || k.Machine != d.Machine {
			continue // it has ended there, and nobody can answer for it
		}
		class, known := c.cfg.Classes.Class(d.Class)
		if d.Allowed || !known || !class.Spares || executor == "" || !c.cfg.Machines.Connected(executor) || len(asked) == measureMost {
			continue
		}
		a := &peerpb.SpareReply{}
		asked, answers = append(asked, d), append(answers, a)
		wg.Go(func() {
			m, err := c.cfg.Machines.Machine(ctx, executor)
			if err == nil {
				var got *peerpb.SpareReply
				if got, err = m.Spare(ctx, &peerpb.SpareRequest{System: p.System, Path: string(d.Path)}); err == nil {
					a.Spare, a.Why = got.Spare, got.Why
					return
				}
			}
			a.Why = "it could not be asked: " + err.Error()
		})
	}
	wg.Wait()
	for i, d := range asked {
		if answers[i].Spare {
			p.Spare(d)
		} else {
			d.Why += "; " + answers[i].Why
		}
	}
}

// leavesData enters what a component that has been ended leaves on its machine:
// its row may go, and who ends the machine has to know.
func (s *system) leavesData(b *batch, held *inventory.System, c inventory.Component) {
	class, known := s.control.cfg.Classes.Class(c.Class)
	if d, leaves := plan.Leaves(&class, c); known && leaves && c.State != inventory.Instantiated {
		s.leaves(b, held, c.Machine, d, true)
	}
}

// hasAgain enters that a component which has been deployed has the data that were
// left for it. Those of another class, or in another directory, lie there still.
func (s *system) hasAgain(b *batch, c inventory.Component) {
	class, _ := s.control.cfg.Classes.Class(c.Class)
	d, _ := plan.Leaves(&class, c)
	s.leaves(b, s.held, c.Machine, d, false)
}

// leaves enters whether data that no component has are left on a machine.
func (s *system) leaves(b *batch, held *inventory.System, machine value.Path, d inventory.Data, left bool) {
	m, ok := held.Machines[machine]
	if !ok || slices.Contains(m.Data, d) == left {
		return
	}
	m.Data = slices.DeleteFunc(slices.Clone(m.Data), func(o inventory.Data) bool { return o == d })
	if left {
		m.Data = append(m.Data, d)
	}
	held.Machines[machine] = m
	s.control.store.putMachine(b, s.name, m)
}

// Limits of measuring data.
const (
	measureTime = 3 * time.Second // for all of a plan
	measureMost = 50              // places
)

// measure asks the machines how much data the plan destroys. What does not
// answer soon is left out.
func (c *Control) measure(ctx context.Context, held *inventory.System, p *api.Plan) {
	ctx, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range p.Data[:min(len(p.Data), measureMost)] {
		d := &p.Data[i]
		k := held.Components[value.Path(d.Path)]
		executor := k.Executor
		if d.Directory == "" || d.Machine != "" && d.Machine != inventory.MachineName(p.System, k.Machine) || executor == "" || !c.cfg.Machines.Connected(executor) {
			continue
		}
		wg.Go(func() {
			size, err := c.size(ctx, executor, d.Directory)
			if err != nil {
				c.cfg.Log.Debug("measure data", "system", p.System, "component", d.Path, "error", err)
				return
			}
			d.Size = size
		})
	}
}

// size returns how many bytes a folder on a machine has.
func (c *Control) size(ctx context.Context, machine, folder string) (int64, error) {
	m, err := c.cfg.Machines.Machine(ctx, machine)
	if err != nil {
		return 0, err
	}
	stream, err := m.Exec(ctx)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&peerpb.ExecInput{Command: []string{"du", "-sb", "--", folder}, CloseStdin: true}); err != nil {
		return 0, err
	}
	var out strings.Builder
	for {
		o, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return 0, errors.New("it ended without a status")
		case err != nil:
			return 0, err
		case o.Failure != "":
			return 0, errors.New(o.Failure)
		}
		out.Write(o.Stdout)
		if o.Exited {
			size, _, _ := strings.Cut(out.String(), "\t")
			return strconv.ParseInt(size, 10, 64)
		}
	}
}
