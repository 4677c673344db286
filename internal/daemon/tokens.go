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
type tokens struct{ kv store.KV }

type tokenRow struct {
	Machine string    `json:"machine"`
	Expires time.Time `json:"expires"`
	Use     []byte    `json:"use,omitempty"` // empty: not spent
}

func tokenKey(h identity.TokenHash) string { return store.Key("token", hex.EncodeToString(h[:])) }

func (t tokens) Put(ctx context.Context, hash identity.TokenHash, grant identity.Grant) error {
	row, err := json.Marshal(tokenRow{Machine: grant.Machine, Expires: grant.Expires})
	if err != nil {
		return err
	}
	// A lease of the token's life: the row goes by itself.
	lease, err := t.kv.Grant(ctx, time.Until(grant.Expires))
	if err != nil {
		return fmt.Errorf("record join token: %w", err)
	}
	_, err = t.kv.Commit(ctx, store.Txn{Put: []store.Put{{Key: tokenKey(hash), Value: row, Lease: lease}}})
	return err
}

func (t tokens) Take(ctx context.Context, hash identity.TokenHash, use identity.TokenUse) (identity.Grant, error) {
	for {
		e, err := t.kv.Get(ctx, tokenKey(hash))
		if errors.Is(err, store.ErrNotFound) {
			return identity.Grant{}, identity.ErrTokenUnknown
		} else if err != nil {
			return identity.Grant{}, err
		}
		var row tokenRow
		if err := json.Unmarshal(e.Value, &row); err != nil {
			return identity.Grant{}, fmt.Errorf("join token: %w", err)
		}
		grant := identity.Grant{Machine: row.Machine, Expires: row.Expires}
		switch {
		case time.Now().After(row.Expires):
			return identity.Grant{}, identity.ErrTokenUnknown
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
