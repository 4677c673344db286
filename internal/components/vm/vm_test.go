package vm_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/vm"
	"aloft/internal/drivers/sim"
	"aloft/internal/plan"
	"aloft/internal/provision"
	"aloft/provider"
	"aloft/value"
)

// site is a manager of VMs over a simulated cloud whose machines' daemons get
// a session boot after they run, unless they are mute.
type site struct {
	*vm.Manager
	cloud *sim.Cloud
	prov  *provision.Provisioner

	mu       sync.Mutex
	mute     bool
	sessions map[string]chan struct{} // by machine id; closed: there is one
	enrolled []string                 // user data the machines were booted with
}

const daemonBoot = 2 * time.Second

func newSite(t *testing.T, cfg sim.Config) *site {
	t.Helper()
	s := &site{sessions: map[string]chan struct{}{}}
	cfg.OnRunning = func(r provider.Resource, userData []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.enrolled = append(s.enrolled, string(userData))
		if !s.mute {
			ch := s.session(r.Mark.Machine)
			time.AfterFunc(daemonBoot, func() { close(ch) })
		}
	}
	cfg.OnGone = func(r provider.Resource) {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, r.Mark.Machine)
	}
	s.cloud = sim.NewCloud(cfg)
	var err error
	s.prov, err = provision.New(provision.Config{
		Home: "0a1b2c3d", Vendors: provision.Fixed{s.cloud.Driver()}, Ledger: &provision.Memory{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Manager = vm.New(vm.Config{Provision: s.prov, Sessions: s, Enrolments: s})
	return s
}

func (s *site) session(id string) chan struct{} {
	if s.sessions[id] == nil {
		s.sessions[id] = make(chan struct{})
	}
	return s.sessions[id]
}

func (s *site) Wait(ctx context.Context, id string) error {
	s.mu.Lock()
	ch := s.session(id)
	s.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *site) Connected(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.session(id):
		return true
	default:
		return false
	}
}

func (s *site) UserData(_ context.Context, id, name string) ([]byte, error) {
	return []byte("enrol " + id + " as " + name), nil
}

// environment records outputs.
type environment struct{ outputs map[string]value.Value }

func (e *environment) Output(name string, v value.Value) { e.outputs[name] = v }
func (e *environment) Read(context.Context, *value.Reference) (value.Value, error) {
	return nil, errors.New("a machine reads no references")
}

func (e *environment) Certify(context.Context, []byte) ([][]byte, error) {
	return nil, errors.New("a machine has no certificate of a service")
}
func (e *environment) Notify(*value.Reference)  {}
func (e *environment) Changed()                 {}
func (e *environment) Remind(time.Time, string) {}
func (e *environment) Progress(float64, string) {}
func (e *environment) Log() *slog.Logger        { return slog.New(slog.DiscardHandler) }
func (e *environment) Ended(component.Record)   {}
func (e *environment) Restarted(string)         {}
func (e *environment) Killed(string)            {}
func (e *environment) Source(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("a machine has no sources")
}

func call() (*component.Call, *environment) {
	env := &environment{outputs: map[string]value.Value{}}
	return &component.Call{
		System: "shop", Path: "web", Env: env,
		Attrs: value.NewComponent(false,
			value.Attr{Name: "cloudProvider", Value: value.String("sim")},
			value.Attr{Name: plan.AttrMachine, Value: value.String("11111111-2222-3333-4444-555555555555")},
			value.Attr{Name: plan.AttrProposal, Value: value.NewComponent(true,
				value.Attr{Name: "hostname", Value: value.String("web")},
				value.Attr{Name: "provider", Value: value.String("sim")},
				value.Attr{Name: "account", Value: value.String("default")},
				value.Attr{Name: "template", Value: value.String(sim.Template)},
				value.Attr{Name: "region", Value: value.String("east")},
				value.Attr{Name: "size", Value: value.String("s1")},
				value.Attr{Name: "perHour", Value: value.Double(0.01)},
				value.Attr{Name: "isolation", Value: value.Bool(true)},
			)}),
	}, env
}

func TestDeployMakesTheMachineAndWaitsForItsDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sim.Config{})
		c, env := call()
		for range 2 { // the second as after a crash
			if err := s.Deploy(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		made := s.cloud.Resources()
		if len(made) != 1 {
			t.Fatalf("made %+v, want one machine", made)
		}
		want := map[string]value.Value{
			"ip": value.String(made[0].Address), "publicIp": value.String(made[0].PublicIP), "hostname": value.String("web"),
			"id": value.String("11111111-2222-3333-4444-555555555555"), "provider": value.String("sim"),
			"price": value.Double(0.01), "state": value.String("running"),
		}
		for _, o := range s.Class().Outputs {
			if !value.Equal(env.outputs[o.Name], want[o.Name]) {
				t.Errorf("output %s is %v, want %v", o.Name, env.outputs[o.Name], want[o.Name])
			}
		}
		if len(s.enrolled) != 1 || s.enrolled[0] != "enrol 11111111-2222-3333-4444-555555555555 as shop/web" {
			t.Errorf("booted with %q", s.enrolled)
		}
		if err := s.Terminate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if left := s.cloud.Resources(); len(left) != 0 {
			t.Errorf("left over: %+v", left)
		}
		if err := s.Terminate(t.Context(), c); err != nil {
			t.Errorf("second terminate: %v", err)
		}
	})
}

func TestMuteMachineIsNamedWithTheProvidersLastReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sim.Config{})
		s.mute = true
		c, _ := call()
		err := s.Deploy(t.Context(), c)
		for _, part := range []string{"shop/web", "10.100.0.1", "no session after 3m0s", "last report: running"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("error %v does not say %q", err, part)
			}
		}
		if _, remedy := component.Detail(err); remedy == "" {
			t.Error("no remedy")
		}
	})
}

func TestMachineThatStopsWhileItsDaemonIsAwaitedFailsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sim.Config{BootScale: 0.01})
		s.mute = true
		time.AfterFunc(10*time.Second, func() {
			if err := s.cloud.Stop("sim-000001", "host is down"); err != nil {
				t.Error(err)
			}
		})
		c, _ := call()
		begun := time.Now()
		err := s.Deploy(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "stopped (host is down)") || time.Since(begun) > 20*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

func TestStartRevivesAStoppedMachineAndPingTellsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sim.Config{})
		c, _ := call()
		if err := s.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := s.cloud.Stop("sim-000001", "host is down"); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context(), c); err == nil || !strings.Contains(err.Error(), "host is down") {
			t.Errorf("ping of a stopped machine: %v", err)
		}
		if err := s.Start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context(), c); err != nil {
			t.Errorf("ping of a revived machine: %v", err)
		}
		if len(s.enrolled) != 2 || s.enrolled[0] != s.enrolled[1] {
			t.Errorf("booted with %q; want the same user data twice", s.enrolled)
		}
	})
}

func TestUnreachableMachineThatItsProviderReportsRunningIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sim.Config{})
		c, _ := call()
		if err := s.Deploy(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		clear(s.sessions)
		s.mu.Unlock()
		if err := s.Ping(t.Context(), c); err != nil {
			t.Errorf("silence alone failed the machine: %v", err)
		}
		if err := s.Start(t.Context(), c); err != nil {
			t.Errorf("silence alone failed its start: %v", err)
		}
		if err := s.cloud.Lose("sim-000001"); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context(), c); provider.KindOf(err) != provider.NotFound {
			t.Errorf("ping of a lost machine: %v", err)
		}
	})
}

func TestInterruptedDeployIsUndoneByTerminate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, sim.Config{ListLag: 5 * time.Second})
		c, _ := call()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := s.Deploy(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the deadline", err)
		}
		if err := s.Terminate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if left := s.cloud.Resources(); len(left) != 0 {
			t.Errorf("left over: %+v", left)
		}
	})
}

func TestCheckRefusesWhatNoMachineCanBe(t *testing.T) {
	attr := func(name string, v value.Value) *value.Component {
		return value.NewComponent(false, value.Attr{Name: name, Value: v})
	}
	cases := []struct {
		name  string
		attrs *value.Component
		bad   string // attribute, or "" for none
	}{
		{"defaults", value.NewComponent(false), ""},
		{"no cores", attr("cores", value.Integer(0)), "cores"},
		{"user data", attr("userData", value.String("#!/bin/sh")), "userData"},
		{"empty user data", attr("userData", value.String("")), ""},
		{"late memory", attr("memory", &value.Reference{Lazy: true}), ""},
		{"two templates", value.NewComponent(false,
			value.Attr{Name: "template", Value: value.String("a")}, value.Attr{Name: "vol-image", Value: value.String("b")}), "template"},
	}
	class := (&vm.Manager{}).Class()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			problems := componenttest.Problems(class, c.attrs, component.Target{})
			if got := len(problems) > 0; got != (c.bad != "") || got && problems[0].Attr != c.bad {
				t.Errorf("problems %+v, want one of %q", problems, c.bad)
			}
		})
	}
}
