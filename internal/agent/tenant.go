package agent

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/execute"
	"aloft/internal/plan"
	"aloft/value"
)

// tenant is one system as far as it lives on this machine.
type tenant struct {
	agent  *Agent
	system string
	// resuming is set until what ran before the daemon was restarted is back: it
	// is not asked whether it lives before its turn to be started came.
	resuming atomic.Bool

	// delivery has an element while a part is taken: two deliveries of one plan
	// must not run it twice.
	delivery chan struct{}
	folder   sync.Mutex // held while the system's folder is made or removed

	mu     sync.Mutex
	part   atomic.Pointer[peerpb.Part]
	comps  map[value.Path]*held
	writes map[value.Path]turn             // of the states of components: see writing
	values map[value.Path]*value.Component // components elsewhere, as heard
	runner *execute.Runner
	// interrupted is why the part was interrupted, or "".
	interrupted string
	ended       chan struct{} // closed when the runner of part has ended
	// cut are the steps that a crash cut off: their intent is recorded, and not
	// their result.
	cut map[plan.StepID]bool
	// redone are the components with an operation that a crash cut off and the
	// runner repeats. What they are like nobody knows until then.
	redone map[value.Path]bool
	facts  map[plan.StepID]*peerpb.Fact // of part's own steps that are settled
	tell   map[plan.StepID]bool         // of facts: not yet reported
	show   map[value.Path]bool          // components whose state is not yet reported; false: under way
	// waits are the operations here that wait, at run time, for others here.
	waits     map[plan.StepID][]plan.StepID
	tenure    tenure
	silent    map[string]time.Duration // machines with parents of what is here: since when the owner does not hear of them
	returning bool                     // what was isolated is being brought back
	moved     chan struct{}            // closed, and made anew, when there may be more to read
}

func newTenant(a *Agent, system string) *tenant {
	return &tenant{
		agent: a, system: system, delivery: make(chan struct{}, 1), comps: map[value.Path]*held{}, writes: map[value.Path]turn{}, values: map[value.Path]*value.Component{},
		facts: map[plan.StepID]*peerpb.Fact{}, tell: map[plan.StepID]bool{}, show: map[value.Path]bool{},
		waits: map[plan.StepID][]plan.StepID{}, moved: make(chan struct{}),
	}
}

// current returns the newest part, or nil.
func (t *tenant) current() *peerpb.Part { return t.part.Load() }

// stir wakes the operations that wait for something to read. The lock is held.
func (t *tenant) stir() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// component returns what is held under path, or nil.
func (t *tenant) component(path value.Path) *held {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.comps[path]
}

// subtree returns the components at and below path, parents first.
func (t *tenant) subtree(path value.Path) []*held {
	t.mu.Lock()
	defer t.mu.Unlock()
	var below []*held
	for p, c := range t.comps {
		if path.Contains(p) {
			below = append(below, c)
		}
	}
	slices.SortFunc(below, byOrder)
	return below
}

// byOrder is the order of definition.
func byOrder(a, b *held) int { return cmp.Or(a.order-b.order, cmp.Compare(a.path, b.path)) }
