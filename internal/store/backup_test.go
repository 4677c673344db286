package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBackupIsRestoredRowByRow(t *testing.T) {
	each(t, func(t *testing.T, kv full) {
		ctx := t.Context()
		var want []string
		for i := range 2*MaxTxnOp + 3 { // several transactions
			key := fmt.Sprintf("row/%04d", i)
			want = append(want, key+"="+key)
			put(t, kv, key, key)
		}
		for i := range 5 { // and such as are large
			key := fmt.Sprint("wide/", i)
			put(t, kv, key, strings.Repeat("x", MaxRow))
		}
		put(t, kv, "gone", "a secret that was removed")
		lease, err := kv.Grant(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Commit(ctx, Txn{Delete: []string{"gone"}, Put: []Put{{Key: "leased", Lease: lease}}}); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		rows, revision, err := Backup(ctx, kv.Local(), &file)
		if err != nil || rows != len(want)+5 || revision == 0 {
			t.Fatalf("%d rows at %d, %v", rows, revision, err)
		}
		if bytes.Contains(file.Bytes(), []byte("removed")) {
			t.Error("the backup has what was removed before")
		}
		cfg := Config{Dir: filepath.Join(t.TempDir(), "new"), Log: slog.New(slog.DiscardHandler), Name: "another"}
		if n, err := Restore(ctx, cfg, bytes.NewReader(file.Bytes())); err != nil || n != rows {
			t.Fatalf("%d rows, %v", n, err)
		}
		s := open(t, cfg.Dir)
		entries, _, err := s.List(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			if strings.HasPrefix(e.Key, "row/") {
				got = append(got, e.Key+"="+string(e.Value))
			}
		}
		equal(t, got, want)
		if len(entries) != rows {
			t.Errorf("%d rows, want %d", len(entries), rows)
		}
		if _, err := Restore(ctx, cfg, bytes.NewReader(file.Bytes())); err == nil || !strings.Contains(err.Error(), "holds a store already") {
			t.Errorf("restore over a store: %v", err)
		}
	})
}

func TestDamagedBackupFoundsNoStore(t *testing.T) {
	m := NewMemory()
	defer m.Close()
	put(t, m, "a", "1", "b", "2")
	var file bytes.Buffer
	if _, _, err := Backup(t.Context(), m, &file); err != nil {
		t.Fatal(err)
	}
	good := file.Bytes()
	flipped := slices.Clone(good)
	flipped[len(magic)+3] ^= 1 // in a value
	for name, b := range map[string][]byte{"flipped": flipped, "short": good[:len(good)-1], "without rows": good[:len(magic)], "empty": nil} {
		dir := filepath.Join(t.TempDir(), "new")
		_, err := Restore(t.Context(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}, bytes.NewReader(b))
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

func FuzzReadBackup(f *testing.F) {
	m := NewMemory()
	defer m.Close()
	_, _ = m.Commit(context.Background(), Txn{Put: []Put{{Key: "a", Value: []byte("1")}, {Key: "b"}}})
	var file bytes.Buffer
	if _, _, err := Backup(context.Background(), m, &file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(magic + "\x00"))
	f.Add([]byte(magic + "\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := NewMemory()
		defer m.Close()
		var put []Put
		err := ReadBackup(bytes.NewReader(b), func(key string, value []byte) error {
			put = append(put, Put{Key: key, Value: value})
			return nil
		})
		if err != nil || len(put) > MaxTxnOp {
			return
		}
		if _, err := m.Commit(t.Context(), Txn{Put: put}); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if _, _, err := Backup(t.Context(), m, &again); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, again.Bytes()) {
			t.Errorf("%q was read, and is written as %q", b, again.Bytes())
		}
	})
}

// The majority is lost for ever, folders and all: one survivor goes on alone,
// and others can join it.
func TestSurvivorIsRecoveredWithAllItHas(t *testing.T) {
	c := newCluster(t, 3)
	leader := c.leader()
	s := c.members[leader]
	rev := put(t, s, "a", "1")
	others := slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == leader })
	c.stop(others[0])
	// What the survivor has when the last but one goes may have been acknowledged,
	// or not: it must be kept. Whether it was is a matter of who is faster.
	var writing sync.WaitGroup
	writing.Go(func() {
		hurried, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, _ = s.Commit(hurried, Txn{Put: []Put{{Key: "last", Value: []byte("1")}}})
	})
	c.stop(others[1])
	writing.Wait()
	hurried, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Commit(hurried, Txn{Put: []Put{{Key: "later"}}}); err == nil {
		t.Fatal("a minority wrote")
	}
	c.stop(leader)
	cfg := c.configs[leader]
	for range 2 { // it can be repeated
		if err := Recover(within(t, 20*time.Second), cfg); err != nil {
			t.Fatal(err)
		}
	}
	s = c.start(leader)
	for _, key := range []string{"a", "last"} {
		if e, err := s.Get(within(t, 20*time.Second), key); err != nil || string(e.Value) != "1" || key == "a" && e.Revision != rev {
			t.Errorf("row %s: %+v, %v", key, e, err)
		}
	}
	put(t, s, "a", "2")
	if all, err := s.Members(t.Context()); err != nil || len(all) != 1 || all[0].Learner {
		t.Errorf("members %+v, %v", all, err)
	}
	// One of the lost comes back: it is told, and takes part in nothing.
	back, err := Open(t.Context(), c.configs[(leader+1)%3])
	if err == nil {
		eventually(t, "the former member knows", func() bool {
			_, err = back.Local().Get(t.Context(), "a")
			return err != nil
		})
		back.Close()
	}
	if !errors.Is(err, ErrRemoved) {
		t.Errorf("the former member: %v", err)
	}
	// New managers join, in new folders.
	put(t, c.add(), "a", "3")
}

func TestRecoveryOfNothingSaysSo(t *testing.T) {
	if err := Recover(t.Context(), Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}); err == nil ||
		!strings.Contains(err.Error(), "there is no store") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	open(t, dir)
	if err := Recover(t.Context(), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Errorf("got %v", err)
	}
}
