// Package light makes the parts of a light machine: its disk, a copy-on-write
// increment over the host's own root; its namespaces with the mounts in them;
// its link into the home's bridge. The manager's side (Tree, Net) runs in the
// managing daemon, the machine's side (Enter) in the process that becomes the
// machine's process 1.
//
// A machine's root is stacked: the host's file systems; over them a few files
// in memory, written at each boot, which hide the host's private parts and
// settle what is the same in all machines; over that the machine's own disk.
//
// Everything but the bridge, the host's end of the link and the folder lives in
// the machine's namespaces and goes with its process 1. Process 1 goes on only
// when the managing daemon has told it to, after writing down who it is: a
// daemon that is killed before leaves nothing that runs.
//
// The package keeps no records and decides nothing about addresses. It has no
// goroutines. A light machine is a convenience, not a security boundary: its
// processes are the host's root.
package light

import (
	"net"
	"net/netip"
)

// Places inside every light machine.
const (
	BinaryPath = "/usr/lib/aloft/aloft"
	StatePath  = "/var/lib/aloft"
	DataPath   = StatePath + "/userdata.json"
	LogPath    = "/var/log/aloft/daemon.log"
	ProxyPort  = 3142
)

// Spec is what process 1 must know to become the machine. It is handed over as
// JSON.
type Spec struct {
	Home     string       `json:"home"`
	Machine  string       `json:"machine"`
	Hostname string       `json:"hostname"`
	Folder   string       `json:"folder"` // of the machine on the host
	Stack    []Layer      `json:"stack"`  // parents before what is mounted in them
	Binary   string       `json:"binary"` // on the host
	Address  netip.Prefix `json:"address"`
	Gateway  netip.Addr   `json:"gateway"`
	Hidden   []string     `json:"hidden"` // further folders of the host to mask
}

// Layer is one file system of the host that the machine's root is made of.
type Layer struct {
	Point string `json:"point"` // where it is mounted, on the host and in the machine
	Name  string `json:"name"`  // a number, in the names of its increment's folders
}

// upper and work are the folders of a layer's increment, in the machine's.
func (l Layer) upper() string { return "upper" + l.Name }
func (l Layer) work() string  { return "work" + l.Name }

// hardware returns the hardware address that goes with an IPv4 address.
// Because one follows from the other, both sides of a link can be told each
// other's before either is up.
func hardware(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0xa1, b[0], b[1], b[2], b[3]}
}
