package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// disk is a file system of its own, made full by taking its room away.
type disk struct {
	t    *testing.T
	dir  string
	size uint64
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, dir: t.TempDir(), size: 256 << 20}
	if err := unix.Mount("aloft-test", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", d.size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fill leaves so many bytes free. What is being written meanwhile can make the
// kernel refuse, so it is asked again.
func (d *disk) fill(free uint64) {
	d.t.Helper()
	eventually(d.t, "the disk is full", func() bool {
		var st unix.Statfs_t
		if err := unix.Statfs(d.dir, &st); err != nil {
			d.t.Fatal(err)
		}
		used := (st.Blocks - st.Bfree) * uint64(st.Bsize)
		return unix.Mount("aloft-test", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", used+free)) == nil
	})
}

func (d *disk) makeRoom() {
	d.t.Helper()
	if err := unix.Mount("aloft-test", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", d.size)); err != nil {
		d.t.Fatal(err)
	}
}

func write(s *Store, key string, size int) error {
	_, err := s.Commit(context.Background(), Txn{Put: []Put{{Key: key, Value: make([]byte, size)}}})
	return err
}

// Writers are at work when the disk becomes full: they are refused with the
// reason, nobody ends, what was acknowledged is there, and all goes on by itself.
func TestFullDiskRefusesWritesUntilThereIsRoom(t *testing.T) {
	d := newDisk(t)
	dir := filepath.Join(d.dir, "store")
	s := open(t, dir)
	for round := range 3 {
		refused := make(chan error)
		acknowledged := 0
		go func() {
			for {
				if err := write(s, fmt.Sprintf("row/%d/%06d", round, acknowledged), 1000); err != nil {
					refused <- err
					return
				}
				acknowledged++
			}
		}()
		time.Sleep(50 * time.Millisecond)
		d.fill(0)
		select {
		case err := <-refused:
			// In one of some hundred cases etcd is about to write a file of its own
			// and ends; then the reason is its own.
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "disk") || !strings.Contains(err.Error(), "is full: ") || !strings.Contains(err.Error(), "free some space") {
				t.Errorf("round %d: %v", round, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the writer was not refused")
		}
		if acknowledged == 0 {
			t.Errorf("round %d: nothing was written before", round)
		}
		d.makeRoom()
		eventually(t, "writes are taken again", func() bool { return write(s, "after", 1) == nil })
		if rows, _, err := s.List(t.Context(), fmt.Sprintf("row/%d/", round)); err != nil || len(rows) < acknowledged {
			t.Errorf("round %d: %d rows of %d acknowledged, %v", round, len(rows), acknowledged, err)
		}
	}
	s.Close()
	if _, err := open(t, dir).Get(t.Context(), "after"); err != nil {
		t.Error(err)
	}
}

// The log begins a segment when there is no room for the one after it.
func TestLogWithoutRoomForItsNextSegmentWaitsForIt(t *testing.T) {
	d := newDisk(t)
	dir := filepath.Join(d.dir, "store")
	s := open(t, dir)
	if err := write(s, "before", 1); err != nil {
		t.Fatal(err)
	}
	d.fill(6 << 20)
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err = write(s, "big", 100_000); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("got %v", err)
	}
	d.makeRoom()
	eventually(t, "writes are taken again", func() bool { return write(s, "after", 1) == nil })
	for _, key := range []string{"before", "after"} {
		if _, err := s.Get(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	for range 200 { // more than a segment
		if err := write(s, "big", 100_000); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnlyFolderRefusesWritesUntilItIsWritable(t *testing.T) {
	d := newDisk(t)
	dir := filepath.Join(d.dir, "store")
	s := open(t, dir)
	if err := write(s, "a", 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	var err error
	eventually(t, "writes are refused", func() bool {
		err = write(s, "b", 1)
		return err != nil
	})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "is read-only: make it writable") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), "a"); err != nil {
		t.Errorf("read: %v", err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "writes are taken again", func() bool { return write(s, "b", 1) == nil })
}

// Of three managers one has a full disk: it steps aside, the others go on, and
// it comes back with all that was written meanwhile.
func TestMemberWithAFullDiskStepsAsideAndComesBack(t *testing.T) {
	d := newDisk(t)
	c := newCluster(t, 1)
	c.dir = d.dir
	full := c.add()
	c.dir = t.TempDir()
	c.add()
	w := full.Watch(t.Context(), "w/", put(t, full, "w/a", "1"))
	equal(t, next(t, w, 1), []string{"w/a=1"})
	d.fill(0)
	eventually(t, "it refuses writes", func() bool { return errors.Is(write(full, "x", 1), ErrUnavailable) })
	eventually(t, "the others go on", func() bool { return write(c.members[0], "y", 1) == nil })
	put(t, c.members[2], "w/a", "2")
	eventually(t, "it has stopped, and says why", func() bool {
		_, err := full.Local().Get(t.Context(), "w/a")
		return errors.Is(err, ErrUnavailable) && strings.Contains(err.Error(), "is full")
	})
	d.makeRoom()
	equal(t, next(t, w, 1), []string{"w/a=2"})
	eventually(t, "it writes again", func() bool { return write(full, "x", 1) == nil })
}

// What etcd cannot bear ends the member; the process and the store live on.
func TestFailedMemberIsStartedAgain(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "a", "1")
	m := s.member
	go m.etcd.GetLogger().Fatal("planted", zap.Error(errors.New("no reason")))
	eventually(t, "another member runs", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.member != nil && s.member != m
	})
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
		t.Errorf("%+v, %v", e, err)
	}
}
