package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Free space. A member that cannot write ends, and may not be able to start
// again in the same process. So it has in reserve what it writes next: etcd
// itself allocates a segment of its log ahead, and the file of rows gets some
// room here. What cannot be reserved makes the store refuse writes while there
// is still enough for those under way, and stops a member that others make
// write.
const (
	spaceNew   = 2*walSegment + 4<<20 // to found a member: two segments of its log
	spaceStart = 1 << 20              // to start it
	spaceLog   = walSegment + 4<<20   // to start it where the next segment was lacking
	spaceWrite = 1 << 20              // below it writes are refused
	spaceAgain = 2 << 20              // from it on they are taken again
	spaceRows  = 4 << 20              // in reserve in the file of rows
)

// room refuses to start a member on a full disk.
func room(dir string) error { return roomFor(dir, spaceStart) }

func roomFor(dir string, need uint64) error {
	if _, err := os.Stat(filepath.Join(dir, "etcd")); errors.Is(err, fs.ErrNotExist) {
		need = spaceNew
	}
	free, err := free(dir)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("%w, then start again", tight(dir, free, need))
	}
	return nil
}

// free returns the bytes that can be written in a folder.
func free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("folder of the store %s: %w", dir, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return 0, fmt.Errorf("the folder of the store %s is read-only: make it writable", dir)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// reserve allocates what the file of rows grows by next.
func reserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size+spaceRows)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // free space has to do
	}
	return err
}

// ahead reports whether the log has its next segment. etcd asks for it once,
// when it begins one, and ends when it needs one that it did not get.
func ahead(dir string) bool {
	segments, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.tmp"))
	if err != nil {
		return false
	}
	for _, path := range segments {
		if st, err := os.Stat(path); err == nil && st.Size() >= walSegment {
			return true
		}
	}
	return false
}

// space is what is known of the disk.
type space struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	lacking time.Time // since when there is no next segment; zero: there is one
	written int       // bytes of rows since the disk was last looked at
}

// errSegment is told when the log's next segment is lacking.
var errSegment = errors.New("its log cannot grow")

// full says why no writes should be taken, and whether the member must stop.
func (d *space) full(dir string, size int64, alone, before bool) (why error, stop bool) {
	n, err := free(dir)
	if err != nil {
		return err, !alone
	}
	d.mu.Lock()
	has := ahead(dir)
	if has {
		d.lacking = time.Time{}
	} else if d.lacking.IsZero() {
		d.lacking = time.Now()
	}
	lacks := !has && time.Since(d.lacking) > time.Second
	d.written = 0
	d.mu.Unlock()
	least := uint64(spaceWrite)
	if before {
		least = spaceAgain
	}
	switch err := reserve(filepath.Join(dir, "etcd", "member", "snap", "db"), size); {
	case lacks && n < spaceLog:
		return tight(dir, n, spaceLog), true
	case lacks:
		return errSegment, true
	case n < least, !has && (n < walSegment || before), err != nil:
		return tight(dir, n, spaceAgain), !alone
	}
	return nil, false
}

func tight(dir string, free, need uint64) error {
	return fmt.Errorf("the disk of %s is full: %d KiB are free, the store needs %d KiB: free some space there", dir, free>>10, need>>10)
}

// weigh refuses and takes writes as the disk has room. The error says why the
// member must stop.
func (s *Store) weigh(m *member) error {
	s.mu.Lock()
	before := s.full
	s.mu.Unlock()
	why, stop := m.space.full(s.cfg.Dir, m.etcd.Server.Backend().Size(), len(m.members()) < 2, before != nil)
	if why == nil && before != nil {
		s.cfg.Log.Info("the store takes writes again")
	}
	if why != nil && before == nil {
		s.cfg.Log.Error("the store takes no writes", "error", why)
	}
	var refusal error
	if why != nil {
		refusal = unavailable(why)
	}
	s.mu.Lock()
	s.full = refusal
	s.mu.Unlock()
	if stop {
		return why
	}
	return nil
}

// account looks at the disk before a write: whether it has become full in every
// case, and at all the rest before much of the reserve is used.
func (s *Store) account(m *member, bytes int) error {
	m.space.mu.Lock()
	m.space.written += bytes
	much := m.space.written > spaceRows/4
	m.space.mu.Unlock()
	if n, err := free(s.cfg.Dir); err == nil && n >= spaceWrite && !much {
		return nil
	}
	if why := s.weigh(m); why != nil {
		return unavailable(why) // tend finds it too, and stops the member
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}
