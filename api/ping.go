package api

// Ping is what the components of a system have answered when they were asked.
type Ping struct {
	System     string   `json:"system"`
	Path       string   `json:"path"` // of the component that was asked, with those below it
	OK         bool     `json:"ok" doc:"all answer"`
	Components []Pinged `json:"components"` // in definition order, without those that are only state
	Silent     []string `json:"silent" doc:"names of the machines that did not answer"`
}

// Pinged is whether one component still is what its last operation has made of
// it.
type Pinged struct {
	Path    string `json:"path"`
	Class   string `json:"class"`
	Machine string `json:"machine"`
	OK      bool   `json:"ok"`
	Known   bool   `json:"known" doc:"false: it could not be asked"`
	Reason  string `json:"reason"`
}
