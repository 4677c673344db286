package daemon

import (
	"context"
	"errors"

	"aloft/internal/member/memberpb"
	"aloft/internal/store"
)

// The rows of members, and of those that are none any more.
var (
	memberTable  = store.Table[*memberpb.Member]{Prefix: "member", Schema: 1}
	revokedTable = store.Table[*memberpb.Member]{Prefix: "revoked", Schema: 1}
)

// memberRows returns the rows of all members, by id.
func memberRows(ctx context.Context, kv store.Reader) (rows []store.Row[*memberpb.Member], all []*memberpb.Member, err error) {
	rows, _, err = memberTable.List(ctx, kv)
	for _, r := range rows {
		all = append(all, r.Message)
	}
	return rows, all, err
}

// changeMember changes one member's row, and nothing else, as often as somebody
// else was faster. change may return nil to leave it as it is; m is nil where
// there is no row.
func changeMember(ctx context.Context, kv store.KV, id string, change func(m *memberpb.Member) (*memberpb.Member, error)) error {
	for {
		row, err := memberTable.Get(ctx, kv, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		next, err := change(row.Message)
		if next == nil || err != nil {
			return err
		}
		put, err := memberTable.Put(next, id)
		if err != nil {
			return err
		}
		_, err = kv.Commit(ctx, store.Txn{If: []store.Condition{{Key: put.Key, Revision: row.Revision}}, Put: []store.Put{put}})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
