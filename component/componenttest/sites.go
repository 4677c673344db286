package componenttest

import (
	"fmt"
	"net"
	"testing"
	"time"

	"aloft/component"
	"aloft/value"
)

// serving is a server with an address for HTTPS, which serves one page.
func serving(t *testing.T, m component.Manager, cert *value.Component) (c *component.Call, uri, address string) {
	t.Helper()
	port, secure := FreePort(t), FreePort(t)
	c = &component.Call{
		System: "s", Path: "m:server", WorkDir: t.TempDir(), Env: NewEnv(t, m.Class()),
		Machine: component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"},
		Attrs:   Data("port", port, "https-port", secure, "certificate", cert, "sites", Data("site", Data("pages", Data("/", value.String("hello"))))),
	}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	got, _ := c.Env.(*Env).Outputs()["httpsUri"].(value.String)
	return c, string(got), fmt.Sprintf("127.0.0.1:%d", secure)
}

// with is attributes with one of them another.
func with(a *value.Component, name string, v value.Value) *value.Component {
	next := value.NewComponent(false)
	for x := range a.All() {
		next.Set(x)
	}
	next.Set(value.Attr{Name: name, Value: v})
	return next
}

// AnotherCertificate checks what a web server with sites, port, https-port and
// certificate does. Over HTTPS it shows the certificate that it refers to, to
// clients that trust its issuer alone. When there is another one it shows that,
// and no request is lost meanwhile. A certificate that cannot be used changes
// nothing.
func AnotherCertificate(t *testing.T, m component.Manager) {
	t.Helper()
	one, two := Certificate(t, "127.0.0.1", "a.test"), Certificate(t, "127.0.0.1", "b.test")
	c, uri, address := serving(t, m, one)
	first := Shown(t, address, "a.test")
	stop := Clients(t, uri)
	for _, next := range []*value.Component{two, one} {
		c.Old, c.Attrs = c.Attrs, with(c.Attrs, "certificate", next)
		if err := m.Reconfigure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if name := map[bool]string{true: "a.test", false: "b.test"}[next == one]; (Shown(t, address, name) == first) != (next == one) {
			t.Errorf("it does not show the certificate of %s", name)
		}
	}
	hostile := Data("certFile", value.String("/x\"; } evil {"), "keyFile", value.String("/x"))
	good := c.Attrs
	for what, bad := range map[string]value.Value{
		"files that would be directives": hostile,
		"files that are not there":       Data("certFile", value.String("/nowhere/cert.pem"), "keyFile", value.String("/nowhere/key.pem")),
		"a component without files":      Data("uri", value.String("http://a/")),
		"a key of another":               with(one, "keyFile", must(two, "keyFile")),
		"a text":                         value.String("/etc/passwd"),
	} {
		c.Old, c.Attrs = good, with(good, "certificate", bad)
		if err := m.Reconfigure(t.Context(), c); err == nil {
			t.Errorf("%s were taken", what)
		}
		if Shown(t, address, "a.test") != first {
			t.Errorf("%s: it shows another certificate", what)
		}
	}
	stop()
	c.Old, c.Attrs = good, Data("port", must(good, "port"))
	if err := m.Reconfigure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, open := net.DialTimeout("tcp", address, time.Second); open == nil {
		t.Error("without a certificate it still answers there")
	}
	if err := m.Terminate(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func must(c *value.Component, name string) value.Value {
	v, _ := c.Get(name)
	return v
}
