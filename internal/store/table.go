package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Table gives the rows under one prefix the type M, a protobuf message.
//
// A stored row is itself a protobuf message: field 1 its schema number, field
// 2 the message. A field added to M needs no new number, since older programs
// keep the fields they do not know and write them back; raise Schema only when
// what is stored changes its meaning, and let Upgrade read what was stored
// before.
type Table[M proto.Message] struct {
	Prefix string // first part of every key
	Schema uint32 // number written, and the newest that can be read; at least 1
	// Upgrade turns a message stored under an older schema into the present
	// one. Without it older rows are refused.
	Upgrade func(from uint32, m M) error
}

// Row is one typed row.
type Row[M proto.Message] struct {
	Key      string
	Message  M
	Revision int64 // for a Condition
}

// ErrNewerSchema says that a row was written by a newer version of aloft, in a
// way that this one would misread.
var ErrNewerSchema = errors.New("written by a newer version; upgrade this daemon")

const (
	schemaField  = 1
	messageField = 2
)

// Key joins parts into a key. Every part is escaped, so no part can reach into
// another's rows, and Key with the first parts plus "/" is the prefix of all
// the rest.
func Key(parts ...string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// Key returns the key of the row that parts name in the table.
func (t Table[M]) Key(parts ...string) string {
	return Key(append([]string{t.Prefix}, parts...)...)
}

// Under returns the prefix of all rows whose names begin with parts, to List
// or Watch.
func (t Table[M]) Under(parts ...string) string { return t.Key(parts...) + "/" }

// Put returns the write of m under parts, for a transaction.
func (t Table[M]) Put(m M, parts ...string) (Put, error) {
	b, err := t.Encode(m)
	if err != nil {
		return Put{}, fmt.Errorf("row %s: %w", t.Key(parts...), err)
	}
	return Put{Key: t.Key(parts...), Value: b}, nil
}

// Get reads one row, or returns ErrNotFound.
func (t Table[M]) Get(ctx context.Context, kv Reader, parts ...string) (Row[M], error) {
	e, err := kv.Get(ctx, t.Key(parts...))
	if err != nil {
		return Row[M]{}, err
	}
	return t.Row(e)
}

// List reads all rows whose names begin with parts, and their revision.
func (t Table[M]) List(ctx context.Context, kv Reader, parts ...string) ([]Row[M], int64, error) {
	entries, revision, err := kv.List(ctx, t.Under(parts...))
	if err != nil {
		return nil, 0, err
	}
	rows := make([]Row[M], len(entries))
	for i, e := range entries {
		if rows[i], err = t.Row(e); err != nil {
			return nil, 0, err
		}
	}
	return rows, revision, nil
}

// Row reads an entry that Get, List or Watch of a Reader returned.
func (t Table[M]) Row(e Entry) (Row[M], error) {
	m, err := t.Decode(e.Value)
	if err != nil {
		return Row[M]{}, fmt.Errorf("row %s: %w", e.Key, err)
	}
	return Row[M]{Key: e.Key, Message: m, Revision: e.Revision}, nil
}

// Encode returns m as it is stored.
func (t Table[M]) Encode(m M) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	b := protowire.AppendTag(make([]byte, 0, len(body)+8), schemaField, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(t.Schema))
	b = protowire.AppendTag(b, messageField, protowire.BytesType)
	return protowire.AppendBytes(b, body), nil
}

// Decode reads what Encode wrote, in this version or another. Fields that M
// does not have are kept in the message and written back by Encode.
func (t Table[M]) Decode(b []byte) (M, error) {
	var zero M
	var schema uint64
	var body []byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return zero, fmt.Errorf("decode: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case num == schemaField && typ == protowire.VarintType:
			schema, n = protowire.ConsumeVarint(b)
		case num == messageField && typ == protowire.BytesType:
			body, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return zero, fmt.Errorf("decode: %w", protowire.ParseError(n))
		}
		b = b[n:]
	}
	if schema == 0 {
		return zero, errors.New("decode: no schema number")
	}
	if schema > uint64(t.Schema) {
		return zero, fmt.Errorf("schema %d, known is %d: %w", schema, t.Schema, ErrNewerSchema)
	}
	m := zero.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(body, m); err != nil {
		return zero, fmt.Errorf("decode: %w", err)
	}
	if schema < uint64(t.Schema) {
		if t.Upgrade == nil {
			return zero, fmt.Errorf("schema %d is no longer read, the present one is %d", schema, t.Schema)
		}
		if err := t.Upgrade(uint32(schema), m); err != nil {
			return zero, fmt.Errorf("upgrade from schema %d: %w", schema, err)
		}
	}
	return m, nil
}
