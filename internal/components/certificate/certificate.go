// Package certificate manages Certificate components: certificates of services
// by the cluster's own issuer. The key is made on the machine and stays there;
// a manager of the cluster certifies it, and judges for which names. It starts
// no goroutine: the daemon reminds it when a certificate is due.
package certificate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Certificate components.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Certificate.
func (Manager) Class() component.Class { return class }

var schema = catalog.Schema("Certificate")

var class = component.Class{
	Name:   "Certificate",
	Site:   component.SiteMachine,
	Schema: schema,
	Outputs: []component.Output{
		{Name: "certFile", Kind: value.KindString, Doc: "file with the certificate, PEM; each has a file of its own"},
		{Name: "keyFile", Kind: value.KindString, Doc: "file with its key, PEM, which root alone may read"},
		{Name: "chainFile", Kind: value.KindString, Doc: "file with the certificate of the issuer, PEM, which clients trust"},
		{Name: "notAfter", Kind: value.KindString, Doc: "when it ends, as 2026-01-31T12:00:00Z"},
	},
	Reconfigures: true, Repairs: true,
	KeepsNothing: "nobody would guard its key, or renew it; the next one has another issued",
	Check:        check,
}

// maxNames is how many names one certificate may have.
const maxNames = 100

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	v, _ := attrs.Get("names")
	if names, given := v.(value.Vector); given {
		if len(names) == 0 || len(names) > maxNames {
			problems = append(problems, component.Problem{
				Attr: "names", Expected: fmt.Sprintf("1 to %d names", maxNames), Found: fmt.Sprint(len(names)), Message: "it is no certificate of nobody, nor of everybody", Remedy: "name whom it is for",
			})
		}
		for _, e := range names {
			if name, ok := e.(value.String); ok && checkName(string(name)) != nil {
				problems = append(problems, component.Problem{
					Attr: "names", Expected: "host names and IP addresses", Found: string(name), Message: checkName(string(name)).Error(),
					Remedy: "give names such as www.example.org or *.example.org, and addresses such as 10.0.0.2",
				})
			}
		}
	}
	days, before := number(attrs, "days"), number(attrs, "renewBefore")
	if days > 0 && before >= days {
		problems = append(problems, component.Problem{
			Attr: "renewBefore", Expected: fmt.Sprintf("less than days, %d", days), Found: fmt.Sprint(before),
			Message: "it would be due for renewal when it is made", Remedy: "give fewer days, or a longer life with days",
		})
	}
	return problems
}

// number returns an attribute or its default; -1 while it is not known.
func number(attrs *value.Component, name string) int {
	v, given := attrs.Get(name)
	if !given {
		v = schema.Default(name)
	}
	if n, ok := v.(value.Integer); ok {
		return int(n)
	}
	return -1
}

// hostname is a name that a certificate can have: a star stands for one label.
var hostname = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)

func checkName(name string) error {
	if address, err := netip.ParseAddr(name); err == nil && address.Zone() == "" {
		return nil
	}
	if len(name) > 253 || !hostname.MatchString(name) {
		return fmt.Errorf("%.300q is neither the name of a host nor an IP address", name)
	}
	return nil
}

// wanted is what the attributes say.
type wanted struct {
	names  []string
	days   int
	before time.Duration // its end it is due
	kind   string        // of key
}

func read(attrs *value.Component) (wanted, error) {
	v := class.Values(attrs)
	w := wanted{names: v.Texts("names"), days: v.Int("days"), before: time.Duration(v.Int("renewBefore")) * 24 * time.Hour, kind: v.Text("keyType")}
	if issuer := v.Text("issuer"); issuer != "internal" {
		return w, fmt.Errorf("attribute issuer: %q is not supported here: certificates are by the cluster's internal issuer", issuer)
	}
	if err := v.Err(); err != nil {
		return w, err
	}
	if len(w.names) == 0 || len(w.names) > maxNames {
		return w, fmt.Errorf("attribute names: there are %d, of 1 to %d", len(w.names), maxNames)
	}
	for _, name := range w.names {
		if err := checkName(name); err != nil {
			return w, fmt.Errorf("attribute names: %w", err)
		}
	}
	slices.Sort(w.names[1:]) // the usual one is first
	return w, nil
}

// due returns when a certificate that ends then is to be renewed.
func (w wanted) due(end time.Time) time.Time { return end.Add(-w.before) }

// Deploy has a certificate issued, unless there is one that will do.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(c.Attrs)
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(c.WorkDir, recordFile))
	return w.provide(ctx, c, errors.Is(err, fs.ErrNotExist))
}

// Start sees to it that there is one still.
func (Manager) Start(ctx context.Context, c *component.Call) error {
	w, err := read(c.Attrs)
	if err != nil {
		return err
	}
	return w.provide(ctx, c, false)
}

// Reconfigure has another issued where this one is not what is wanted, is due,
// or is damaged.
func (m Manager) Reconfigure(ctx context.Context, c *component.Call) error { return m.Start(ctx, c) }

// provide sees to it that there is a certificate as it is wanted, and tells
// readers of another one; first: nobody has read one yet. One that is due and
// cannot be renewed now serves on; it is tried again.
func (w wanted) provide(ctx context.Context, c *component.Call, first bool) error {
	have, err := load(c.WorkDir)
	if err == nil {
		err = w.suits(have)
	}
	now := time.Now()
	if err == nil && now.Before(w.due(have.leaf.NotAfter)) {
		w.tell(c, have)
		return nil
	}
	suits := err == nil && now.Before(have.leaf.NotAfter)
	next, err := w.issue(ctx, c)
	switch {
	case err == nil:
		w.tell(c, next)
		if !first {
			c.Env.Changed()
		}
		return nil
	case suits:
		w.tell(c, have)
		err = fmt.Errorf("not renewed, the present one serves until %s: %w", stamp(have.leaf.NotAfter), err)
		if c.Old == nil { // it starts with what it has
			c.Env.Log().Warn("certificate", "error", err)
			return nil
		}
	}
	return err
}

// again is how long after a renewal that failed the next one is tried, of a
// certificate that is good for left.
func again(left time.Duration) time.Duration {
	return min(max(left/20, time.Minute), time.Hour)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// tell puts out what a certificate is, and has the daemon remind of its renewal.
func (w wanted) tell(c *component.Call, have *issued) {
	c.Env.Output("certFile", value.String(have.certFile()))
	c.Env.Output("keyFile", value.String(have.keyFile()))
	c.Env.Output("chainFile", value.String(have.chainFile()))
	c.Env.Output("notAfter", value.String(stamp(have.leaf.NotAfter)))
	at, now := w.due(have.leaf.NotAfter), time.Now()
	if !at.After(now) { // by a clock that is ahead of the issuer's, say
		at = now.Add(again(have.leaf.NotAfter.Sub(now)))
	}
	c.Env.Remind(at, "renewal of the certificate")
}

// Terminate deletes the certificate and its key. The internal issuer keeps no
// list of what it has revoked: without its key a certificate is nobody's.
func (Manager) Terminate(_ context.Context, c *component.Call) error { return remove(c.WorkDir) }

// overdue is how long a renewal may be late before that is shown.
const overdue = 24 * time.Hour

// Ping returns nil if there is a certificate as it is wanted, its key in nobody
// else's hands, and it is not due for more than a day.
func (Manager) Ping(_ context.Context, c *component.Call) error {
	w, err := read(c.Attrs)
	if err != nil {
		return err
	}
	have, err := load(c.WorkDir)
	if err != nil {
		return err
	}
	if err := w.suits(have); err != nil {
		return err
	}
	now, end := time.Now(), have.leaf.NotAfter
	switch {
	case !now.Before(end):
		return fmt.Errorf("the certificate has ended at %s", stamp(end))
	case now.After(w.due(end).Add(overdue)):
		return fmt.Errorf("the certificate was to be renewed at %s and ends at %s: no manager has certified it again (%w)", stamp(w.due(end)), stamp(end), component.ErrOnlyAsked)
	}
	return nil
}

// errNone says that there is no certificate yet.
var errNone = errors.New("there is no certificate")

// same reports whether two lists have the same names, in whatever order.
func same(a, b []string) bool {
	return slices.Equal(plain(a), plain(b))
}

func plain(names []string) (out []string) {
	for _, n := range names {
		if address, err := netip.ParseAddr(n); err == nil {
			n = address.Unmap().String()
		}
		out = append(out, strings.ToLower(n))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
