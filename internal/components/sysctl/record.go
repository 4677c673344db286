package sysctl

import "aloft/internal/host"

// record is what the settings were before the component changed them.
type record struct {
	Before settings `json:"before"`
}

const recordFile = "sysctl.json"

func readRecord(workDir string) (record, error) {
	var r record
	_, err := host.ReadRecord(workDir, recordFile, &r)
	if r.Before == nil {
		r.Before = settings{}
	}
	return r, err
}

func (r record) write(workDir string) error { return host.WriteRecord(workDir, recordFile, r) }
