package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/flow"
	"aloft/internal/inventory"
	"aloft/internal/journal/journalpb"
	"aloft/internal/lifecycle"
	"aloft/internal/plan"
	"aloft/value"
)

// turn is a lock that is held for as long as an operation takes. Unlike a
// sync.Mutex it lets fake time pass for those who wait.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// pass waits until the operation under way is over.
func (t turn) pass() {
	t.Lock()
	defer t.Unlock()
}

func (t turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// held is one component on this machine.
type held struct {
	path value.Path
	op   turn // one operation at a time
	// step is the plan's that the operation under way is, which counts among those
	// that run at once, or nil; guarded by op, like spare.
	step  *plan.Step
	spare bool // it is to be ended only if all it has is elsewhere
	// returns is set while the component is ended to be brought back; guarded by
	// op.
	returns bool
	// mends is set while what has drifted of the component is put right, guarded
	// by op: nothing that is applied changes.
	mends bool

	// Below is guarded by the tenant's lock.

	class string
	// successor is the class a newer part gives the component; it becomes the
	// class when the old one has been terminated.
	successor *string
	order     int
	wanted    *value.Component // attributes of the newest part; nil when it is to go
	digest    string           // of wanted
	meanwhile *value.Component // wanted, in steps that leave copies out; nil: the same
	further   bool             // it is no more when the part has ended it
	// kept is what is applied of the component where that is not what the newest
	// part wants, or not all of it; else nil.
	kept *text
	// before is what it is to come back with again if it does not take up by a
	// restart what a reconfigure is to apply: also for a daemon that takes over
	// meanwhile; else nil.
	before *text
	policy lifecycle.Policy // of the compound around it
	state  inventory.State
	reason string
	done   string           // digest of the attributes applied, as they were delivered
	attrs  *value.Component // the attributes applied, references resolved: the values read (LZ7)
	// tried are the attributes of a deploy that has not succeeded, or of what has
	// ended for now: what undoing it needs, or ending it for good.
	tried *value.Component
	// last are the attributes that were applied when it was last terminated, and
	// lastDone is their digest: what a restart takes where it cannot read.
	last     *value.Component
	lastDone string
	outputs  map[string]value.Value
	record   *component.Record
	restarts int64
	recent   lifecycle.Restarts
	revision int64
	// repairing is set while the component is brought back after an end.
	repairing bool
	isolation string                  // stop, keep or "": when the owner is out of reach
	tenure    time.Duration           // after which that is so
	cut       context.CancelCauseFunc // ends the operation that keeps it running; nil: there is none
	stopping  bool                    // it is being stopped at the end of its tenure
	ending    bool                    // it is being ended, with what is below it, since it has lost its parent
	loss      time.Duration           // after which without a word of its parent it ends; 0: it goes on
	parent    string                  // id of the machine that processes its parent; "": the owner does
	// creator is the workflow component that creates it while it runs, as its
	// path; "": it is deployed with what is around it.
	creator string
	run     int64     // of what a workflow component creates: which of its creations
	started time.Time // when its start ended last
	// course is what a workflow component has come to; nil before it runs. On
	// is what sees to it.
	course   *flow.State
	on       *course
	liveness liveness
	pulse    pulse
	reminder reminder
	// rereading is set while it is seen to that it has the values that its
	// references lead to, stale when that is to be done once more.
	rereading, stale bool
	// recorded names the attributes whose values could not be had in the last
	// operation, so that those recorded before served (LZ8).
	recorded []string
}

// resolved returns what others may read of the component: its attributes with
// references resolved, then its outputs.
func (c *held) resolved() *value.Component {
	out := value.NewComponent(false)
	if c.attrs != nil {
		for a := range c.attrs.All() {
			out.Set(a)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.outputs)) {
		out.Set(value.Attr{Name: name, Value: c.outputs[name]})
	}
	return out
}

// row returns the component as it is journalled at a time.
func (c *held) row(system string, now time.Time) (*journalpb.Component, error) {
	row := &journalpb.Component{
		System: system, Path: string(c.path), Class: c.class, Revision: c.revision, State: string(c.state), Reason: c.reason,
		Digest: c.done, Record: inventory.RecordProto(c.record), Restarts: c.restarts, Order: int32(c.order), Changed: timestamppb.New(now), Run: c.run,
	}
	if !c.started.IsZero() {
		row.Started = timestamppb.New(c.started)
	}
	var err error
	if c.course != nil {
		if row.Course, err = json.Marshal(c.course); err != nil {
			return nil, err
		}
	}
	if c.attrs != nil {
		if row.Attributes, err = value.Encode(c.attrs); err != nil {
			return nil, err
		}
	}
	if c.attrs == nil && c.tried != nil { // what is applied is what ending it takes
		if row.Tried, err = value.Encode(c.tried); err != nil {
			return nil, err
		}
	}
	kept := c.kept
	if c.before != nil {
		kept = c.before
	}
	if kept != nil {
		row.KeptDigest = kept.digest
		if row.Kept, err = value.Encode(kept.attrs); err != nil {
			return nil, err
		}
	}
	if len(c.outputs) > 0 {
		out := value.NewComponent(false)
		for _, name := range slices.Sorted(maps.Keys(c.outputs)) {
			out.Set(value.Attr{Name: name, Value: c.outputs[name]})
		}
		if row.Outputs, err = value.Encode(out); err != nil {
			return nil, err
		}
	}
	return row, nil
}

// fromRow is the inverse of row.
func fromRow(row *journalpb.Component) (*held, error) {
	c := &held{
		op:   newTurn(),
		path: value.Path(row.Path), class: row.Class, order: int(row.Order), state: inventory.State(row.State), reason: row.Reason,
		done: row.Digest, record: inventory.RecordFromProto(row.Record), restarts: row.Restarts, revision: row.Revision,
		outputs: map[string]value.Value{}, run: row.Run,
	}
	if row.Started != nil {
		c.started = row.Started.AsTime()
	}
	var err error
	if len(row.Course) > 0 {
		if c.course, err = flow.Decode(row.Course); err != nil {
			return nil, err
		}
	}
	if len(row.Attributes) > 0 {
		if c.attrs, err = decodeComponent(row.Attributes); err != nil {
			return nil, err
		}
	}
	if len(row.Tried) > 0 {
		if c.tried, err = decodeComponent(row.Tried); err != nil {
			return nil, err
		}
	}
	if len(row.Kept) > 0 {
		c.kept = &text{digest: row.KeptDigest}
		if c.kept.attrs, err = decodeComponent(row.Kept); err != nil {
			return nil, err
		}
	}
	if len(row.Outputs) > 0 {
		out, err := decodeComponent(row.Outputs)
		if err != nil {
			return nil, err
		}
		for a := range out.All() {
			c.outputs[a.Name] = a.Value
		}
	}
	return c, nil
}

func decodeComponent(wire []byte) (*value.Component, error) {
	v, err := value.Decode(wire)
	if err != nil {
		return nil, err
	}
	c, ok := v.(*value.Component)
	if !ok {
		return nil, fmt.Errorf("a %s where a component is expected", v.Kind())
	}
	return c, nil
}

// status returns the component as it is reported.
func (c *held) status(system string) (*peerpb.ComponentState, error) {
	st := &peerpb.ComponentState{
		System: system, Revision: c.revision, Path: string(c.path), Class: c.class, State: string(c.state),
		Reason: c.reason, Digest: c.done, Record: inventory.RecordProto(c.record), Restarts: c.restarts,
	}
	if c.attrs != nil || len(failures(c.outputs)) > 0 {
		wire, err := value.Encode(c.resolved())
		if err != nil {
			return nil, err
		}
		st.Component = wire
	}
	return st, nil
}

func (c *held) copyOutputs() map[string]value.Value { return maps.Clone(c.outputs) }

// serves reports whether the component is to run as far as this machine knows.
func (c *held) serves() bool { return c.wanted != nil && c.state == inventory.Running }
