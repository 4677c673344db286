// Package local is the vendor module of the host it runs on: it makes machines
// out of what the host's kernel offers. As the superuser of a Linux these are
// light machines, with namespaces and a copy-on-write root of their own;
// otherwise process machines, a folder and a loopback address.
//
// Every machine has a record on disk, below HOME/machines, written before
// anything of the machine is made. What a killed daemon leaves is therefore in
// the books: Create finishes it, Destroy removes it. The module restarts
// nothing by itself, and touches nothing that does not bear its home's id.
// Machines are not children of the daemon that makes them in any sense that
// matters: they outlive it.
//
// The package starts no goroutine that outlives the call that started it.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/limits"
	"aloft/internal/drivers/local/names"
	"aloft/internal/drivers/local/pool"
	"aloft/provider"
)

// Name is the word for this module in descriptions.
const Name = "local"

// Template is the only template of this release: the host's own root.
const Template = "host"

// Form is the form of a machine.
type Form string

// The forms. FormSetting is the account setting that asks for one.
const (
	Light       Form = "light"
	Process     Form = "process"
	FormSetting      = "form"
)

// atOnce is how many machines are made or booted at a time. More gain nothing:
// the kernel's network lock is held most of the time.
const atOnce = 4

// Config is what a Driver is made of.
type Config struct {
	Home   string // state folder
	ID     string // the home's id, 8 hexadecimal digits
	Binary string // path of aloft's executable, which machines run
	HostID string // machine id of this host

	// Form is the form of machines whose account asks for none; "" lets the
	// driver find out what this host can do.
	Form Form

	Log *slog.Logger
}

// Driver makes the machines of one home on this host. At most one Driver of a
// home may be open.
type Driver struct {
	config Config
	id     names.Home
	log    *slog.Logger
	homes  *pool.Registry
	report Report
	tree   limits.Tree
	slots  chan struct{} // one token for each machine being made
	ports  int           // machines a bridge takes

	// bridges is held while bridges are made or removed. Whoever makes one has a
	// machine in the books before, whoever removes them looks into the books
	// after: no bridge is taken from under a machine.
	bridges sync.Mutex

	mu sync.Mutex
	// guarded by mu:
	networks map[Form]network
	machines map[string]*machine // by ref
	tokens   map[string]*machine // by token
	next     map[Form]int        // where the search for a free address begins
}

var _ provider.Provider = (*Driver)(nil)

// New opens the machines of a home. It reads their records and changes nothing
// of them.
func New(c Config) (*Driver, error) {
	id, err := names.ParseHome(c.ID)
	if err != nil {
		return nil, fmt.Errorf("local driver: %w", err)
	}
	for _, p := range []*string{&c.Home, &c.Binary} {
		// Paths are compared with those of mounts, so links are followed now.
		if *p, err = filepath.Abs(*p); err != nil {
			return nil, err
		}
		if *p, err = filepath.EvalSymlinks(*p); err != nil {
			return nil, fmt.Errorf("local driver: %w", err)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := &Driver{
		config: c, id: id, log: c.Log.With("driver", Name), homes: pool.Open(id, c.Home),
		tree: limits.Find(), slots: make(chan struct{}, atOnce), ports: light.PortsPerBridge,
		networks: map[Form]network{}, machines: map[string]*machine{}, tokens: map[string]*machine{}, next: map[Form]int{},
	}
	if err := os.MkdirAll(d.folder(), 0o711); err != nil {
		return nil, err
	}
	d.report = probe(c.Home, id)
	if c.Form == "" {
		d.config.Form = Process
		if len(d.report.Missing) == 0 {
			d.config.Form = Light
		}
	}
	if err := d.load(); err != nil {
		return nil, err
	}
	return d, d.homes.Register()
}

// Close ends the use of the driver. Machines go on; without any, what the
// driver made for all of them goes.
func (d *Driver) Close() error {
	d.mu.Lock()
	left := len(d.machines)
	d.mu.Unlock()
	if left > 0 {
		return nil
	}
	return errors.Join(d.lowerBridges(), d.homes.Leave())
}

// folder holds a folder for each machine.
func (d *Driver) folder() string { return filepath.Join(d.config.Home, "machines") }

// load reads the records of all machines.
func (d *Driver) load() error {
	dirs, err := os.ReadDir(d.folder())
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		rec, err := readRecord(filepath.Join(d.folder(), dir.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // killed before its record was there: nothing else is, either
		} else if err != nil {
			return fmt.Errorf("record of machine %s: %w", dir.Name(), err)
		}
		m := newMachine(rec)
		d.machines[rec.Ref], d.tokens[rec.Token] = m, m
		d.next[rec.Form] = max(d.next[rec.Form], rec.Offset+1)
	}
	return nil
}

// Describe tells the module's capabilities.
func (d *Driver) Describe() provider.Capabilities { return Describe(d.config.Form) }

// Describe tells what a host can do whose machines have a form.
func Describe(form Form) provider.Capabilities {
	return provider.Capabilities{
		Name:            Name,
		Doc:             "machines on this host: namespaces over a copy-on-write clone of its root, or processes with an address of their own",
		Kinds:           []provider.Kind{provider.Compute},
		Operations:      map[provider.Operation]provider.Support{provider.OpStart: provider.Yes, provider.OpStop: provider.Yes},
		Site:            provider.SiteHost,
		NativeTokens:    true,
		TokenLife:       math.MaxInt64, // as long as its machine
		Isolation:       form == Light,
		DefaultTemplate: Template,
	}
}

// FormFor returns the form of machines made for an account with the settings.
func (d *Driver) FormFor(settings map[string]string) Form {
	if f := Form(settings[FormSetting]); f == Light || f == Process {
		return f
	}
	return d.config.Form
}

// Offer proposes this host for every need it can meet.
func (d *Driver) Offer(ctx context.Context, call provider.Call, account *provider.Account) ([]provider.Proposal, error) {
	form := d.config.Form
	name := ""
	if account != nil {
		form, name = d.FormFor(account.Settings), account.Name
	}
	if form == Light && len(d.report.Missing) > 0 {
		return nil, d.fail("offer", provider.NotSupported, errors.New(d.report.Why()))
	}
	memory, disk, err := d.size()
	if err != nil {
		return nil, d.fail("offer", provider.Transient, err)
	}
	var offers []provider.Proposal
	var short error // told beside the offers: what keeps this host from one is not in the description
	for _, n := range call.Needs {
		if ctx.Err() != nil {
			return offers, ctx.Err()
		}
		if n.Disk > disk {
			short = d.fail("offer", provider.Capacity, fmt.Errorf("%d GB of disk are asked for, and the disk of %s has %d GB free: free some space there", n.Disk, d.config.Home, disk))
		}
		if n.Template != "" && n.Template != Template || n.Region != "" ||
			n.Cores > runtime.NumCPU() || n.Memory > memory || n.Disk > disk {
			continue
		}
		p := provider.Proposal{
			Need: n.Name, Provider: Name, Account: name, Host: d.config.HostID, Size: string(form), Template: Template,
			Cores: n.Cores, Memory: n.Memory, Disk: n.Disk, Isolation: form == Light,
		}
		if n.Cores > 0 || n.Memory > 0 {
			if form == Light {
				p.Notes = append(p.Notes, d.tree.Notes()...)
			} else {
				p.Notes = append(p.Notes, "limits are not enforced: a process machine shares the host's")
			}
		}
		if form == Light && n.Disk > 0 {
			p.Notes = append(p.Notes, "the size of the disk is not enforced: machines share the host's free space")
		}
		if form == Process && d.config.Form == Process {
			p.Notes = append(p.Notes, "no isolation: "+d.report.Why())
		}
		offers = append(offers, p)
	}
	return offers, short
}

// Prepare makes the network that the account's machines are to have.
func (d *Driver) Prepare(ctx context.Context, account provider.Account, class provider.Class) error {
	if class.Kind != "" && class.Kind != provider.Compute {
		return d.fail("prepare", provider.NotSupported, fmt.Errorf("no resources of kind %s here", class.Kind))
	}
	if class.Template != "" && class.Template != Template {
		return d.fail("prepare", provider.Invalid, fmt.Errorf("no template %s: this host has only %q", class.Template, Template))
	}
	form := d.FormFor(account.Settings)
	if f := Form(class.Size); f == Light || f == Process {
		form = f
	}
	_, _, err := d.Network(ctx, form)
	return err
}

// fail makes the error of a call.
func (d *Driver) fail(op string, kind provider.ErrorKind, err error) error {
	var known *provider.Error
	if errors.As(err, &known) {
		return err
	}
	return &provider.Error{Kind: kind, Provider: Name, Op: op, Err: err}
}

// hidden lists the state folders that no machine may see.
func (d *Driver) hidden() ([]string, error) {
	others, err := d.homes.Others()
	if err != nil {
		return nil, err
	}
	paths := []string{d.config.Home}
	for _, e := range others {
		if p, err := filepath.EvalSymlinks(e.Path); err == nil && p != "/" {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}
