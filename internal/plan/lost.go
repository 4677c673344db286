package plan

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// OnLoss is what becomes of a component when its machine does not answer
// (runtime.md HL1 to HL4).
type OnLoss struct {
	// Isolation is stop, keep, or "": it is placed again only when its machine
	// is known to be gone.
	Isolation string `json:"isolation,omitempty"`
	Tenure    int64  `json:"tenure,omitempty"` // seconds
	Data      bool   `json:"data,omitempty"`   // it holds data
	// Replace allows to place it again though it holds data.
	Replace bool `json:"replace,omitempty"`
	// Acts is false for what has nothing that runs, as a compound: it follows
	// the others on its machine.
	Acts bool `json:"acts,omitempty"`
}

// The tenure where a component says nothing, and the shortest: a machine begins
// to stop what has one StopTime before its end, and asks several times before.
const (
	tenureDefault = 60
	tenureLeast   = 30
)

// StopTime is how long before the end of a tenure a machine begins to stop what
// has it. An operation under way is cancelled and may take 5 s to end, a
// terminate may take 5 s, and another 5 s once it is cancelled.
const StopTime = 15 * time.Second

// Margin is how much longer than a tenure an owner waits. The machine counts by
// its own clock, which may be slower: a tenth is a hundred times what a bad
// quartz is off. The seconds are for a machine that was kept from running just
// when it was to stop.
func Margin(tenure time.Duration) time.Duration { return tenure/10 + 5*time.Second }

// onLoss reads what c says, or what is around it: the nearest counts.
func (m *maker) onLoss(c *surveyed) OnLoss {
	l := OnLoss{Tenure: tenureDefault, Data: holdsData(c)}
	l.Acts = c.class.Name != "" && c.class.Site != component.SiteInherit && !c.isMachine() && !c.class.Workflow
	if l.Data || m.around(c, "sfSingle") == value.Bool(true) {
		l.Isolation = "stop"
	}
	switch what := m.around(c, "sfOnIsolation"); what {
	case nil:
	case value.String("stop"), value.String("keep"):
		l.Isolation = string(what.(value.String))
	default:
		m.wrong(c, "sfOnIsolation", "sfOnIsolation has an unknown value", `"stop" or "keep"`)
	}
	if v := m.around(c, "sfTenure"); v != nil {
		s, ok := seconds(v)
		if !ok || s < tenureLeast || s != float64(int64(s)) {
			m.wrong(c, "sfTenure", "sfTenure is no time in which something can be stopped", fmt.Sprintf("a whole number of seconds from %d", tenureLeast))
		}
		l.Tenure = int64(s)
	}
	l.Replace = m.around(c, "sfReplaceOnLoss") == value.Bool(true)
	for _, name := range []string{"sfReplaceOnLoss", "sfSingle"} {
		if v := m.around(c, name); v != nil && v != value.Bool(true) && v != value.Bool(false) {
			m.wrong(c, name, name+" is no truth value", "true or false")
		}
	}
	return l
}

// wrong reports an attribute, at the component that has it.
func (m *maker) wrong(c *surveyed, name, message, expected string) {
	if a, own := c.attrs.Attr(name); own {
		m.in.Survey.problem(c, name, a.Pos, diag.AttributeKind, message, expected, value.Source(a.Value))
	}
}

// around returns an attribute of c or of the nearest component around it that
// has it, or nil.
func (m *maker) around(c *surveyed, name string) value.Value {
	for n := c.node; n != nil; n = n.Parent {
		if v, ok := m.in.Survey.byPath[n.Path].attrs.Get(name); ok {
			return v
		}
	}
	return nil
}

// holdsData reports whether ending a component and its machine loses data: its
// class keeps things, unless it is told not to, or it has a dataDir.
func holdsData(c *surveyed) bool {
	if dir, ok := c.attrs.Get("dataDir"); ok && dir != value.String("") && dir.Kind() != value.KindNull {
		return true
	}
	if c.class.DataElsewhere {
		return false
	}
	if keep, ok := c.attrs.Get("keepOnTerminate"); ok {
		return keep == value.Bool(true)
	}
	return c.class.KeepsData
}

// Loss is what an owner is to do about a machine that does not answer.
type Loss struct {
	Again bool          // place its components again
	Wait  time.Duration // how long it has to be silent for that; 0: silence alone does not do
	Why   string
}

// Lose decides about a machine that processes these components. silent is how
// long its owner has not let it go on, gone whether its provider says that it
// does not run any more.
func Lose(on []Component, silent time.Duration, gone bool) Loss {
	var l Loss
	var unsaid, open *Component
	doubled := false
	for i := range on {
		c := &on[i]
		switch {
		case c.OnLoss.Data && !c.OnLoss.Replace:
			return Loss{Why: c.Path.String() + " holds data, and is not placed again without sfReplaceOnLoss true"}
		case !c.OnLoss.Acts:
			continue
		case c.OnLoss.Isolation == "":
			unsaid = c
		}
		doubled = doubled || c.OnLoss.Isolation == "keep"
		tenure := time.Duration(c.OnLoss.Tenure) * time.Second
		l.Wait, open = max(l.Wait, tenure+Margin(tenure)), c
	}
	switch {
	case gone:
		return Loss{Again: true, Why: "its provider says that it is gone"}
	case open == nil:
		return Loss{Why: "nothing in it says what is to become of it"}
	case unsaid != nil:
		return Loss{Why: unsaid.Path.String() + " has no sfOnIsolation, so that silence alone moves nothing"}
	case silent < l.Wait:
		l.Why = fmt.Sprintf("its components are placed again after %s of silence", l.Wait)
		return l
	}
	l.Again, l.Why = true, fmt.Sprintf("it was silent for %s", l.Wait)
	if doubled {
		l.Why += "; what says sfOnIsolation \"keep\" may run there still"
	}
	return l
}

// EndingMachine returns the part that has the executor of a machine end it,
// where the system has another machine in its place. now is the executor's part
// of the system's plan, or nil: what it describes stays as it is.
func EndingMachine(id, system, executor string, revision int64, now *peerpb.Part, path value.Path) *peerpb.Part {
	part := &peerpb.Part{Schema: 1, System: system, Executor: executor}
	if now != nil {
		part = proto.Clone(now).(*peerpb.Part)
	}
	part.Plan, part.Revision, part.Listens = id, revision, nil
	part.Steps = []*peerpb.Step{{Id: string(ID(path, Terminate)), Path: string(path), Action: actions[Terminate], Token: id}}
	return part
}

// Ending returns the part that ends all that a machine holds of a system which
// has placed it elsewhere (runtime.md HL4). The states are the machine's own,
// parents before children; the fence is the owner's to add.
func Ending(id, system, executor string, revision int64, states []*peerpb.ComponentState) *peerpb.Part {
	part := &peerpb.Part{Schema: 1, System: system, Revision: revision, Plan: id, Executor: executor}
	for i, st := range states {
		path := value.Path(st.Path)
		s := &peerpb.Step{Id: string(ID(path, Terminate)), Path: st.Path, Action: actions[Terminate], Token: id + "/" + st.Path}
		for _, below := range states[i+1:] {
			if p := value.Path(below.Path); path.Contains(p) && p != path {
				s.After = append(s.After, string(ID(p, Terminate)))
			}
		}
		part.Steps = append(part.Steps, s)
	}
	return part
}

// On returns the components of the plan that the machine at path processes.
func (p *Plan) On(path value.Path) []Component {
	var on []Component
	for _, c := range p.Components {
		if c.Machine == path && path != value.Root {
			on = append(on, c)
		}
	}
	return on
}

// isolation returns what the machine of c is to do by itself: nothing where c
// has nothing that runs, or runs on a host, whose machines are others.
func (l OnLoss) isolation(c Component) string {
	if !l.Acts || c.Machine == value.Root {
		return ""
	}
	return l.Isolation
}
