package haproxy_test

import (
	"errors"
	"testing"
	"time"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/value"
)

// Changes that come one right after the other take place, and an end right after
// them is none by force: HAProxy itself loses signals that come too soon.
func TestChangesAndTheEndMayComeInQuickSuccession(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	one := server(t, "one")
	at := func(n int) *value.Component {
		return attrs("listen", port, "serverPort", value.Integer(80), "servers", value.Vector{one}, "maxconn", value.Integer(100+n))
	}
	c := &component.Call{
		Path: "m:lb", WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Attrs: at(0),
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
	}
	for range 20 {
		c.Attrs = at(0)
		if err := errors.Join(m.Deploy(t.Context(), c), m.Start(t.Context(), c)); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			c.Old, c.Attrs = c.Attrs, at(n+1)
			if err := m.Reconfigure(t.Context(), c); err != nil {
				t.Fatalf("change %d: %v", n+1, err)
			}
		}
		begun := time.Now()
		if err := m.Terminate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 8*time.Second { // after ten it is killed
			t.Errorf("it ended after %s", took)
		}
	}
}
