package host

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"aloft/component"
	"aloft/value"
)

// Report returns a Watcher that tells the component's environment. The daemon
// must accept its calls after the operation of c has returned.
func Report(c *component.Call) Watcher {
	env, path, machine := c.Env, c.Path, c.Machine
	return Watcher{
		Killed:    killedOf(c, ""),
		Restarted: func(r Running, reason string) { env.Restarted(reason) },
		Ended: func(r component.Record) {
			r.Path, r.Host = path, machine.Hostname
			env.Ended(r)
		},
	}
}

// KilledOf returns what tells the environment of a component that is terminated
// that its process had to be killed.
func KilledOf(c *component.Call) func(Killed) { return killedOf(c, "sfTerminateTimeout") }

// killedOf is told limit, the attribute that limits the operation; "" if several may.
func killedOf(c *component.Call, limit string) func(Killed) {
	_, own := c.Attrs.Get("stopTimeout")
	env, machine := c.Env, c.Machine.Name
	return func(k Killed) { env.Killed(k.text(machine, limit, own)) }
}

// text says what happened and what to do; own: the component has an
// attribute that says how long its process has.
func (k Killed) text(machine, limit string, own bool) string {
	text := fmt.Sprintf("its process on %s did not end within %s of its signal (%s); what it had not written may be lost", machine, k.After, unix.SignalName(k.Signal))
	if !k.Limited {
		limit = ""
		if own {
			limit = "stopTimeout"
		}
	}
	if limit != "" {
		text += "; " + limit + " gives it longer"
	}
	if len(k.Output) > 0 {
		text += "; its last output, which may say why: " + strings.Join(k.Output, " | ")
	}
	return text
}

// RestartLimits reads how often a process may be restarted, from the core
// attributes that say it for every component.
func (s *Spec) RestartLimits(attrs *value.Component) error {
	if v, ok := attrs.Get("sfMaxRestarts"); ok {
		n, ok := v.(value.Integer)
		if !ok {
			return fmt.Errorf("attribute sfMaxRestarts: want an integer, found a %s", v.Kind())
		}
		s.MaxRestarts = int(n)
	}
	if v, ok := attrs.Get("sfRestartWindow"); ok {
		n, ok := v.(value.Integer)
		if !ok {
			return fmt.Errorf("attribute sfRestartWindow: want an integer number of seconds, found a %s", v.Kind())
		}
		s.RestartWindow = time.Duration(n) * time.Second
	}
	return nil
}
