package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/internal/journal"
	"aloft/value"
)

// rows are a journal's rows, which outlive agents. After left writes the power
// fails; below 0: never.
type rows struct {
	mu   sync.Mutex
	kept map[string][]byte
	left int
	// take is how long each of the next writes takes.
	take []time.Duration
}

var errPower = errors.New("the power is off")

func (r *rows) Load(_ context.Context, key string) ([]byte, int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.kept[key]; ok {
		return slices.Clone(v), 1, nil
	}
	return nil, 0, nil
}

func (r *rows) Save(_ context.Context, keys []string, values [][]byte, _ []int64) (bool, error) {
	r.mu.Lock()
	if len(r.take) > 0 {
		take := r.take[0]
		r.take = r.take[1:]
		r.mu.Unlock()
		time.Sleep(take)
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if r.left == 0 {
		return false, errPower
	}
	r.left--
	for i, k := range keys {
		if values[i] == nil {
			delete(r.kept, k)
		} else {
			r.kept[k] = slices.Clone(values[i])
		}
	}
	return true, nil
}

func (r *rows) Scan(_ context.Context, prefix string, visit func(string, []byte, int64) error) error {
	r.mu.Lock()
	kept := maps.Clone(r.kept)
	r.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(kept)) {
		if strings.HasPrefix(k, prefix) {
			if err := visit(k, kept[k], 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// things manages a class and records what it was asked. What it began runs on
// without an agent.
type things struct {
	component.Keep
	mu      sync.Mutex
	asked   []string
	running map[value.Path]bool
	fail    map[string]int // by "path operation": how often
}

func (*things) Class() component.Class {
	return component.Class{Name: "Thing", Reconfigures: true, OpenAttributes: true, Children: true}
}

func (m *things) ask(c *component.Call, operation string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := string(c.Path) + " " + operation
	m.asked = append(m.asked, key)
	if m.fail[key] > 0 {
		m.fail[key]--
		return errors.New("told to fail")
	}
	return nil
}

func (m *things) Deploy(_ context.Context, c *component.Call) error { return m.ask(c, "deploy") }
func (m *things) Reconfigure(_ context.Context, c *component.Call) error {
	return m.ask(c, "reconfigure")
}

func (m *things) Start(_ context.Context, c *component.Call) error {
	m.mu.Lock()
	adopt := m.running[c.Path]
	m.mu.Unlock()
	if adopt {
		return nil
	}
	err := m.ask(c, "start")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[c.Path] = err == nil
	return err
}

func (m *things) Terminate(_ context.Context, c *component.Call) error {
	err := m.ask(c, "terminate")
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.running, c.Path)
	}
	return err
}

func (m *things) calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.asked)
}

// machine is the machine that agents of a test live on, one after the other.
type machine struct {
	t      *testing.T
	rows   *rows
	things *things
	dir    string

	mu    sync.Mutex
	facts map[string]*peerpb.Fact // reported, by plan and step
	state *peerpb.ComponentState  // reported last
	meet  func()                  // called while a report is under way
}

func newMachine(t *testing.T) *machine {
	return &machine{
		t: t, dir: t.TempDir(), rows: &rows{kept: map[string][]byte{}, left: -1},
		things: &things{running: map[value.Path]bool{}, fail: map[string]int{}}, facts: map[string]*peerpb.Fact{},
	}
}

func (m *machine) Report(_ context.Context, r *peerpb.ReportRequest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range r.Facts {
		m.facts[f.Plan+" "+f.Step] = f
	}
	for _, st := range r.States {
		m.state = st
	}
	if m.meet != nil {
		m.meet()
	}
	return nil
}

// Hold grants nothing: what is tested with it has no tenure.
func (m *machine) Hold(context.Context, []string) (*peerpb.HoldReply, error) {
	return &peerpb.HoldReply{}, nil
}

func (m *machine) Read(context.Context, *peerpb.ReadRequest) (*peerpb.ReadReply, error) {
	return nil, status.Error(codes.Unavailable, "no owner is in reach")
}

func (m *machine) Open(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("none")
}

func (m *machine) agent() *Agent {
	m.t.Helper()
	a, err := New(m.t.Context(), Config{
		ID: "here", Managers: map[string]component.Manager{"Thing": m.things}, Journal: journal.New(m.rows),
		Owner: m, Sources: m, Verify: func(*peerpb.SignedPart) error { return nil },
		Machine: func(string) component.Machine { return component.Machine{Name: "sys/m"} },
		WorkDir: m.dir, Limit: 8, Log: slog.New(slog.DiscardHandler),
		ComponentLog: func(string) *slog.Logger { return slog.New(slog.DiscardHandler) },
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

// run runs an agent and returns how to end it.
func run(t *testing.T, a *Agent) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	return func() { cancel(); <-done }
}

// part makes the part of a plan: its steps are "path action", one after the
// other, and so are its components.
func (m *machine) part(plan string, revision int64, components string, steps ...string) *peerpb.SignedPart {
	m.t.Helper()
	p := &peerpb.Part{System: "sys", Plan: plan, Revision: revision, Executor: "here", Fence: &peerpb.Fence{Epoch: 1, Term: 1}}
	wire, err := value.Encode(value.NewComponent(false))
	if err != nil {
		m.t.Fatal(err)
	}
	for i, path := range strings.Fields(components) {
		p.Components = append(p.Components, &peerpb.Component{Path: path, Class: "Thing", Attributes: wire, Digest: "1", Order: int32(i), OnEnd: "restart", MaxRestarts: 10, RestartWindow: 3600})
	}
	actions := map[string]peerpb.Action{
		"deploy": peerpb.Action_ACTION_DEPLOY, "start": peerpb.Action_ACTION_START,
		"reconfigure": peerpb.Action_ACTION_RECONFIGURE, "terminate": peerpb.Action_ACTION_TERMINATE,
	}
	for i, s := range steps {
		path, action, _ := strings.Cut(s, " ")
		step := &peerpb.Step{Id: path + "/" + action, Path: path, Action: actions[action]}
		if i > 0 {
			step.After = []string{p.Steps[i-1].Id}
		}
		p.Steps = append(p.Steps, step)
	}
	document, err := proto.Marshal(p)
	if err != nil {
		m.t.Fatal(err)
	}
	return &peerpb.SignedPart{Part: document}
}

// outcomes waits until the plan has ended and returns what was reported.
func (m *machine) outcomes(plan string, steps int) (got []string) {
	m.t.Helper()
	for range 1000 {
		m.mu.Lock()
		got = nil
		for key, f := range m.facts {
			if step, ok := strings.CutPrefix(key, plan+" "); ok {
				got = append(got, step+" "+strings.ToLower(strings.TrimPrefix(f.Outcome.String(), "OUTCOME_")))
			}
		}
		m.mu.Unlock()
		if len(got) == steps {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	slices.Sort(got)
	return got
}

func (m *machine) deliver(a *Agent, p *peerpb.SignedPart) {
	m.t.Helper()
	if _, err := a.Deliver(m.t.Context(), p); err != nil {
		m.t.Fatal(err)
	}
}

func TestPartThatComesBeforeTheAgentRunsIsRunOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { m.deliver(a, m.part("one", 1, "p", "p deploy", "p start")) })
		}
		synctest.Wait()
		defer run(t, a)()
		wg.Wait()
		if got, want := m.outcomes("one", 2), []string{"p/deploy done", "p/start done"}; !slices.Equal(got, want) {
			t.Errorf("reported %v, want %v", got, want)
		}
		if got, want := m.things.calls(), []string{"p deploy", "p start"}; !slices.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
	})
}

func TestCrashWhileAPartIsTakenRepeatsNothingOfTheOneBefore(t *testing.T) {
	for writes := range 6 {
		t.Run(fmt.Sprint(writes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t)
				a := m.agent()
				end := run(t, a)
				m.deliver(a, m.part("one", 1, "p", "p deploy", "p start"))
				m.outcomes("one", 2)
				time.Sleep(time.Minute)
				m.rows.left = writes
				next := m.part("two", 2, "p q", "q deploy", "q start")
				_, _ = a.Deliver(t.Context(), next) // it may get that far
				time.Sleep(time.Minute)
				end()

				m.rows.left = -1
				a = m.agent()
				defer run(t, a)()
				time.Sleep(time.Minute)
				m.deliver(a, next)
				if got, want := m.outcomes("two", 2), []string{"q/deploy done", "q/start done"}; !slices.Equal(got, want) {
					t.Errorf("reported %v, want %v", got, want)
				}
				for _, c := range m.things.calls()[2:] {
					if strings.HasPrefix(c, "p ") {
						t.Errorf("asked again: %s", c)
					}
				}
			})
		})
	}
}

func TestSystemThatComesAgainWhileItIsDroppedIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "p", "p deploy", "p start"))
		m.outcomes("one", 2)
		m.deliver(a, m.part("two", 2, "", "p terminate"))
		m.outcomes("two", 1)
		m.deliver(a, m.part("three", 3, "p", "p deploy", "p start")) // the drop waits for its report
		if got, want := m.outcomes("three", 2), []string{"p/deploy done", "p/start done"}; !slices.Equal(got, want) {
			t.Errorf("reported %v, want %v", got, want)
		}
	})
}

func TestPartThatIsNotUnderstoodIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		end := run(t, a)
		if _, err := a.Deliver(t.Context(), m.part("one", 1, "p", "p migrate")); err == nil {
			t.Error("an unknown action was taken")
		}
		end()
		defer run(t, m.agent())() // it starts
	})
}

func TestWhatCouldNotBeEndedIsEndedByTheNextPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.things.fail["p terminate"] = 1
		a := m.agent()
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "p", "p deploy", "p start"))
		m.outcomes("one", 2)
		for n, want := range []string{"p/terminate failed", "p/terminate done"} {
			id := fmt.Sprint("down ", n)
			m.deliver(a, m.part(id, int64(n+2), "", "p terminate"))
			if got := m.outcomes(id, 1); !slices.Equal(got, []string{want}) {
				t.Errorf("reported %v, want %s", got, want)
			}
			time.Sleep(time.Minute)
		}
		if n := len(m.things.running); n > 0 {
			t.Error("it still runs")
		}
	})
}

func TestPlanTakesOverWhatIsBeingRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "p", "p deploy", "p start"))
		m.outcomes("one", 2)
		m.things.mu.Lock()
		m.things.fail["p start"] = 4
		m.things.mu.Unlock()
		tenant := a.tenant("sys")
		go tenant.componentEnded(t.Context(), tenant.component("p"), component.Record{Type: component.Abnormal})
		time.Sleep(16 * time.Second) // it has failed 4 times, and pauses
		m.deliver(a, m.part("two", 2, "p", "p deploy", "p start"))
		if got, want := m.outcomes("two", 2), []string{"p/deploy done", "p/start done"}; !slices.Equal(got, want) {
			t.Errorf("reported %v, want %v", got, want)
		}
		time.Sleep(time.Hour)
		if calls := m.things.calls(); calls[len(calls)-1] != "p start" || !m.things.running["p"] {
			t.Errorf("asked %v", calls)
		}
	})
}

func TestWhatChangesDuringAReportIsReportedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := m.agent()
		defer run(t, a)()
		m.deliver(a, m.part("one", 1, "p", "p deploy", "p start"))
		m.outcomes("one", 2)
		time.Sleep(time.Minute)
		tenant := a.tenant("sys")
		p := tenant.component("p")
		m.mu.Lock()
		m.meet = func() {
			m.meet = nil
			tenant.set(p, p.state, "and why", nil)
		}
		m.mu.Unlock()
		tenant.changed("p")
		time.Sleep(time.Minute)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.state.Reason != "and why" {
			t.Errorf("reported last: %v", m.state)
		}
	})
}
