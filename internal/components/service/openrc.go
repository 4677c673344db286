package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

const openrcName = "OpenRC"

// openrc asks for everything with rc-service and rc-update. Its services are
// scripts, of two kinds: those made for it, whose state it keeps, and those of
// LSB, which it runs with what they are to do as argument.
type openrc struct{}

const (
	rcState  = "/run/openrc"
	rcLevels = "/etc/runlevels"
	rcOff    = "off" // Debian's, of what is not to be started
)

// rcFolders are those in which OpenRC keeps states; it makes them when it boots.
var rcFolders = []string{
	"daemons", "exclusive", "failed", "hotplugged", "inactive", "options", "scheduled", "started", "starting", "stopping", "tmp", "wasinactive",
}

// runs finds OpenRC where it is installed. A light machine, whose process 1 is
// ours, it has not booted: it then gets the state of one that is at its default
// level, with nothing started.
func (openrc) runs() (bool, error) {
	if _, err := host.FindProgram([]string{"rc-service"}, "/", host.DefaultPath); err != nil {
		return false, nil
	}
	level := filepath.Join(rcState, "softlevel")
	_, err := os.Stat(level)
	if !errors.Is(err, fs.ErrNotExist) {
		return err == nil, err
	}
	for _, name := range rcFolders {
		if err := os.MkdirAll(filepath.Join(rcState, name), 0o755); err != nil {
			return false, err
		}
	}
	return true, host.WriteFile(level, []byte("default\n"), 0o644)
}

func (openrc) knows(ctx context.Context, name string) (bool, error) {
	err := host.Command(ctx, "rc-service", "--exists", name)
	if code, ok := exitCode(err); ok && code > 0 {
		return false, nil
	}
	return err == nil, err
}

// exitCode returns with what a program exited; false if it did not.
func exitCode(err error) (int, bool) {
	if err == nil {
		return 0, true
	}
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok || !failed.Exited() {
		return 0, false
	}
	return failed.ExitCode(), true
}

// own reports whether the script is one made for OpenRC, by its first line.
func (openrc) own(ctx context.Context, name string) (bool, error) {
	out, err := host.Output(ctx, "rc-service", "--resolve", name)
	if err != nil {
		return false, err
	}
	f, err := os.Open(strings.TrimSpace(out))
	if err != nil {
		return false, err
	}
	defer f.Close()
	line := make([]byte, 256)
	n, _ := f.Read(line)
	first, _, _ := strings.Cut(string(line[:n]), "\n")
	return strings.HasPrefix(first, "#!") && (strings.Contains(first, "openrc-run") || strings.Contains(first, "runscript")), nil
}

// What a script made for OpenRC answers with when it is asked for its status.
const (
	statusStopped  = 3
	statusStarting = 8
)

func (o openrc) state(ctx context.Context, name string) (state, error) {
	st, _, err := o.status(ctx, name)
	return st, err
}

// status also returns the answer itself.
func (o openrc) status(ctx context.Context, name string) (state, int, error) {
	out, err := host.Output(ctx, "rc-service", "--nocolor", name, "status")
	code, ok := exitCode(err)
	if !ok {
		return state{}, 0, err
	}
	st := state{text: strings.TrimSpace(strings.TrimPrefix(lastLine(out), " * "))}
	switch {
	case code == 0:
		st.phase = active
		// With dpkg's start-stop-daemon in place of its own, OpenRC does not see
		// that a program has ended.
		p, runs, lacks := o.program(name)
		if runs {
			p.Release()
		} else if lacks != "" {
			st = state{phase: down, text: lacks}
		}
	case code == statusStarting:
		st.phase = coming
	}
	return st, code, nil
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// program takes hold of the program of a service that says where it notes its
// process id; lacks says what there is instead of one. Without such a note both
// are empty.
func (openrc) program(name string) (p host.Held, ok bool, lacks string) {
	b, err := os.ReadFile(filepath.Join(rcState, "options", name, "pidfile"))
	if err != nil {
		return p, false, ""
	}
	p, err = host.HoldNoted(strings.TrimSpace(string(b)))
	if err != nil {
		return p, false, "its program has ended: " + err.Error()
	}
	return p, true, ""
}

func (openrc) levels(_ context.Context, name string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(rcLevels, "*", name)) // nothing in a name stands for others
	var levels []string
	for _, link := range found {
		if level := filepath.Base(filepath.Dir(link)); level != rcOff {
			levels = append(levels, level)
		}
	}
	return levels, err
}

func (o openrc) enable(ctx context.Context, name string, enabled bool, found []string) error {
	switch {
	case !enabled:
		found = nil
	case len(found) == 0:
		found = []string{"default"}
	}
	return o.restore(ctx, name, found)
}

func (o openrc) restore(ctx context.Context, name string, levels []string) error {
	have, err := o.levels(ctx, name)
	if err != nil {
		return err
	}
	var errs []error
	for _, level := range levels {
		if !slices.Contains(have, level) {
			errs = append(errs, host.Command(ctx, "rc-update", "add", name, level))
		}
	}
	for _, level := range have {
		if !slices.Contains(levels, level) {
			errs = append(errs, host.Command(ctx, "rc-update", "delete", name, level))
		}
	}
	return errors.Join(errs...)
}

func (o openrc) start(ctx context.Context, do tasks, name string) error {
	if err := o.forget(ctx, name); err != nil {
		return err
	}
	err := do.run(ctx, beginTime, "rc-service", "--nocolor", name, "start")
	if output, _ := component.Detail(err); slices.ContainsFunc(output, func(line string) bool { return strings.Contains(line, "needs service(s)") }) {
		return &component.Failure{
			Err: err, Output: output,
			Remedy: "install the services that it needs, or name those that the machine does not need in rc_provide of /etc/rc.conf, as rc_provide=\"net\"",
		}
	}
	return err
}

// forget has OpenRC forget that it has started a service that does not run.
func (o openrc) forget(ctx context.Context, name string) error {
	st, code, err := o.status(ctx, name)
	if err != nil || st.phase != down || code == statusStopped {
		return err
	}
	own, err := o.own(ctx, name)
	if err != nil || !own {
		return err
	}
	return host.Command(ctx, "rc-service", "--nocolor", name, "zap")
}

// endingTime is how long a program may go on after its script says that it is
// stopped: many tell it, and do not wait.
const endingTime = 10 * time.Second

func (o openrc) stop(ctx context.Context, do tasks, name string) error {
	p, runs, _ := o.program(name)
	err := do.run(ctx, endTime-endingTime, "rc-service", "--nocolor", name, "stop")
	if runs {
		err = errors.Join(err, p.End(ctx, endingTime))
		p.Release()
	}
	if ctx.Err() != nil {
		return err
	}
	if st, serr := o.state(ctx, name); serr == nil && st.phase == down {
		err = nil // it is what it was asked for, whatever it says of that
	}
	return errors.Join(err, o.forget(ctx, name))
}

// reload is what a script that was made for OpenRC may have; those of LSB have
// force-reload, which restarts what cannot.
func (o openrc) reload(ctx context.Context, do tasks, name string) error {
	own, err := o.own(ctx, name)
	if err != nil {
		return err
	}
	if !own {
		return do.run(ctx, beginTime, "rc-service", "--nocolor", name, "force-reload")
	}
	out, err := host.Output(ctx, "rc-service", "--nocolor", name, "describe")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimSpace(line), "* "), "reload:") {
			return do.run(ctx, beginTime, "rc-service", "--nocolor", name, "reload")
		}
	}
	return o.restart(ctx, do, name)
}

// restart stops what needs the service, too, and has it back. A program that
// hangs does not end that way, and its script then finds it still running.
func (o openrc) restart(ctx context.Context, do tasks, name string) error {
	p, runs, _ := o.program(name)
	err := do.run(ctx, beginTime, "rc-service", "--nocolor", name, "restart")
	if runs {
		defer p.Release()
	}
	if err == nil || ctx.Err() != nil || !runs {
		return err
	}
	if err := p.End(ctx, endingTime); err != nil {
		return err
	}
	return o.start(ctx, do, name)
}

// said is nothing: what a service prints while it starts is what the task has
// printed, and where it logs later is its own affair.
func (openrc) said(context.Context, string) []string { return nil }
