package plan

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/expand"
	"aloft/internal/graph"
	"aloft/internal/inventory"
	"aloft/internal/place"
	"aloft/internal/sdl/diag"
	"aloft/value"
)

// Input is everything a plan is made from.
type Input struct {
	ID          string
	Survey      *Survey // of the wanted description; of nothing for a plan that ends the system
	Existing    *inventory.System
	Placement   place.Placement
	File        string
	Description string // digest
	Time        time.Time
	Down        bool
	Cause       string
	// Asked says that what the description does not have was asked to end, by name;
	// Hold that all it has stays as it is, whatever that is.
	Asked, Hold bool
	// Auto says that nobody has asked for it.
	Auto bool
	// AllowLoss are the components that hold data which may be destroyed.
	AllowLoss []value.Path
	// Drift says, of components that run, what is not as their last operation has
	// made it any more.
	Drift map[value.Path]string
	Token func(StepID) string // the idempotency token of a step of this plan
}

// Keep returns the placement of the machines that exist and may stay: those
// the description still has, with the same fixed attributes.
func Keep(s *Survey, existing *inventory.System) place.Placement {
	keep := place.Placement{}
	for path, m := range existing.Machines {
		c := s.byPath[path]
		old, held := existing.Components[path]
		if c == nil || !c.isMachine() || !held || old.State == inventory.Failed && !old.IsGivenUp() || m.Lost != "" || m.Renew != "" || m.State == inventory.MachineDestroying {
			continue
		}
		if old.Class == c.class.Name && !fixedDiffers(&c.class, old.Attrs, c.attrs) {
			keep[path] = place.Choice{MachineID: m.ID, Proposal: m.Proposal, Kept: true}
		}
	}
	return keep
}

// Make compares what is wanted with what exists. The list holds what is wrong;
// with errors in it there is no plan.
func Make(in Input) (*Plan, *diag.List) {
	m := &maker{in: in, problems: &in.Survey.Problems, fate: map[value.Path]fate{}, gone: map[value.Path]bool{}, batch: map[value.Path]batchOf{}, paced: map[value.Path]paced{}}
	m.plan = &Plan{
		ID: in.ID, System: in.Survey.System, File: in.File, Revision: in.Existing.Revision + 1, Base: in.Existing.Revision,
		Description: in.Description, Time: in.Time, Down: in.Down, Cause: in.Cause, Placement: in.Placement, OnFailure: "keep",
		Notes: slices.Clone(in.Survey.Notes),
	}
	if in.Existing.File != "" && in.Existing.File != in.File && !in.Down {
		m.plan.OldFile = in.Existing.File
	}
	for _, c := range in.Survey.parts {
		m.place(c)
	}
	m.onFailure()
	m.unknownOrder()
	for _, c := range in.Survey.parts {
		m.decide(c)
	}
	for _, old := range in.Existing.Ordered() {
		if in.Survey.byPath[old.Path] == nil && old.State != inventory.Terminated {
			m.gone[old.Path] = true
		}
	}
	m.readers()
	m.rolls()
	m.write()
	m.data()
	if m.problems.Errors() > 0 {
		return nil, m.problems
	}
	if m.plan.Empty() && !in.Down && !in.Hold && (in.Description == in.Existing.Digest || in.Existing.Digest == "") {
		m.plan.Revision = in.Existing.Revision
	}
	return m.plan, m.problems
}

// fate is what the plan does to a wanted component.
type fate int

const (
	keep   fate = iota
	add         // deploy, start
	begin       // start only: it was deployed, and the plan before was interrupted
	change      // reconfigure
	renew       // terminate, deploy, start
)

type maker struct {
	in       Input
	plan     *Plan
	problems *diag.List
	fate     map[value.Path]fate
	gone     map[value.Path]bool // exists and is not wanted
	soft     []softEdge
	leaving  map[value.Path][]StepID // by what is removed: see leavers
	// of what is updated in batches
	sets    []*rolling
	batch   map[value.Path]batchOf
	binders map[*rolling][]*surveyed
	gates   map[value.Path][]StepID // that have to be passed before those who refer to a set are told of all of it
	wants   expand.Further          // that it does not have
	// guests refer to a set, and are updated with a batch of a later one
	guests map[*rolling][]*surveyed
	refers map[*rolling][]*rolling // whose copies those of a set refer to
	paced  map[value.Path]paced
	// newcomers refer to a set, and are started before it is updated
	newcomers map[value.Path]bool
}

// place fixes where a component is processed, now that machines are chosen.
func (m *maker) place(c *surveyed) {
	host := m.in.Survey.host
	p := Component{
		Path: c.node.Path, Class: c.class.Name, Machine: c.machine, OnHost: c.onHost, Order: c.node.Order,
		Attrs: Attributes{c.attrs}, Digest: c.digest(), OnEnd: m.onEnd(c), OnLoss: m.onLoss(c), Reads: c.reads(),
		Liveness: m.liveness(c), Further: c.further,
	}
	if c.meanwhile != nil {
		p.Meanwhile = &Attributes{c.meanwhile}
	}
	if c.flow != nil {
		p.Flow = c.flow.node.Path.String()
	}
	if c.creator != nil {
		p.Creator = c.creator.node.Path.String()
	}
	target := component.Target{Isolation: true, Privileged: true}
	switch {
	case c.isMachine():
		p.Executor = host.MachineID
		if choice, ok := m.in.Placement[c.node.Path]; ok {
			p.Executor = MachineExecutor(choice.Proposal)
		}
	case c.owner:
	case c.onHost:
		p.Executor = host.MachineID
	default:
		choice := m.in.Placement[c.machine]
		p.Executor = choice.MachineID
		target.Isolation = choice.Proposal.Isolation
		target.Privileged = choice.Proposal.Isolation
		m.checkTarget(c, target)
	}
	m.bereave(c, &p)
	m.plan.Components = append(m.plan.Components, p)
}

// reads returns the components whose run-time attributes c refers to, in the
// order of its attributes.
func (c *surveyed) reads() []value.Path {
	var paths []value.Path
	for a := range c.attrs.All() {
		for _, t := range c.targets[a.Name] {
			if !t.Given && !slices.Contains(paths, t.Path) {
				paths = append(paths, t.Path)
			}
		}
	}
	for _, path := range c.leads {
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// onEnd returns what the compound around c does when c ends: what it says
// itself, else share in a Compound and restart in all others.
func (m *maker) onEnd(c *surveyed) OnEnd {
	end := OnEnd{What: "restart", MaxRestarts: 10, Window: 3600}
	if c.node.Parent == nil {
		return end
	}
	parent := m.in.Survey.byPath[c.node.Parent.Path]
	switch {
	case c.creator != nil:
		end.What = "course"
		return end
	case parent.class.Name == "Compound":
		end.What = "share"
	}
	if a, ok := parent.attrs.Attr("sfOnChildEnd"); ok {
		switch what, _ := a.Value.(value.String); what {
		case "share", "restart", "ignore":
			end.What = string(what)
		default:
			m.in.Survey.problem(parent, "sfOnChildEnd", a.Pos, diag.AttributeKind, "sfOnChildEnd has an unknown value", `"share", "restart" or "ignore"`, value.Source(a.Value))
		}
	}
	if n, ok := parent.attrs.Get("sfMaxRestarts"); ok {
		if n, ok := n.(value.Integer); ok && n >= 0 {
			end.MaxRestarts = int(n)
		}
	}
	if w, ok := parent.attrs.Get("sfRestartWindow"); ok {
		if w, ok := w.(value.Integer); ok && w > 0 {
			end.Window = int64(w)
		}
	}
	return end
}

// checkTarget refuses what the chosen machine cannot do.
func (m *maker) checkTarget(c *surveyed, target component.Target) {
	if target.Isolation {
		return
	}
	if c.class.Isolation {
		m.in.Survey.problem(c, "", c.node.Pos, diag.NeedsIsolation, fmt.Sprintf("%s installs packages, and machine %s has no root file system of its own", c.class.Name, c.machine), "", "", "run aloft as root on Linux: machines then are light machines, which have one")
		return
	}
	if c.class.Check == nil {
		return
	}
	for _, p := range c.class.Check(c.attrs, target) {
		pos := c.node.Pos
		if a, ok := c.attrs.Attr(p.Attr); ok && a.Pos.IsValid() {
			pos = a.Pos
		}
		var hints []string
		if p.Remedy != "" {
			hints = append(hints, p.Remedy)
		}
		m.in.Survey.problem(c, p.Attr, pos, diag.NeedsIsolation, p.Message, p.Expected, p.Found, hints...)
	}
}

func (m *maker) onFailure() {
	if len(m.in.Survey.parts) == 0 {
		if m.in.Existing.OnFailure != "" {
			m.plan.OnFailure = m.in.Existing.OnFailure
		}
		return
	}
	top := m.in.Survey.parts[0]
	a, ok := top.attrs.Attr("sfOnFailure")
	if !ok {
		return
	}
	switch a.Value {
	case value.String("keep"), value.String("undo"):
		m.plan.OnFailure = string(a.Value.(value.String))
	default:
		m.in.Survey.problem(top, "sfOnFailure", a.Pos, diag.AttributeKind, "sfOnFailure has an unknown value", `"keep" or "undo"`, value.Source(a.Value))
	}
}

// unknownOrder refuses an order of replacing that cannot be kept: nothing can run
// twice under one name, but a copy can have another one beside it (see pace).
func (m *maker) unknownOrder() {
	for _, c := range m.in.Survey.parts {
		a, ok := c.attrs.Attr(attrReplace)
		_, copied := c.attrs.Attr(attrIndex)
		switch {
		case !ok || a.Value == value.String("after") || copied && a.Value == value.String("before"):
		case a.Value == value.String("before"):
			m.in.Survey.problem(c, attrReplace, a.Pos, diag.AttributeKind, "what replaces a component cannot run beside it under the same name", `"after", which is the default`, value.Source(a.Value),
				`give it sfCopies, which can be 1: with sfReplace "before", a copy that is replaced has another one beside it, which runs before it is ended`)
		default:
			m.in.Survey.problem(c, attrReplace, a.Pos, diag.AttributeKind, "sfReplace has an unknown value", `"after", or "before" for copies`, value.Source(a.Value))
		}
	}
}

// decide compares a wanted component with what is held of it.
func (m *maker) decide(c *surveyed) {
	path := c.node.Path
	p := m.plan.Components[c.node.Order]
	old, held := m.in.Existing.Components[path]
	f, reason := keep, ""
	switch {
	case m.in.Hold:
	case c.flow != nil:
		m.member(c, old, held)
		return
	case held && old.Flow != "":
		f = add // what created it ends it
	case m.done(c, old, p.Digest):
	case c.node.Parent != nil && m.fate[c.node.Parent.Path] == renew && held && m.exists(old) && !slices.Contains(m.in.Survey.tops, path):
		f, reason = renew, "what contains it is replaced"
	case !held || old.State == inventory.Terminated || old.State == inventory.Instantiated || m.lost(old):
		f = add
	case c.isMachine() && m.in.Existing.Machines[path].Lost != "":
		f, reason = renew, "its machine is given up: "+m.in.Existing.Machines[path].Lost
	case c.isMachine() && m.in.Existing.Machines[path].Renew != "":
		f, reason = renew, m.in.Existing.Machines[path].Renew
	case c.isMachine() && old.IsGivenUp():
		if !m.in.Placement[path].Kept { // else it stays: see GiveUp
			f, reason = renew, old.Reason
		}
	case old.State == inventory.Failed:
		f, reason = add, "failed before"
	case old.Class != p.Class:
		f, reason = renew, fmt.Sprintf("class changes from %s", className(old.Class))
	case old.Executor != p.Executor:
		f, reason = renew, "moves to another machine"
	case old.State == inventory.Deploying || old.State == inventory.Starting || old.State == inventory.Terminating:
		f, reason = add, "was not finished"
	case old.Digest != p.Digest && c.class.Workflow && m.reshaped(c, old) != "":
		f, reason = renew, m.reshaped(c, old)
	case old.Digest != p.Digest && fixedDiffers(&c.class, old.Attrs, c.attrs):
		f, reason = renew, "an attribute changes that cannot change in place"
	case old.Digest != p.Digest && old.State == inventory.Deployed:
		f = add
	case old.Digest != p.Digest && !c.class.Reconfigures:
		f, reason = renew, c.class.Name+" cannot be reconfigured"
	case old.Digest != p.Digest:
		if f = change; c.class.Workflow {
			reason = "what it creates changes"
		}
	case old.State == inventory.Deployed:
		f, reason = begin, "was not started"
	case m.in.Drift[path] != "" && old.State == inventory.Running:
		if f, reason = renew, "repair: "+m.in.Drift[path]; c.class.Repairs {
			f = change
		}
	}
	if c.further {
		reason = "only while others of its set are updated"
	}
	m.fate[path] = f
	if f != keep {
		m.edit(c, f, reason, old)
	}
	if f == add || f == renew {
		m.creates(c)
	}
}

// lost reports whether the machine that processed a component has failed: it is
// destroyed, and nothing of the component is left to end; unless it is one that
// stays though its host has given it up.
func (m *maker) lost(old inventory.Component) bool {
	machine, ok := m.in.Existing.Components[old.Machine]
	if machine.IsGivenUp() && m.in.Placement[old.Machine].Kept {
		return false
	}
	return old.Machine != value.Root && ok && machine.State == inventory.Failed
}

// left reports whether the plan replaces a machine that is given up without
// ending it first: its successor has another executor, and that of its own may
// be cut off with it. The owner has it ended when that executor answers.
func (m *maker) left(path value.Path) bool {
	machine, ok := m.in.Existing.Machines[path]
	choice, placed := m.in.Placement[path]
	return ok && machine.Lost != "" && placed && MachineExecutor(machine.Proposal) != MachineExecutor(choice.Proposal)
}

func className(c string) string {
	if c == "" {
		return "a plain compound"
	}
	return c
}

func fixedDiffers(class *component.Class, old, wanted *value.Component) bool {
	for _, a := range class.Attributes {
		if !a.Fixed {
			continue
		}
		was, had := old.Get(a.Name)
		is, has := wanted.Get(a.Name)
		if had != has || had && !value.Equal(was, is) {
			return true
		}
	}
	return false
}

// write writes the graph. Where updating sets in batches would have steps wait
// for each other, since something outside of a set needs what is in it, they
// are updated at once.
func (m *maker) write() {
	edits, late, notes := len(m.plan.Edits), len(m.plan.Late), len(m.plan.Notes)
	m.steps()
	if len(m.sets) == 0 || !m.circular() {
		m.plan.Wants = m.wants
		return
	}
	if m.refuseBeside() {
		return
	}
	m.plan.Steps, m.plan.Edits, m.plan.Late = nil, m.plan.Edits[:edits], m.plan.Late[:late]
	m.plan.Notes = append(m.plan.Notes[:notes], "copies are updated at once: others need them in between")
	m.sets, m.soft, m.leaving = nil, nil, nil
	clear(m.batch)
	clear(m.binders)
	clear(m.gates)
	clear(m.newcomers)
	clear(m.guests)
	m.steps()
}

// steps writes the graph, in the order of runtime.md UP1: deploy new,
// reconfigure changed, start new, terminate removed; what is replaced is
// terminated before its successor is deployed. Sets that are updated in batches
// come after what is new, and who reads what is new after it runs.
func (m *maker) steps() {
	m.terminates()
	var deploys, starts, changes []*surveyed
	for _, c := range m.in.Survey.parts {
		if m.inBatch(c.node.Path) {
			continue
		}
		switch m.fate[c.node.Path] {
		case add, renew:
			deploys = append(deploys, c)
			starts = append(starts, c)
		case begin:
			starts = append(starts, c)
		case change:
			changes = append(changes, c)
		}
	}
	m.deploys(deploys)
	m.order(deploys, Deploy)
	m.failures(deploys, Deploy, inventory.DeployFailure)
	deployed := m.barrier("deployed", deploys, Deploy, "")
	early, late := m.apart(changes)
	m.changes(early, deployed)
	reconfigured := m.barrier("reconfigured", early, Reconfigure, deployed)
	before := reconfigured
	if m.unbarred() {
		before = "" // each starts as soon as its own edges allow
	}
	m.starts(starts, before)
	m.order(starts, Start)
	m.failures(starts, Start, inventory.StartFailure)
	started := m.barrier("started", starts, Start, reconfigured)
	var gates []StepID
	for _, r := range m.sets {
		gates = append(gates, m.roll(r, started))
	}
	for _, c := range m.in.Survey.parts {
		if m.newcomers[c.node.Path] {
			late = append(late, c)
		}
	}
	from := len(m.plan.Steps)
	m.changes(late, started)
	m.inTurn(from)
	bound := m.barrier("bound", late, Reconfigure, started)
	m.removals(bound, gates)
	m.recede(bound, gates)
	m.harden()
}

// unbarred reports whether the system does without the deploy barrier
// (runtime.md LC2).
func (m *maker) unbarred() bool {
	if len(m.in.Survey.parts) == 0 {
		return false
	}
	top := m.in.Survey.parts[0]
	a, ok := top.attrs.Attr("sfBarrier")
	if !ok || a.Value == value.String("all") {
		return false
	}
	if a.Value != value.String("none") {
		m.in.Survey.problem(top, "sfBarrier", a.Pos, diag.AttributeKind, "sfBarrier has an unknown value", `"none", or "all", which is the default`, value.Source(a.Value))
	}
	return true
}

func (m *maker) step(c *surveyed, action Action) *Step {
	id := ID(c.node.Path, action)
	m.plan.Steps = append(m.plan.Steps, Step{
		ID: id, Path: c.node.Path, Action: action,
		Executor: m.plan.Components[c.node.Order].Executor, Token: m.in.Token(id),
	})
	return &m.plan.Steps[len(m.plan.Steps)-1]
}

// barrier adds a vertex that is passed when every given step has ended. It
// returns before where there is nothing to wait for.
func (m *maker) barrier(name string, of []*surveyed, action Action, before StepID) StepID {
	if len(of) == 0 {
		return before
	}
	s := Step{ID: StepID("/" + name), Action: Barrier}
	for _, c := range of {
		s.After = append(s.After, ID(c.node.Path, action))
	}
	if before != "" {
		s.After = append(s.After, before)
	}
	m.plan.Steps = append(m.plan.Steps, s)
	return s.ID
}

func (m *maker) deploys(deploys []*surveyed) {
	var g graph.Graph[value.Path]
	for _, c := range deploys {
		s := m.step(c, Deploy)
		if m.newcomers[c.node.Path] {
			s.Without = m.unready(c)
		}
		g.Add(c.node.Path)
		need := func(path value.Path) {
			if f := m.fate[path]; (f == add || f == renew) && path != c.node.Path {
				if id := ID(path, Deploy); !slices.Contains(s.Needs, id) {
					s.Needs = append(s.Needs, id)
					g.Edge(path, c.node.Path)
				}
			}
		}
		if c.node.Parent != nil {
			need(c.node.Parent.Path)
		}
		if !c.isMachine() && c.machine != value.Root {
			need(c.machine)
		}
		for path, attribute := range m.readsInDeploy(c) {
			before := len(s.Needs)
			need(path)
			if len(s.Needs) > before {
				m.await(s, path, Deploy, attribute)
			}
			if slices.Contains(s.Needs, ID(path, Deploy)) {
				m.late(c, path, attribute)
			}
		}
		if m.fate[c.node.Path] == renew && !m.left(c.node.Path) {
			s.After = append(s.After, ID(c.node.Path, Terminate))
		}
		s.Needs = append(s.Needs, m.leavings(c.node.Path)...) // else what it replaces is still there
	}
	for _, cycle := range g.Cycles() {
		m.deployCycle(&g, cycle)
	}
}

// late notes, for people, that a reference orders two components. What is
// inside of what it refers to waits for it anyway.
func (m *maker) late(c *surveyed, to value.Path, attribute string) {
	l := Late{From: c.node.Path, To: to, Attribute: attribute}
	if !to.Contains(c.node.Path) && !slices.Contains(m.plan.Late, l) {
		m.plan.Late = append(m.plan.Late, l)
	}
}

// readsInDeploy ranges over the components whose run-time attributes c reads
// in its deploy (runtime.md LZ2, LZ3), and its own attributes that do.
func (m *maker) readsInDeploy(c *surveyed) iter.Seq2[value.Path, string] {
	return func(yield func(value.Path, string) bool) {
		for a := range c.attrs.All() {
			if line, ok := c.class.Attribute(a.Name); ok && line.Use == component.UseStart {
				continue
			}
			if r, ok := a.Value.(*value.Reference); ok && r.Assert || c.class.Name == "" {
				continue // assertions are checked at start; nobody reads the attributes of a plain compound in deploy
			}
			for _, t := range c.targets[a.Name] {
				if t.Given || inventory.IsFailure(t.Attr) || m.newcomers[c.node.Path] && m.inSet(c, a.Name, t) {
					continue
				}
				if !yield(t.Path, a.Name) {
					return
				}
			}
		}
	}
}

// deployCycle reports a wait that could never end (runtime.md LZ5).
func (m *maker) deployCycle(g *graph.Graph[value.Path], cycle []value.Path) {
	c := m.in.Survey.byPath[cycle[0]]
	var text strings.Builder
	for i, p := range g.Path(cycle[0], cycle[0]) {
		if i > 0 {
			text.WriteString(" <- ")
		}
		text.WriteString(p.String())
	}
	m.in.Survey.problem(c, "", c.node.Pos, diag.DeployCycle, "these components wait for each other while they are deployed: "+text.String(), "", "",
		"let one of them refer to an attribute that the description gives, or that is read at start")
}

func (m *maker) changes(changes []*surveyed, deployed StepID) {
	for _, c := range changes {
		s := m.step(c, Reconfigure)
		if m.newcomers[c.node.Path] {
			s.Needs = append(s.Needs, ID(c.node.Path, Start))
		}
		if c.node.Parent != nil && m.fate[c.node.Parent.Path] == change {
			s.Needs = append(s.Needs, ID(c.node.Parent.Path, Reconfigure))
		}
		if deployed != "" {
			s.After = append(s.After, deployed)
		}
		for path, attribute := range m.readsInDeploy(c) {
			if f := m.fate[path]; f == add || f == renew {
				s.Needs = append(s.Needs, ID(path, Deploy))
				m.await(s, path, Deploy, attribute)
				m.late(c, path, attribute)
			}
		}
		m.enters(c, s)
		s.Needs = append(s.Needs, m.leavings(c.node.Path)...)
	}
}

// starts orders the start wave: parents first, and after what a component
// refers to (runtime.md LZ4). References that go round are left out.
func (m *maker) starts(starts []*surveyed, barrier StepID) {
	var g graph.Graph[value.Path]
	starting := map[value.Path]bool{}
	for _, c := range starts {
		g.Add(c.node.Path)
		starting[c.node.Path] = true
	}
	lazy := func(c *surveyed) iter.Seq2[value.Path, string] {
		return func(yield func(value.Path, string) bool) {
			for a := range c.attrs.All() {
				for _, t := range c.targets[a.Name] {
					if !starting[t.Path] || inventory.IsFailure(t.Attr) || t.Path.Contains(c.node.Path) || m.in.Survey.bound(c, a.Name, t) {
						continue
					}
					if !yield(t.Path, a.Name) {
						return
					}
				}
			}
		}
	}
	for _, c := range starts {
		if c.node.Parent != nil && starting[c.node.Parent.Path] {
			g.Edge(c.node.Parent.Path, c.node.Path)
		}
		for path := range lazy(c) {
			g.Edge(path, c.node.Path)
		}
	}
	round := map[value.Path]int{}
	for i, cycle := range g.Cycles() {
		var names strings.Builder
		for j, p := range cycle {
			round[p] = i + 1
			if j > 0 {
				names.WriteString(", ")
			}
			names.WriteString(p.String())
		}
		m.plan.Notes = append(m.plan.Notes, "these components refer to each other and start without waiting for each other: "+names.String())
	}
	for _, c := range starts {
		s := m.step(c, Start)
		if m.newcomers[c.node.Path] {
			s.Without = m.unready(c)
		}
		need := func(id StepID) (added bool) {
			if added = !slices.Contains(s.Needs, id); added {
				s.Needs = append(s.Needs, id)
			}
			return added
		}
		if f := m.fate[c.node.Path]; f != begin {
			need(ID(c.node.Path, Deploy))
		}
		if c.node.Parent != nil && starting[c.node.Parent.Path] {
			need(ID(c.node.Parent.Path, Start))
		}
		for path, attribute := range lazy(c) {
			if r := round[c.node.Path]; r == 0 || round[path] != r {
				if need(ID(path, Start)) && path != c.machine {
					m.await(s, path, Start, attribute)
				}
				m.late(c, path, attribute)
			}
		}
		if barrier != "" {
			s.After = append(s.After, barrier)
		}
	}
}
