package webapp

import (
	"context"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/catalina"
)

// record is what is of the component: the WAR in its work folder, and what it
// has placed in Tomcats. It is written before anything is placed.
type record struct {
	Source string   `json:"source"` // of the WAR in the work folder
	Serial int      `json:"serial"` // of the last that was placed
	Placed []placed `json:"placed"` // oldest first
}

type placed struct {
	Tomcat catalina.Tomcat `json:"tomcat"`
	Path   string          `json:"path"`
	Source string          `json:"source"`
	Drain  time.Duration   `json:"drain"`
	Serial int             `json:"serial"`
}

const recordFile = "webapp.json"

func readRecord(workDir string) (r record, err error) {
	_, err = host.ReadRecord(workDir, recordFile, &r)
	if err != nil {
		return record{}, err
	}
	return r, nil
}

func (r *record) write(workDir string) error { return host.WriteRecord(workDir, recordFile, r) }

// same reports whether two are one but for their numbers. A Tomcat that was
// given another port is the same Tomcat.
func (p placed) same(q placed) bool {
	return p.Tomcat.Home == q.Tomcat.Home && p.Path == q.Path && p.Source == q.Source && p.Drain == q.Drain
}

func (p placed) version(c *component.Call) catalina.Version {
	return catalina.Version{Tomcat: p.Tomcat, Path: p.Path, Owner: host.ServiceName(c), Serial: p.Serial}
}

// removeOld takes away all but the newest.
func (r *record) removeOld(ctx context.Context, c *component.Call) error {
	for len(r.Placed) > 1 {
		if err := r.Placed[0].version(c).Remove(ctx); err != nil {
			return err
		}
		r.Placed = r.Placed[1:]
		if err := r.write(c.WorkDir); err != nil {
			return err
		}
	}
	return nil
}
