package daemon

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// leashed returns how to say to the keeper of this machine, which started this
// daemon, by when it is to end all that runs here (agent.Config.Leash); nil
// where nobody keeps it.
func leashed(environ []string) func(until time.Duration) error {
	fd, err := strconv.Atoi(lookup(environ, "ALOFT_LEASH"))
	if err != nil || unix.SetNonblock(fd, true) != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	return func(until time.Duration) error {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(until))
		if _, err := unix.Write(fd, b[:]); err != nil { // all of it or nothing, as pipes do
			return fmt.Errorf("tell the keeper of this machine: %w", err)
		}
		return nil
	}
}
