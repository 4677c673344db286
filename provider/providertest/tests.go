package providertest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"aloft/provider"
)

func describe(t *testing.T, s *suite) {
	c, again := s.Describe(), s.Describe()
	s.restart()
	if other := s.Describe(); !reflect.DeepEqual(c, again) || !reflect.DeepEqual(c, other) {
		t.Errorf("three descriptions differ: %+v, %+v, %+v", c, again, other)
	}
	if c.Name == "" || c.Doc == "" || c.DefaultTemplate == "" {
		t.Errorf("name %q, doc %q and default template %q must not be empty", c.Name, c.Doc, c.DefaultTemplate)
	}
	if !slices.Contains(c.Kinds, provider.Compute) {
		t.Errorf("kinds %v lack %s", c.Kinds, provider.Compute)
	}
	if c.Site != provider.SiteAccount && c.Site != provider.SiteHost {
		t.Errorf("site is %q", c.Site)
	}
	if c.NativeTokens && c.TokenLife <= 0 {
		t.Error("native tokens without a life")
	}
	if c.ListLag < 0 {
		t.Errorf("list lag is %s", c.ListLag)
	}
	for _, op := range []provider.Operation{provider.OpStart, provider.OpStop} {
		switch c.Operations[op] {
		case provider.Yes, provider.No, provider.CreateOnly, provider.External:
		default:
			t.Errorf("support of %s is %q: every operation is declared, also as no", op, c.Operations[op])
		}
	}
}

func offers(t *testing.T, s *suite) {
	one, two := s.Need, s.Need
	one.Name, two.Name = "one", "two"
	call := provider.Call{Needs: []provider.Need{one, two}}
	for _, account := range []*provider.Account{nil, &s.Account} {
		got, err := s.Offer(t.Context(), call, account)
		if err != nil {
			t.Fatalf("offer (account %v): %v", account != nil, err)
		}
		for _, n := range call.Needs {
			if !slices.ContainsFunc(got, func(p provider.Proposal) bool { return p.Need == n.Name }) {
				t.Errorf("no proposal for need %s (account %v)", n.Name, account != nil)
			}
		}
		for _, p := range got {
			s.meets(t, s.Need, p)
		}
	}
	// A cap below the best price leaves only what costs less.
	best := s.spec(t)
	if best.PerHour <= 0 {
		return
	}
	capped := s.Need
	capped.MaxPrice = best.PerHour / 2
	got, err := s.Offer(t.Context(), provider.Call{Needs: []provider.Need{capped}}, nil)
	if err != nil {
		t.Fatalf("offer with a price cap: %v", err)
	}
	for _, p := range got {
		s.meets(t, capped, p)
	}
}

// meets checks that p has everything that n asks for.
func (s *suite) meets(t *testing.T, n provider.Need, p provider.Proposal) {
	t.Helper()
	template := n.Template
	if template == "" {
		template = s.caps.DefaultTemplate
	}
	switch {
	case p.Provider != s.caps.Name:
		t.Errorf("proposal of provider %q, want %q", p.Provider, s.caps.Name)
	case p.Cores < n.Cores || p.Memory < n.Memory || p.Disk < n.Disk:
		t.Errorf("proposal %+v is smaller than need %+v", p, n)
	case n.Region != "" && p.Region != n.Region:
		t.Errorf("proposal in region %q, want %q", p.Region, n.Region)
	case n.MaxPrice > 0 && p.PerHour > n.MaxPrice:
		t.Errorf("proposal for %g an hour, cap %g", p.PerHour, n.MaxPrice)
	case p.Template != template:
		t.Errorf("proposal with template %q, want %q", p.Template, template)
	case p.Isolation && !s.caps.Isolation:
		t.Error("proposal promises isolation, the module declares none")
	case p.PerHour > 0 && p.Currency == "":
		t.Errorf("price %g without currency", p.PerHour)
	}
}

func impossible(t *testing.T, s *suite) {
	for what, change := range map[string]func(*provider.Need){
		"a million cores":  func(n *provider.Need) { n.Cores = 1_000_000 },
		"an exabyte":       func(n *provider.Need) { n.Memory = 1 << 40 },
		"an unknown place": func(n *provider.Need) { n.Region = "no-such-region" },
		"an unknown image": func(n *provider.Need) { n.Template = "no-such-template" },
	} {
		n := s.Need
		change(&n)
		got, err := s.Offer(t.Context(), provider.Call{Needs: []provider.Need{n}}, nil)
		if err != nil || len(got) > 0 {
			t.Errorf("%s: %d proposals, error %v; want none of either", what, len(got), err)
		}
	}
}

func prepare(t *testing.T, s *suite) {
	req := s.request(t, "prepared")
	class := provider.Class{
		Kind: provider.Compute, Template: req.Spec.Template, Region: req.Spec.Region, Size: req.Spec.Size, Count: 2,
	}
	for range 2 {
		if err := s.Prepare(t.Context(), s.Account, class); err != nil {
			t.Errorf("prepare: %v", err)
		}
	}
	if made := s.settled(t, s.mark); len(made) > 0 {
		t.Errorf("prepare made %+v", made)
	}
	class.Template = "no-such-template"
	s.wantKind(t, "prepare an unknown template", s.Prepare(t.Context(), s.Account, class), provider.Invalid, provider.NotFound)
}

func oneToken(t *testing.T, s *suite) {
	req, first := s.make(t, "twice")
	if !s.caps.NativeTokens {
		time.Sleep(s.caps.ListLag)
	}
	for range 2 {
		again, err := s.Create(t.Context(), s.Account, req)
		if err != nil {
			t.Fatalf("create again: %v", err)
		}
		if again.Ref != first.Ref {
			t.Errorf("the same token gave %s and %s", first.Ref, again.Ref)
		}
		s.restart()
	}
	if got := s.settled(t, req.Mark); len(got) != 1 {
		t.Errorf("%d resources for one token: %+v", len(got), got)
	}
}

func oneTokenConcurrently(t *testing.T, s *suite) {
	const callers = 4
	req := s.request(t, "at-once")
	var wg sync.WaitGroup
	refs := make([]string, callers)
	for i := range callers {
		wg.Go(func() {
			res, err := s.Create(t.Context(), s.Account, req)
			if err != nil && provider.KindOf(err) != provider.Conflict && provider.KindOf(err) != provider.Transient {
				t.Errorf("create: %v", err)
			}
			refs[i] = res.Ref
		})
	}
	wg.Wait()
	got := s.settled(t, req.Mark)
	if len(got) == 0 {
		t.Fatal("none of four concurrent requests made anything")
	}
	for _, r := range got {
		if r.Token != req.Token {
			t.Errorf("%s has token %q, want %q: a duplicate could not be swept", r.Ref, r.Token, req.Token)
		}
	}
	if !s.caps.NativeTokens {
		return // duplicates are found by their token and swept by the caller
	}
	if len(got) != 1 {
		t.Errorf("%d resources for one token: %+v", len(got), got)
	}
	for _, ref := range refs {
		if ref != "" && ref != got[0].Ref {
			t.Errorf("a caller was given %s, the resource is %s", ref, got[0].Ref)
		}
	}
}

func lostAnswer(t *testing.T, s *suite) {
	if s.LoseAnswer == nil {
		t.Skip("the harness cannot lose answers")
	}
	req := s.request(t, "lost")
	s.LoseAnswer("create")
	_, err := s.Create(t.Context(), s.Account, req)
	if !provider.MayHaveHappened(err) {
		t.Fatalf("create with a lost answer: %v, which does not say that it may have happened", err)
	}
	got := s.settled(t, req.Mark)
	if len(got) != 1 || got[0].Token != req.Token {
		t.Fatalf("found %+v, want one resource with token %s", got, req.Token)
	}
	s.restart()
	again, err := s.Create(t.Context(), s.Account, req)
	if err != nil || again.Ref != got[0].Ref {
		t.Errorf("create again gave %q, %v; want %s", again.Ref, err, got[0].Ref)
	}
}

func lostDestroy(t *testing.T, s *suite) {
	if s.LoseAnswer == nil {
		t.Skip("the harness cannot lose answers")
	}
	_, res := s.make(t, "lost")
	s.until(t, res.Ref, provider.Running)
	s.LoseAnswer("destroy")
	if err := s.Destroy(t.Context(), s.Account, res.Ref); !provider.MayHaveHappened(err) {
		t.Errorf("destroy with a lost answer: %v", err)
	}
	if err := s.Destroy(t.Context(), s.Account, res.Ref); err != nil {
		t.Errorf("destroy again: %v", err)
	}
	s.gone(t.Context(), t, res.Ref)
}

func getAndList(t *testing.T, s *suite) {
	made := map[string]provider.Request{}
	for i := range 3 {
		req, res := s.make(t, fmt.Sprint("m", i))
		made[res.Ref] = req
	}
	listed := s.settled(t, s.mark)
	s.restart()
	if len(listed) != len(made) {
		t.Errorf("list shows %d of %d resources", len(listed), len(made))
	}
	for _, l := range listed {
		req, ok := made[l.Ref]
		if !ok {
			t.Errorf("list shows %s, which create never returned", l.Ref)
			continue
		}
		got, err := s.Get(t.Context(), s.Account, l.Ref)
		if err != nil {
			t.Errorf("get %s, which is listed: %v", l.Ref, err)
			continue
		}
		for from, r := range map[string]provider.Resource{"list": l, "get": got} {
			if r.Kind != req.Kind || r.Token != req.Token || r.Mark != req.Mark || r.Name != req.Name || r.Template != req.Spec.Template {
				t.Errorf("%s shows %+v, asked for was %+v", from, r, req)
			}
			if r.Created.IsZero() {
				t.Errorf("%s of %s does not tell when it was made", from, r.Ref)
			}
		}
	}
}

func marks(t *testing.T, s *suite) {
	first, res := s.make(t, "first")
	second := s.request(t, "second")
	second.Mark.System = "other"
	if _, err := s.Create(t.Context(), s.Account, second); err != nil {
		t.Fatalf("create: %v", err)
	}
	time.Sleep(s.caps.ListLag)
	for _, c := range []struct {
		what string
		mark provider.Mark
		want int
	}{
		{"the home", provider.Mark{Home: s.mark.Home}, 2},
		{"a system", provider.Mark{Home: s.mark.Home, System: first.Mark.System}, 1},
		{"a path", provider.Mark{Home: s.mark.Home, Path: second.Mark.Path}, 1},
		{"a machine", provider.Mark{Home: s.mark.Home, Machine: first.Mark.Machine}, 1},
		{"another home", provider.Mark{Home: homeID()}, 0},
		{"another home with this machine", provider.Mark{Home: homeID(), Machine: first.Mark.Machine}, 0},
	} {
		if got := s.all(t.Context(), t, c.mark); len(got) != c.want {
			t.Errorf("%s: %d resources, want %d", c.what, len(got), c.want)
		} else if c.what == "a machine" && got[0].Ref != res.Ref {
			t.Errorf("a machine: %s, want %s", got[0].Ref, res.Ref)
		}
	}
}

func running(t *testing.T, s *suite) {
	req, accepted := s.make(t, "runs")
	r := s.until(t, accepted.Ref, provider.Running)
	if r.Address == "" || r.Hostname == "" {
		t.Errorf("a running machine has address %q and host name %q", r.Address, r.Hostname)
	}
	if r.PerHour != req.Spec.PerHour || r.Region != req.Spec.Region {
		t.Errorf("it costs %g in %q; offered was %g in %q", r.PerHour, r.Region, req.Spec.PerHour, req.Spec.Region)
	}
	_, other := s.make(t, "runs-too")
	if o := s.until(t, other.Ref, provider.Running); o.Address == r.Address {
		t.Errorf("two machines have the address %s", r.Address)
	}
}

func operate(t *testing.T, s *suite) {
	if s.caps.Operations[provider.OpStop] != provider.Yes {
		t.Skip("the module declares no stop")
	}
	_, res := s.make(t, "stops")
	s.until(t, res.Ref, provider.Running)
	for range 2 {
		if err := s.Operate(t.Context(), s.Account, res.Ref, provider.OpStop); err != nil {
			t.Fatalf("stop: %v", err)
		}
		s.until(t, res.Ref, provider.Stopped)
	}
	if s.caps.Operations[provider.OpStart] != provider.Yes {
		return
	}
	s.restart()
	for range 2 {
		if err := s.Operate(t.Context(), s.Account, res.Ref, provider.OpStart); err != nil {
			t.Fatalf("start: %v", err)
		}
		s.until(t, res.Ref, provider.Running)
	}
}

func undeclared(t *testing.T, s *suite) {
	_, res := s.make(t, "refuses")
	s.until(t, res.Ref, provider.Running)
	for _, op := range []provider.Operation{provider.OpStart, provider.OpStop, "no-such-operation"} {
		if s.caps.Operations[op] == provider.Yes {
			continue
		}
		s.wantKind(t, "undeclared "+string(op), s.Operate(t.Context(), s.Account, res.Ref, op), provider.NotSupported)
	}
	if r := s.until(t, res.Ref, provider.Running); r.Ref != res.Ref {
		t.Errorf("asked for %s, got %s", res.Ref, r.Ref)
	}
	req := s.request(t, "other")
	req.Kind = "no-such-kind"
	_, err := s.Create(t.Context(), s.Account, req)
	s.wantKind(t, "create of an undeclared kind", err, provider.NotSupported, provider.Invalid)
}

func destroy(t *testing.T, s *suite) {
	_, res := s.make(t, "ends")
	s.until(t, res.Ref, provider.Running)
	for range 2 {
		if err := s.Destroy(t.Context(), s.Account, res.Ref); err != nil {
			t.Fatalf("destroy: %v", err)
		}
		s.restart()
	}
	s.gone(t.Context(), t, res.Ref)
	if err := s.Destroy(t.Context(), s.Account, res.Ref); err != nil {
		t.Errorf("destroy what is gone: %v", err)
	}
	if left := s.settled(t, s.mark); len(left) > 0 {
		t.Errorf("still listed: %+v", left)
	}
	// One that is still being made can be ended as well.
	_, res = s.make(t, "ends-early")
	if err := s.Destroy(t.Context(), s.Account, res.Ref); err != nil {
		t.Fatalf("destroy what is being made: %v", err)
	}
	s.gone(t.Context(), t, res.Ref)
}

func kinds(t *testing.T, s *suite) {
	_, res := s.make(t, "gone")
	if err := s.Destroy(t.Context(), s.Account, res.Ref); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	s.gone(t.Context(), t, res.Ref)
	_, err := s.Get(t.Context(), s.Account, res.Ref)
	s.wantKind(t, "get what is gone", err, provider.NotFound)
	if s.caps.Operations[provider.OpStart] == provider.Yes {
		s.wantKind(t, "start what is gone", s.Operate(t.Context(), s.Account, res.Ref, provider.OpStart), provider.NotFound)
	}
	req := s.request(t, "wrong")
	req.Spec.Template = "no-such-template"
	_, err = s.Create(t.Context(), s.Account, req)
	s.wantKind(t, "create from an unknown template", err, provider.Invalid, provider.NotFound)
	if made := s.settled(t, req.Mark); len(made) > 0 {
		t.Errorf("the refused request made %+v", made)
	}
}

// prompt is how long a call may go on after its context has ended.
const prompt = 5 * time.Second

func cancelled(t *testing.T, s *suite) {
	_, res := s.make(t, "stays")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := s.request(t, "late")
	for _, c := range []struct {
		op   string
		call func() error
	}{
		{"offer", func() error {
			_, err := s.Offer(ctx, provider.Call{Needs: []provider.Need{s.Need}}, nil)
			return err
		}},
		{"prepare", func() error { return s.Prepare(ctx, s.Account, provider.Class{Kind: provider.Compute}) }},
		{"create", func() error { _, err := s.Create(ctx, s.Account, late); return err }},
		{"get", func() error { _, err := s.Get(ctx, s.Account, res.Ref); return err }},
		{"list", func() error { _, _, err := s.List(ctx, s.Account, s.mark, ""); return err }},
		{"operate", func() error { return s.Operate(ctx, s.Account, res.Ref, provider.OpStop) }},
		{"destroy", func() error { return s.Destroy(ctx, s.Account, res.Ref) }},
	} {
		begun := time.Now()
		_ = c.call() // whether it still succeeds is its own affair
		if took := time.Since(begun); took > prompt {
			t.Errorf("%s went on for %s after its context had ended", c.op, took)
		}
	}
	// What the cancelled create may have made bears its token.
	for _, r := range s.settled(t, late.Mark) {
		if r.Token != late.Token {
			t.Errorf("%s has token %q, want %q", r.Ref, r.Token, late.Token)
		}
	}
}
