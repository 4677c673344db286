package daemon

import (
	"context"
	"errors"
	"strings"

	"aloft/internal/identity"
	"aloft/internal/store"
)

// vault keeps documents of package identity in the shared store. It implements
// identity.Vault.
type vault struct{ kv store.KV }

func vaultKey(name string) string {
	return store.Key(append([]string{"vault"}, strings.Split(name, "/")...)...)
}

func (v vault) Load(ctx context.Context, name string) (identity.Document, error) {
	e, err := v.kv.Get(ctx, vaultKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return identity.Document{}, nil
	}
	return identity.Document{Content: e.Value, Version: e.Revision}, err
}

func (v vault) Store(ctx context.Context, name string, content []byte, version int64) error {
	key := vaultKey(name)
	_, err := v.kv.Commit(ctx, store.Txn{
		If:  []store.Condition{{Key: key, Revision: version}},
		Put: []store.Put{{Key: key, Value: content}},
	})
	if errors.Is(err, store.ErrConflict) {
		return identity.ErrChanged
	}
	return err
}
