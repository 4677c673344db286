package check

import (
	"context"
	"net"
	"strconv"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// TCP manages TCPCheck components.
type TCP struct{ component.Keep }

var _ component.Manager = TCP{}

// Class describes TCPCheck.
func (TCP) Class() component.Class { return tcpClass }

var tcpClass = component.Class{
	Name:   "TCPCheck",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("TCPCheck"),
	Attributes: []component.Attribute{
		{Name: "host", Use: component.UseStart},
		{Name: "port", Use: component.UseStart},
	},
	Reconfigures: true,
	KeepsNothing: "it makes nothing, and only looks",
	StartTimeout: startTimeout,
	Check: func(attrs *value.Component, _ component.Target) []component.Problem {
		return checkHost(attrs)
	},
}

// checkHost finds an address with a port where only a host is wanted.
func checkHost(attrs *value.Component) []component.Problem {
	v, _ := attrs.Get("host")
	text, ok := v.(value.String)
	if _, _, err := net.SplitHostPort(string(text)); !ok || err != nil && text != "" {
		return nil
	}
	return []component.Problem{{
		Attr: "host", Expected: "a name or an address", Found: string(text),
		Message: "that is no host to connect to", Remedy: "give the host here and its port in port",
	}}
}

func readTCP(c *component.Call) (address string, p pace, err error) {
	v := tcpClass.Values(c.Attrs)
	address, p = net.JoinHostPort(v.Text("host"), strconv.Itoa(v.Int("port"))), readPace(v)
	return address, p, v.Err()
}

// Start waits until the port is open.
func (TCP) Start(ctx context.Context, c *component.Call) error {
	address, p, err := readTCP(c)
	if err != nil {
		return err
	}
	return p.await(ctx, c.Env, func(ctx context.Context) error { return host.Dial(ctx, []string{address}) })
}

// Reconfigure waits for the new port.
func (m TCP) Reconfigure(ctx context.Context, c *component.Call) error { return m.Start(ctx, c) }

// Ping asks once.
func (TCP) Ping(ctx context.Context, c *component.Call) error {
	address, p, err := readTCP(c)
	if err != nil {
		return err
	}
	return p.once(ctx, func(ctx context.Context) error { return host.Dial(ctx, []string{address}) })
}
