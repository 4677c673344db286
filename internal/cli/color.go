package cli

import (
	"io"

	"aloft/api"
)

// palette paints text, or leaves it as it is.
type palette struct{ on bool }

func (a *app) palette(w io.Writer) palette { return palette{a.color(w)} }

func (p palette) paint(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string   { return p.paint("1", s) }
func (p palette) faint(s string) string  { return p.paint("2", s) }
func (p palette) red(s string) string    { return p.paint("31", s) }
func (p palette) green(s string) string  { return p.paint("32", s) }
func (p palette) yellow(s string) string { return p.paint("33", s) }

// change paints s by what happens.
func (p palette) change(c api.Change, s string) string {
	switch c {
	case api.ChangeAdd:
		return p.green(s)
	case api.ChangeUpdate, api.ChangeReplace:
		return p.yellow(s)
	case api.ChangeRemove:
		return p.red(s)
	}
	return s
}

// state paints the name of a state of a component, machine or system.
func (p palette) state(s string) string {
	switch s {
	case api.ComponentRunning, api.DeploymentDone, api.CheckOK:
		return p.green(s)
	case api.ComponentFailed, api.MachineLost, api.SystemDegraded, api.CheckError:
		return p.red(s)
	case "-", api.ComponentTerminated:
		return p.faint(s)
	}
	return p.yellow(s)
}
