package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/pool"
	"aloft/provider"
)

// Create makes a machine and returns when its daemon is being started. A token
// that is known gives its machine; one whose making was cut short, by an end of
// this process say, is made from the start.
func (d *Driver) Create(ctx context.Context, account provider.Account, req provider.Request) (provider.Resource, error) {
	if err := ctx.Err(); err != nil {
		return provider.Resource{}, err
	}
	m, err := d.reserve(account, req)
	if err != nil {
		return provider.Resource{}, d.fail("create", provider.Transient, err)
	}
	if err := m.lock(ctx); err != nil {
		return provider.Resource{}, err
	}
	defer m.unlock()
	rec, known := d.look(m)
	switch {
	case !known: // whoever reserved it could not make it, and took it back
		return provider.Resource{}, d.fail("create", provider.Transient,
			fmt.Errorf("machine %s: another call for the same token gave up", rec.Name))
	case rec.Phase == destroying, rec.Phase == made && (rec.Stopped || rec.Run.Alive()):
		return d.resource(m), nil
	}
	if err := d.build(ctx, m); err != nil {
		undo := d.erase(context.WithoutCancel(ctx), m)
		err = errors.Join(fmt.Errorf("machine %s: %w", rec.Name, err), undo)
		if errors.Is(err, syscall.ENOSPC) {
			return provider.Resource{}, d.full("create", err)
		}
		return provider.Resource{}, d.fail("create", provider.Transient, err)
	}
	return d.resource(m), nil
}

// full is the error of a machine that the disk has no room for. Trying again
// makes no room, so it is not transient.
func (d *Driver) full(op string, err error) error {
	return &provider.Error{
		Kind: provider.Capacity, Provider: Name, Op: op, Err: fmt.Errorf("the disk of %s is full: %w", d.config.Home, err),
		Remedy: "free some space on that disk, then run up again",
	}
}

// reserve returns the machine of the request's token, with an id and an
// address for it if it is new.
func (d *Driver) reserve(account provider.Account, req provider.Request) (*machine, error) {
	form, err := d.check(account, req)
	if err != nil {
		return nil, err
	}
	n, err := d.network(form)
	if err != nil {
		return nil, err
	}
	var stack []light.Layer
	if form == Light {
		if stack, err = light.Stack(); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if m, ok := d.tokens[req.Token]; ok {
		return m, nil
	}
	offset, bridge, err := d.place(form, n)
	if err != nil {
		return nil, d.fail("create", provider.Capacity, err)
	}
	taken := func(ref string) bool { return d.machines[ref] != nil }
	m := newMachine(record{
		Ref: newRef(req, taken), Token: req.Token, Name: req.Name, Mark: req.Mark, Spec: req.Spec, UserData: req.UserData,
		Form: form, Offset: offset, Address: pool.Nth(n.prefix, offset), Bridge: bridge, Stack: stack,
		Created: time.Now().UTC().Round(0), Phase: making,
	})
	d.machines[m.rec.Ref], d.tokens[req.Token] = m, m
	return m, nil
}

// check returns the form of the machine that is asked for.
func (d *Driver) check(account provider.Account, req provider.Request) (Form, error) {
	invalid := func(format string, args ...any) (Form, error) {
		return "", d.fail("create", provider.Invalid, fmt.Errorf(format, args...))
	}
	switch {
	case req.Kind != provider.Compute:
		return "", d.fail("create", provider.NotSupported, fmt.Errorf("no resources of kind %q here", req.Kind))
	case req.Token == "":
		return invalid("a request needs a token")
	case req.Spec.Template != "" && req.Spec.Template != Template:
		return invalid("no template %s: this host has only %q", req.Spec.Template, Template)
	}
	form := d.FormFor(account.Settings)
	if f := Form(req.Spec.Size); f == Light || f == Process {
		form = f
	}
	return form, nil
}

// build makes all of a machine: its record, its disk, then its processes.
func (d *Driver) build(ctx context.Context, m *machine) error {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	rec, _ := d.look(m)
	if rec.Phase == making {
		if err := d.save(rec, true); err != nil {
			return err
		}
		d.step(rec, "recorded")
		if err := d.furnish(rec); err != nil {
			return err
		}
		d.step(rec, "disk made")
	}
	return d.boot(ctx, m)
}

// step tells of a step of a machine's making or end, for those who look for one
// that takes long.
func (d *Driver) step(rec record, what string) {
	d.log.Debug("machine", "machine", rec.Ref, "name", rec.Name, "step", what)
}

// look returns a copy of a machine's record and whether the machine is in the
// books still.
func (d *Driver) look(m *machine) (record, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return m.rec, d.machines[m.rec.Ref] == m
}

// note changes a machine's record in memory and on disk.
func (d *Driver) note(m *machine, durable bool, change func(*record)) error {
	rec, _ := d.look(m)
	change(&rec)
	if err := d.save(rec, durable); err != nil {
		return err
	}
	d.mu.Lock()
	m.rec = rec
	d.mu.Unlock()
	return nil
}

var notHost = regexp.MustCompile(`[^a-z0-9-]+`)

// hostname makes a host name out of a resource's name.
func hostname(r record) string {
	name := strings.Trim(notHost.ReplaceAllString(strings.ToLower(r.Name), "-"), "-")
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-")
	}
	if name == "" {
		return "machine-" + r.Ref[:8]
	}
	return name
}

// Get returns the machine as it is now.
func (d *Driver) Get(ctx context.Context, _ provider.Account, ref string) (provider.Resource, error) {
	if err := ctx.Err(); err != nil {
		return provider.Resource{}, err
	}
	d.mu.Lock()
	m := d.machines[ref]
	d.mu.Unlock()
	if m == nil {
		return provider.Resource{}, d.fail("get", provider.NotFound, fmt.Errorf("no machine %s", ref))
	}
	return d.resource(m), nil
}

// List returns the machines that bear mark, ordered by their ref.
func (d *Driver) List(ctx context.Context, _ provider.Account, mark provider.Mark, _ provider.Page) ([]provider.Resource, provider.Page, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	bears := func(want, have string) bool { return want == "" || want == have }
	var found []provider.Resource
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.machines))
	d.mu.Unlock()
	for _, m := range all {
		rec, _ := d.look(m)
		if bears(mark.Home, rec.Mark.Home) && bears(mark.System, rec.Mark.System) &&
			bears(mark.Path, rec.Mark.Path) && bears(mark.Machine, rec.Mark.Machine) {
			found = append(found, d.resource(m))
		}
	}
	slices.SortFunc(found, func(a, b provider.Resource) int { return strings.Compare(a.Ref, b.Ref) })
	return found, "", nil
}

// resource tells how a machine is.
func (d *Driver) resource(m *machine) provider.Resource {
	rec, _ := d.look(m)
	r := provider.Resource{
		Kind: provider.Compute, Ref: rec.Ref, Token: rec.Token, Mark: rec.Mark, Name: rec.Name, Template: Template,
		Address: rec.Address.String(), Hostname: hostname(rec), Created: rec.Created, PerHour: rec.Spec.PerHour,
	}
	switch {
	case rec.Phase == destroying:
		r.State = provider.Destroying
	case rec.Phase == made && rec.Run.Alive():
		r.State = provider.Running
	case rec.Phase == made && rec.Stopped:
		r.State, r.Reason = provider.Stopped, "was asked to stop"
	case rec.Phase == made:
		r.State, r.Reason = provider.Stopped, "the process that keeps it has ended, or the host was booted"
	case m.inWork():
		r.State = provider.Creating
	default:
		r.State, r.Reason = provider.Failed, "its making was cut short; create it again with the same token, or destroy it"
	}
	return r
}
