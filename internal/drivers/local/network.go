package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"aloft/internal/drivers/local/light"
	"aloft/internal/drivers/local/pool"
	"aloft/provider"
)

// network is what the machines of a form are in.
type network struct {
	prefix  netip.Prefix
	gateway netip.Addr // this host's address in it
}

// networksFile keeps the home's networks over a boot of the host, so that
// machines get their addresses back.
const networksFile = "networks.json"

// Network returns the address by which machines of the form reach this host,
// and their network. The address is ready to be listened on when Network
// returns: it makes the bridge of light machines if there is none. The bridge
// goes with the last light machine; listeners on it find it again with the
// next.
func (d *Driver) Network(ctx context.Context, form Form) (gateway netip.Addr, prefix netip.Prefix, err error) {
	n, err := d.network(form)
	if err == nil && form == Light {
		err = d.raiseBridge(ctx, n, 0)
	}
	return n.gateway, n.prefix, err
}

// network returns the home's network for a form, chosen at the first call.
func (d *Driver) network(form Form) (network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.networks[form]; ok {
		return n, nil
	}
	if form == Light && len(d.report.Missing) > 0 {
		return network{}, d.fail("network", provider.NotSupported, errors.New(d.report.Why()))
	}
	kind := pool.Light
	if form == Process {
		kind = pool.Loopback
	}
	file := filepath.Join(d.config.Home, networksFile)
	known, err := readNetworks(file)
	if err != nil {
		return network{}, err
	}
	prefix, err := d.homes.Claim(kind, known[kind])
	if errors.Is(err, pool.ErrNone) {
		return network{}, d.fail("network", provider.Capacity, err)
	} else if err != nil {
		return network{}, err
	}
	if known[kind] != prefix {
		known[kind] = prefix
		b, err := json.Marshal(known)
		if err != nil {
			return network{}, err
		}
		if err := replace(file, b, true); err != nil {
			return network{}, err
		}
	}
	n := network{prefix, pool.Nth(prefix, 1)}
	d.networks[form] = n
	return n, nil
}

// readNetworks returns the home's networks by kind; none if there is no file.
func readNetworks(file string) (map[string]netip.Prefix, error) {
	known := map[string]netip.Prefix{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if known == nil { // the file says null
		known = map[string]netip.Prefix{}
	}
	return known, nil
}

// net is the network as package light takes it.
func (d *Driver) net(n network) light.Net {
	return light.Net{Home: d.id, Gateway: netip.PrefixFrom(n.gateway, n.prefix.Bits())}
}

// raiseBridge makes bridge number k, and bridge 0, unless they are there.
func (d *Driver) raiseBridge(ctx context.Context, n network, k int) error {
	d.bridges.Lock()
	defer d.bridges.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.net(n).Up(0); err != nil || k == 0 {
		return err
	}
	return d.net(n).Up(k)
}

// lowerBridges removes the bridges if there is no light machine.
func (d *Driver) lowerBridges() error {
	d.bridges.Lock()
	defer d.bridges.Unlock()
	d.mu.Lock()
	needed := false
	for _, m := range d.machines {
		needed = needed || m.rec.Form == Light
	}
	d.mu.Unlock()
	if needed {
		return nil
	}
	return light.Net{Home: d.id}.Down()
}

// place gives a new machine the next free address of its form's network, and a
// bridge with a free port. The caller holds d.mu.
func (d *Driver) place(form Form, n network) (offset, bridge int, err error) {
	taken, ports := map[int]bool{}, map[int]int{}
	for _, m := range d.machines {
		if m.rec.Form == form {
			taken[m.rec.Offset] = true
			ports[m.rec.Bridge]++
		}
	}
	// The first is this host's, the last is broadcast. An address is given again
	// as late as possible, for those who still remember its last owner.
	const first = 2
	free := pool.Size(n.prefix) - 1 - first
	start := max(d.next[form], first)
	for i := range free {
		offset = first + (start-first+i)%free
		if !taken[offset] {
			d.next[form] = offset + 1
			for ports[bridge] >= d.ports {
				bridge++
			}
			return offset, bridge, nil
		}
	}
	return 0, 0, errors.New("every address of " + n.prefix.String() + " is a machine's; destroy some first")
}
