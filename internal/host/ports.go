package host

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"aloft/component"
)

// PortHolder is a process that listens on a TCP port.
type PortHolder struct {
	Address netip.AddrPort
	Pid     int    // 0 if it belongs to a user whose processes we may not see
	Program string // "" if Pid is 0
}

// CheckPort returns an error that names the holder if a listener of this
// machine stands in the way of listening on address:port. The unspecified
// address is in the way of, and finds in its way, every address.
func CheckPort(address string, port int) error {
	h, taken := HolderOf(address, port)
	if !taken {
		return nil
	}
	who := "another user's process"
	if h.Pid != 0 {
		who = fmt.Sprintf("%s (pid %d)", h.Program, h.Pid)
	}
	return &component.Failure{
		Err:    fmt.Errorf("port %d on %s is in use by %s, which listens on %s", port, address, who, h.Address),
		Remedy: "choose another port, or end that program",
	}
}

// HolderOf finds the process that listens where address:port would.
func HolderOf(address string, port int) (PortHolder, bool) {
	want, err := netip.ParseAddr(address)
	if err != nil {
		want = netip.IPv4Unspecified()
	}
	want = want.Unmap()
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue // a kernel without IPv6 has none of it
		}
		found := listeners(f)
		f.Close()
		for _, s := range found {
			at := s.at.Addr().Unmap()
			if int(s.at.Port()) != port || at != want && !at.IsUnspecified() && !want.IsUnspecified() {
				continue
			}
			h := PortHolder{Address: netip.AddrPortFrom(at, s.at.Port())}
			if pid := socketHolder(s.inode); pid != 0 {
				h.Pid, h.Program = pid, programOf(pid)
			}
			return h, true
		}
	}
	return PortHolder{}, false
}

type listener struct {
	at    netip.AddrPort
	inode string
}

// listeners reads the listening sockets of a table of /proc/net/tcp or tcp6.
func listeners(table io.Reader) (found []listener) {
	for sc := bufio.NewScanner(table); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) < 10 || fields[3] != "0A" {
			continue
		}
		if at, ok := parseSocketAddress(fields[1]); ok {
			found = append(found, listener{at: at, inode: fields[9]})
		}
	}
	return found
}

// parseSocketAddress reads "0100007F:1F90": words of four bytes in the
// machine's order, which is little-endian on all we run on, then the port.
func parseSocketAddress(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(p)), true
}

func socketHolder(inode string) int {
	want := "socket:[" + inode + "]"
	for _, pid := range allPids() {
		dir := procPath(pid, "fd")
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if got, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && got == want {
				return pid
			}
		}
	}
	return 0
}
