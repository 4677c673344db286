package haproxy_test

import (
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/value"
)

// Changes that come one right after the other all take place: HAProxy itself
// loses signals to reload that come too soon.
func TestChangesInQuickSuccessionAllTakePlace(t *testing.T) {
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
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		c.Old, c.Attrs = c.Attrs, at(n+1)
		if err := m.Reconfigure(t.Context(), c); err != nil {
			t.Fatalf("change %d: %v", n+1, err)
		}
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Error(err)
	}
}
