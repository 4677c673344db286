package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"aloft/api"
	"aloft/internal/drivers/local"
	"aloft/internal/provision"
	"aloft/internal/store"
)

// Residue is what machines leave on the host that they are made on.
// *local.Driver implements it.
type Residue interface {
	// Probe tells what the host lacks for machines.
	Probe() local.Report
	// Residue lists what is left over of a home: "" is this one; another must
	// be gone, else the error is a *local.HomeExistsError.
	Residue(ctx context.Context, home string) ([]local.Item, error)
	// Remove removes what Residue found.
	Remove(ctx context.Context, items []local.Item) error
	// Gone names homes that are gone, and of which something is left.
	Gone(ctx context.Context) ([]string, error)
}

// premises is this host as doctor looks at it.
type premises struct {
	dir, home string // state folder, id of the home
	residue   Residue
	log       *slog.Logger
}

func (m *Manager) premises() premises {
	return premises{m.world.Dir, m.world.HomeID, m.world.Residue, m.world.Log}
}

// examine looks at what this host can do and at what is left over on it, and
// removes that when asked.
func (m *Manager) examine(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	report, ledger, err := m.premises().examine(ctx, r, m.swept)
	if err == nil {
		report.Checks = append(report.Checks, m.stored(ctx), ledger, m.answers(ctx), m.orphans.check(), m.premises().clock())
	}
	return report, err
}

// examine looks at what a host can do and at what is left over on it, and what
// swept finds that no ledger has.
func (p premises) examine(ctx context.Context, r api.DoctorRequest, swept func(ctx context.Context, home string, judge provision.Judge) (provision.Report, error)) (report *api.DoctorReport, ledger api.Check, err error) {
	report = &api.DoctorReport{HomeID: p.home, LeftOver: []api.LeftOver{}}
	homes := []string{p.home}
	if r.HomeID != "" && r.HomeID != p.home {
		homes = append(homes, r.HomeID)
	}
	for _, home := range homes {
		// Destroying a machine takes its things along, so what remains is
		// looked at after that.
		var judge provision.Judge
		if r.Fix {
			judge = provision.RemoveAll
		}
		found, err := swept(ctx, home, judge)
		if home == p.home {
			ledger = balance(found, err)
		} else if err != nil {
			return nil, ledger, err
		}
		for _, s := range found.Strays {
			report.LeftOver = append(report.LeftOver, api.LeftOver{
				Kind: "machine", Name: s.Ref, HomeID: home, Removed: s.Fate == provision.Removed,
				Reason: fmt.Sprintf("%s has it, and the ledger does not", s.Provider),
			})
		}
		left, err := p.left(ctx, home, r.Fix)
		if err != nil {
			return nil, ledger, err
		}
		report.LeftOver = append(report.LeftOver, left...)
	}
	gone, err := p.leftOfGone(ctx, r.HomeID)
	if err != nil {
		return nil, ledger, err
	}
	report.LeftOver = append(report.LeftOver, gone...)
	report.Checks = append(p.features(), p.disk())
	return report, ledger, nil
}

// left lists what is left on this host of a home, and removes it if asked.
func (p premises) left(ctx context.Context, home string, remove bool) ([]api.LeftOver, error) {
	if p.residue == nil {
		return nil, nil
	}
	items, err := p.residue.Residue(ctx, home)
	if there, ok := errors.AsType[*local.HomeExistsError](err); ok {
		return nil, &api.Error{Kind: api.KindDenied, Message: there.Error(), Remedy: fmt.Sprintf("aloft --home %s doctor --fix", there.Path)}
	} else if err != nil {
		return nil, fmt.Errorf("look for what is left over of home %s: %w", home, err)
	}
	var left []api.LeftOver
	for _, i := range items {
		l := leftOver(i)
		if remove {
			if err := p.residue.Remove(ctx, []local.Item{i}); err != nil {
				l.Reason = err.Error()
			} else {
				l.Removed = true
			}
		}
		left = append(left, l)
	}
	return left, nil
}

// leftOfGone lists what is left of all homes that are gone but one, which
// was asked for by name.
func (p premises) leftOfGone(ctx context.Context, but string) ([]api.LeftOver, error) {
	if p.residue == nil {
		return nil, nil
	}
	homes, err := p.residue.Gone(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for homes that are gone: %w", err)
	}
	var left []api.LeftOver
	for _, home := range homes {
		if home == but {
			continue
		}
		items, err := p.left(ctx, home, false)
		if err != nil {
			p.log.Debug("look for what is left over", "home_id", home, "error", err)
			continue // it is there again
		}
		for _, l := range items {
			l.Reason = fmt.Sprintf("its home is gone: remove it with --fix --home-id %s", home)
			left = append(left, l)
		}
	}
	return left, nil
}

// kinds are the words of the API for what the local driver finds.
var kinds = map[string]string{local.ItemGroup: "cgroup", local.ItemEntry: "entry"}

func leftOver(i local.Item) api.LeftOver {
	l := api.LeftOver{Kind: i.Kind, Name: i.Name, HomeID: i.Home, Reason: "it bears the home's id and is of no machine"}
	if word, ok := kinds[i.Kind]; ok {
		l.Kind = word
	}
	if i.Kind == local.ItemProcess {
		l.Name = fmt.Sprintf("%d %s", i.Process.PID, i.Name)
	}
	return l
}

// features tells what the host lacks for machines.
func (p premises) features() []api.Check {
	if p.residue == nil {
		return nil
	}
	report := p.residue.Probe()
	var checks []api.Check
	for _, gap := range append(report.Missing, report.Limited...) {
		checks = append(checks, api.Check{Name: gap.Feature, State: api.CheckWarning, Detail: gap.Consequence, Remedy: gap.Remedy})
	}
	if len(report.Missing) == 0 {
		checks = append(checks, api.Check{Name: "light machines", State: api.CheckOK, Detail: "namespaces, overlay file systems and links are there"})
	}
	return checks
}

// Free space in the state folder, in MiB, below which there is a warning, or
// an error: journal and store must always be able to write.
const (
	littleSpace   = 2048
	tooLittleFree = 256
)

func (p premises) disk() api.Check {
	c := api.Check{Name: "disk", State: api.CheckOK}
	var fs unix.Statfs_t
	if err := unix.Statfs(p.dir, &fs); err != nil {
		c.State, c.Detail = api.CheckError, fmt.Sprintf("%s: %v", p.dir, err)
		return c
	}
	free := int64(fs.Bavail) * fs.Bsize >> 20
	c.Detail = fmt.Sprintf("%d MiB are free in %s", free, p.dir)
	switch {
	case free < tooLittleFree:
		c.State = api.CheckError
	case free < littleSpace:
		c.State = api.CheckWarning
	default:
		return c
	}
	c.Remedy = "make room: machines' disks are below it, in machines"
	return c
}

// stored tells whether the store and the journal can be read.
func (m *Manager) stored(ctx context.Context) api.Check {
	c := api.Check{Name: "state", State: api.CheckOK, Detail: "store and journal are open"}
	_, inStore := m.world.Store.Get(ctx, store.Key("doctor"))
	if errors.Is(inStore, store.ErrNotFound) {
		inStore = nil
	}
	_, inJournal := m.provision.Entries()
	if err := errors.Join(inStore, inJournal); err != nil {
		c.State, c.Detail, c.Remedy = api.CheckError, err.Error(), "restart the daemon: aloft daemon stop, aloft daemon start"
	}
	return c
}

// swept looks through the ledgers of this host and of the accounts that this
// manager owns.
func (m *Manager) swept(ctx context.Context, home string, judge provision.Judge) (all provision.Report, err error) {
	var errs []error
	for _, p := range m.provisioners() {
		r, err := p.Sweep(ctx, home, judge)
		errs = append(errs, err)
		all.Created += r.Created
		all.InUse += r.InUse
		all.Destroyed += r.Destroyed
		all.Strays = append(all.Strays, r.Strays...)
		all.Missing = append(all.Missing, r.Missing...)
	}
	return all, errors.Join(errs...)
}

// balance tells whether every machine that was ever created is accounted for.
func balance(r provision.Report, err error) api.Check {
	c := api.Check{Name: "ledger", State: api.CheckOK, Detail: fmt.Sprintf("%d machines created: %d in use, %d destroyed", r.Created, r.InUse, r.Destroyed)}
	switch {
	case err != nil:
		c.State, c.Detail = api.CheckError, err.Error()
	case r.Created != r.InUse+r.Destroyed:
		c.State = api.CheckError
	case len(r.Missing) > 0:
		var names []string
		for _, e := range r.Missing {
			names = append(names, e.Name)
		}
		c.State, c.Detail = api.CheckError, "their provider knows them no more: "+strings.Join(names, ", ")
		c.Remedy = "make them anew with: aloft up"
	}
	return c
}

// answers tells which machines should have a session with this daemon and have
// none.
func (m *Manager) answers(ctx context.Context) api.Check {
	c := api.Check{Name: "machines", State: api.CheckOK}
	machines, err := m.control.Machines(ctx)
	if err != nil {
		c.State, c.Detail = api.CheckError, err.Error()
		return c
	}
	var silent []string
	for _, machine := range machines {
		if machine.State == api.MachineLost {
			silent = append(silent, machine.Name)
		}
	}
	c.Detail = fmt.Sprintf("%d of %d answer", len(machines)-len(silent), len(machines))
	if len(silent) > 0 {
		c.State, c.Detail = api.CheckError, c.Detail+"; not: "+strings.Join(silent, ", ")
		c.Remedy = "a machine's daemon comes back by itself, and writes daemon.log in it; what is lost is made anew with: aloft up"
	}
	return c
}

// clockSlack is how far the clock may be behind what was written by it.
const clockSlack = time.Minute

// clock tells whether the time can be right: certificates live for hours.
func (p premises) clock() api.Check {
	c := api.Check{Name: "clock", State: api.CheckOK, Detail: "is kept right by another"}
	if st, err := os.Stat(filepath.Join(p.dir, "events", "events.jsonl")); err == nil && time.Until(st.ModTime()) > clockSlack {
		c.State, c.Detail = api.CheckError, fmt.Sprintf("it is %s behind what this daemon wrote before", time.Until(st.ModTime()).Round(time.Second))
		c.Remedy = "set it: certificates of the future are refused"
		return c
	}
	var x unix.Timex
	if state, err := unix.Adjtimex(&x); err != nil {
		c.Detail = "whether it is kept right cannot be told here"
	} else if state == unix.TIME_ERROR {
		c.Detail = "no service keeps it right on this host; certificates are refused by machines elsewhere whose clocks differ by more than minutes"
	}
	return c
}
