package store

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
)

func TestStateSurvivesCloseAndOpen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	rev := put(t, s, "a", "1")
	s.Close()
	s = open(t, dir)
	e, err := s.Get(t.Context(), "a")
	if err != nil || string(e.Value) != "1" || e.Revision != rev {
		t.Errorf("got %+v, %v", e, err)
	}
	equal(t, next(t, s.Watch(t.Context(), "", rev), 1), []string{"a=1"})
}

func TestFolderCanBeMoved(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "one"))
	put(t, s, "a", "1")
	s.Close()
	if err := os.Rename(filepath.Join(dir, "one"), filepath.Join(dir, "two")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, filepath.Join(dir, "two")).Get(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestSecondDaemonIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	_, err := Open(t.Context(), Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Errorf("got %v", err)
	}
}

func TestLongFolderNameWorksAndLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone has /proc/self/fd")
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, strings.Repeat("long-", 30))
	s := open(t, dir)
	put(t, s, "a", "1")
	s.Close()
	left, _ := filepath.Glob(filepath.Join(dir, "*.sock"))
	if len(left) > 0 {
		t.Errorf("left %v", left)
	}
	open(t, dir)
}

// A member alone takes no TCP port: two of them cannot meet, and nobody else
// can reach them.
func TestMemberListensOnNoPort(t *testing.T) {
	s := open(t, t.TempDir())
	for _, p := range s.member.etcd.Peers {
		if p.Addr().Network() != "unix" {
			t.Errorf("peer address %v", p.Addr())
		}
	}
	if len(s.member.etcd.Clients) > 0 {
		t.Errorf("client addresses %v", s.member.etcd.Clients)
	}
}

func TestLeaseEndsWhenItIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		defer m.Close()
		ctx := t.Context()
		lease, _ := m.Grant(ctx, 1500*time.Millisecond) // two whole seconds
		if _, err := m.Commit(ctx, Txn{Put: []Put{{Key: "a", Lease: lease}}}); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(1900 * time.Millisecond)
			if err := m.Renew(ctx, lease); err != nil {
				t.Fatal(err)
			}
		}
		w := m.Watch(ctx, "a", 3)
		start := time.Now()
		equal(t, tell((<-w).Changes), []string{"-a"})
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("the row went after %v", d)
		}
		if err := m.Renew(ctx, lease); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("renew an ended lease: %v", err)
		}
	})
}

// The same on every form takes its time, which is at least a second.
func TestLeaseOfAnyFormEndsWhenItIsNotRenewed(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real lease")
	}
	each(t, func(t *testing.T, kv full) {
		lease, err := kv.Grant(t.Context(), time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		rev, err := kv.Commit(t.Context(), Txn{Put: []Put{{Key: "a", Lease: lease}}})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, next(t, kv.Watch(t.Context(), "", rev+1), 1), []string{"-a"})
		if err := kv.Renew(t.Context(), lease); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("renew an ended lease: %v", err)
		}
	})
}

func TestMemoryForgetsOldHistoryByItself(t *testing.T) {
	m := NewMemory()
	defer m.Close()
	for range 2*history + 2 {
		put(t, m, "a", "")
	}
	if n := len(m.changes); n > 2*history {
		t.Errorf("keeps %d changes", n)
	}
	if b := <-m.Watch(t.Context(), "", 2); !errors.Is(b.Err, ErrCompacted) {
		t.Errorf("watch from the start: %+v", b)
	}
}

var parts = Table[*peerpb.Part]{Prefix: "parts", Schema: 2}

func TestTableReadsWhatItWrote(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		p, err := parts.Put(&peerpb.Part{System: "guestbook", Revision: 3}, "guestbook", "web/1")
		if err != nil {
			t.Fatal(err)
		}
		rev, err := kv.Commit(t.Context(), Txn{Put: []Put{p}})
		if err != nil {
			t.Fatal(err)
		}
		put(t, kv, "parts/guestbook2/a", "another system's row, not to be read")
		rows, at, err := parts.List(t.Context(), kv, "guestbook")
		if err != nil || len(rows) != 1 || rows[0].Revision != rev || at < rev {
			t.Fatal(rows, at, err)
		}
		if got, want := rows[0].Key, parts.Key("guestbook", "web/1"); got != want {
			t.Errorf("key %q, want %q", got, want)
		}
		row, err := parts.Get(t.Context(), kv, "guestbook", "web/1")
		if err != nil || row.Message.Revision != 3 {
			t.Errorf("got %v, %v", row.Message, err)
		}
		if _, err := parts.Get(t.Context(), kv, "none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("missing row: %v", err)
		}
	})
}

func TestTableKeepsFieldsItDoesNotKnow(t *testing.T) {
	body, _ := proto.Marshal(&peerpb.Part{System: "a"})
	body = protowire.AppendTag(body, 1000, protowire.BytesType)
	body = protowire.AppendString(body, "of a later version")
	b := protowire.AppendTag(nil, schemaField, protowire.VarintType)
	b = protowire.AppendVarint(b, 2)
	b = protowire.AppendTag(b, messageField, protowire.BytesType)
	b = protowire.AppendBytes(b, body)
	m, err := parts.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	m.Revision = 7
	again, err := parts.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(again, []byte("of a later version")) {
		t.Error("the field was lost")
	}
}

func TestTableUpgradesOlderAndRefusesNewerSchemas(t *testing.T) {
	old, newer := parts, parts
	old.Schema, newer.Schema = 1, 3
	b, err := newer.Encode(&peerpb.Part{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parts.Decode(b); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("newer: %v", err)
	}
	if b, err = old.Encode(&peerpb.Part{System: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := parts.Decode(b); err == nil {
		t.Error("an older row was read without an upgrade")
	}
	upgrading := parts
	upgrading.Upgrade = func(from uint32, p *peerpb.Part) error {
		p.Machine = p.System
		return nil
	}
	if p, err := upgrading.Decode(b); err != nil || p.Machine != "a" {
		t.Errorf("got %v, %v", p, err)
	}
}

func FuzzTableDecode(f *testing.F) {
	good, _ := parts.Encode(&peerpb.Part{System: "guestbook", Revision: 3})
	f.Add(good)
	f.Add([]byte{})
	f.Add(good[:len(good)-2])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parts.Decode(b)
		if err != nil {
			return
		}
		again, err := parts.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		n, err := parts.Decode(again)
		if err != nil || !proto.Equal(m, n) {
			t.Errorf("%v became %v, %v", m, n, err)
		}
	})
}

func FuzzKeyKeepsItsPartsApart(f *testing.F) {
	f.Add("a", "b/c")
	f.Add("", "%2F")
	f.Fuzz(func(t *testing.T, a, b string) {
		key := Key(a, b)
		first, second, _ := strings.Cut(key, "/")
		gotA, errA := url.PathUnescape(first)
		gotB, errB := url.PathUnescape(second)
		if err := errors.Join(errA, errB); err != nil || gotA != a || gotB != b || strings.Count(key, "/") != 1 {
			t.Errorf("%q, %q became %q: %q, %q, %v", a, b, key, gotA, gotB, err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		s := open(b, b.TempDir())
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(map[int]string{1: "1", 16: "16"}[writers], func(b *testing.B) {
			s := open(b, b.TempDir())
			var n atomic.Int64
			b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				key := Key("k", strconv.FormatInt(n.Add(1), 10))
				for pb.Next() {
					if _, err := s.Commit(b.Context(), Txn{Put: []Put{{Key: key, Value: make([]byte, 200)}}}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func TestFormerOwnerWritesNothing(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		owned := Condition{Key: "owner/guestbook", Revision: put(t, kv, "owner/guestbook", "me")}
		write := func(value string) error {
			_, err := kv.Commit(t.Context(), Txn{
				If:  []Condition{owned},
				Put: []Put{{Key: "system/guestbook", Value: []byte(value)}},
			})
			return err
		}
		if err := write("mine"); err != nil {
			t.Fatal(err)
		}
		put(t, kv, "owner/guestbook", "another")
		var conflict *ConflictError
		if err := write("stale"); !errors.As(err, &conflict) || conflict.Key != owned.Key {
			t.Errorf("a former owner wrote: %v", err)
		}
		if e, err := kv.Get(t.Context(), "system/guestbook"); err != nil || string(e.Value) != "mine" {
			t.Errorf("row %q, %v", e.Value, err)
		}
	})
}
