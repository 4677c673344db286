package haproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func at(n int) netip.AddrPort {
	if n == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 80)
}

func all(ns ...byte) []netip.AddrPort {
	var list []netip.AddrPort
	for _, n := range ns {
		list = append(list, at(int(n)))
	}
	return list
}

func TestServersKeepTheirSlots(t *testing.T) {
	for _, tt := range []struct {
		name             string
		have, want, then []netip.AddrPort
		add, drop        []int
	}{
		{"nothing to do", all(1, 2, 0), all(2, 1), all(1, 2, 0), nil, nil},
		{"one more", all(1, 2, 0), all(1, 2, 3), all(1, 2, 3), []int{2}, nil},
		{"one less", all(1, 2, 0), all(2), all(0, 2, 0), nil, []int{0}},
		{"another one, not where one is drained", all(1, 2, 0), all(2, 3), all(0, 2, 3), []int{2}, []int{0}},
		{"none", all(1, 2), nil, all(0, 0), nil, []int{0, 1}},
		{"one twice, as nobody should have put it", all(1, 1, 0), all(1), all(1, 0, 0), nil, []int{1}},
	} {
		c, fits := assign(tt.have, tt.want)
		if !fits || !slices.Equal(c.slots, tt.then) || !slices.Equal(c.add, tt.add) || !slices.Equal(c.drop, tt.drop) {
			t.Errorf("%s: %v %+v", tt.name, fits, c)
		}
	}
	for _, want := range [][]netip.AddrPort{all(1, 2, 3, 4), all(4, 5)} {
		if c, fits := assign(all(1, 2, 0), want); fits {
			t.Errorf("%v fits, as %+v", want, c)
		}
	}
}

// However often it changes, what is wanted has one slot each, and all others
// are spare.
func FuzzAssign(f *testing.F) {
	f.Add([]byte{1, 2, 0, 0}, []byte{2, 3})
	f.Fuzz(func(t *testing.T, have, want []byte) {
		if len(have) > 64 || len(want) > 64 {
			return
		}
		wanted := slices.DeleteFunc(all(want...), func(a netip.AddrPort) bool { return !a.IsValid() })
		slices.SortFunc(wanted, netip.AddrPort.Compare)
		wanted = slices.Compact(wanted)
		c, fits := assign(all(have...), wanted)
		if !fits {
			return
		}
		got := slices.DeleteFunc(slices.Clone(c.slots), func(a netip.AddrPort) bool { return !a.IsValid() })
		slices.SortFunc(got, netip.AddrPort.Compare)
		if !slices.Equal(got, wanted) || len(c.slots) != len(have) {
			t.Errorf("%v to %v gives %v", have, wanted, c.slots)
		}
		for _, i := range c.add {
			if have[i] != 0 {
				t.Errorf("slot %d of %v is in use", i, have)
			}
		}
	})
}

const table = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 back 1 s1 10.0.0.1 2 0 1 1 5 6 3 4 6 0 0 0 - 8080 - 0 0 - - 0
3 back 17 reserve1 10.0.0.1 2 0 1 1 5 6 3 4 6 0 0 0 - 8080 - 0 0 - - 0
3 back 2 s2 10.0.0.2 0 4 1 1 5 6 3 4 6 0 0 0 - 8080 - 0 0 - - 0
3 back 18 reserve2 10.0.0.2 2 4 1 1 5 6 3 4 6 0 0 0 - 8080 - 0 0 - - 0
3 back 3 s3 127.0.0.1 0 5 1 1 5 1 0 0 14 0 0 0 - 80 - 0 0 - - 0
`

func TestStatesOfSlots(t *testing.T) {
	got, err := parseSlots(table)
	want := []state{{netip.MustParseAddrPort("10.0.0.1:8080"), true}, {netip.MustParseAddrPort("10.0.0.2:8080"), false}, {}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(table)
	f.Add("Name: HAProxy\nPid: 12\ndescription: ab\n")
	f.Add("# pxname,svname,qcur,scur\nback,s1,0,3\n")
	f.Fuzz(func(t *testing.T, s string) {
		if slots, err := parseSlots(s); err == nil && len(slots) > strings.Count(s, "\n")+1 {
			t.Errorf("%q has %d slots", s, len(slots))
		}
		if x, err := parseAbout(s); err == nil && x.pid < 1 {
			t.Errorf("%q: %+v", s, x)
		}
		sessions(s, "s1")
	})
}

// A server of a description is an address or a name, or is refused: no text of
// it becomes a word of the configuration.
func FuzzServer(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "web:81", "::1", "[::1]:8080", "a b", "x\n  stats enable", "-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, p, err := splitServer(s, 80)
		if err != nil {
			return
		}
		if _, perr := netip.ParseAddr(h); p < 1 || p > 65535 || perr != nil && !hostName.MatchString(h) {
			t.Errorf("%q is %q %d", s, h, p)
		}
	})
}
