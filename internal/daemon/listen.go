package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"aloft/internal/member"
	"aloft/internal/peer"
)

// advice is an error with what to do about it. The command line shows both.
type advice struct {
	error
	remedy string
}

func (a advice) Unwrap() error  { return a.error }
func (a advice) Remedy() string { return a.remedy }

func advise(remedy, format string, args ...any) error {
	return advice{fmt.Errorf(format, args...), remedy}
}

// listenAt checks an address that a daemon is to listen at, and that other
// daemons are to dial. Without one it chooses: the address from which toward,
// a host:port, is reached, or without that the one that leads out of this
// host, or else the loopback; and the usual port.
func listenAt(listen, toward string) (string, error) {
	if listen == "" {
		return net.JoinHostPort(sourceOf(toward), strconv.Itoa(peer.Port)), nil
	}
	at, err := netip.ParseAddrPort(listen)
	switch {
	case err != nil:
		return "", advise("as --listen 192.0.2.1:7400, or [2001:db8::1]:7400", "address to listen at %q: want an address and a port", listen)
	case at.Addr().IsUnspecified() || at.Addr().IsMulticast():
		return "", advise("give the one address that the other daemons reach this host by", "address to listen at %s: others cannot dial it", listen)
	case at.Port() == 0 || at.Port() == 65535:
		return "", advise("the port after it is the store's", "address to listen at %s: want a port from 1 to 65534", listen)
	}
	return at.String(), nil
}

// sourceOf returns the address of this host that packets to address come from.
// It sends none.
func sourceOf(address string) string {
	for _, to := range []string{address, "192.0.2.1:9", "[2001:db8::1]:9"} {
		if to == "" {
			continue
		}
		conn, err := net.Dial("udp", to)
		if err != nil {
			continue
		}
		defer conn.Close()
		if local := conn.LocalAddr().(*net.UDPAddr); !local.IP.IsUnspecified() {
			return local.IP.String()
		}
	}
	return "127.0.0.1"
}

// storePeer is where the store of a manager that listens at an address is
// reached by those of others: the next port.
func storePeer(listen string) string {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(at.Addr(), at.Port()+1).String()
}

// checkFree refuses an address that somebody listens at, or that this host has
// not.
func checkFree(listen string, roles []string) error {
	addresses := []string{listen}
	for _, r := range roles {
		if r == member.Manage {
			addresses = append(addresses, storePeer(listen))
		}
	}
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return advise("choose another with --listen; "+"'ss -ltnp' tells who listens there", "address %s is in use", a)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return advise("choose one with --listen; 'ip address' lists them", "address %s is not one of this host's", a)
		case err != nil:
			return fmt.Errorf("listen at %s: %w", a, err)
		}
		l.Close()
	}
	return nil
}
