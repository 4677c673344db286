package plan

import "fmt"

// Outcome is how a step ended.
type Outcome string

// The outcomes of steps.
const (
	Done    Outcome = "done"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Skip is a step that will not run, and why.
type Skip struct {
	ID     StepID
	Reason string
}

// Frontier tells which steps can run as others end. It serves the owner over a
// whole plan and a machine over its part: a step that others name and that is
// not among the steps ends when Settle says so.
type Frontier struct {
	steps   map[StepID]*vertex
	order   []StepID
	pending int
	// awaiting are steps that have come to wait for references alone, and were
	// not told yet.
	awaiting []StepID
}

type vertex struct {
	step    Step
	known   bool // one of ours, not only named by others
	waits   int
	awaits  int // of waits, those of the step's Awaits
	settled Outcome
	begun   bool
	next    []StepID // steps that wait for this one
	needed  map[StepID]bool
	awaited map[StepID]bool
}

// NewFrontier returns the frontier of steps of which none has ended.
func NewFrontier(steps []Step) *Frontier {
	f := &Frontier{steps: make(map[StepID]*vertex, len(steps))}
	for _, s := range steps {
		v := f.vertex(s.ID)
		v.step, v.known = s, true
		f.order = append(f.order, s.ID)
		f.pending++
		for _, before := range [2][]StepID{s.Needs, s.After} {
			for _, id := range before {
				v.waits++
				f.vertex(id).next = append(f.vertex(id).next, s.ID)
			}
		}
		for _, id := range s.Needs {
			if v.needed == nil {
				v.needed = make(map[StepID]bool, len(s.Needs))
			}
			v.needed[id] = true
		}
		for _, a := range s.Awaits {
			if v.needed[a.Step] && !v.awaited[a.Step] {
				if v.awaited == nil {
					v.awaited = make(map[StepID]bool, len(s.Awaits))
				}
				v.awaited[a.Step] = true
				v.awaits++
			}
		}
		f.mark(s.ID, v)
	}
	return f
}

// mark notes a step that waits for references alone from now on.
func (f *Frontier) mark(id StepID, v *vertex) {
	if v.awaits > 0 && v.awaits == v.waits {
		f.awaiting = append(f.awaiting, id)
	}
}

func (f *Frontier) vertex(id StepID) *vertex {
	v := f.steps[id]
	if v == nil {
		v = &vertex{}
		f.steps[id] = v
	}
	return v
}

// Ready returns the steps that wait for nothing and were not returned before,
// in the order of the plan.
func (f *Frontier) Ready() []Step {
	var ready []Step
	for _, id := range f.order {
		if v := f.steps[id]; v.waits == 0 && v.settled == "" && !v.begun {
			v.begun = true
			ready = append(ready, v.step)
		}
	}
	return ready
}

// Settle records that a step has ended and returns the steps that can run now
// and those that never will. Settling a step again changes nothing: facts may
// arrive twice.
func (f *Frontier) Settle(id StepID, o Outcome) (ready []Step, skipped []Skip) {
	v := f.vertex(id)
	if v.settled != "" {
		return nil, nil
	}
	v.settled = o
	if v.known {
		f.pending--
	}
	queue := []StepID{id}
	for len(queue) > 0 {
		from := f.steps[queue[0]]
		fromID := queue[0]
		queue = queue[1:]
		for _, nextID := range from.next {
			n := f.steps[nextID]
			n.waits--
			if n.awaited[fromID] {
				n.awaits--
			}
			if n.settled != "" || n.begun {
				continue
			}
			if from.settled != Done && n.needed[fromID] {
				n.settled = Skipped
				f.pending--
				skipped = append(skipped, Skip{nextID, fmt.Sprintf("waits on %s, which %s", fromID.Short(), past(from.settled))})
				queue = append(queue, nextID)
				continue
			}
			if n.waits == 0 {
				n.begun = true
				ready = append(ready, n.step)
			} else if !n.awaited[fromID] {
				f.mark(nextID, n)
			}
		}
	}
	return ready, skipped
}

// Awaiting returns the steps that since the last call have come to wait only
// for what they refer to. They may have begun or ended by now.
func (f *Frontier) Awaiting() []Step {
	var steps []Step
	for _, id := range f.awaiting {
		if v := f.steps[id]; v.settled == "" && !v.begun {
			steps = append(steps, v.step)
		}
	}
	f.awaiting = nil
	return steps
}

// Expire takes a step that still waits for what it refers to out of the wait,
// and returns what it waits for: it counts as begun, and whoever asked has to
// end it. There is nothing to end where the list is empty.
func (f *Frontier) Expire(id StepID) []Await {
	v := f.steps[id]
	if v == nil || !v.known || v.begun || v.settled != "" {
		return nil
	}
	v.begun = true
	var open []Await
	for _, a := range v.step.Awaits {
		if f.Outcome(a.Step) == "" {
			open = append(open, a)
		}
	}
	return open
}

// Waits returns the steps that have to end before this one can: nothing for a
// step that has begun or ended.
func (f *Frontier) Waits(id StepID) []StepID {
	v := f.steps[id]
	if v == nil || v.begun || v.settled != "" {
		return nil
	}
	var open []StepID
	for _, before := range [2][]StepID{v.step.Needs, v.step.After} {
		for _, b := range before {
			if f.Outcome(b) == "" {
				open = append(open, b)
			}
		}
	}
	return open
}

// SkipRest settles every step that has not begun as skipped and returns them:
// what an interruption does.
func (f *Frontier) SkipRest(reason string) []Skip {
	var skipped []Skip
	for _, id := range f.order {
		if v := f.steps[id]; v.settled == "" && !v.begun {
			v.settled = Skipped
			f.pending--
			skipped = append(skipped, Skip{id, reason})
		}
	}
	return skipped
}

// Outcome returns how the step ended, or "".
func (f *Frontier) Outcome(id StepID) Outcome {
	if v := f.steps[id]; v != nil {
		return v.settled
	}
	return ""
}

// Step returns the step called id, if it is one of the frontier's own.
func (f *Frontier) Step(id StepID) (Step, bool) {
	v := f.steps[id]
	if v == nil || !v.known {
		return Step{}, false
	}
	return v.step, true
}

// Pending returns how many of the steps have not ended.
func (f *Frontier) Pending() int { return f.pending }

func past(o Outcome) string {
	switch o {
	case Failed:
		return "failed"
	case Skipped:
		return "was skipped"
	default:
		return string(o)
	}
}
