package names

import (
	"slices"
	"testing"
)

func TestNamesFitAnInterface(t *testing.T) {
	h := Home("0123abcd")
	here, there := h.Trunk(9)
	for _, name := range []string{h.Bridge(0), h.Bridge(9), h.Link(0), h.Link(4095), here, there} {
		if len(name) > 15 || !h.Owns(name) {
			t.Errorf("%q has %d characters, owned %t", name, len(name), h.Owns(name))
		}
		if Home("0123abce").Owns(name) {
			t.Errorf("%q is another home's too", name)
		}
	}
}

func TestOffsetReadsLink(t *testing.T) {
	h := Home("0123abcd")
	for _, n := range []int{0, 2, 255, 4095} {
		if got, ok := h.Offset(h.Link(n)); !ok || got != n {
			t.Errorf("offset of %s: %d, %t", h.Link(n), got, ok)
		}
	}
	for _, name := range []string{h.Bridge(0), "eth0", "al0123abcdmxyz", Home("00000000").Link(1)} {
		if n, ok := h.Offset(name); ok {
			t.Errorf("%s has offset %d", name, n)
		}
	}
}

func FuzzParseInit(f *testing.F) {
	f.Add("init", "--process", "--home-id", "0123abcd", "--machine", "m")
	f.Add("init", "--home-id", "0123abcd", "--machine", "m", "")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		args := slices.DeleteFunc([]string{a, b, c, d, e, g}, func(s string) bool { return s == "" })
		if h, machine, process, ok := ParseInit(args); ok && !slices.Equal(h.InitArgs(machine, process), args) {
			t.Errorf("%q read as %s %s %t", args, h, machine, process)
		}
	})
}
