package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrDamaged says that a journal's file does not hold what was written to it.
var ErrDamaged = errors.New("journal is damaged")

const (
	// schema is the number of the file's layout. A newer one is refused.
	schema = 1
	// checked is the largest file that Open reads through to find damage
	// before anything is decided from it.
	checked = 64 << 20
)

var (
	rowsBucket = []byte("rows")
	metaBucket = []byte("meta")
	schemaKey  = []byte("schema")
)

// File is a journal's rows in one bbolt file. Save returns when its rows are
// on disk; what several goroutines save at the same time is written together,
// so that sixteen of them cost few flushes of the disk and a lone one waits
// for nobody.
type File struct {
	path string
	db   *bolt.DB

	mu sync.Mutex
	// The fields below are guarded by mu.
	queue      []*save
	committing bool // some goroutine in Save writes for all
}

var _ Rows = (*File)(nil)

// save is one call of Save. Its caller gets true from wake when it is to
// commit the queue, which it is part of, and false when another has done so.
type save struct {
	keys      []string
	values    [][]byte
	revisions []int64
	saved     bool
	err       error
	wake      chan bool
}

// Open opens the file, or makes it with mode 0600. A file that another
// process has open, that is damaged, or that a newer aloft has written, is an
// error which says what to do. Close closes it.
func Open(path string) (_ *File, err error) {
	// A page that lies behind the end of a torn file is a fault of memory,
	// since the file is mapped.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, fmt.Errorf("%v", r))
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoStatistics: true,
	})
	var system syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("journal %s is in use by another daemon; end it with \"aloft daemon stop\" first", path)
	case errors.As(err, &system):
		return nil, fmt.Errorf("open the journal: %w", err)
	case err != nil: // bbolt's own, all of them about what the file holds
		return nil, damaged(path, err)
	}
	f := &File{path: path, db: db}
	if err := f.check(); err != nil {
		_ = db.Close()
		return nil, err
	}
	return f, nil
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%w: %s (%v); move the file away and start the daemon again: "+
		"it is told anew what it should hold, and finds what runs", ErrDamaged, path, cause)
}

// check looks for damage and writes the layout's number to a new file.
func (f *File) check() error {
	err := f.db.View(func(tx *bolt.Tx) error {
		st, err := os.Stat(f.path)
		if err != nil {
			return fmt.Errorf("open the journal: %w", err)
		}
		if st.Size() < tx.Size() {
			return damaged(f.path, fmt.Errorf("%d bytes of %d are left", st.Size(), tx.Size()))
		}
		if st.Size() <= checked {
			var first error
			for err := range tx.Check() { // must be received to its end
				if first == nil {
					first = err
				}
			}
			if first != nil {
				return damaged(f.path, first)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return fmt.Errorf("make the journal: %w", err)
		}
		switch v := meta.Get(schemaKey); {
		case v == nil:
			if err := meta.Put(schemaKey, []byte{schema}); err != nil {
				return fmt.Errorf("make the journal: %w", err)
			}
		case len(v) != 1 || v[0] > schema:
			return fmt.Errorf("journal %s has layout %v, known is %d: written by a newer version; upgrade this daemon", f.path, v, schema)
		}
		if _, err := tx.CreateBucketIfNotExists(rowsBucket); err != nil {
			return fmt.Errorf("make the journal: %w", err)
		}
		return nil
	})
}

// Close closes the file. Calls under way end first.
func (f *File) Close() error { return f.db.Close() }

// Load is part of Rows.
func (f *File) Load(_ context.Context, key string) (value []byte, revision int64, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		value, revision = unpack(tx.Bucket(rowsBucket).Get([]byte(key)))
		value = slices.Clone(value) // the map ends with the transaction
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("journal: read %s: %w", key, err)
	}
	return value, revision, nil
}

// Scan is part of Rows. Rows are copied before the first visit: a visit may
// save.
func (f *File) Scan(ctx context.Context, prefix string, visit func(key string, value []byte, revision int64) error) error {
	type row struct{ key, value []byte }
	var rows []row
	err := f.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(rowsBucket).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			rows = append(rows, row{slices.Clone(k), slices.Clone(v)})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal: read %s: %w", prefix, err)
	}
	for _, r := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, revision := unpack(r.value)
		if err := visit(string(r.key), value, revision); err != nil {
			return err
		}
	}
	return nil
}

// Save is part of Rows. Once begun it is not given up: ctx is looked at before.
func (f *File) Save(ctx context.Context, keys []string, values [][]byte, revisions []int64) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	for _, k := range keys {
		if k == "" || len(k) > bolt.MaxKeySize {
			return false, fmt.Errorf("journal: a key of %d bytes", len(k))
		}
	}
	s := &save{keys: keys, values: values, revisions: revisions, wake: make(chan bool, 1)}
	f.mu.Lock()
	f.queue = append(f.queue, s)
	lead := !f.committing
	f.committing = true
	f.mu.Unlock()
	if !lead {
		lead = <-s.wake
	}
	if lead {
		f.commit(s)
	}
	return s.saved, s.err
}

// commit writes all that is queued, own included, in one transaction, and
// then hands over to the first of those who came meanwhile.
func (f *File) commit(own *save) {
	f.mu.Lock()
	batch := f.queue
	f.queue = nil
	f.mu.Unlock()

	err := f.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(rowsBucket)
		for _, s := range batch {
			if err := s.apply(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: free some space on the disk of %s", err, f.path)
		}
		err = fmt.Errorf("journal: write: %w", err)
	}
	for _, s := range batch {
		if err != nil {
			s.saved, s.err = false, err
		}
		if s != own {
			s.wake <- false
		}
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.committing = len(f.queue) > 0; f.committing {
		f.queue[0].wake <- true
	}
}

// apply writes the rows of one call, if all of them are at their revisions.
func (s *save) apply(b *bolt.Bucket) error {
	for i, key := range s.keys {
		if _, have := unpack(b.Get([]byte(key))); s.revisions[i] != Any && have != s.revisions[i] {
			return nil
		}
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	for i, key := range s.keys {
		if s.values[i] == nil {
			err = b.Delete([]byte(key))
		} else {
			err = b.Put([]byte(key), pack(s.values[i], n))
		}
		if err != nil {
			return err
		}
	}
	s.saved = true
	return nil
}

func pack(value []byte, revision uint64) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), revision), value...)
}

func unpack(v []byte) (value []byte, revision int64) {
	if len(v) < 8 {
		return nil, 0
	}
	return v[8:], int64(binary.BigEndian.Uint64(v))
}
