package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"aloft/internal/journal/journalpb"
)

var errClosed = errors.New("journal: it is closed")

// save is one call of Save. Its caller gets true from wake when it is to
// commit the queue, which it is part of, and false when another has done so.
type save struct {
	keys      []string
	values    [][]byte
	revisions []int64
	last      bool // nobody may come after it
	saved     bool
	err       error
	wake      chan bool
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
	f.enter(s)
	return s.saved, s.err
}

// enter returns when s is committed, by itself or by another.
func (f *File) enter(s *save) {
	f.mu.Lock()
	if f.closed {
		s.err = errClosed // also of a second Close
		f.mu.Unlock()
		return
	}
	f.closed = s.last
	f.queue = append(f.queue, s)
	if len(f.queue) == f.expected {
		select {
		case f.full <- struct{}{}:
		default:
		}
	}
	lead := !f.committing
	f.committing = true
	f.mu.Unlock()
	if !lead {
		lead = <-s.wake
	}
	if lead {
		f.commit(s)
	}
}

// commit writes all that is queued, own included, with one flush, and then
// hands over to the first of those who came meanwhile.
func (f *File) commit(own *save) {
	f.gather()
	f.mu.Lock()
	batch := f.queue
	f.queue = nil
	f.mu.Unlock()
	begun := time.Now()

	err := f.write(batch)
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
	f.took, f.expected = time.Since(begun), len(batch)+len(f.queue)
	if f.committing = len(f.queue) > 0; f.committing {
		f.queue[0].wake <- true
	}
}

// gather waits, for a small part of what a commit takes, for those whom the
// last commit has let go and who are about to come again: else writers would
// fall into two groups, each of which waits for the other's flushes. One who
// writes alone waits for nobody.
func (f *File) gather() {
	f.mu.Lock()
	wait := min(f.took/4, time.Millisecond)
	enough := len(f.queue) >= f.expected
	select {
	case <-f.full: // of an earlier commit
	default:
	}
	f.mu.Unlock()
	if enough {
		return
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case <-f.full:
	case <-late.C:
	}
}

// write puts onto the disk what of the batch is at its revisions.
func (f *File) write(batch []*save) error {
	if f.log.full() {
		if err := f.settle(); err != nil {
			return err
		}
	}
	written := &journalpb.Batch{}
	changed := map[string][]byte{}
	err := f.db.View(func(tx *bolt.Tx) error {
		rows := tx.Bucket(rowsBucket)
		have := func(key string) int64 {
			row, ok := changed[key]
			if !ok {
				row, ok = f.recent[key]
			}
			if !ok {
				row = rows.Get([]byte(key))
			}
			_, revision := unpack(row)
			return revision
		}
		for _, s := range batch {
			if s.saved = len(s.keys) > 0 && s.fits(have); s.saved {
				row := s.row()
				note(changed, row, f.log.next+uint64(len(written.GetSaves())))
				written.Saves = append(written.Saves, row)
			}
		}
		return nil
	})
	if err != nil || len(written.GetSaves()) == 0 {
		return err
	}
	if err := f.log.append(written); err != nil {
		return err
	}
	f.recentMu.Lock()
	maps.Copy(f.recent, changed)
	f.recentMu.Unlock()
	return nil
}

// settle takes the rows of the log into the file of rows, in one transaction.
func (f *File) settle() error {
	if err := f.log.takeBack(); err != nil {
		return err // once the log begins anew it would pass for a later one
	}
	if len(f.recent) == 0 {
		return nil
	}
	err := f.db.Update(func(tx *bolt.Tx) error {
		rows := tx.Bucket(rowsBucket)
		for _, key := range slices.Sorted(maps.Keys(f.recent)) {
			var err error
			if row := f.recent[key]; len(row) == 0 {
				err = rows.Delete([]byte(key))
			} else {
				err = rows.Put([]byte(key), row)
			}
			if err != nil {
				return err
			}
		}
		return rows.SetSequence(f.log.next - 1)
	})
	if err != nil {
		return err
	}
	f.log.restart()
	f.recentMu.Lock()
	f.recent = map[string][]byte{}
	f.recentMu.Unlock()
	return nil
}

// fits says that all rows are at the revisions that they are written over.
func (s *save) fits(have func(key string) int64) bool {
	for i, key := range s.keys {
		if s.revisions[i] != Any && have(key) != s.revisions[i] {
			return false
		}
	}
	return true
}

func (s *save) row() *journalpb.Save {
	rows := make([]*journalpb.Row, len(s.keys))
	for i, key := range s.keys {
		rows[i] = &journalpb.Row{Key: []byte(key), Value: s.values[i], Gone: s.values[i] == nil}
	}
	return &journalpb.Save{Rows: rows}
}

// note enters the rows of a save into those that are to be in the file of rows.
func note(rows map[string][]byte, s *journalpb.Save, revision uint64) {
	for _, row := range s.GetRows() {
		if row.GetGone() {
			rows[string(row.GetKey())] = nil
		} else {
			rows[string(row.GetKey())] = pack(row.GetValue(), revision)
		}
	}
}
