package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"aloft/api"
	"aloft/internal/drivers/local"
	"aloft/internal/identity"
	"aloft/internal/journal"
	"aloft/provider"
)

// runHost runs the daemon of a home that is a host and no manager.
func runHost(ctx context.Context, h *home, o Options, is settings, log *slog.Logger) (err error) {
	if is.Join != nil { // it is enrolled: that is all there is to a host's joining
		is.Joined, is.Join = digest(is.Join.Token), nil
		if err := is.write(h.dir); err != nil {
			return err
		}
	}
	listener, err := is.listener()
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	file, err := journal.Open(h.path("journal.db"))
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	driver, err := local.New(local.Config{Home: h.dir, ID: h.id, Binary: binary, HostID: h.machine, Log: log})
	if err != nil {
		return fmt.Errorf("open the local driver: %w", err)
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	t := newTools(log)
	host, err := NewHost(ctx, HostWorld{
		World: World{
			Dir: h.dir, Journal: file, Hostname: hostname, Address: is.address(), Isolation: os.Geteuid() == 0,
			Managers: machineManagers(t, binary), Serve: together(t.processes.Run, rotating(o.Log, log)), Build: o.Version, Log: log,
		},
		Seat:   Seat{Name: is.Name, Roles: is.Roles, Listen: is.Listen, Listener: listener, Orphans: is.Orphans, Become: h.become},
		HomeID: h.id, MachineID: h.machine, Providers: []provider.Provider{driver},
		Gateways: newGateways(driver, h.path("packages"), o.Environ, log), Residue: driver,
	})
	if err != nil {
		return err
	}
	log.Info("daemon of a host", "home", h.dir, "home_id", h.id, "pid", os.Getpid())
	l := limited{end: host.endSoon, status: host.status, doctor: host.examine, managers: func() []string { return contactsIn(host.identity.Roster()) }}
	return withAPI(ctx, h.dir, o.Socket, l.server(log).ServeSocket, host.Run)
}

func (h *Host) premises() premises {
	return premises{h.world.Dir, h.world.HomeID, h.world.Residue, h.world.Log}
}

// examine looks at what this host can do and at what is left over on it, and
// removes that when asked.
func (h *Host) examine(ctx context.Context, r api.DoctorRequest) (*api.DoctorReport, error) {
	report, ledger, err := h.premises().examine(ctx, r, h.provision.Sweep)
	if err == nil {
		report.Checks = append(report.Checks, ledger, h.reached(), h.orphans.check(), h.premises().clock())
	}
	return report, err
}

// reached tells whether a manager is in reach.
func (h *Host) reached() api.Check {
	c := api.Check{Name: "managers", State: api.CheckOK, Detail: "one is in reach"}
	if !h.inReach() {
		c.State, c.Detail = api.CheckError, "none is in reach; machines go on, and nothing is changed"
		c.Remedy = "start one, or look at the network: they are at " + strings.Join(contactsIn(h.identity.Roster()), ", ")
	}
	return c
}

// status says what this daemon is.
func (h *Host) status() *api.DaemonStatus {
	w := h.world
	reached := h.inReach()
	st := &api.DaemonStatus{
		PID: os.Getpid(), ID: w.MachineID, Name: w.Name, Roles: w.Roles, Address: w.Listen, Version: w.Build,
		Home: w.Dir, HomeID: w.HomeID, Cluster: h.identity.Name().Cluster, State: api.DaemonReady, Quorum: reached,
	}
	if !h.entered.Load() {
		st.State, st.Reason = api.DaemonJoining, "it has not told a manager yet what it is"
	}
	if entries, err := h.provision.Entries(); err == nil {
		st.Machines = len(entries)
	}
	if r := h.identity.Roster(); r != nil {
		st.Members = len(r.Managers) + len(r.Hosts)
	}
	return st
}

// become writes down what the daemon of the home is from its next start on.
func (h *home) become(roles []string, token, address string) error {
	is, err := readSettings(h.dir)
	if err != nil {
		return err
	}
	is.Roles, is.Join = roles, &joining{Address: address, Token: token}
	return is.write(h.dir)
}

// takeRoster takes in a roster that a manager tells.
func (h *Host) takeRoster(signed []byte) error {
	newer, err := h.identity.AcceptRoster(signed)
	if !newer {
		return err
	}
	r := h.identity.Roster()
	if revoked(r, identity.KindMachine, h.world.MachineID) {
		endSoon(func() { h.end(errRemoved) })
	}
	h.contacts.Update(contactsIn(r))
	h.node.Recheck()
	return h.findManagers()
}

// revoked reports whether a roster revokes somebody.
func revoked(r *identity.Roster, kind identity.Kind, id string) bool {
	for _, v := range r.Revoked {
		if v.Kind == kind && v.ID == id {
			return true
		}
	}
	return false
}

// inReach reports whether there is a session with a manager.
func (h *Host) inReach() bool {
	r := h.identity.Roster()
	if r == nil {
		return false
	}
	for _, m := range r.Managers {
		if _, ok := h.node.Session(m.ID); ok {
			return true
		}
	}
	return false
}
