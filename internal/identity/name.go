// Package identity says who a daemon is and proves it: names, the certificate
// authority, certificates and their renewal, join tokens, signed documents, and
// the files all of these are kept in.
//
// It refuses to talk to anybody: certificates travel over package peer, tokens
// are remembered by whoever implements Tokens. It starts no goroutine; the one
// loop it has, Manager.Run, is started by the daemon.
package identity

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Clock tells the time that certificates are measured by: of this host, which
// may be set anew while a daemon runs. Nil is package time's.
type Clock func() time.Time

func (c Clock) orReal() Clock {
	if c == nil {
		return time.Now
	}
	return c
}

// Kind is what a name names.
type Kind string

// The kinds of names.
const (
	KindManager Kind = "manager" // a daemon that owns shards, and runs parts too
	KindMachine Kind = "machine" // a daemon that runs parts
	KindUser    Kind = "user"    // a person or a program at the Service API
)

// Name is who somebody is, for ever: a member of one cluster. The zero Name is
// nobody. Its printed form, aloft://CLUSTER/KIND/ID, is the URI in a certificate.
type Name struct {
	Cluster string // cluster id: lower-case letters, digits and inner hyphens, 1 to 63 of them
	Kind    Kind
	ID      string // canonical UUID of a manager or machine; a user's name
}

var (
	clusterForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	uuidForm    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	userForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
)

// ParseName reads the printed form of a name. There is one printed form for
// each name: what ParseName accepts, String gives back.
func ParseName(s string) (Name, error) {
	rest, ok := strings.CutPrefix(s, "aloft://")
	if !ok {
		return Name{}, fmt.Errorf("name %q: does not begin with aloft://", s)
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return Name{}, fmt.Errorf("name %q: want aloft://CLUSTER/KIND/ID", s)
	}
	n := Name{Cluster: parts[0], Kind: Kind(parts[1]), ID: parts[2]}
	if err := n.check(); err != nil {
		return Name{}, fmt.Errorf("name %q: %w", s, err)
	}
	return n, nil
}

func (n Name) check() error {
	if !clusterForm.MatchString(n.Cluster) {
		return fmt.Errorf("cluster id %q: want 1 to 63 of a-z, 0-9 and inner hyphens", n.Cluster)
	}
	switch n.Kind {
	case KindManager, KindMachine:
		if !uuidForm.MatchString(n.ID) {
			return fmt.Errorf("%s id %q is not a UUID in lower case", n.Kind, n.ID)
		}
	case KindUser:
		if !userForm.MatchString(n.ID) {
			return fmt.Errorf("user name %q: want a-z, 0-9, dot, underscore, hyphen, at most 63", n.ID)
		}
	default:
		return fmt.Errorf("kind %q is not manager, machine or user", n.Kind)
	}
	return nil
}

// String prints the name as a URI.
func (n Name) String() string {
	return "aloft://" + n.Cluster + "/" + string(n.Kind) + "/" + n.ID
}

func (n Name) uri() *url.URL {
	return &url.URL{Scheme: "aloft", Host: n.Cluster, Path: "/" + string(n.Kind) + "/" + n.ID}
}
