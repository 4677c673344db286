package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Rows gives a part of the store to those who need only bytes under keys, such
// as a journal of account or system steps: its methods have no type of this
// package in them.
type Rows struct {
	KV     KV
	Prefix string // of all keys, ends in "/"
	// Guard must hold at every write: the ownership row of the shard, at the
	// revision of its acquisition, so that a former owner writes nothing.
	Guard []Condition
}

// Load returns a row and its revision; revision 0 means that there is none.
func (r Rows) Load(ctx context.Context, key string) (value []byte, revision int64, err error) {
	e, err := r.KV.Get(ctx, r.Prefix+key)
	if errors.Is(err, ErrNotFound) {
		return nil, 0, nil
	}
	return e.Value, e.Revision, err
}

// Save writes all rows or none, each only if it is at its revision (0: there
// is none; below 0: whatever it is). A nil value deletes. saved is false when
// a row is at another revision; when the guard does not hold, the error is a
// *ConflictError of a row of the guard.
func (r Rows) Save(ctx context.Context, keys []string, values [][]byte, revisions []int64) (saved bool, err error) {
	t := Txn{If: append([]Condition(nil), r.Guard...)}
	for i, key := range keys {
		key = r.Prefix + key
		if revisions[i] >= 0 {
			t.If = append(t.If, Condition{Key: key, Revision: revisions[i]})
		}
		if values[i] == nil {
			t.Delete = append(t.Delete, key)
		} else {
			t.Put = append(t.Put, Put{Key: key, Value: values[i]})
		}
	}
	_, err = r.KV.Commit(ctx, t)
	var c *ConflictError
	if !errors.As(err, &c) {
		return err == nil, err
	}
	for _, g := range r.Guard {
		if g.Key == c.Key {
			return false, fmt.Errorf("no longer the owner: %w", c)
		}
	}
	return false, nil
}

// Scan visits the rows whose keys begin with prefix, sorted by key, and stops
// at the first error.
func (r Rows) Scan(ctx context.Context, prefix string, visit func(key string, value []byte, revision int64) error) error {
	entries, _, err := r.KV.List(ctx, r.Prefix+prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := visit(strings.TrimPrefix(e.Key, r.Prefix), e.Value, e.Revision); err != nil {
			return err
		}
	}
	return nil
}
