package provision

import (
	"context"
	"strings"
)

// Rows is where a daemon keeps rows of any kind: a journal's file and the
// managers' store both are. Save writes durably; a revision of -1 means
// whatever the row is at, a nil value deletes. Load's revision is 0 when there
// is no row.
type Rows interface {
	Load(ctx context.Context, key string) (value []byte, revision int64, err error)
	Save(ctx context.Context, keys []string, values [][]byte, revisions []int64) (saved bool, err error)
	Scan(ctx context.Context, prefix string, visit func(key string, value []byte, revision int64) error) error
}

// LedgerOf keeps a ledger in rows, under keys that begin with prefix, as
// "machine/".
func LedgerOf(rows Rows, prefix string) Ledger { return &rowLedger{rows, prefix} }

type rowLedger struct {
	rows   Rows
	prefix string
}

const anyRevision = -1

func (l *rowLedger) save(key string, row []byte) error {
	_, err := l.rows.Save(context.Background(), []string{l.prefix + key}, [][]byte{row}, []int64{anyRevision})
	return err
}

func (l *rowLedger) Put(key string, row []byte) error { return l.save(key, row) }

func (l *rowLedger) Delete(key string) error { return l.save(key, nil) }

func (l *rowLedger) Get(key string) ([]byte, error) {
	row, revision, err := l.rows.Load(context.Background(), l.prefix+key)
	if revision == 0 {
		row = nil
	}
	return row, err
}

func (l *rowLedger) List(f func(key string, row []byte) error) error {
	return l.rows.Scan(context.Background(), l.prefix, func(key string, row []byte, _ int64) error {
		return f(strings.TrimPrefix(key, l.prefix), row)
	})
}
