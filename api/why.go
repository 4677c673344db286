package api

import "time"

// Why is what made a component what it is now.
type Why struct {
	System string `json:"system"`
	Path   string `json:"path"`
	State  string `json:"state" doc:"of the component; empty when it is gone"`
	// Causes leads from what is now back to what began it: each is the reason of
	// the one before.
	Causes []Cause `json:"causes"`
}

// Cause is one thing that happened, in words.
type Cause struct {
	Time    time.Time `json:"time"`
	Path    string    `json:"path,omitempty"`
	Machine string    `json:"machine,omitempty" doc:"id of the daemon that saw it"`
	Plan    string    `json:"plan,omitempty"`
	Step    string    `json:"step,omitempty"`
	Text    string    `json:"text"`
}
