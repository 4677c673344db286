package initd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// heedReserved gives the two signals that C libraries keep for themselves
// their usual effect again. Some parents (make is one) hand them on ignored;
// what is ignored stays so through every exec, and the Go runtime leaves these
// two alone.
func heedReserved() {
	// Zeroes are the default handler without flags in every layout of the
	// kernel's struct sigaction.
	var usual [4]uint64
	for _, sig := range []uintptr{32, 33} {
		// A kernel without them has nothing to reset.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&usual)), 0, unsafe.Sizeof(uint64(0)), 0, 0)
	}
}
