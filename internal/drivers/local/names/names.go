// Package names makes the names that everything of one home on a host bears:
// bridges, links, mounts, control groups and the arguments of the processes
// that keep machines. From a name alone it can be told whose a thing is, so
// that two homes on one host never touch each other's. The package only spells
// and reads names; it looks at nothing. It has no goroutines.
package names

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Home is the random id of a state folder: eight digits of lower-case
// hexadecimal.
type Home string

var homeID = regexp.MustCompile(`^[0-9a-f]{8}$`)

// ParseHome returns s as the id of a home.
func ParseHome(s string) (Home, error) {
	if !homeID.MatchString(s) {
		return "", fmt.Errorf("home id %q: want 8 hexadecimal digits", s)
	}
	return Home(s), nil
}

// prefix of every network interface of ours. Interface names have 15
// characters: 2 for it, 8 for the home, 5 for what it is.
const prefix = "al"

// Bridge is the name of the home's bridge number n.
func (h Home) Bridge(n int) string { return fmt.Sprintf("%s%sb%d", prefix, h, n) }

// Trunk is the name of the link that joins bridge n (n > 0) to bridge 0, and
// of its other end.
func (h Home) Trunk(n int) (here, there string) {
	return fmt.Sprintf("%s%st%d", prefix, h, n), fmt.Sprintf("%s%su%d", prefix, h, n)
}

// Link is the name, on the host, of the link of the machine whose address is
// number offset of the home's network.
func (h Home) Link(offset int) string { return fmt.Sprintf("%s%sm%03x", prefix, h, offset) }

// Owns reports whether the interface name is one of the home's.
func (h Home) Owns(link string) bool { return strings.HasPrefix(link, prefix+string(h)) }

// Offset reads a name that Link made.
func (h Home) Offset(link string) (int, bool) {
	digits, ok := strings.CutPrefix(link, prefix+string(h)+"m")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 16)
	return int(n), err == nil
}

// Source is the source of the mounts of a machine's disk, as /proc/mounts
// shows it.
func (h Home) Source() string { return "aloft-" + string(h) }

// Group is the control group that holds those of the home's machines.
func (h Home) Group() string { return "aloft-" + string(h) }

// Words that begin the arguments of the process that keeps a machine.
const (
	Init        = "init"
	ProcessFlag = "--process"
	homeFlag    = "--home-id"
	machineFlag = "--machine"
)

// InitArgs are the arguments, after the program's name, of the process that
// keeps a machine: process says that it keeps a process machine.
func (h Home) InitArgs(machine string, process bool) []string {
	args := []string{Init}
	if process {
		args = append(args, ProcessFlag)
	}
	return append(args, homeFlag, string(h), machineFlag, machine)
}

// ParseInit reads arguments that InitArgs made, after the program's name.
func ParseInit(args []string) (h Home, machine string, process, ok bool) {
	if len(args) > 1 && args[1] == ProcessFlag {
		process = true
		args = append([]string{args[0]}, args[2:]...)
	}
	if len(args) != 5 || args[0] != Init || args[1] != homeFlag || args[3] != machineFlag {
		return "", "", false, false
	}
	h, err := ParseHome(args[2])
	return h, args[4], process, err == nil && args[4] != ""
}

// Environment variables that init gives a machine's daemon, and that the
// daemon's components inherit. A process that bears MachineVar belongs to that
// machine, whatever became of its parents. LeashVar is the descriptor at which
// the daemon says when all that runs on the machine is to be ended.
const (
	HomeIDVar  = "ALOFT_HOST_HOME"
	MachineVar = "ALOFT_MACHINE"
	AddressVar = "ALOFT_ADDRESS"
	DataVar    = "ALOFT_USERDATA"
	StateVar   = "ALOFT_HOME"
	LeashVar   = "ALOFT_LEASH"
)
