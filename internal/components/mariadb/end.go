package mariadb

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"aloft/component"
	"aloft/internal/host"
)

// Terminate stops the server and deletes its configuration. Its data stay,
// unless they are not to. The package stays: others may have come to use it, and
// a machine goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if c.Spare {
		if err := m.spare(ctx, c); err != nil {
			return err
		}
	}
	if err := m.processes.Stop(ctx, c.WorkDir, 0, stopTime(c.Attrs), host.KilledOf(c)); err != nil {
		return err
	}
	if err := host.EndTasks(ctx, c.WorkDir); err != nil {
		return err
	}
	if !c.Returns {
		signOff(ctx, c)
	}
	if err := removeData(c.WorkDir, c.Returns || class.Values(c.Attrs).Bool("keepOnTerminate")); err != nil {
		return err
	}
	service := host.ServiceName(c)
	socket := socketOf(service)
	config := settings{name: service}.config()
	for _, file := range []string{config, config + ".next", socket, strings.TrimSuffix(socket, ".sock") + ".pid"} {
		if err := host.RemoveFile(file); err != nil {
			return err
		}
	}
	return host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile))
}

// Ping asks the server.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	if c.Spare {
		return confirmed(ctx, c)
	}
	// As itself: there is no password to know.
	db, err := access{network: "unix", address: socketOf(host.ServiceName(c)), user: "root"}.open(ctx, "", false)
	if err != nil {
		return err
	}
	defer db.close()
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if follows, _, err := replicaOf(c, c.Attrs); err != nil || follows {
		return errors.Join(err, db.following(ctx))
	}
	_, err = db.text(ctx, "SELECT 1")
	return err
}
