package sim

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/value"
)

// recurring is a system with a component that does something every half an hour,
// by which its level rises, one that reads the level, one that refers to another
// attribute of it, and one on another machine that knows neither.
const recurring = `sfConfig extends {
	m extends VM {
		a extends Probe { begins 1; due 1800000; failReconfigure 1; }
		reader extends Probe { reads LAZY a:level; }
		whole extends Probe { reads LAZY ATTRIB a; }
	}
	n extends VM { other extends Probe {} }
}`

// What asks to be reminded is, also by a daemon that was started meanwhile; what
// cannot be done then is told, and tried again; and those of its machine that
// read of it what has changed by it are reconfigured, with the new value.
func TestLZ7WhoReadsWhatChangesByItselfIsReconfigured(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(recurring)
		mark := len(w.stage.trace())
		time.Sleep(28 * time.Minute)
		w.expectDid(mark)
		time.Sleep(2*time.Minute + 10*time.Second)
		w.expectDid(mark, "m:a reconfigure") // which fails
		time.Sleep(time.Minute)
		w.expectDid(mark, "m:a reconfigure", "m:a reconfigure", "m:reader reconfigure", "m:whole reconfigure")
		if v, _ := w.last("m:reader", "reconfigure").Attrs.Get("reads"); v != value.Integer(2) {
			t.Errorf("the reader has %v", v)
		}
		told := w.told("m:a")
		overdue := slices.IndexFunc(told, func(s string) bool {
			return strings.HasPrefix(s, "overdue: what it does now and then: ") && strings.Contains(s, "it was told to fail")
		})
		repaired := slices.Index(told, "repaired: what it does now and then")
		if overdue < 0 || repaired < overdue {
			t.Errorf("told: %q", told)
		}
		w.expectState(api.SystemRunning)

		m := w.machine("sys/m")
		w.replaceDaemon(m, m.daemon, 0)
		time.Sleep(29 * time.Minute)
		mark = len(w.stage.trace())
		time.Sleep(2 * time.Minute)
		w.expectDid(mark, "m:a reconfigure", "m:reader reconfigure", "m:whole reconfigure")
		if v, _ := w.last("m:reader", "reconfigure").Attrs.Get("reads"); v != value.Integer(3) {
			t.Errorf("after a restart of the daemon the reader has %v", v)
		}
		w.down(false)
	})
}

// told returns the reasons of the events of a component, oldest first.
func (w *world) told(path string) (reasons []string) {
	w.t.Helper()
	events, err := w.service().Events(context.Background(), api.EventQuery{System: "sys", Path: path})
	if err != nil {
		w.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Reason != "" {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}
