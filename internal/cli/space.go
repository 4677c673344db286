package cli

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// scant is the free space, in bytes, below which a daemon that has ended is
// taken to have ended for want of it.
const scant = 1 << 20

// fullDisk returns an error that says so when the disk of the home is full.
// Commands ask when a daemon has ended: its own last words go to a log on that
// same disk.
func (a *app) fullDisk() error {
	home, err := a.home()
	if err != nil {
		return nil // there is something worse to tell
	}
	var st unix.Statfs_t
	if err := unix.Statfs(home, &st); err != nil {
		return nil // likewise
	}
	if free := st.Bavail * uint64(st.Bsize); free < scant {
		return noRoom(home, free)
	}
	return nil
}

func noRoom(dir string, free uint64) error {
	return fail("free some space there, then run the command again: it goes on where it stopped",
		"the disk of %s is full: %d KiB are free, and the daemon cannot record what it does", dir, free>>10)
}

// orFull returns err, or what a full disk means for whoever wanted to write
// below dir.
func orFull(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return noRoom(dir, 0)
	}
	return err
}
