package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// finishEvery is how often Run looks for destructions that were cut short.
const finishEvery = 30 * time.Second

// Run finishes destructions that an error or a time limit has cut short, until
// ctx ends. What cannot be finished yet is logged once for each reason and
// tried again. Resume belongs before it.
func (p *Provisioner) Run(ctx context.Context) error {
	told := map[string]string{} // by machine id: the last reason logged
	for {
		if err := sleep(ctx, finishEvery); err != nil {
			return err
		}
		entries, err := p.rows.all()
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.State != Destroying {
				delete(told, e.Machine)
				continue
			}
			err := p.settle(ctx, e.Machine, nil)
			if err == nil || ctx.Err() != nil || told[e.Machine] == err.Error() {
				continue
			}
			told[e.Machine] = err.Error()
			p.log.Warn("machine is not gone yet", "machine", e.Machine, "name", e.Name, "ref", e.Ref, "err", err)
		}
	}
}

// keepDestroyed is how long rows of destroyed machines are kept for people who
// ask what became of a machine.
const keepDestroyed = 7 * 24 * time.Hour

// Resume settles what a crash left: it finishes destructions, finds out what
// became of requests without an answer, and undoes those that wanted says
// nobody will ask for again (nil: all are wanted). Wanted machines that do not
// run yet are left to the next Acquire. Errors of single machines are joined;
// the others go on.
func (p *Provisioner) Resume(ctx context.Context, wanted func(Entry) bool) error {
	entries, err := p.rows.all()
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	errs := make([]error, len(entries))
	for i, e := range entries {
		g.Go(func() error {
			if err := p.settle(ctx, e.Machine, wanted); err != nil {
				errs[i] = fmt.Errorf("resume machine %s (%s): %w", e.Name, e.Machine, err)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return nil
	return errors.Join(errs...)
}

// settle settles one machine; the rows of those that run, and of wanted ones
// that are being made, stay as they are.
func (p *Provisioner) settle(ctx context.Context, machineID string, wanted func(Entry) bool) error {
	done, err := p.machines.take(ctx, machineID)
	if err != nil {
		return err
	}
	defer done()
	e, err := p.rows.get(machineID)
	if err != nil || e == nil || e.State == Running {
		return err
	}
	if e.State == Destroyed {
		if p.rows.now().Sub(e.Changed) > keepDestroyed {
			return p.rows.ledger.Delete(e.Machine)
		}
		return nil
	}
	v, err := p.vendor(e.Spec.Provider, e.Spec.Account)
	if err != nil {
		return err
	}
	switch {
	case e.State == Destroying:
		return p.end(ctx, v, e, e.Reason)
	case wanted != nil && !wanted(*e):
		return p.end(ctx, v, e, "not wanted any more when the daemon started again")
	case e.Asked > 0 && e.Ref == "":
		_, err := p.adopt(ctx, v, e)
		return err
	}
	return nil
}
