// Package providertest is the suite that every vendor module passes: the ones
// in the tree, the one in memory, and those that others write. It checks that
// what a module declares is what it does.
//
// The suite makes real resources through the harness it is given and destroys
// all of them, whatever happens. It needs no daemon inside the machines: a
// module that runs one for the machine's sake is handed the harness's
// UserData and may ignore it.
package providertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"aloft/provider"
)

// Harness connects the suite with one provider. A fresh one is made for each
// test.
type Harness struct {
	// New returns a module over the harness's provider. Called again it
	// returns another one over the same provider, as after a restart, and may
	// end the one before.
	New func() provider.Provider

	Account  provider.Account
	Home     string        // the id that a module for one home was made with; "" means a random one
	Need     provider.Need // one that the provider can meet
	UserData []byte        // for the machines' first boot

	// LoseAnswer arranges that the answer to the next call of op ("create" or
	// "destroy") is lost after the effect. Nil where the provider cannot be
	// made to.
	LoseAnswer func(op string)

	Limit time.Duration // of each wait for a state; 0 means 10 minutes
	Pause time.Duration // between two questions; 0 means 20 ms
}

// Run runs the suite.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	RunIn(t, func(t *testing.T, f func(*testing.T)) { f(t) }, newHarness)
}

// RunIn runs the suite with each test inside in, as synctest.Test for
// providers with virtual time.
func RunIn(t *testing.T, in func(*testing.T, func(*testing.T)), newHarness func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"DescribeIsConstantAndComplete", describe},
		{"OffersMeetTheNeed", offers},
		{"ImpossibleNeedsGetNoOffer", impossible},
		{"PrepareAcceptsOffersAndRefusesTheRest", prepare},
		{"OneTokenOneResource", oneToken},
		{"OneTokenOneResourceConcurrently", oneTokenConcurrently},
		{"LostAnswerIsFoundByToken", lostAnswer},
		{"LostDestroyIsRepeatable", lostDestroy},
		{"GetAndListAgree", getAndList},
		{"MarksNarrowTheList", marks},
		{"MachineBecomesRunning", running},
		{"DeclaredOperationsWork", operate},
		{"UndeclaredOperationsAreRefused", undeclared},
		{"DestroyCanBeRepeated", destroy},
		{"ErrorsCarryKinds", kinds},
		{"CancelledCallsReturn", cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) { c.test(t, newSuite(t, newHarness(t))) })
		})
	}
}

// suite is one test's provider and marks.
type suite struct {
	Harness
	provider.Provider
	caps provider.Capabilities
	mark provider.Mark // of this test: home, system
}

func newSuite(t *testing.T, h Harness) *suite {
	t.Helper()
	if h.Limit == 0 {
		h.Limit = 10 * time.Minute
	}
	if h.Pause == 0 {
		h.Pause = 20 * time.Millisecond
	}
	if h.Home == "" {
		h.Home = homeID()
	}
	p := h.New()
	s := &suite{Harness: h, Provider: p, caps: p.Describe(), mark: provider.Mark{Home: h.Home, System: "suite"}}
	t.Cleanup(func() { s.clean(t) })
	return s
}

// restart goes on with another module over the same provider.
func (s *suite) restart() { s.Provider = s.New() }

// homeID returns a random 8-hex id, so that tests that run at the same time do
// not see each other's resources.
func homeID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// clean destroys all that the test made.
func (s *suite) clean(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Limit)
	defer cancel()
	time.Sleep(s.caps.ListLag)
	for _, r := range s.all(ctx, t, provider.Mark{Home: s.mark.Home}) {
		if err := s.Destroy(ctx, s.Account, r.Ref); err != nil {
			t.Errorf("clean up %s: %v", r.Ref, err)
			continue
		}
		s.gone(ctx, t, r.Ref)
	}
}

// spec returns the best proposal for the harness's need.
func (s *suite) spec(t *testing.T) provider.Proposal {
	t.Helper()
	got, err := s.Offer(t.Context(), provider.Call{Needs: []provider.Need{s.Need}}, &s.Account)
	if err != nil {
		t.Fatalf("offer: %v", err)
	}
	if len(got) == 0 {
		t.Fatalf("no offer for the harness's need %+v", s.Need)
	}
	return got[0]
}

// request returns a request for a new machine, prepared for.
func (s *suite) request(t *testing.T, name string) provider.Request {
	t.Helper()
	spec := s.spec(t)
	class := provider.Class{Kind: provider.Compute, Template: spec.Template, Region: spec.Region, Size: spec.Size, Count: 1}
	if err := s.Prepare(t.Context(), s.Account, class); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	id := uuid.NewString()
	mark := s.mark
	mark.Path, mark.Machine = name, id
	return provider.Request{
		Kind: provider.Compute, Token: id, Mark: mark, Spec: spec, Name: name, UserData: s.UserData,
	}
}

// make creates a machine and returns it as accepted.
func (s *suite) make(t *testing.T, name string) (provider.Request, provider.Resource) {
	t.Helper()
	req := s.request(t, name)
	res, err := s.Create(t.Context(), s.Account, req)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return req, res
}

// all lists every page of what bears mark.
func (s *suite) all(ctx context.Context, t *testing.T, mark provider.Mark) (out []provider.Resource) {
	t.Helper()
	for page := provider.Page(""); ; {
		found, next, err := s.List(ctx, s.Account, mark, page)
		if err != nil {
			t.Errorf("list %+v: %v", mark, err)
			return out
		}
		out = append(out, found...)
		if next == "" {
			return out
		}
		if next == page {
			t.Errorf("list %+v: page %q is followed by itself", mark, page)
			return out
		}
		page = next
	}
}

// settled lists what bears mark once List has to show it, without what is on
// its way out.
func (s *suite) settled(t *testing.T, mark provider.Mark) []provider.Resource {
	t.Helper()
	time.Sleep(s.caps.ListLag)
	return slices.DeleteFunc(s.all(t.Context(), t, mark), func(r provider.Resource) bool {
		return r.State == provider.Destroying
	})
}

// until asks for ref until it is in the wanted state.
func (s *suite) until(t *testing.T, ref string, want provider.State) provider.Resource {
	t.Helper()
	begun := time.Now()
	for {
		r, err := s.Get(t.Context(), s.Account, ref)
		switch {
		case err != nil && (provider.KindOf(err) != provider.NotFound || time.Since(begun) > s.caps.ListLag):
			t.Fatalf("get %s: %v", ref, err)
		case err == nil && r.State == want:
			return r
		case err == nil && r.State == provider.Failed:
			t.Fatalf("%s failed: %s", ref, r.Reason)
		case time.Since(begun) > s.Limit:
			t.Fatalf("%s is %s, not %s, after %s", ref, r.State, want, s.Limit)
		}
		time.Sleep(s.Pause)
	}
}

// gone asks for ref until its provider does not know it.
func (s *suite) gone(ctx context.Context, t *testing.T, ref string) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(s.Pause) {
		r, err := s.Get(ctx, s.Account, ref)
		switch {
		case provider.KindOf(err) == provider.NotFound:
			return
		case err != nil:
			t.Errorf("get %s after its destruction: %v", ref, err)
			return
		case time.Since(begun) > s.Limit:
			t.Errorf("%s is still %s %s after it was destroyed", ref, r.State, s.Limit)
			return
		}
	}
}

// wantKind checks that err is an *Error of one of the kinds, which names its
// module and operation.
func (s *suite) wantKind(t *testing.T, what string, err error, kinds ...provider.ErrorKind) {
	t.Helper()
	var e *provider.Error
	switch {
	case !errors.As(err, &e) || !slices.Contains(kinds, e.Kind):
		t.Errorf("%s: error %v of kind %q, want %v", what, err, provider.KindOf(err), kinds)
	case e.Provider != s.caps.Name || e.Op == "":
		t.Errorf("%s: error %v names provider %q and operation %q, want %q and one", what, err, e.Provider, e.Op, s.caps.Name)
	}
}
