package sim

import (
	"context"
	"errors"
	"strings"

	"aloft/internal/ownership"
	"aloft/internal/provision"
	"aloft/internal/store"
)

// ledgerRows reads the rows of the cloud's account in the store, each of which
// begins with a sign that it is whole. It writes nothing.
type ledgerRows struct{ kv store.KV }

var ledgerPrefix = "executor/" + ownership.Account("sim", provision.DefaultAccount) + "/"

func (l ledgerRows) Load(ctx context.Context, key string) ([]byte, int64, error) {
	e, err := l.kv.Get(ctx, ledgerPrefix+key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return e.Value[1:], e.Revision, nil
}

func (ledgerRows) Save(context.Context, []string, [][]byte, []int64) (bool, error) {
	return false, errors.New("the ledger is only looked at")
}

func (l ledgerRows) Scan(ctx context.Context, prefix string, visit func(string, []byte, int64) error) error {
	entries, _, err := l.kv.List(ctx, ledgerPrefix+prefix)
	for _, e := range entries {
		if err := visit(strings.TrimPrefix(e.Key, ledgerPrefix), e.Value[1:], e.Revision); err != nil {
			return err
		}
	}
	return err
}
