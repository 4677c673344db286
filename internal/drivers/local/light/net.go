package light

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"aloft/internal/drivers/local/names"
)

// nic is the name of a machine's interface, in the machine.
const nic = "eth0"

// PortsPerBridge is how many machines one bridge takes. The kernel's limit is
// 1,024; the rest is for the links that join the bridges.
const PortsPerBridge = 1000

// Net is the network of a home's light machines: one subnet over as many
// bridges as it takes. All bridges are joined to bridge 0, which has the
// gateway's address; nothing is forwarded.
type Net struct {
	Home    names.Home
	Gateway netip.Prefix
}

// Up makes bridge n if it is not there, and joins it to bridge 0. The caller
// makes bridge 0 first, and never two at once.
func (w Net) Up(n int) error {
	name := w.Home.Bridge(n)
	link, err := netlink.LinkByName(name)
	if missing(err) {
		link, err = w.bridge(n)
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	if n == 0 {
		addr := &net.IPNet{IP: w.Gateway.Addr().AsSlice(), Mask: net.CIDRMask(w.Gateway.Bits(), 32)}
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: addr}); err != nil {
			return fmt.Errorf("address %s of bridge %s: %w", w.Gateway, name, err)
		}
	} else if err := w.join(n, link); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	return nil
}

func (w Net) bridge(n int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = w.Home.Bridge(n)
	if n == 0 {
		// Given, so that it does not follow the lowest of its ports and a machine
		// can know it beforehand.
		attrs.HardwareAddr = hardware(w.Gateway.Addr())
	}
	snooping := false
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	if err := netlink.LinkAdd(br); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	// A kernel without IPv6 has no such setting.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+attrs.Name+"/disable_ipv6", []byte("1"), 0)
	return netlink.LinkByName(attrs.Name)
}

// join links bridge n to bridge 0.
func (w Net) join(n int, bridge netlink.Link) error {
	hub, err := netlink.LinkByName(w.Home.Bridge(0))
	if err != nil {
		return fmt.Errorf("bridge %s: %w", w.Home.Bridge(0), err)
	}
	here, there := w.Home.Trunk(n)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = here
	veth := netlink.NewVeth(attrs)
	veth.PeerName = there
	if err := netlink.LinkAdd(veth); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("link %s: %w", here, err)
	}
	for name, master := range map[string]netlink.Link{here: bridge, there: hub} {
		end, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if err := netlink.LinkSetMaster(end, master); err != nil {
			return fmt.Errorf("link %s into %s: %w", name, master.Attrs().Name, err)
		}
		if err := netlink.LinkSetUp(end); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// Attach links the namespace of process pid into bridge n, as the machine with
// the given address.
func (w Net) Attach(n, pid int, name string, address netip.Addr) error {
	bridge, err := netlink.LinkByName(w.Home.Bridge(n))
	if err != nil {
		return fmt.Errorf("bridge %s: %w", w.Home.Bridge(n), err)
	}
	hub := bridge
	if n != 0 {
		if hub, err = netlink.LinkByName(w.Home.Bridge(0)); err != nil {
			return fmt.Errorf("bridge %s: %w", w.Home.Bridge(0), err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.MasterIndex = bridge.Attrs().Index
	attrs.Flags = net.FlagUp
	veth := netlink.NewVeth(attrs)
	veth.PeerName = nic
	veth.PeerNamespace = netlink.NsPid(pid)
	veth.PeerHardwareAddr = hardware(address)
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return neighbour(hub, address)
}

// forwarding is the state of a bridge's port that lets packets through.
const forwarding = "3"

// Ready waits until the bridge lets packets through to the link, for limit at
// most: the kernel opens the port a little after the machine's end of the link
// is up, and a packet sent in between is sent again only after a second.
func Ready(name string, limit time.Duration) error {
	for until := time.Now().Add(limit); ; time.Sleep(200 * time.Microsecond) {
		b, err := os.ReadFile("/sys/class/net/" + name + "/brport/state")
		if err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if state := strings.TrimSpace(string(b)); state == forwarding {
			return nil
		} else if time.Now().After(until) {
			return fmt.Errorf("link %s: its bridge lets nothing through after %s: port state %s", name, limit, state)
		}
	}
}

// neighbour tells link's side who has the address. Without it a first packet
// sent before the other side is up waits a second for the repeated question.
func neighbour(link netlink.Link, address netip.Addr) error {
	n := &netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: address.AsSlice(), HardwareAddr: hardware(address),
	}
	if err := netlink.NeighSet(n); err != nil {
		return fmt.Errorf("neighbour %s on %s: %w", address, link.Attrs().Name, err)
	}
	return nil
}

// Detach removes a machine's link and what its bridge knows of it. The link
// goes by itself with the machine's namespace, but later than its processes.
func (w Net) Detach(name string, address netip.Addr) error {
	if hub, err := netlink.LinkByName(w.Home.Bridge(0)); err == nil {
		n := &netlink.Neigh{LinkIndex: hub.Attrs().Index, Family: netlink.FAMILY_V4, IP: address.AsSlice()}
		if err := netlink.NeighDel(n); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("neighbour %s: %w", address, err)
		}
	}
	return RemoveLink(name)
}

// RemoveLink removes an interface; one that is gone is removed.
func RemoveLink(name string) error {
	link, err := netlink.LinkByName(name)
	if missing(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove link %s: %w", name, err)
	}
	return nil
}

// Down removes the bridges and what joins them.
func (w Net) Down() error {
	links, err := Links(w.Home)
	if err != nil {
		return err
	}
	for _, name := range links {
		if _, machine := w.Home.Offset(name); !machine {
			if err := RemoveLink(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Links returns the names of the host's interfaces that bear the home's id.
func Links(home names.Home) ([]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var ours []string
	for _, l := range links {
		if home.Owns(l.Name) {
			ours = append(ours, l.Name)
		}
	}
	return ours, nil
}

func missing(err error) bool {
	var not netlink.LinkNotFoundError
	return errors.As(err, &not)
}
