package control

import (
	"testing"

	"aloft/value"
)

// A machine may open the secrets that its own components refer to, and those of
// what they read from components elsewhere; no others.
func TestSecretIsSeenByWhoReadsIt(t *testing.T) {
	component := func(pairs ...any) *value.Component {
		c := value.NewComponent(false)
		for i := 0; i < len(pairs); i += 2 {
			c.Set(value.Attr{Name: pairs[i].(string), Value: pairs[i+1].(value.Value)})
		}
		return c
	}
	lazy := func(names ...string) *value.Reference {
		r := &value.Reference{Lazy: true, Parts: []value.Part{{Kind: value.PartRoot}}}
		for _, n := range names {
			r.Parts = append(r.Parts, value.Part{Kind: value.PartHere, Name: n})
		}
		return r
	}
	secret := value.Secret{Name: "db", Version: 1}.Value()
	table := value.NewComponent(true, value.Attr{Name: "inner", Value: value.Vector{lazy("a", "server", "password")}})
	d := described{
		value.PathOf("a"):           component(),
		value.PathOf("a", "server"): component("port", value.Integer(1), "password", secret),
		value.PathOf("b"):           component(),
		value.PathOf("b", "own"):    component("password", secret),
		value.PathOf("b", "whole"):  component("server", lazy("a", "server")),
		value.PathOf("b", "chain"):  component("of", lazy("b", "whole")),
		value.PathOf("b", "led"):    component("password", lazy("b", "whole", "server", "password")),
		value.PathOf("b", "deep"):   component("values", table),
		value.PathOf("b", "port"):   component("port", lazy("a", "server", "port")),
		value.PathOf("b", "host"):   component("host", lazy("a", "server", "host")),
		value.PathOf("b", "vm"):     component("ip", lazy("a", "ip"), "machine", lazy("a")),
		value.PathOf("b", "loop"):   component("x", lazy("b", "loop", "x"), "y", lazy("b", "loop")),
		value.PathOf("b", "none"):   component("x", lazy("nowhere")),
	}
	for name, want := range map[string]bool{
		"own": true, "whole": true, "chain": true, "led": true, "deep": true,
		"port": false, "host": false, "vm": false, "loop": false, "none": false, "absent": false,
	} {
		if got := d.sees(value.PathOf("b", name), "db"); got != want {
			t.Errorf("%s sees it: %t, want %t", name, got, want)
		}
	}
	if d.sees(value.PathOf("b", "own"), "other") {
		t.Error("another secret is seen")
	}
}
