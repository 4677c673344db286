package daemon

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"aloft/api"
	"aloft/internal/identity"
	"aloft/internal/store"
)

// userRow is a user in the store, under its name.
type userRow struct {
	Role    api.Role  `json:"role"`
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
	// Series is in all certificates of the user, and of nobody who had the name
	// before; "" for a user of an earlier release.
	Series string `json:"series,omitempty"`
}

func userKey(name string) string { return store.Key("user", name) }

func decodeUser(e store.Entry) (row userRow, err error) {
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return userRow{}, fmt.Errorf("row %s: %w", e.Key, err)
	}
	return row, nil
}

// user says which user's certificates these are.
func (m *Manager) user(chain []*x509.Certificate) (api.Caller, error) {
	return userOf(&m.identity.Member, chain)
}

// Users lists who may call over the network, by name.
func (s service) Users(ctx context.Context) ([]api.User, error) {
	rows, _, err := s.m.world.Store.List(ctx, userKey("")) // "user/"
	if err != nil {
		return nil, err
	}
	var list []api.User
	for _, e := range rows {
		row, err := decodeUser(e)
		if err != nil {
			return nil, err
		}
		list = append(list, api.User{Name: e.Key[len(userKey("")):], Role: row.Role, By: row.By, Since: row.Since, Expires: row.Expires})
	}
	return list, nil
}

// AddUser gives a user a certificate.
func (s service) AddUser(ctx context.Context, r api.UserRequest) (*api.Credential, error) {
	return s.issue(ctx, r.Name, r.Role, r.Request, api.CallerOf(ctx).Name)
}

// RenewUser gives the caller a new certificate, with the role that the user has
// now.
func (s service) RenewUser(ctx context.Context, r api.RenewRequest) (*api.Credential, error) {
	name := api.CallerOf(ctx).Name
	e, err := s.m.world.Store.Get(ctx, userKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, &api.Error{Kind: api.KindDenied, Message: fmt.Sprintf("%s is no user of this cluster", name), Remedy: "certificates of others renew themselves"}
	}
	if err != nil {
		return nil, err
	}
	row, err := decodeUser(e)
	if err != nil {
		return nil, err
	}
	return s.issue(ctx, name, row.Role, r.Request, row.By)
}

// issue writes who a user is, and makes the certificate.
func (s service) issue(ctx context.Context, name string, role api.Role, request []byte, by string) (*api.Credential, error) {
	now := s.m.world.now().UTC()
	c := &api.Credential{Name: name, Role: role, Cluster: s.m.identity.Name().Cluster, Managers: s.m.addresses(), Expires: now.Add(identity.DefaultLife)}
	for {
		row := userRow{Role: role, By: by, Since: now, Expires: c.Expires, Series: rand.Text()}
		condition := store.Condition{Key: userKey(name)}
		e, err := s.m.world.Store.Get(ctx, userKey(name))
		if err == nil {
			if old, err := decodeUser(e); err == nil {
				row.Series = old.Series
				if old.Role == role {
					row.Since = old.Since
				}
			}
			condition.Revision = e.Revision
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		chain, roots, err := s.m.identity.IssueUser(ctx, name, row.Series, identity.Role(role), request, 0)
		if refusal, ok := errors.AsType[*identity.Refusal](err); ok {
			return nil, &api.Error{Kind: api.KindInvalid, Message: refusal.Error()}
		}
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(row)
		if err != nil {
			return nil, err
		}
		_, err = s.m.world.Store.Commit(ctx, store.Txn{If: []store.Condition{condition}, Put: []store.Put{{Key: userKey(name), Value: text}}})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		for _, der := range append(chain, roots...) {
			c.Certificates += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		}
		return c, err
	}
}

// RemoveUser refuses a user from now on, whatever certificates it has. The name
// is free.
func (s service) RemoveUser(ctx context.Context, name string) (*api.User, error) {
	e, err := s.m.world.Store.Get(ctx, userKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, &api.Error{Kind: api.KindNotFound, Message: "there is no user " + name, Remedy: "'aloft user list' lists them"}
	}
	if err != nil {
		return nil, err
	}
	row, err := decodeUser(e)
	if err != nil {
		return nil, err
	}
	if err := s.m.identity.RemoveUser(ctx, name, row.Series); err != nil {
		return nil, err
	}
	_, err = s.m.world.Store.Commit(ctx, store.Txn{Delete: []string{userKey(name)}})
	return &api.User{Name: name, Role: row.Role, By: row.By, Since: row.Since, Expires: row.Expires}, err
}

// addresses returns where the managers of the cluster are found.
func (m *Manager) addresses() (list []string) {
	if r := m.identity.Roster(); r != nil {
		for _, one := range r.Managers {
			list = append(list, one.Addresses...)
		}
	}
	if len(list) == 0 && m.world.Seat.Listen != "" {
		list = []string{m.world.Seat.Listen}
	}
	return list
}
