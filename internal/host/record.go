package host

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// recordFile is the durable record of a component's process, in its work
// folder. It is written before a process is made and again after, so that
// whatever instant the daemon dies at, its successor finds the process.
const recordFile = "process.json"

type phase string

const (
	phaseStarting phase = "starting" // about to be made: look for the mark
	phaseRunning  phase = "running"  // made: pid and start identify it
	phaseEnded    phase = "ended"    // ended, and nothing of it is left
)

type processRecord struct {
	Phase    phase       `json:"phase"`
	Pid      int         `json:"pid,omitempty"`
	Start    uint64      `json:"start,omitempty"` // clock ticks after boot
	Boot     string      `json:"boot,omitempty"`
	Spec     string      `json:"spec"`             // digest of what a running process cannot change
	Limits   Limits      `json:"limits,omitempty"` // the others are the daemon's
	Ready    bool        `json:"ready,omitempty"`
	Output   int64       `json:"output"`           // size of the log when the process was made
	Log      string      `json:"log,omitempty"`    // that log
	Killed   *Killed     `json:"killed,omitempty"` // the process did not end when it was told to
	Restarts []time.Time `json:"restarts,omitempty"`
	Count    int         `json:"count"` // restarts in all
}

// readRecord returns nil if there is no record.
func readRecord(folder string) (*processRecord, error) {
	b, err := os.ReadFile(filepath.Join(folder, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r processRecord
	if err := json.Unmarshal(b, &r); err != nil {
		// Records are renamed into place, so only a power failure tears one, and
		// after that there is no process it could tell of.
		return nil, nil
	}
	return &r, nil
}

func (r *processRecord) write(folder string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Not synced: the record is for a later daemon of this boot. Disks are slow
	// where many machines start at once, and what a power failure loses of it
	// speaks of processes that are gone, too.
	return writeUnsynced(filepath.Join(folder, recordFile), b, 0o600)
}
