package identity

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Role is what a user may do. The empty Role is that of daemons.
type Role string

// The roles of users.
const (
	RoleViewer   Role = "viewer"   // reads
	RoleOperator Role = "operator" // reads and changes
)

// Roles are all that this version knows.
var Roles = []Role{RoleViewer, RoleOperator}

// rolePrefix begins the organizational unit in a certificate's subject that
// holds a role. Units without it are left to later versions.
const rolePrefix = "role:"

func (r Role) subject(series string) pkix.Name {
	if r == "" {
		return pkix.Name{}
	}
	return pkix.Name{OrganizationalUnit: []string{rolePrefix + string(r)}, SerialNumber: series}
}

// roleOf reads the role in a certificate. A role of a later version is refused:
// what it allows is not known here.
func roleOf(c *x509.Certificate) (Role, error) {
	var found []Role
	for _, unit := range c.Subject.OrganizationalUnit {
		if r, ok := strings.CutPrefix(unit, rolePrefix); ok {
			found = append(found, Role(r))
		}
	}
	switch {
	case len(found) != 1:
		return "", refuse("certificate of a user with %d roles, want one", len(found))
	case !slices.Contains(Roles, found[0]):
		return "", refuse("role %.40q is not known here; known are %q", string(found[0]), Roles)
	}
	return found[0], nil
}

// VerifyUser says who the user with this chain is, what role it has, and when
// the certificate expires, which is in the future. Anything else is a Refusal.
func (t *Trust) VerifyUser(chain []*x509.Certificate) (name Name, role Role, expires time.Time, err error) {
	name, expires, err = t.Verify(chain)
	switch {
	case err != nil:
		return Name{}, "", time.Time{}, err
	case name.Kind != KindUser:
		return Name{}, "", time.Time{}, refuse("%s is not a user", name)
	case t.now().After(expires):
		return Name{}, "", time.Time{}, refuse("the certificate of %s %s: ask an operator for a new one", name, good(chain[0], t.now()))
	}
	role, err = roleOf(chain[0])
	return name, role, expires, err
}

// IssueUser gives the user called name a certificate for the key in a request
// (PKCS#10, DER): chain and roots, DER. The life is at most that of all
// certificates; 0 means that. Whoever calls has checked that it may be given.
//
// A series is a text of the caller's in all certificates that one who has a name
// gets: with it revoked, the name can be another's at once.
func (m *Manager) IssueUser(_ context.Context, name, series string, role Role, request []byte, life time.Duration) (chain, roots [][]byte, err error) {
	if !slices.Contains(Roles, role) {
		return nil, nil, refuse("role %.40q is not known; known are %q", string(role), Roles)
	}
	key, err := requestedKey(request)
	if err != nil {
		return nil, nil, err
	}
	a := m.authority.Load()
	who := Name{Cluster: a.cluster, Kind: KindUser, ID: name}
	if err := who.check(); err != nil {
		return nil, nil, refuse("%v", err)
	}
	if err := m.Trust().revoked(who, series); err != nil {
		return nil, nil, err
	}
	if life <= 0 || life > m.cfg.Life {
		life = m.cfg.Life
	}
	certs, err := a.issueSeries(who, role, series, key, life)
	if err != nil {
		return nil, nil, err
	}
	return rawOf(certs), m.Trust().Roots(), nil
}

// RemoveUser revokes the certificates of a series that the user called name has;
// of a user without one all that are of that name.
func (m *Manager) RemoveUser(ctx context.Context, name, series string) error {
	if err := (Name{Cluster: m.authority.Load().cluster, Kind: KindUser, ID: name}).check(); err != nil {
		return refuse("remove: %v", err)
	}
	err := m.ChangeRoster(ctx, func(r *Roster) error {
		r.revokeSeries(KindUser, name, series, m.now(), m.cfg.Life)
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove user %s: %w", name, err)
	}
	return nil
}

// OperatorName is the user that a manager's own command line is.
func OperatorName(manager string) string { return "home-" + manager }

// ViewerName is the user that the command line of a host's home is. It is
// another one than that of a manager, which is revoked when it becomes a host.
func ViewerName(host string) string { return "host-" + host }

// newOperator issues the certificate of whoever uses this home's command line.
func (m *Manager) newOperator() (keyPair, error) {
	a := m.authority.Load()
	key, err := newKey()
	if err != nil {
		return keyPair{}, err
	}
	who := Name{Cluster: a.cluster, Kind: KindUser, ID: OperatorName(m.cfg.ID)}
	chain, err := a.issue(who, RoleOperator, &key.PublicKey, m.cfg.Life)
	if err != nil {
		return keyPair{}, fmt.Errorf("certificate of this home's operator: %w", err)
	}
	return keyPair{key: key, chain: chain}, nil
}
