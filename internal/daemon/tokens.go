package daemon

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"aloft/internal/identity"
	"aloft/internal/store"
)

// tokens keeps join tokens in the shared store. It implements identity.Tokens.
type tokens struct {
	kv  store.KV
	now func() time.Time
}

type tokenRow struct {
	Machine string              `json:"machine,omitempty"`
	Role    identity.MemberRole `json:"role,omitempty"`
	Expires time.Time           `json:"expires"`
	Use     []byte              `json:"use,omitempty"` // empty: not spent
}

func decodeToken(e store.Entry) (row tokenRow, err error) {
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return tokenRow{}, fmt.Errorf("join token: row %s: %w", e.Key, err)
	}
	return row, nil
}

func tokenKey(h identity.TokenHash) string { return store.Key("token", hex.EncodeToString(h[:])) }

func (t tokens) Put(ctx context.Context, hash identity.TokenHash, grant identity.Grant) error {
	row, err := json.Marshal(tokenRow{Machine: grant.Machine, Role: grant.Role, Expires: grant.Expires})
	if err != nil {
		return err
	}
	// The row goes by itself, a while after it could tell that the token expired.
	lease, err := t.kv.Grant(ctx, grant.Expires.Sub(t.now())+identity.TokenMemory)
	if err != nil {
		return fmt.Errorf("record join token: %w", err)
	}
	txn := store.Txn{Put: []store.Put{{Key: tokenKey(hash), Value: row, Lease: lease}}}
	if grant.Host != "" {
		txn.Put = append(txn.Put, store.Put{Key: madeKey(grant.Machine), Value: []byte(grant.Host)})
	}
	_, err = t.kv.Commit(ctx, txn)
	return err
}

// Used returns what a token was spent on.
func (t tokens) Used(ctx context.Context, hash identity.TokenHash) (use identity.TokenUse, err error) {
	e, err := t.kv.Get(ctx, tokenKey(hash))
	if errors.Is(err, store.ErrNotFound) {
		return use, nil
	} else if err != nil {
		return use, err
	}
	row, err := decodeToken(e)
	if err != nil {
		return use, err
	}
	copy(use[:], row.Use)
	return use, nil
}

func (t tokens) Take(ctx context.Context, hash identity.TokenHash, use identity.TokenUse) (identity.Grant, error) {
	for {
		e, err := t.kv.Get(ctx, tokenKey(hash))
		if errors.Is(err, store.ErrNotFound) {
			return identity.Grant{}, identity.ErrTokenUnknown
		} else if err != nil {
			return identity.Grant{}, err
		}
		row, err := decodeToken(e)
		if err != nil {
			return identity.Grant{}, err
		}
		grant := identity.Grant{Machine: row.Machine, Role: row.Role, Expires: row.Expires}
		switch {
		case bytes.Equal(row.Use, use[:]):
			return grant, nil
		case len(row.Use) > 0:
			return identity.Grant{}, identity.ErrTokenUsed
		}
		row.Use = use[:]
		spent, err := json.Marshal(row)
		if err != nil {
			return identity.Grant{}, err
		}
		_, err = t.kv.Commit(ctx, store.Txn{
			If:  []store.Condition{{Key: e.Key, Revision: e.Revision}},
			Put: []store.Put{{Key: e.Key, Value: spent, Lease: e.Lease}},
		})
		if errors.Is(err, store.ErrConflict) {
			continue // somebody else was faster: see who
		}
		return grant, err
	}
}
