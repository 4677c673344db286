package api

import (
	"encoding/json"
	"time"
)

// The states of a Revision.
const (
	RevisionUnderWay  = "under way"
	RevisionRunning   = "running"   // everything ran when its plan had ended
	RevisionDegraded  = "degraded"  // something failed
	RevisionCancelled = "cancelled" // a later request ended it
)

// Revision is one state that a system was led to, or was to be led to.
type Revision struct {
	Revision int64     `json:"revision"`
	State    string    `json:"state" enum:"under way,running,degraded,cancelled"`
	Current  bool      `json:"current" doc:"the system is at this revision"`
	Cause    string    `json:"cause" example:"set web:port" doc:"what was asked for"`
	By       string    `json:"by,omitempty" doc:"who asked"`
	File     string    `json:"file,omitempty" doc:"of the description"`
	Digest   string    `json:"digest" doc:"of the description: revisions of the same one can be told"`
	Plan     string    `json:"plan" doc:"id of the plan that led to it"`
	Summary  string    `json:"summary" example:"0 to add, 1 to change, 0 to remove"`
	Since    time.Time `json:"since" doc:"when its plan was accepted"`
	Ended    time.Time `json:"ended,omitzero" doc:"when its plan had ended; absent: it is under way"`
	Failures []string  `json:"failures,omitempty" maxItems:"10" doc:"what failed, and why"`
}

// Written is the text that a description was made from, with whatever else it
// was made from: the same values can be made of it again, anywhere, and others
// once an attribute of it is set to something else.
type Written struct {
	File        string            `json:"file,omitempty" doc:"absolute path of the first file, for people"`
	Name        string            `json:"name" doc:"of the first file, in the first folder"`
	Folders     []WrittenFolder   `json:"folders" minItems:"1" doc:"where includes were looked for: beside the first file, then in this order"`
	URLs        map[string]string `json:"urls,omitempty" doc:"texts of included URLs"`
	Properties  map[string]string `json:"properties,omitempty"`
	Environment map[string]string `json:"environment,omitempty" doc:"the variables that it may name"`
	Answers     map[string]string `json:"answers,omitempty" doc:"what was answered to its questions"`
	Seed        int64             `json:"seed,omitempty"`
	Now         time.Time         `json:"now"`
	Sources     []WrittenSource   `json:"sources,omitempty" doc:"what it ships"`
	Set         []WrittenSet      `json:"set,omitempty" doc:"attributes that were set since"`
	Without     []string          `json:"without,omitempty" doc:"paths of components that were taken out of it, after all else"`
	Revision    int64             `json:"revision,omitempty" doc:"in answers: whose text it is, to be given as base with a plan made from it"`
}

// WrittenFolder is a folder of a Written, with the files that were read.
type WrittenFolder struct {
	Name  string            `json:"name" doc:"how positions name it"`
	Dir   string            `json:"dir,omitempty" doc:"its absolute path"`
	Role  string            `json:"role" enum:"first,include,work,outside"`
	Files map[string]string `json:"files,omitempty" doc:"texts by their names in the folder"`
}

// WrittenSource is content that an attribute names by a file.
type WrittenSource struct {
	File  string          `json:"file" doc:"that names it"`
	Name  string          `json:"name" doc:"as written there"`
	Value json.RawMessage `json:"value" doc:"what stands for it in the description, in the wire form"`
}

// WrittenSet is an attribute that was set after the text was written.
type WrittenSet struct {
	Path  string `json:"path"`
	Value string `json:"value" doc:"in the language of descriptions"`
}
