package journal

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Table is the rows of one kind. Fields that this version does not know are
// kept in the messages and written back.
type Table[M proto.Message] struct {
	name string
	rows Rows
	key  func(M) []string
}

// Write is a change of one row, made by Journal's Save, Begin or End.
type Write struct {
	key      string
	value    []byte // nil: delete
	revision int64
	err      error // told by whoever carries the write out
}

func table[M proto.Message](rows Rows, name string, key func(M) []string) Table[M] {
	return Table[M]{name: name, rows: rows, key: key}
}

// rowKey joins escaped names, so that no name reaches into another's rows.
func (t Table[M]) rowKey(names ...string) string {
	var b strings.Builder
	b.WriteString(t.name)
	for _, n := range names {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(n))
	}
	return b.String()
}

// Get returns the row of that name; ok is false when there is none.
func (t Table[M]) Get(ctx context.Context, names ...string) (m M, ok bool, err error) {
	m, revision, err := t.load(ctx, names...)
	return m, revision != 0, err
}

func (t Table[M]) load(ctx context.Context, names ...string) (M, int64, error) {
	var none M
	key := t.rowKey(names...)
	b, revision, err := t.rows.Load(ctx, key)
	if err != nil || revision == 0 {
		return none, 0, err
	}
	m, err := t.decode(key, b)
	if err != nil {
		return none, 0, err
	}
	return m, revision, nil
}

// List returns the rows whose names begin with these, sorted by key; without
// names, all of the table.
func (t Table[M]) List(ctx context.Context, names ...string) ([]M, error) {
	var all []M
	err := t.rows.Scan(ctx, t.rowKey(names...)+"/", func(key string, b []byte, _ int64) error {
		m, err := t.decode(key, b)
		all = append(all, m)
		return err
	})
	return all, err
}

// Set returns the write of m under the name that m itself tells.
func (t Table[M]) Set(m M) Write {
	w := Write{key: t.rowKey(t.key(m)...), revision: Any}
	b, err := proto.Marshal(m)
	if err != nil {
		w.err = fmt.Errorf("journal: encode %s: %w", w.key, err)
	}
	if w.value = b; b == nil {
		w.value = []byte{} // a message of no fields is a row, nil would delete it
	}
	return w
}

// Drop returns the deletion of the row of that name.
func (t Table[M]) Drop(names ...string) Write {
	return Write{key: t.rowKey(names...), revision: Any}
}

func (t Table[M]) decode(key string, b []byte) (M, error) {
	var zero M
	m := zero.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(b, m); err != nil {
		return zero, fmt.Errorf("journal: row %s: %w: %w", key, ErrDamaged, err)
	}
	return m, nil
}
