package cli

import "testing"

func TestSystemAndPathInEveryForm(t *testing.T) {
	for _, c := range []struct {
		args []string
		want target
		ok   bool
	}{
		{nil, target{}, true},
		{[]string{"shop"}, target{system: "shop"}, true},
		{[]string{"shop", "web:db"}, target{"shop", "web:db"}, true},
		{[]string{"shop:web:db"}, target{"shop", "web:db"}, true},
		{[]string{"shop", "ROOT:web"}, target{"shop", "web"}, true},
		{[]string{"shop:sfConfig:web"}, target{"shop", "web"}, true},
		{[]string{"shop", "ROOT"}, target{"shop", "ROOT"}, true},
		{[]string{"shop:web", "db"}, target{}, false},
		{[]string{"shop", "web:"}, target{}, false},
		{[]string{":web"}, target{}, false},
	} {
		got, err := parseTarget(c.args)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%q: %+v, %v", c.args, got, err)
		}
	}
}

func TestMachineInEveryForm(t *testing.T) {
	for _, args := range [][]string{{"shop/web"}, {"shop", "web"}, {"shop:web"}, {"shop:ROOT:web"}} {
		if name, err := machine(args); name != "shop/web" || err != nil {
			t.Errorf("%q: %s, %v", args, name, err)
		}
	}
	for _, args := range [][]string{{"shop"}, {"shop", "ROOT"}} {
		if name, err := machine(args); err == nil {
			t.Errorf("%q is taken for machine %s", args, name)
		}
	}
}
