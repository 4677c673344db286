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
}

type vertex struct {
	step    Step
	known   bool // one of ours, not only named by others
	waits   int
	settled Outcome
	begun   bool
	next    []StepID // steps that wait for this one
	needed  map[StepID]bool
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
	}
	return f
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
			}
		}
	}
	return ready, skipped
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
