package service

import (
	"fmt"
	"path/filepath"

	"aloft/internal/host"
)

// record is how the component found its service, written before it changed
// anything: at the end the service is so again.
type record struct {
	// By is who runs it: the name of a keeper, or byCommand. It stays the same
	// for as long as the component lives.
	By string `json:"by"`
	// Name is the service's. The attributes need not have it at the end: of a
	// component that has never run they are those that its deploy was given.
	Name   string `json:"name,omitempty"`
	Active bool   `json:"active,omitempty"`
	// Levels are where it was enabled, as its keeper calls them.
	Levels []string `json:"levels,omitempty"`
}

const recordFile = "service.json"

// readRecord returns false if the component has not met its service yet.
func readRecord(workDir string) (record, bool, error) {
	var r record
	found, err := host.ReadRecord(workDir, recordFile, &r)
	if err != nil || !found {
		return r, false, err
	}
	if _, known := keepers[r.By]; !known && r.By != byCommand {
		return r, false, fmt.Errorf("record %s: nobody is called %q that could run a service", filepath.Join(workDir, recordFile), r.By)
	}
	if r.By != byCommand {
		if err := checkName(r.Name); err != nil {
			return r, false, fmt.Errorf("record %s: %w", filepath.Join(workDir, recordFile), err)
		}
	}
	return r, true, nil
}

func (r record) write(workDir string) error { return host.WriteRecord(workDir, recordFile, r) }
