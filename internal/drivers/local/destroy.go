package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/ident"
	"aloft/internal/drivers/local/names"
	"aloft/provider"
)

// endLimit is how long the kernel may take to end a machine's processes;
// stopLimit how long these may take themselves when they are asked to.
const (
	endLimit  = 10 * time.Second
	stopLimit = 8 * time.Second
)

// Destroy ends a machine and removes all of it.
func (d *Driver) Destroy(ctx context.Context, _ provider.Account, ref string) error {
	d.mu.Lock()
	m := d.machines[ref]
	d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m == nil {
		return nil
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	rec, known := d.look(m)
	if !known {
		return nil
	}
	if rec.Phase != destroying {
		if err := d.note(m, true, func(r *record) { r.Phase = destroying }); err != nil {
			return d.fail("destroy", provider.Transient, err)
		}
	}
	d.step(rec, "to be destroyed")
	if err := d.erase(ctx, m); err != nil {
		return d.fail("destroy", provider.Transient, fmt.Errorf("machine %s: %w", rec.Name, err))
	}
	return nil
}

// erase removes all of a machine, its record last. Done twice it does no harm.
// The caller holds the machine.
func (d *Driver) erase(ctx context.Context, m *machine) error {
	rec, _ := d.look(m)
	if err := d.end(ctx, m); err != nil {
		return err
	}
	d.step(rec, "processes ended")
	if rec.Form == Light {
		if err := d.tree.Remove(d.id.Group(), rec.Ref); err != nil {
			return err
		}
		if err := d.net(network{}).Detach(d.id.Link(rec.Offset), rec.Address); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.step(rec, "disconnected")
	if err := removeFolder(d.folderOf(rec.Ref)); err != nil {
		return err
	}
	d.step(rec, "folder removed")
	d.mu.Lock()
	delete(d.machines, rec.Ref)
	delete(d.tokens, rec.Token)
	d.mu.Unlock()
	if rec.Form == Light {
		return d.lowerBridges()
	}
	return nil
}

// end ends every process of a machine at once.
func (d *Driver) end(ctx context.Context, m *machine) error {
	rec, _ := d.look(m)
	if rec.Form == Light {
		return rec.Run.End(ctx, unix.SIGKILL, endLimit) // the kernel ends the rest with it
	}
	if err := rec.Run.End(ctx, unix.SIGINT, endLimit); err != nil { // it ends the rest first
		return err
	}
	return endStrays(ctx, d.id, rec.Ref)
}

// stop ends the processes of a machine as a shutdown does.
func (d *Driver) stop(ctx context.Context, m *machine) error {
	if err := d.note(m, true, func(r *record) { r.Stopped = true }); err != nil {
		return d.fail("stop", provider.Transient, err)
	}
	rec, _ := d.look(m)
	if err := rec.Run.End(ctx, unix.SIGTERM, stopLimit); ctx.Err() != nil {
		return ctx.Err() // it goes on ending by itself
	} else if err != nil {
		d.log.Warn("machine does not stop by itself", "machine", rec.Ref, "error", err)
	}
	if err := d.end(ctx, m); err != nil {
		return d.fail("stop", provider.Transient, err)
	}
	return nil
}

// removeFolder removes a machine's folder, its record last: as long as there
// is anything of a machine, there is its record.
func removeFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != recordFile {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// strays returns the processes that bear a machine's mark in their environment
// without being its keeper's. It finds what a process machine's keeper left
// when it was killed; those of light machines never outlive theirs.
func strays(home names.Home, machine string) ([]ident.Process, error) {
	all, err := ident.All()
	if err != nil {
		return nil, err
	}
	var found []ident.Process
	for _, e := range all {
		env := e.Environ()
		if e.PID != os.Getpid() && slices.Contains(env, names.HomeIDVar+"="+string(home)) &&
			slices.Contains(env, names.MachineVar+"="+machine) {
			found = append(found, e.Process)
		}
	}
	return found, nil
}

// endStrays ends strays until there are none.
func endStrays(ctx context.Context, home names.Home, machine string) error {
	for range 10 {
		found, err := strays(home, machine)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, p := range found {
			if err := p.End(ctx, unix.SIGKILL, endLimit); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("processes of machine %s go on starting others", machine)
}
