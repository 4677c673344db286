// Package hostentry manages HostEntry components: names in the machine's hosts
// file. It starts no goroutine.
package hostentry

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// hostsFile is where every resolver looks first.
const hostsFile = "/etc/hosts"

// Manager manages HostEntry components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes HostEntry.
func (Manager) Class() component.Class { return class }

var class = component.Class{
	Name:         "HostEntry",
	Site:         component.SiteMachine,
	Schema:       catalog.Schema("HostEntry"),
	Reconfigures: true, Repairs: true,
	Isolation: true,
	Check:     check,
}

// hostname is what a resolver takes for one.
var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

func checkName(name string) error {
	if len(name) > 253 || !hostname.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a host", name)
	}
	return nil
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	v, _ := attrs.Get("names")
	names, given := v.(value.Vector)
	if given && len(names) == 0 {
		problems = append(problems, component.Problem{
			Attr: "names", Expected: "a name or several", Found: "[||]", Message: "there is no name to enter", Remedy: "name at least one",
		})
	}
	for _, e := range names {
		name, ok := e.(value.String)
		if !ok {
			continue
		}
		if err := checkName(string(name)); err != nil {
			problems = append(problems, component.Problem{
				Attr: "names", Expected: "names such as db or db.example.org", Found: string(name), Message: err.Error(),
				Remedy: "use letters, digits, hyphens and dots",
			})
		}
	}
	v, _ = attrs.Get("address")
	if address, ok := v.(value.String); ok {
		if _, err := netip.ParseAddr(string(address)); err != nil {
			problems = append(problems, component.Problem{
				Attr: "address", Expected: "an IP address", Found: string(address),
				Message: fmt.Sprintf("%q is not an IP address", address), Remedy: "give an address such as 10.0.0.2, or LAZY that of a machine (its ip)",
			})
		}
	}
	return problems
}

// entry is what the attributes say.
type entry struct {
	names   []string
	address netip.Addr
	block   host.Block
}

func read(c *component.Call) (entry, error) {
	v := class.Values(c.Attrs)
	e := entry{
		names: v.Texts("names"),
		block: host.Block{Path: hostsFile, WorkDir: c.WorkDir, Name: host.ServiceName(c), Owned: host.Owned{Mode: 0o644}},
	}
	address := v.Text("address")
	if err := v.Err(); err != nil {
		return e, err
	}
	for _, name := range e.names {
		if err := checkName(name); err != nil {
			return e, fmt.Errorf("attribute names: %w", err)
		}
	}
	var err error
	if e.address, err = netip.ParseAddr(address); err != nil {
		return e, fmt.Errorf("attribute address: %q is not an IP address", address)
	}
	return e, nil
}

func (e entry) lines() []string {
	return []string{e.address.String() + "\t" + strings.Join(e.names, " ")}
}

// rival returns an error if somebody else's line gives one of the names another
// address of the same kind: the first line counts, so ours would not.
func (e entry) rival() error {
	text, err := e.block.Read()
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		address, err := netip.ParseAddr(words[0])
		if err != nil || address == e.address || address.Is4() != e.address.Is4() {
			continue
		}
		for _, have := range words[1:] {
			for _, name := range e.names {
				if strings.EqualFold(have, name) {
					return &component.Failure{
						Err:    fmt.Errorf("%s gives %s the address %s already", hostsFile, name, address),
						Remedy: "choose another name, or take it out of that file (" + strings.TrimSpace(line) + ")",
					}
				}
			}
		}
	}
	return nil
}

// Deploy enters the names.
func (Manager) Deploy(_ context.Context, c *component.Call) error {
	e, err := read(c)
	if err != nil {
		return err
	}
	if err := e.rival(); err != nil {
		return err
	}
	return e.block.Put(e.lines())
}

// Reconfigure writes them anew.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Deploy(ctx, c) }

// Terminate takes them away.
func (Manager) Terminate(_ context.Context, c *component.Call) error {
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		return nil
	}
	return host.RemoveBlock(c.WorkDir, host.ServiceName(c))
}

// Ping checks that the names are entered, and mean this address.
func (Manager) Ping(_ context.Context, c *component.Call) error {
	e, err := read(c)
	if err != nil {
		return err
	}
	if err := e.block.Check(e.lines()); err != nil {
		return err
	}
	return e.rival()
}
