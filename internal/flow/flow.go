// Package flow is what workflow components do: which child each creates next,
// when it ends, and as what (runtime.md sections 8 and 9). For each class it is
// a state machine, a pure function of its state and of what has happened. The
// state says everything that is wanted at a moment, so that whoever keeps it can
// go on from there after a crash. The package creates nothing, asks nobody, and
// reads no clock.
package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/value"
)

// The workflow classes, by their native names.
const (
	Sequence = "Sequence"
	Parallel = "Parallel"
	Repeat   = "Repeat"
	Retry    = "Retry"
	Try      = "Try"
	Timeout  = "Timeout"
	During   = "During"
	Delay    = "Delay"
	If       = "If"
	WaitFor  = "WaitFor"
	Finally  = "Finally"
)

// The names of children that have a part of their own.
const (
	action    = "action"
	actions   = "actions"   // holds the actions of a Sequence or a Parallel, in the old notation
	Condition = "condition" // that an If or a WaitFor asks
	then      = "then"
	otherwise = "else"
)

// Classes returns the workflow classes, sorted.
func Classes() []string {
	return []string{Delay, During, Finally, If, Parallel, Repeat, Retry, Sequence, Timeout, Try, WaitFor}
}

// Creates reports whether a component of a workflow class creates this child
// itself, while it runs. names are those below it: the child's own, or, in the
// old notation, "actions" and the child's.
func Creates(class string, names ...string) bool {
	switch class {
	case Sequence, Parallel:
		return len(names) == 1 && names[0] != actions || len(names) == 2 && names[0] == actions
	}
	return len(names) == 1 && slices.Contains(Classes(), class)
}

// Phase is how far a child is to come, or has come.
type Phase string

// The phases. A child that has come to none is not there.
const (
	Absent   Phase = ""
	Deployed Phase = "deployed"
	Running  Phase = "running"
)

// Child is one that is wanted.
type Child struct {
	Name string `json:"name"` // below the component, with ":" between names
	Run  int64  `json:"run"`  // which of all that the component has created: 1 is its first
	To   Phase  `json:"to"`
	At   Phase  `json:"at"` // what has been heard of it
}

// State is what a component that runs has come to.
type State struct {
	Runs     int64     `json:"runs"`               // children created so far
	Next     int       `json:"next,omitempty"`     // of the actions: the one to create next
	Count    int       `json:"count,omitempty"`    // how often the action was begun, or has ended
	Branch   bool      `json:"branch,omitempty"`   // of then, else, or what Try runs after its action
	Children []Child   `json:"children,omitempty"` // wanted now, in the order of their creation
	Asking   bool      `json:"asking,omitempty"`   // the condition is to be asked
	Again    time.Time `json:"again,omitzero"`     // when it is asked again
	Until    time.Time `json:"until,omitzero"`     // when its time is over
	Reason   string    `json:"reason,omitempty"`   // why it has waited in vain
	Ending   bool      `json:"ending,omitempty"`   // it is being ended from outside
	// End is set when it ends by itself, with this record, once no child is left.
	End *component.Record `json:"end,omitempty"`
}

// Decode reads a state as encoding/json writes it.
func Decode(b []byte) (*State, error) {
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("course of a workflow component: %w", err)
	}
	return &s, nil
}

// Due returns when Step wants to hear of the time; zero: never.
func (s State) Due() time.Time {
	if s.Again.IsZero() || !s.Until.IsZero() && s.Until.Before(s.Again) {
		return s.Until
	}
	return s.Again
}

// Over reports whether nothing more is to happen before it can be ended.
func (s State) Over() bool {
	return s.End != nil || s.Ending && !slices.ContainsFunc(s.Children, func(c Child) bool { return c.To != c.At })
}

// What has happened.
type (
	// Reached says that a child has come to a phase.
	Reached struct {
		Name string
		Run  int64
		At   Phase
	}
	// Ended says that a child has ended, or could not be created.
	Ended struct {
		Name    string
		Run     int64
		Record  component.Record
		Created bool
	}
	// Answered is what the condition said, and why if that was no.
	Answered struct {
		Yes    bool
		Reason string
	}
	// Tick says only what time it is.
	Tick struct{}
	// Ending says that the component is being ended from outside.
	Ending struct{}
)

// Course is one component as its course depends on it.
type Course struct {
	Class    string
	Children []string         // those it creates, in definition order, with ":" between names
	Attrs    *value.Component // with references resolved
}

// Begin returns the state of the component when it starts. Runs is the highest
// run of a child that it has created in its life before.
func (c *Course) Begin(now time.Time, runs int64) State {
	s := State{Runs: runs}
	switch c.Class {
	case Sequence:
		if len(c.Children) == 0 {
			return ended(s, component.Normal, "Empty Sequence")
		}
		return s.create(c.Children[0], Running)
	case Parallel:
		if len(c.Children) == 0 {
			if c.is("terminateOnEmptyDeploy", false) {
				return ended(s, component.Normal, "Empty Parallel")
			}
			return s
		}
		return c.parallel(s)
	case Repeat:
		if c.number("repeat", 1) == 0 {
			return ended(s, component.Normal, "nothing to repeat")
		}
	case Retry:
		s.Count = 1
	case Timeout:
		if ms := c.number("time", 0); ms > 0 {
			s.Until = now.Add(milliseconds(ms))
		}
	case During:
		switch ms := c.number("time", 0); {
		case ms == 0:
			return ended(s, component.Normal, "its time is over")
		case ms > 0:
			s.Until = now.Add(milliseconds(ms))
		}
	case Delay:
		s.Until = now.Add(milliseconds(c.number("time", 0)))
		return s
	case If:
		return s.create(Condition, Running)
	case WaitFor:
		s.Until = now.Add(milliseconds(c.number("timeout", 0)))
		return s.create(Condition, Running)
	case Finally:
		return s.create(action, Deployed)
	}
	return s.create(action, Running)
}

// Step returns the state after something has happened. What is of a child that
// is not wanted any more changes nothing.
func (c *Course) Step(s State, now time.Time, event any) State {
	if s.End != nil || s.Ending && c.Class != Finally {
		return s
	}
	s.Children = slices.Clone(s.Children)
	switch e := event.(type) {
	case Reached:
		if i := s.index(e.Name, e.Run); i >= 0 {
			s.Children[i].At = e.At
			s = c.reached(s, e.Name)
		}
	case Ended:
		if i := s.index(e.Name, e.Run); i >= 0 {
			s.Children = slices.Delete(s.Children, i, i+1)
			s = c.ended(s, e)
		}
	case Answered:
		if s.Asking {
			s = c.answered(s, now, e)
		}
	case Ending:
		s.Ending = true
		for i := range s.Children {
			if c.Class == Finally {
				s.Children[i].To = Running
			}
		}
	}
	return c.tick(s, now)
}

// tick does what the time asks for.
func (c *Course) tick(s State, now time.Time) State {
	if !s.Again.IsZero() && !now.Before(s.Again) {
		s.Again, s.Asking = time.Time{}, true
	}
	if s.End != nil || s.Until.IsZero() || now.Before(s.Until) {
		return s
	}
	switch c.Class {
	case Timeout:
		return ended(s, component.Abnormal, "the time of its action is over")
	case During:
		return ended(s, component.Normal, "its time is over")
	case Delay:
		s.Until = time.Time{}
		if !c.has(action) {
			return ended(s, component.Normal, "its time is over")
		}
		return s.create(action, Running)
	case WaitFor:
		if !s.Asking && s.index(Condition, 0) >= 0 && !s.Again.IsZero() {
			return c.waited(s)
		}
	}
	return s
}

// reached goes on after a child has come further.
func (c *Course) reached(s State, name string) State {
	switch {
	case c.Class == Parallel:
		return c.parallel(s)
	case name == Condition && s.Children[s.index(name, 0)].At == Running:
		s.Asking = true
	}
	return s
}

// ended goes on after a child has ended.
func (c *Course) ended(s State, e Ended) State {
	normal := e.Record.Type == component.Normal
	if c.Class == Try && !s.Branch {
		if name := string(e.Record.Type); name != action && c.has(name) {
			s.Branch = true
			return s.create(name, Running)
		}
		return s.endWith(e.Record)
	}
	if c.Class == Retry && !normal && s.Count <= c.number("retry", 1) {
		s.Count++
		return s.create(action, Running)
	}
	if c.Class == Parallel && !normal && c.forgives(e) {
		normal = true
	}
	if !normal {
		return s.endWith(e.Record)
	}
	switch c.Class {
	case Sequence:
		if s.Next++; s.Next < len(c.Children) {
			return s.create(c.Children[s.Next], Running)
		}
		return ended(s, component.Normal, "all its actions have ended")
	case Parallel:
		if s = c.parallel(s); len(s.Children) == 0 {
			return ended(s, component.Normal, "all its actions have ended")
		}
		return s
	case Repeat:
		s.Count++
		if times := c.number("repeat", 1); times < 0 || s.Count < times {
			return s.create(action, Running)
		}
	}
	return s.endWith(e.Record)
}

// forgives reports whether a Parallel goes on without a child that ended
// abnormally.
func (c *Course) forgives(e Ended) bool {
	if e.Created {
		return !c.is("terminateOnAbnormalChildTermination", true)
	}
	return c.is("asynchCreateChild", false) && !c.is("terminateOnAbnormalChildDeploy", true)
}

// parallel creates what a Parallel has not created yet: all at once, or one
// after the other deployed, and then one after the other started.
func (c *Course) parallel(s State) State {
	if c.is("asynchCreateChild", false) {
		for ; s.Next < len(c.Children); s.Next++ {
			s = s.create(c.Children[s.Next], Running)
		}
		return s
	}
	if slices.ContainsFunc(s.Children, func(k Child) bool { return k.At != k.To }) {
		return s
	}
	if s.Next < len(c.Children) {
		s = s.create(c.Children[s.Next], Deployed)
		s.Next++
		return s
	}
	if i := slices.IndexFunc(s.Children, func(k Child) bool { return k.To == Deployed }); i >= 0 {
		s.Children[i].To = Running
	}
	return s
}

// answered goes on after the condition was asked.
func (c *Course) answered(s State, now time.Time, e Answered) State {
	s.Asking = false
	switch {
	case e.Yes:
		return c.branch(s, then)
	case c.Class == If:
		return c.branch(s, otherwise)
	}
	s.Reason = e.Reason
	if !now.Before(s.Until) {
		return c.waited(s)
	}
	s.Again = now.Add(milliseconds(max(1, c.number("interval", 1000))))
	return s
}

// waited goes on after a WaitFor has waited in vain.
func (c *Course) waited(s State) State {
	s.Reason = strings.TrimSuffix("the condition did not become true in time: "+s.Reason, ": ")
	return c.branch(s, otherwise)
}

// branch runs one branch in the place of the condition, if there is one.
func (c *Course) branch(s State, name string) State {
	s.Children, s.Again, s.Until = nil, time.Time{}, time.Time{}
	if !c.has(name) {
		return ended(s, component.Normal, "there is no branch "+name)
	}
	s.Branch = true
	return s.create(name, Running)
}

// create wants a child anew.
func (s State) create(name string, to Phase) State {
	s.Runs++
	s.Children = append(slices.Clone(s.Children), Child{Name: name, Run: s.Runs, To: to})
	return s
}

// index returns the place of a child among those wanted, or -1. Run 0 is any.
func (s State) index(name string, run int64) int {
	return slices.IndexFunc(s.Children, func(k Child) bool { return k.Name == name && (run == 0 || k.Run == run) })
}

// ended ends the component by itself, and what is left of its children with it.
func ended(s State, how component.RecordType, why string) State {
	return s.endWith(component.Record{Type: how, Description: why})
}

func (s State) endWith(r component.Record) State {
	s.Children, s.Asking, s.Again, s.Until = nil, false, time.Time{}, time.Time{}
	s.End = &r
	return s
}

func (c *Course) has(child string) bool { return slices.Contains(c.Children, child) }

func (c *Course) is(name string, standard bool) bool {
	if v, ok := c.Attrs.Get(name); ok {
		return v == value.Bool(true)
	}
	return standard
}

func (c *Course) number(name string, standard int) int {
	v, _ := c.Attrs.Get(name)
	switch n := v.(type) {
	case value.Integer:
		return int(n)
	case value.Long:
		return int(n)
	}
	return standard
}

// longest bounds a time in milliseconds: a century, which a duration holds.
const longest = 100 * 365 * 24 * 3600 * 1000

func milliseconds(n int) time.Duration {
	return time.Duration(min(max(n, 0), longest)) * time.Millisecond
}
