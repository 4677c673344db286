package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"aloft/component"
	"aloft/internal/host"
)

const systemdName = "systemd"

// systemd asks for everything with systemctl.
type systemd struct{}

// bootedFolder exists where systemd is process 1 (sd_booted(3)).
const bootedFolder = "/run/systemd/system"

func (systemd) runs() (bool, error) {
	_, err := os.Stat(bootedFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// properties are what systemctl show prints of a unit, also of one that is not
// there.
func (systemd) properties(ctx context.Context, name string, which ...string) (map[string]string, error) {
	out, err := host.Output(ctx, "systemctl", "show", "--property="+strings.Join(which, ","), "--", name)
	if err != nil {
		return nil, err
	}
	p := map[string]string{}
	for line := range strings.Lines(out) {
		if name, text, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			p[name] = text
		}
	}
	return p, nil
}

func (s systemd) knows(ctx context.Context, name string) (bool, error) {
	p, err := s.properties(ctx, name, "LoadState")
	return err == nil && p["LoadState"] != "not-found", err
}

func (s systemd) state(ctx context.Context, name string) (state, error) {
	p, err := s.properties(ctx, name, "ActiveState", "SubState", "Result", "ExecMainCode", "ExecMainStatus")
	if err != nil {
		return state{}, err
	}
	st := state{text: fmt.Sprintf("%s (%s)", p["ActiveState"], p["SubState"])}
	switch p["ActiveState"] {
	case "active", "reloading", "refreshing":
		st.phase = active
	case "activating":
		st.phase = coming
	}
	if r := p["Result"]; st.phase != active && r != "" && r != "success" {
		st.text += ", result " + r
		if code := p["ExecMainStatus"]; p["ExecMainCode"] != "0" {
			st.text += ", its program ended with " + code
		}
	}
	return st, nil
}

func (s systemd) start(ctx context.Context, do tasks, name string) error {
	err := do.run(ctx, beginTime, "systemctl", "start", "--", name)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if p, perr := s.properties(ctx, name, "LoadState"); perr == nil && p["LoadState"] == "masked" {
		return &component.Failure{Err: err, Remedy: "somebody has forbidden it on this machine: systemctl unmask allows it"}
	}
	return err
}

func (systemd) stop(ctx context.Context, do tasks, name string) error {
	return do.run(ctx, endTime, "systemctl", "stop", "--", name)
}

func (systemd) reload(ctx context.Context, do tasks, name string) error {
	return do.run(ctx, beginTime, "systemctl", "reload-or-restart", "--", name)
}

func (systemd) restart(ctx context.Context, do tasks, name string) error {
	return do.run(ctx, beginTime, "systemctl", "restart", "--", name)
}

// said asks the journal, whose daemon may be a moment behind.
func (systemd) said(ctx context.Context, name string) []string {
	_ = host.Command(ctx, "journalctl", "--sync") // older ones cannot, and need it less
	out, err := host.Output(ctx, "journalctl", "--unit="+name, "--lines=10", "--no-pager", "--quiet", "--output=cat")
	if err != nil || strings.TrimSpace(out) == "" {
		return nil
	}
	return strings.Split(strings.TrimRight(out, "\n"), "\n")
}
