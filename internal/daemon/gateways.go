package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"aloft/internal/drivers/local"
	"aloft/internal/drivers/local/pool"
	"aloft/internal/peer"
	"aloft/internal/pkgproxy"
)

// proxyPort is where machines with a root file system of their own find the
// package proxy.
const proxyPort = 3142

// gateways are the ways from the local driver's machines to this host: one for
// each form of machine, opened when the first of that form is made. It
// implements Gateways.
type gateways struct {
	driver   *local.Driver
	packages string // folder of the package cache
	environ  []string
	log      *slog.Logger
	work     chan func(context.Context, serve) error

	mu     sync.Mutex
	opened map[local.Form]Gateway
}

type serve = func(context.Context, net.Listener) error

func newGateways(driver *local.Driver, packages string, environ []string, log *slog.Logger) *gateways {
	return &gateways{
		driver: driver, packages: packages, environ: environ, log: log,
		work: make(chan func(context.Context, serve) error), opened: map[local.Form]Gateway{},
	}
}

func (g *gateways) Run(ctx context.Context, serve serve) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-g.work:
			wg.Go(func() {
				if err := f(ctx, serve); err != nil && ctx.Err() == nil {
					g.log.Error("serve machines", "error", err)
				}
			})
		}
	}
}

func (g *gateways) Open(ctx context.Context) (Gateway, error) {
	form := g.driver.FormFor(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	address, _, err := g.driver.Network(ctx, form)
	if err != nil {
		return Gateway{}, err
	}
	if gw, ok := g.opened[form]; ok {
		return gw, nil
	}
	gw := Gateway{Contact: netip.AddrPortFrom(address, peer.Port).String(), Isolation: form == local.Light}
	sessions, err := net.Listen("tcp", gw.Contact)
	if err != nil {
		return Gateway{}, fmt.Errorf("listen for machines: %w", err)
	}
	err = g.start(ctx, func(ctx context.Context, serve serve) error { return serve(ctx, sessions) })
	if err != nil {
		sessions.Close()
		return Gateway{}, err
	}
	if form == local.Light {
		if err := g.proxy(ctx, netip.AddrPortFrom(address, proxyPort)); err != nil {
			return Gateway{}, err
		}
		gw.Proxy = "http://" + netip.AddrPortFrom(address, proxyPort).String()
	}
	g.opened[form] = gw
	return gw, nil
}

// proxy serves packages at an address. It leads to no machine, of this home or
// another.
func (g *gateways) proxy(ctx context.Context, at netip.AddrPort) error {
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		return fmt.Errorf("listen for package requests: %w", err)
	}
	p, err := pkgproxy.New(pkgproxy.Config{
		Listener: listener, Dir: g.packages, Limit: 8 << 30,
		Upstream: pkgproxy.HostUpstream(ctx, g.environ), Refuse: []netip.Prefix{pool.Machines}, Log: g.log,
	})
	if err == nil {
		err = g.start(ctx, func(ctx context.Context, _ serve) error { return p.Run(ctx) })
	}
	if err != nil {
		listener.Close()
	}
	return err
}

// start has Run run f.
func (g *gateways) start(ctx context.Context, f func(context.Context, serve) error) error {
	select {
	case g.work <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gateways) Contacts() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for _, gw := range g.opened {
		list = append(list, gw.Contact)
	}
	slices.Sort(list)
	return list
}

// nowhere are the gateways of a daemon that makes no machines.
type nowhere struct{}

func (nowhere) Run(ctx context.Context, _ serve) error {
	<-ctx.Done()
	return ctx.Err()
}

func (nowhere) Open(context.Context) (Gateway, error) {
	return Gateway{}, errors.New("this daemon makes no machines: it is no host")
}

func (nowhere) Contacts() []string { return nil }
