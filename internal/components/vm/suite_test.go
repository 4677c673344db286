package vm_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/vm"
	"aloft/internal/drivers/sim"
	"aloft/internal/provision"
	"aloft/provider"
	"aloft/value"
)

// instant is a site whose machines and their daemons are there at once.
type instant struct {
	cloud *sim.Cloud

	mu      sync.Mutex
	ledger  *provision.Memory // a fresh one for each component of the suite
	running map[string]bool   // by machine id
}

func (s *instant) set(id string, running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[id] = running
}

func (s *instant) Connected(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[id]
}

func (s *instant) Wait(ctx context.Context, id string) error {
	if s.Connected(id) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *instant) UserData(context.Context, string, string) ([]byte, error) {
	return []byte("enrol"), nil
}

func TestVMPassesTheSuite(t *testing.T) {
	s := &instant{ledger: &provision.Memory{}, running: map[string]bool{}}
	s.cloud = sim.NewCloud(sim.Config{
		BootScale: 1e-9,
		OnRunning: func(r provider.Resource, _ []byte) { s.set(r.Mark.Machine, true) },
		OnGone:    func(r provider.Resource) { s.set(r.Mark.Machine, false) },
	})
	defer s.cloud.Close()
	factory := func(t testing.TB) (component.Manager, func()) {
		p, err := provision.New(provision.Config{
			Home: "0a1b2c3d", Vendors: provision.Fixed{s.cloud.Driver()}, Ledger: s.ledger, Log: slog.New(slog.DiscardHandler),
			Limits: map[string]provision.Limit{"sim": {}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return vm.New(vm.Config{Provision: p, Sessions: s, Enrolments: s}), func() {}
	}
	c, _ := call()
	labelled := value.NewComponent(false)
	for a := range c.Attrs.All() {
		labelled.Set(a)
	}
	labelled.Set(value.Attr{Name: "labels", Value: value.NewComponent(true, value.Attr{Name: "team", Value: value.String("web")})})
	componenttest.Run(t, factory, componenttest.Case{
		Name: "machine", Attrs: c.Attrs, Changes: []*value.Component{labelled},
		Check: func(t testing.TB, _ *component.Call) {
			if got := s.cloud.Resources(); len(got) != 1 || got[0].State != provider.Running {
				t.Errorf("machines %+v, want one running", got)
			}
		},
		Break: func(t testing.TB, _ *component.Call) {
			if err := s.cloud.Stop(s.cloud.Resources()[0].Ref, "switched off"); err != nil {
				t.Error(err)
			}
		},
		Gone: func(t testing.TB, _ *component.Call) {
			if left := s.cloud.Resources(); len(left) != 0 {
				t.Errorf("left over: %+v", left)
			}
			// An incarnation is spent for ever; the suite's next component
			// has the same id, so it gets a ledger of its own.
			s.ledger = &provision.Memory{}
		},
	})
}
