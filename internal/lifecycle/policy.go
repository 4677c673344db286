package lifecycle

import "time"

// OnEnd is what a compound does when a child ends (runtime.md TR3).
type OnEnd string

// The policies.
const (
	Share   OnEnd = "share"   // siblings and compound end with the same record
	Restart OnEnd = "restart" // an abnormal end is answered by terminate, deploy, start
	Ignore  OnEnd = "ignore"  // the child is removed
	Course  OnEnd = "course"  // the workflow component that created it decides (WF1)
)

// Policy is how a compound treats the ends of its children.
type Policy struct {
	OnEnd       OnEnd
	MaxRestarts int // within Window, before Restart turns into Share
	Window      time.Duration
}

// Pauses between restarts.
const (
	firstPause = time.Second
	longest    = 5 * time.Minute
)

// Restarts remembers when a component was restarted, oldest first.
type Restarts []time.Time

// Next returns how long to wait before the next restart, counted from now, or
// false when the component has been restarted often enough to give up.
func (r *Restarts) Next(now time.Time, p Policy) (time.Duration, bool) {
	recent := (*r)[:0]
	for _, t := range *r {
		if now.Sub(t) < p.Window {
			recent = append(recent, t)
		}
	}
	*r = recent
	if len(recent) >= p.MaxRestarts {
		return 0, false
	}
	pause := longest
	if n := len(recent); n < 9 {
		pause = min(longest, firstPause<<n)
	}
	*r = append(recent, now)
	return pause, true
}
