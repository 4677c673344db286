package api

// The states of a daemon.
const (
	DaemonReady   = "ready"
	DaemonJoining = "joining"
	DaemonRefused = "refused" // the cluster did not let it in
	DaemonRemoved = "removed"
)

// DaemonStatus is what a daemon says of itself.
type DaemonStatus struct {
	PID      int      `json:"pid"`
	Roles    []string `json:"roles"`
	Address  string   `json:"address"` // where other daemons reach it
	Version  string   `json:"version"`
	Home     string   `json:"home"`
	HomeID   string   `json:"homeId"`   // eight hexadecimal digits
	Machines int      `json:"machines"` // that it manages and that exist now; of a host: that it holds
	Systems  int      `json:"systems"`
	ID       string   `json:"id"`                // UUID, as a member
	Name     string   `json:"name"`              // as a member
	Cluster  string   `json:"cluster,omitempty"` // id of the cluster; "" while it joins its first
	Members  int      `json:"members"`           // of the cluster; 0 unknown
	// State is joining until a manager's store votes, and removed once the
	// cluster has told it so.
	State  string `json:"state" enum:"ready,joining,refused,removed"`
	Reason string `json:"reason,omitempty"` // why it is not ready
	Quorum bool   `json:"quorum"`           // of a manager: a majority is in reach; of a host: a manager is
}

// StopResult says what goes on without the daemon that was stopped.
type StopResult struct {
	PID      int `json:"pid"`
	Machines int `json:"machines"` // that go on
}

// BlobQuery asks which contents are not there yet.
type BlobQuery struct {
	Digests []string `json:"digests"`
}

// BlobAnswer names the contents that have to be uploaded.
type BlobAnswer struct {
	Missing []string `json:"missing"`
}

// DoctorRequest asks for a look at the host, and with Fix for repair.
type DoctorRequest struct {
	Fix bool `json:"fix,omitempty" doc:"remove what is left over"`
	// HomeID names a deleted home whose things go too, with Fix.
	HomeID string `json:"homeId,omitempty" pattern:"^([0-9a-f]{8})?$"`
}

// DoctorReport is what the doctor found.
type DoctorReport struct {
	HomeID   string     `json:"homeId"` // of the daemon that looked
	Checks   []Check    `json:"checks"`
	LeftOver []LeftOver `json:"leftOver"`
}

// The results of a Check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning" // works, with a limit that the detail names
	CheckError   = "error"
)

// Check is one thing looked at.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state" enum:"ok,warning,error"`
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// LeftOver is something on the host that carries a home's id and belongs to
// nothing its ledger knows.
type LeftOver struct {
	Kind    string `json:"kind" example:"link"` // link, mount, cgroup, process, folder, machine
	Name    string `json:"name"`
	HomeID  string `json:"homeId"`
	Removed bool   `json:"removed,omitempty"`
	Reason  string `json:"reason,omitempty"` // why it is left over, or could not be removed
}
