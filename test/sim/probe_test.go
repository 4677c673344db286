package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"aloft/component"
	"aloft/value"
)

// call is the begin or end of an operation of a probe.
type call struct {
	At      time.Duration // since the world began
	Machine string        // SYSTEM/PATH
	Path    value.Path
	Op      string // deploy, start, adopt, reconfigure, terminate; ended
	Done    bool   // its end
	Failed  bool
	Attrs   *value.Component
	Record  component.Record // that it was terminated with
}

func (c call) String() string {
	phase := "begins"
	switch {
	case c.Failed:
		phase = "fails"
	case c.Done:
		phase = "ends"
	}
	return fmt.Sprintf("%8v %-12s %-14s %s %s", c.At, c.Machine, c.Path, c.Op, phase)
}

// stage is where probes act: it outlives daemons, and holds what they made.
type stage struct {
	seed  uint64
	begun time.Time

	mu      sync.Mutex
	calls   []call
	counts  map[string]int // of operations, by "path op"
	effects map[place]*effect
	under   map[place]string    // operations under way
	last    map[string]string   // by SYSTEM/PATH: the ref where each was begun last
	wrong   []string            // what must never happen, and did
	made    map[value.Path]int  // effects of deploy, by path
	pings   []ping              // that were answered, or not
	random  time.Duration       // an operation that says nothing takes up to this
	always  time.Duration       // or, where that is 0, this
	spare   map[value.Path]bool // whose data are elsewhere too
}

// place is a component on a machine of the cloud.
type place struct {
	ref  string
	path value.Path
}

// ping is one of a component.
type ping struct {
	at   time.Duration // since the world began
	path value.Path
}

// effect is what a deploy made, and the process a start began.
type effect struct {
	attrs   *value.Component
	running bool
	mute    bool // it answers no ping
	taken   bool // its pings say that it is not brought back unasked
	env     component.Environment
	starts  int
	timer   *time.Timer
	tell    func(component.Record)
}

func newStage(seed uint64) *stage {
	return &stage{seed: seed, begun: time.Now(), counts: map[string]int{}, effects: map[place]*effect{}, under: map[place]string{}, last: map[string]string{}, made: map[value.Path]int{}}
}

func (s *stage) note(c call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.At = time.Since(s.begun)
	s.calls = append(s.calls, c)
}

// never records something that must not happen. The lock is held.
func (s *stage) never(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf("after %v: ", time.Since(s.begun).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// trace returns the calls since mark, which is an earlier trace's length.
func (s *stage) trace() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// live returns the paths of what is deployed, sorted, with "!" where it does
// not run.
func (s *stage) live() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{}
	for at, e := range s.effects {
		text := string(at.path)
		if !e.running {
			text += "!"
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

// gone removes what was on a machine.
func (s *stage) gone(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, e := range s.effects {
		if at.ref == ref {
			e.stop()
			delete(s.effects, at)
		}
	}
}

func (e *effect) stop() {
	e.running = false
	if e.timer != nil {
		e.timer.Stop()
	}
}

// die ends the process of a component.
func (s *stage) die(path value.Path, how component.RecordType) {
	s.mu.Lock()
	var tell func(component.Record)
	for at, e := range s.effects {
		if at.path == path && e.running {
			e.stop()
			tell = e.tell
		}
	}
	s.mu.Unlock()
	if tell == nil {
		return
	}
	s.note(call{Path: path, Op: "ended"})
	tell(component.Record{Type: how, Path: path, Description: "ended by itself", Cause: "it was told to"})
}

// probe manages components of class Probe on one machine: they do what their
// attributes say, and all they are asked is recorded.
type probe struct {
	stage *stage
	ref   string // of the machine
}

var probeClass = component.Class{
	Name: "Probe", Site: component.SiteMachine, Children: true, OpenAttributes: true, Reconfigures: true, Spares: true,
	Attributes: []component.Attribute{
		{Name: "deployTakes"},                    // milliseconds; as the stage draws if not given
		{Name: "startTakes"},                     // milliseconds
		{Name: "reconfigureTakes"},               // milliseconds
		{Name: "terminateTakes"},                 // milliseconds
		{Name: "failDeploy"},                     // how often deploy fails
		{Name: "failStart"},                      // how often start fails
		{Name: "failReconfigure"},                // how often reconfigure fails
		{Name: "failTerminate"},                  // how often terminate fails
		{Name: "endsAfter"},                      // milliseconds from start to its end by itself
		{Name: "ends"},                           // how often it ends; always if not given
		{Name: "endsHow"},                        // normal or abnormal
		{Name: "reads"},                          // read in deploy
		{Name: "later", Use: component.UseStart}, // read at start
		{Name: "begins"},                         // its level at first
		{Name: "mute"},                           // true: its pings fail
		{Name: "deaf"},                           // true: it has to be killed at its end
		{Name: "due"},                            // milliseconds until it wants to be reconfigured; its level rises then
		{Name: "fixed", Fixed: true},             // a change means replacement
	},
	Outputs: []component.Output{
		{Name: "out", Kind: value.KindString, Doc: "PATH@MACHINE"},
		{Name: "level", Kind: value.KindInteger, Doc: "as begins says, and as it changes by itself"},
	},
}

func (*probe) Class() component.Class { return probeClass }

// number reads an integer attribute.
func number(c *component.Call, name string) (int, bool) {
	v, _ := c.Attrs.Get(name)
	n, ok := v.(value.Integer)
	return int(n), ok
}

// takes is how long an operation lasts: as its attribute says, or drawn from
// the seed, the path and how often it was called.
func (p *probe) takes(c *component.Call, op string, n int) time.Duration {
	if ms, ok := number(c, op+"Takes"); ok {
		return time.Duration(ms) * time.Millisecond
	}
	if p.stage.random == 0 {
		return p.stage.always
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %d", c.Path, op, n)
	return time.Duration(rand.New(rand.NewPCG(p.stage.seed, h.Sum64())).Int64N(int64(p.stage.random)))
}

var failing = map[string]string{"deploy": "failDeploy", "start": "failStart", "reconfigure": "failReconfigure", "terminate": "failTerminate"}

// perform takes an operation's time, with its effect half way.
func (p *probe) perform(ctx context.Context, c *component.Call, op string, effect func() error) error {
	record := call{Machine: c.Machine.Name, Path: c.Path, Op: op, Attrs: c.Attrs, Record: c.Record}
	p.stage.note(record)
	p.stage.mu.Lock()
	key := string(c.Path) + " " + op
	p.stage.counts[key]++
	n := p.stage.counts[key]
	if other := p.stage.under[p.at(c)]; other != "" { // LC1
		p.stage.never("%s of %s begins on %s while %s is under way", op, c.Path, c.Machine.Name, other)
	}
	p.stage.under[p.at(c)] = op
	p.stage.mu.Unlock()
	defer func() {
		p.stage.mu.Lock()
		delete(p.stage.under, p.at(c))
		p.stage.mu.Unlock()
	}()
	half := p.takes(c, op, n) / 2
	err := sleep(ctx, half)
	if err == nil {
		if times, ok := number(c, failing[op]); ok && (times < 0 || n <= times) {
			err = errors.New("it was told to fail")
		}
	}
	if err == nil {
		p.stage.mu.Lock()
		err = effect()
		p.stage.mu.Unlock()
	}
	if err == nil {
		err = sleep(ctx, half)
	}
	record.Done, record.Failed = true, err != nil
	p.stage.note(record)
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *probe) at(c *component.Call) place { return place{p.ref, c.Path} }

func (p *probe) Deploy(ctx context.Context, c *component.Call) error {
	c.Env.Output("out", value.String(string(c.Path)+"@"+c.Machine.Name))
	if n, ok := number(c, "begins"); ok {
		c.Env.Output("level", value.Integer(n))
	}
	return p.perform(ctx, c, "deploy", func() error { return p.deployed(c) })
}

// deployed is the effect of a deploy. The lock of the stage is held.
func (p *probe) deployed(c *component.Call) error {
	e := p.stage.effects[p.at(c)]
	if e == nil {
		e = &effect{}
		p.stage.effects[p.at(c)] = e
		p.stage.made[c.Path]++
	}
	e.attrs = c.Attrs
	return nil
}

func (p *probe) Start(ctx context.Context, c *component.Call) error {
	p.stage.mu.Lock()
	e := p.stage.effects[p.at(c)]
	adopt := e != nil && e.running
	if adopt {
		e.tell = c.Env.Ended
	}
	p.stage.mu.Unlock()
	if e == nil {
		return errors.New("started before it was deployed")
	}
	if adopt {
		remind(c)
		p.stage.note(call{Machine: c.Machine.Name, Path: c.Path, Op: "adopt", Done: true})
		return nil
	}
	return p.perform(ctx, c, "start", func() error {
		// runtime.md, section 5, the invariant of HL1 to HL4. What runs is where it
		// was begun last, or it was doubled before.
		last := p.stage.last[c.System+"/"+string(c.Path)]
		keeps, _ := c.Attrs.Get("sfOnIsolation")
		if other := p.stage.effects[place{last, c.Path}]; last != p.ref && other != nil && other.running && keeps != value.String("keep") {
			p.stage.never("%s begins to run on %s while it runs on %s", c.Path, p.ref, last)
		}
		p.stage.last[c.System+"/"+string(c.Path)] = p.ref
		e.running, e.tell, e.env = true, c.Env.Ended, c.Env
		e.starts++
		remind(c)
		after, ends := number(c, "endsAfter")
		times, limited := number(c, "ends")
		if ends && (!limited || p.stage.counts[string(c.Path)+" start"] <= times) {
			how := component.Abnormal
			if v, _ := c.Attrs.Get("endsHow"); v == value.String("normal") {
				how = component.Normal
			}
			e.timer = time.AfterFunc(time.Duration(after)*time.Millisecond, func() { p.stage.die(c.Path, how) })
		}
		return nil
	})
}

func (p *probe) Reconfigure(ctx context.Context, c *component.Call) error {
	return p.perform(ctx, c, "reconfigure", func() error {
		e := p.stage.effects[p.at(c)]
		if e == nil || !e.running {
			return errors.New("reconfigured while it does not run")
		}
		e.attrs = c.Attrs
		if remind(c) {
			level, _ := c.Outputs["level"].(value.Integer)
			c.Env.Output("level", level+1)
			c.Env.Changed()
		}
		return nil
	})
}

// remind asks to be reconfigured when the component is due, if it ever is.
func remind(c *component.Call) bool {
	ms, is := number(c, "due")
	if is {
		c.Env.Remind(time.Now().Add(time.Duration(ms)*time.Millisecond), "what it does now and then")
	}
	return is
}

func (p *probe) Terminate(ctx context.Context, c *component.Call) error {
	return p.perform(ctx, c, "terminate", func() error {
		if c.Spare && !p.stage.spare[c.Path] {
			return errNotSpare
		}
		if e := p.stage.effects[p.at(c)]; e != nil {
			if v, _ := c.Attrs.Get("deaf"); v == value.Bool(true) && e.running {
				c.Env.Killed("it did not listen")
			}
			e.stop()
			delete(p.stage.effects, p.at(c))
		}
		return nil
	})
}

var errNotSpare = errors.New("nobody else has it")

func (p *probe) Ping(_ context.Context, c *component.Call) error {
	p.stage.mu.Lock()
	defer p.stage.mu.Unlock()
	e := p.stage.effects[p.at(c)]
	if e == nil || !e.running {
		return errors.New("it does not run")
	}
	if c.Spare && !p.stage.spare[c.Path] {
		return errNotSpare
	}
	p.stage.pings = append(p.stage.pings, ping{time.Since(p.stage.begun), c.Path})
	if v, _ := c.Attrs.Get("mute"); v == value.Bool(true) || e.mute {
		return errors.New("it does not answer")
	}
	if e.taken {
		return fmt.Errorf("somebody is at work: %w", component.ErrOnlyAsked)
	}
	return nil
}
