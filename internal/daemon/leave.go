package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"aloft/internal/drivers/local"
	"aloft/internal/provision"
	"aloft/provider"
)

// ofCluster is what a home holds of its cluster: with it gone the home is as
// one that was never used, but for its log and its packages.
var ofCluster = []string{
	settingsFile, clientFile, "identity", nextIdentity, oldIdentity, "machine-id", "store", "blobs", "journal.db", "journal.db.ahead", "events", "work", "secrets", "contacts.json",
}

// LeaveCluster deletes from a home, whose daemon does not run, what belongs to
// its cluster, and returns how many machines it destroyed. While there are
// machines it refuses, unless destroy is set.
func LeaveCluster(ctx context.Context, dir string, destroy bool) (destroyed int, err error) {
	h, err := openHome(dir)
	if err != nil {
		return 0, err
	}
	defer h.close()
	held := h.machines()
	if held > 0 && !destroy {
		return 0, advise("end their systems first: aloft systems; or, where the cluster knows this host no more, destroy them: --force",
			"machines are made here: %s holds %d", h.path("machines"), held)
	}
	if held > 0 {
		if err := h.destroyMachines(ctx); err != nil {
			return 0, fmt.Errorf("destroy the machines that were made here: %w", err)
		}
	}
	// Settings go first: what is left after a crash is told from a member.
	var failed error
	for _, name := range ofCluster {
		failed = errors.Join(failed, os.RemoveAll(filepath.Join(dir, name)))
	}
	return held, failed
}

// machines counts the machines that are made here.
func (h *home) machines() int {
	held, err := os.ReadDir(h.path("machines"))
	if err != nil {
		return 0
	}
	return len(held)
}

// destroyMachines destroys all that bears the home's id. No ledger counts: the
// cluster that wanted the machines does not know them any more.
func (h *home) destroyMachines(ctx context.Context) (err error) {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	driver, err := local.New(local.Config{Home: h.dir, ID: h.id, Binary: binary, HostID: h.machine, Log: quiet})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	p, err := provision.New(provision.Config{
		Home: h.id, Vendors: provision.Fixed([]provider.Provider{driver}), Ledger: &provision.Memory{}, Log: quiet,
	})
	if err != nil {
		return err
	}
	if _, err := p.Sweep(ctx, h.id, provision.RemoveAll); err != nil {
		return err
	}
	_, err = premises{h.dir, h.id, driver, quiet}.left(ctx, h.id, true)
	return err
}
