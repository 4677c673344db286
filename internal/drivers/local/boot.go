package local

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/boot"
	"aloft/internal/drivers/local/initd"
	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/limits"
	"aloft/internal/drivers/local/pool"
	"aloft/provider"
)

// initLog is where the keeper of a machine writes, in the machine's folder.
const initLog = "init.log"

// linkLimit is how long a new link may take to come up.
const linkLimit = 5 * time.Second

// spec is what process 1 of a light machine is told.
func (d *Driver) spec(rec record, n network) light.Spec {
	return light.Spec{
		Home: string(d.id), Machine: rec.Ref, Hostname: hostname(rec), Folder: d.folderOf(rec.Ref), Stack: rec.Stack,
		Binary: d.config.Binary, Address: netip.PrefixFrom(rec.Address, n.prefix.Bits()), Gateway: n.gateway,
	}
}

// keeperOf is what the keeper of a process machine is told.
func (d *Driver) keeperOf(rec record) initd.Process {
	return initd.Process{
		Folder: d.folderOf(rec.Ref), Binary: d.config.Binary, Address: rec.Address.String(),
		Path: os.Getenv("PATH"), // the host's programs are the machine's
	}
}

// furnish writes the disk of a new machine, over what an attempt before left.
func (d *Driver) furnish(rec record) error {
	if rec.Form == Process {
		p := d.keeperOf(rec)
		if err := os.RemoveAll(p.StateFolder()); err != nil {
			return err
		}
		if err := os.Mkdir(p.StateFolder(), 0o700); err != nil {
			return err
		}
		return os.WriteFile(p.DataPath(), rec.UserData, 0o600)
	}
	return light.NewDisk(d.folderOf(rec.Ref), rec.Stack, rec.UserData)
}

// boot starts the processes of a machine whose disk is there. The books have
// it as made, with the process that keeps it, before that process goes on.
func (d *Driver) boot(ctx context.Context, m *machine) error {
	rec, _ := d.look(m)
	n, err := d.network(rec.Form)
	if err != nil {
		return err
	}
	// The home's network may have become another's since the host's last boot.
	if at := pool.Nth(n.prefix, rec.Offset); at != rec.Address {
		rec.Address = at
		if err := d.note(m, true, func(r *record) { r.Address = at }); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(d.folderOf(rec.Ref), initLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	var st *boot.Starting
	if rec.Form == Light {
		st, err = d.startLight(ctx, rec, n, log)
	} else {
		p := d.keeperOf(rec)
		st, err = boot.Start(p, p.Binary, d.id.InitArgs(rec.Ref, true), 0, log)
	}
	if err != nil {
		return err
	}
	d.step(rec, "process 1 waits")
	if err := d.note(m, false, func(r *record) { r.Phase, r.Stopped, r.Run = made, false, st.Process }); err != nil {
		st.Abandon()
		return err
	}
	d.step(rec, "in the books")
	err = st.Go(ctx)
	if err == nil && rec.Form == Light {
		err = light.Ready(d.id.Link(rec.Offset), linkLimit)
	}
	if err != nil {
		return errors.Join(err, st.Process.End(context.WithoutCancel(ctx), unix.SIGKILL, endLimit))
	}
	d.step(rec, "up")
	return nil
}

// startLight makes process 1 of a light machine, with its limits and its link.
func (d *Driver) startLight(ctx context.Context, rec record, n network, log *os.File) (*boot.Starting, error) {
	if err := d.raiseBridge(ctx, n, rec.Bridge); err != nil {
		return nil, err
	}
	d.step(rec, "bridge up")
	s := d.spec(rec, n)
	var err error
	if s.Hidden, err = d.hidden(); err != nil {
		return nil, err
	}
	const flags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	st, err := boot.Start(s, d.config.Binary, d.id.InitArgs(rec.Ref, false), flags, log)
	if err != nil {
		return nil, err
	}
	d.step(rec, "process 1 started")
	if err := d.connect(rec, n, st.Process.PID); err != nil {
		st.Abandon()
		return nil, err
	}
	return st, nil
}

// connect puts process 1 under the machine's limits and links it to its bridge.
func (d *Driver) connect(rec record, n network, pid int) error {
	if l := (limits.Limits{Cores: rec.Spec.Cores, Memory: rec.Spec.Memory}); l != (limits.Limits{}) {
		if err := d.tree.Make(d.id.Group(), rec.Ref, l); err != nil {
			return err
		}
		if err := d.tree.Add(d.id.Group(), rec.Ref, pid); err != nil {
			return err
		}
	}
	name := d.id.Link(rec.Offset)
	err := d.net(n).Attach(rec.Bridge, pid, name, rec.Address)
	if errors.Is(err, unix.EEXIST) { // of a machine that ended a moment ago, or is this one's last boot
		if err = light.RemoveLink(name); err == nil {
			err = d.net(n).Attach(rec.Bridge, pid, name, rec.Address)
		}
	}
	return err
}

// Operate boots a stopped machine, with the disk it has, or stops one.
func (d *Driver) Operate(ctx context.Context, _ provider.Account, ref string, op provider.Operation) error {
	if op != provider.OpStart && op != provider.OpStop {
		return d.fail("operate", provider.NotSupported, fmt.Errorf("no operation %q here", op))
	}
	d.mu.Lock()
	m := d.machines[ref]
	d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m == nil {
		return d.fail("operate", provider.NotFound, fmt.Errorf("no machine %s", ref))
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	rec, known := d.look(m)
	switch {
	case !known:
		return d.fail("operate", provider.NotFound, fmt.Errorf("no machine %s", ref))
	case rec.Phase != made:
		return d.fail("operate", provider.Conflict, fmt.Errorf("machine %s is %s", rec.Name, d.resource(m).State))
	case op == provider.OpStop:
		return d.stop(ctx, m)
	case rec.Run.Alive():
		return nil
	}
	if err := d.build(ctx, m); err != nil {
		return d.fail("start", provider.Transient, fmt.Errorf("machine %s: %w", rec.Name, err))
	}
	return nil
}

// size returns what this host could give one machine: MiB of memory, GB of disk.
func (d *Driver) size() (memory, disk int, err error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, 0, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.config.Home, &fs); err != nil {
		return 0, 0, err
	}
	return int(uint64(info.Totalram) * uint64(info.Unit) >> 20), int(fs.Bavail * uint64(fs.Bsize) / 1e9), nil
}
