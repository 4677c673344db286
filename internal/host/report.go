package host

import (
	"fmt"
	"time"

	"aloft/component"
	"aloft/value"
)

// Report returns a Watcher that tells the component's environment. The daemon
// must accept its calls after the operation of c has returned.
func Report(c *component.Call) Watcher {
	env, path, machine := c.Env, c.Path, c.Machine
	return Watcher{
		Restarted: func(r Running, reason string) { env.Restarted(reason) },
		Ended: func(r component.Record) {
			r.Path, r.Host = path, machine.Hostname
			env.Ended(r)
		},
	}
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
