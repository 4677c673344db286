package names

import "testing"

func TestWhoseAThingIsCanBeRead(t *testing.T) {
	h := Home("0123abcd")
	here, there := h.Trunk(1)
	for _, link := range []string{h.Bridge(0), here, there, h.Link(4095)} {
		if got, ok := OfLink(link); !ok || got != h {
			t.Errorf("link %s: %s, %t", link, got, ok)
		}
	}
	for _, link := range []string{"eth0", "al", "al0123abcd", "al0123abcdb", "al0123abcdx0", "al0123abcgb0", "alibaba-b0"} {
		if got, ok := OfLink(link); ok {
			t.Errorf("link %s is of home %s", link, got)
		}
	}
	for _, source := range []string{h.Source(), h.Group()} {
		if got, ok := OfSource(source); !ok || got != h {
			t.Errorf("%s: %s, %t", source, got, ok)
		}
	}
	for _, source := range []string{"overlay", "aloft-", "aloft-0123abc", "aloft-0123abcd5"} {
		if got, ok := OfSource(source); ok {
			t.Errorf("%s is of home %s", source, got)
		}
	}
}
