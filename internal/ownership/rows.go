package ownership

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"aloft/internal/ownership/ownershippb"
	"aloft/internal/store"
)

var (
	ownerTable = store.Table[*ownershippb.Owner]{Prefix: "owner", Schema: 1}
	beatTable  = store.Table[*ownershippb.Beat]{Prefix: "beat", Schema: 1}
)

// System names the shard of a system.
func System(name string) string { return store.Key("system", name) }

// Account names the shard of an account at a provider.
func Account(provider, account string) string { return store.Key("account", provider, account) }

// SystemOf returns the system that a shard is of, if it is one's.
func SystemOf(shard string) (name string, ok bool) {
	escaped, ok := strings.CutPrefix(shard, "system/")
	if !ok {
		return "", false
	}
	name, err := url.PathUnescape(escaped)
	return name, err == nil
}

// AccountOf returns the account that a shard is of, if it is one's.
func AccountOf(shard string) (provider, account string, ok bool) {
	rest, ok := strings.CutPrefix(shard, "account/")
	p, a, two := strings.Cut(rest, "/")
	provider, err1 := url.PathUnescape(p)
	account, err2 := url.PathUnescape(a)
	return provider, account, ok && two && err1 == nil && err2 == nil
}

// ownerKey is the key of a shard's row. The parts of a shard are escaped
// already.
func ownerKey(shard string) string { return ownerTable.Prefix + "/" + shard }

// ownerPut writes whose a shard is.
func ownerPut(shard, manager string, term int64) (store.Put, error) {
	b, err := ownerTable.Encode(&ownershippb.Owner{Manager: manager, Term: term})
	if err != nil {
		return store.Put{}, fmt.Errorf("row %s: %w", ownerKey(shard), err)
	}
	return store.Put{Key: ownerKey(shard), Value: b}, nil
}

// shardOf reads the key of a row. Rows of homes that had one manager are named
// by the system alone: they have no shard.
func shardOf(key string) (shard string, ok bool) {
	shard = strings.TrimPrefix(key, ownerTable.Prefix+"/")
	return shard, strings.Contains(shard, "/")
}

// migrate gives rows of the time when a home had one manager their present
// names and an owner. Repeating it changes nothing.
func migrate(ctx context.Context, kv store.KV, self string, entries []store.Entry) error {
	for _, e := range entries {
		old, is := shardOf(e.Key)
		if is {
			continue
		}
		r, err := ownerTable.Row(e)
		if err != nil {
			return err
		}
		put, err := ownerPut("system/"+old, self, r.Message.Term)
		if err != nil {
			return err
		}
		_, err = kv.Commit(ctx, store.Txn{
			If:  []store.Condition{{Key: e.Key, Revision: e.Revision}, {Key: put.Key}},
			Put: []store.Put{put}, Delete: []string{e.Key},
		})
		if err != nil && !errors.Is(err, store.ErrConflict) { // another manager was faster
			return fmt.Errorf("rename row %s: %w", e.Key, err)
		}
	}
	return nil
}
