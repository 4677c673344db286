package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"aloft/internal/drivers/local"
	"aloft/internal/inventory"
	"aloft/internal/peer"
	"aloft/internal/pkgproxy"
	"aloft/value"
)

// proxyPort is where machines with a root file system of their own find the
// package proxy.
const proxyPort = 3142

// tokenLife is how long a machine may take from being asked for to its first
// call.
const tokenLife = time.Hour

// gateways listens for machines at the addresses that lead from them to this
// host, as soon as there is a machine to listen for.
type gateways struct {
	m    *manager
	work chan func(context.Context) error

	mu     sync.Mutex
	opened map[local.Form]gateway
}

// gateway is one network's way to this host.
type gateway struct {
	form    local.Form
	address netip.Addr
	prefix  netip.Prefix
}

func newGateways(m *manager) *gateways {
	return &gateways{m: m, work: make(chan func(context.Context) error), opened: map[local.Form]gateway{}}
}

// run serves what was opened until ctx ends.
func (g *gateways) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-g.work:
			wg.Go(func() {
				if err := f(ctx); err != nil && ctx.Err() == nil {
					g.m.log.Error("serve machines", "error", err)
				}
			})
		}
	}
}

// open listens for the machines that this host makes now, once.
func (g *gateways) open(ctx context.Context) (gateway, error) {
	form := g.m.driver.FormFor(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	address, prefix, err := g.m.driver.Network(ctx, form)
	if err != nil {
		return gateway{}, err
	}
	if gw, ok := g.opened[form]; ok {
		return gw, nil
	}
	gw := gateway{form: form, address: address, prefix: prefix}
	sessions, err := net.Listen("tcp", netip.AddrPortFrom(address, peer.Port).String())
	if err != nil {
		return gateway{}, fmt.Errorf("listen for machines: %w", err)
	}
	if err := g.start(ctx, func(ctx context.Context) error { return g.m.node.Serve(ctx, sessions) }); err != nil {
		sessions.Close()
		return gateway{}, err
	}
	if form == local.Light {
		if err := g.proxy(ctx, gw); err != nil {
			return gateway{}, err
		}
	}
	g.opened[form] = gw
	return gw, nil
}

// proxy serves packages to the machines of a gateway.
func (g *gateways) proxy(ctx context.Context, gw gateway) error {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(gw.address, proxyPort).String())
	if err != nil {
		return fmt.Errorf("listen for package requests: %w", err)
	}
	p, err := pkgproxy.New(pkgproxy.Config{
		Listener: listener, Dir: g.m.home.path("packages"), Limit: 8 << 30,
		Upstream: pkgproxy.HostUpstream(ctx, g.m.options.Environ), Refuse: []netip.Prefix{gw.prefix}, Log: g.m.log,
	})
	if err == nil {
		err = g.start(ctx, p.Run)
	}
	if err != nil {
		listener.Close()
	}
	return err
}

func (g *gateways) start(ctx context.Context, f func(context.Context) error) error {
	select {
	case g.work <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// contacts returns where machines reach this manager.
func (g *gateways) contacts() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for _, gw := range g.opened {
		list = append(list, netip.AddrPortFrom(gw.address, peer.Port).String())
	}
	slices.Sort(list)
	return list
}

// UserData makes what a machine's first boot needs to enrol.
func (g *gateways) UserData(ctx context.Context, machineID, name string) ([]byte, error) {
	gw, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	token, err := g.m.identity.NewToken(ctx, machineID, tokenLife)
	if err != nil {
		return nil, fmt.Errorf("token for machine %s: %w", name, err)
	}
	u := userData{
		Machine: machineID, Name: name, Hostname: hostnameOf(name), Token: token.String(),
		Contacts: []string{netip.AddrPortFrom(gw.address, peer.Port).String()}, Isolation: gw.form == local.Light,
	}
	if u.Isolation {
		u.Proxy = "http://" + netip.AddrPortFrom(gw.address, proxyPort).String()
	}
	return json.Marshal(u)
}

// hostnameOf returns the host name of the machine called SYSTEM/PATH.
func hostnameOf(name string) string {
	for i := range name {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	return inventory.Hostname(value.Path(name))
}
