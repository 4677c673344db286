package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"aloft/internal/journal"
	"aloft/internal/ownership"
	"aloft/internal/store"
)

// claimedRows are rows of the store that are written under a claim: the journal
// and ledger of an account. They implement journal.Rows.
type claimedRows struct {
	kv     store.KV
	claim  *ownership.Claim
	prefix string // of all keys
	kept   kept   // what is too large for a row
}

// A stored row says first whether its value follows or is a blob.
const (
	rowInline = 'v'
	rowBlob   = 'b'
	// rowLimit is the longest value that is kept in the row itself.
	rowLimit = 48 << 10
)

func (r claimedRows) Load(ctx context.Context, key string) ([]byte, int64, error) {
	e, err := r.kv.Get(ctx, r.prefix+key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	value, err := r.value(ctx, e)
	return value, e.Revision, err
}

func (r claimedRows) value(ctx context.Context, e store.Entry) ([]byte, error) {
	switch {
	case len(e.Value) > 0 && e.Value[0] == rowInline:
		return e.Value[1:], nil
	case len(e.Value) > 0 && e.Value[0] == rowBlob:
		return r.kept.Read(ctx, string(e.Value[1:]))
	}
	return nil, fmt.Errorf("row %s: not one of a journal", e.Key)
}

func (r claimedRows) Save(ctx context.Context, keys []string, values [][]byte, revisions []int64) (saved bool, err error) {
	var t store.Txn
	for i, key := range keys {
		key = r.prefix + key
		if revisions[i] != journal.Any {
			t.If = append(t.If, store.Condition{Key: key, Revision: revisions[i]})
		}
		if values[i] == nil {
			t.Delete = append(t.Delete, key)
			continue
		}
		row := append([]byte{rowInline}, values[i]...)
		if len(values[i]) > rowLimit {
			digest, _, err := r.kept.Put(ctx, bytes.NewReader(values[i]))
			if err != nil {
				return false, err
			}
			row = append([]byte{rowBlob}, digest...)
		}
		t.Put = append(t.Put, store.Put{Key: key, Value: row})
	}
	_, err = r.claim.Commit(ctx, t)
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

func (r claimedRows) Scan(ctx context.Context, prefix string, visit func(key string, value []byte, revision int64) error) error {
	entries, _, err := r.kv.List(ctx, r.prefix+prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		value, err := r.value(ctx, e)
		if err != nil {
			return err
		}
		if err := visit(strings.TrimPrefix(e.Key, r.prefix), value, e.Revision); err != nil {
			return err
		}
	}
	return nil
}
