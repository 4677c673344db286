package host

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"

	"aloft/component"
	"aloft/value"
)

// Certificate is what a server on this machine shows and signs with: the files
// of a Certificate component that it refers to. Each certificate has files of its
// own, so that another one is other files.
type Certificate struct{ CertFile, KeyFile string }

// plainFile is a path that no server's configuration takes for more than that.
var plainFile = regexp.MustCompile(`^/[A-Za-z0-9 ._~%@+,=:/-]+$`)

// ReadCertificate reads the attribute certificate, a reference to a Certificate
// component; nil where it is not given.
func ReadCertificate(attrs *value.Component) (*Certificate, error) {
	v, _ := attrs.Get("certificate")
	if v == nil || v.Kind() == value.KindNull {
		return nil, nil
	}
	named, ok := v.(*value.Component)
	if !ok {
		return nil, fmt.Errorf("attribute certificate: want a reference to a Certificate, found a %s", v.Kind())
	}
	var found Certificate
	for output, to := range map[string]*string{"certFile": &found.CertFile, "keyFile": &found.KeyFile} {
		x, _ := named.Get(output)
		text, _ := x.(value.String)
		if !plainFile.MatchString(string(text)) || filepath.Clean(string(text)) != string(text) {
			return nil, &component.Failure{
				Err:    fmt.Errorf("attribute certificate: the component it names has no %s: it is no Certificate", output),
				Remedy: "refer to a Certificate, as  certificate LAZY ATTRIB cert;",
			}
		}
		*to = string(text)
	}
	return &found, nil
}

// Check returns an error if the files are not on this machine, or do not belong
// together, which not every server's own test finds.
func (c *Certificate) Check() error {
	if c == nil {
		return nil
	}
	_, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &component.Failure{
			Err:    fmt.Errorf("attribute certificate: it is not on this machine: %w", err),
			Remedy: "put the Certificate on the machine of its server",
		}
	case err != nil:
		return fmt.Errorf("attribute certificate: %s and %s: %w", c.CertFile, c.KeyFile, err)
	}
	return nil
}

// CheckHTTPS finds, while planning, a port for HTTPS that HTTP has.
func CheckHTTPS(attrs *value.Component, schema component.Schema, others ...int) []component.Problem {
	given := func(name string) int {
		v, ok := attrs.Get(name)
		if !ok {
			v = schema.Default(name)
		}
		n, _ := v.(value.Integer)
		return int(n)
	}
	secure := given("https-port")
	for _, port := range append(others, given("port")) {
		if secure != 0 && port == secure {
			return []component.Problem{{
				Attr: "https-port", Expected: "another port than those of HTTP", Found: fmt.Sprint(secure),
				Message: "HTTP and HTTPS cannot have one port", Remedy: "give another port to one of them",
			}}
		}
	}
	return nil
}
