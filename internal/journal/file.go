package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"aloft/internal/journal/journalpb"
)

// ErrDamaged says that a journal's file does not hold what was written to it.
var ErrDamaged = errors.New("journal is damaged")

const (
	// schema is the number of the files' layout. A newer one is refused; the
	// first had no log beside the rows.
	schema = 2
	// checked is the largest file that Open reads through to find damage
	// before anything is decided from it.
	checked = 64 << 20
	// aheadSuffix makes the name of the log of the name of the file.
	aheadSuffix = ".ahead"
)

var (
	rowsBucket = []byte("rows")
	metaBucket = []byte("meta")
	schemaKey  = []byte("schema")
	idKey      = []byte("id")
	aheadKey   = []byte("ahead") // there has been a log: without it rows are missing
)

// File is a journal's rows in one bbolt file, and in a log beside it what came
// last. Save returns when its rows are on disk; what several goroutines save at
// the same time is written together, so that sixteen of them cost few flushes of
// the disk and a lone one waits for nobody.
type File struct {
	path string
	db   *bolt.DB
	log  *ahead // who commits has it

	mu sync.Mutex
	// The fields below are guarded by mu.
	queue      []*save
	committing bool          // some goroutine in Save writes for all
	closed     bool          // nobody else may
	expected   int           // how many may come by the next commit: those who came by the last two
	took       time.Duration // the last commit
	full       chan struct{} // has an element once as many as expected are queued

	recentMu sync.RWMutex
	// recent are the rows of the log, as they are to be in db; empty ones are
	// gone. Who commits changes it, under recentMu, and need not lock to read.
	recent map[string][]byte
}

var _ Rows = (*File)(nil)

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
	f := &File{path: path, db: db, full: make(chan struct{}, 1), recent: map[string][]byte{}}
	if err := f.check(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%w: %s (%v); move %s and %s away and start the daemon again: "+
		"it is told anew what it should hold, and finds what runs",
		ErrDamaged, path, cause, filepath.Base(path), filepath.Base(path)+aheadSuffix)
}

// check looks for damage, writes the layout's number to a new file, and reads
// the log.
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
	var id []byte
	var base uint64
	var logged bool
	err = f.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return fmt.Errorf("make the journal: %w", err)
		}
		if v := meta.Get(schemaKey); v != nil && (len(v) != 1 || v[0] > schema) {
			return fmt.Errorf("journal %s has layout %v, known is %d: written by a newer version; upgrade this daemon", f.path, v, schema)
		}
		rows, err := tx.CreateBucketIfNotExists(rowsBucket)
		if err != nil {
			return fmt.Errorf("make the journal: %w", err)
		}
		base = rows.Sequence()
		logged = meta.Get(aheadKey) != nil
		if id = slices.Clone(meta.Get(idKey)); id != nil {
			return nil
		}
		id = make([]byte, 16)
		_, _ = rand.Read(id) // does not fail
		if err := errors.Join(meta.Put(schemaKey, []byte{schema}), meta.Put(idKey, id)); err != nil {
			return fmt.Errorf("make the journal: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := os.Stat(f.path + aheadSuffix); logged && errors.Is(err, fs.ErrNotExist) {
		return damaged(f.path, fmt.Errorf("its log %s is gone", filepath.Base(f.path)+aheadSuffix))
	}
	f.log, err = openAhead(f.path+aheadSuffix, id, base, func(first uint64, b *journalpb.Batch) {
		for i, s := range b.GetSaves() {
			note(f.recent, s, first+uint64(i))
		}
	})
	if err != nil || logged {
		return err
	}
	err = f.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(aheadKey, []byte{1}) })
	if err != nil {
		return errors.Join(fmt.Errorf("make the journal: %w", err), f.log.file.Close())
	}
	return nil
}

// Close closes the file. Calls under way end first; later ones are refused.
func (f *File) Close() error {
	last := &save{last: true, wake: make(chan bool, 1)}
	if f.enter(last); errors.Is(last.err, errClosed) {
		return nil
	}
	// What cannot be settled now is in the log, and is by the next daemon.
	_ = f.settle()
	return errors.Join(f.log.file.Close(), f.db.Close())
}

// Load is part of Rows.
func (f *File) Load(_ context.Context, key string) (value []byte, revision int64, err error) {
	f.recentMu.RLock()
	defer f.recentMu.RUnlock()
	if row, ok := f.recent[key]; ok {
		value, revision = unpack(row)
		return slices.Clone(value), revision, nil
	}
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
	rows, err := f.rows(prefix)
	if err != nil {
		return fmt.Errorf("journal: read %s: %w", prefix, err)
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, revision := unpack(rows[key])
		if err := visit(key, value, revision); err != nil {
			return err
		}
	}
	return nil
}

// rows returns copies of the rows whose keys begin with prefix, packed.
func (f *File) rows(prefix string) (map[string][]byte, error) {
	f.recentMu.RLock()
	defer f.recentMu.RUnlock()
	rows := map[string][]byte{}
	err := f.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(rowsBucket).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			rows[string(k)] = slices.Clone(v)
		}
		return nil
	})
	for key, row := range f.recent {
		switch {
		case !strings.HasPrefix(key, prefix):
		case len(row) == 0:
			delete(rows, key)
		default:
			rows[key] = slices.Clone(row)
		}
	}
	return rows, err
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
