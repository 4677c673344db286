package service

import (
	"context"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// keeper is a service manager of the machine. Names that it is given are those
// of services, and nothing else (checkName).
type keeper interface {
	// runs reports whether it is this machine's, and makes it ready to be asked.
	runs() (bool, error)
	knows(ctx context.Context, name string) (bool, error)
	// state says whether the service is active.
	state(ctx context.Context, name string) (state, error)
	// levels are where it is enabled, in the keeper's own words.
	levels(ctx context.Context, name string) ([]string, error)
	// enable has it enabled where it was found to be, or where it is usual; or
	// nowhere.
	enable(ctx context.Context, name string, enabled bool, found []string) error
	// restore has it enabled where it was found to be, and nowhere else.
	restore(ctx context.Context, name string, found []string) error

	start(ctx context.Context, do tasks, name string) error
	stop(ctx context.Context, do tasks, name string) error
	// reload has it read its configuration anew, if need be by a restart.
	reload(ctx context.Context, do tasks, name string) error
	restart(ctx context.Context, do tasks, name string) error
	// said are the last lines that the service itself has logged.
	said(ctx context.Context, name string) []string
}

// keepers are the service managers that we know, by name; order is that in
// which they are looked for.
var (
	keepers = map[string]keeper{systemdName: systemd{}, openrcName: openrc{}}
	order   = []string{systemdName, openrcName}
)

// state is that of a service.
type state struct {
	phase phase
	text  string // as its keeper puts it
}

type phase int

const (
	down   phase = iota
	coming       // starts, or is started again by its keeper
	active
)

// How long a program of a keeper may take. systemd gives a service 90 s itself.
const (
	beginTime = 150 * time.Second
	endTime   = 50 * time.Second // within the time that a terminate has
)

// tasks runs the programs of keepers that may leave something running, for one
// component: what they print is in its log.
type tasks struct{ c *component.Call }

func (t tasks) run(ctx context.Context, limit time.Duration, command ...string) error {
	// Not in the work folder, which goes before what is started here may.
	task := host.Task{Name: command[0], Command: command, Dir: "/", Env: map[string]string{"LC_ALL": "C"}, Timeout: limit}
	_, err := task.Run(ctx, t.c.WorkDir)
	return err
}
