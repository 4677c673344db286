package daemon

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/agent"
)

// bootClock counts from this machine's boot, also while it is suspended. Where
// the kernel does not say which boot it is, no tenure lasts.
func bootClock() agent.Clock {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	boot := strings.TrimSpace(string(id))
	return func() (string, time.Duration) {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
			return "", 0
		}
		return boot, time.Duration(t.Nano())
	}
}
