package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/internal/expand"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/internal/place"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// plansCopies makes the plan that leads from existing to text, in which sets of
// copies are written out, with the further ones that it wants.
func plansCopies(t *testing.T, text string, existing *inventory.System) (*Plan, string) {
	t.Helper()
	res, err := resolve.Resolve(t.Context(), resolve.Source{Name: "shop.sf", Text: []byte(text + prelude)}, resolve.Options{})
	if err != nil || res.Description == nil {
		t.Fatalf("%v, %v", err, res.Diagnostics.All())
	}
	survey := func(further expand.Further) *Survey {
		root, binds, problems := expand.Copies(res.Description.Root, further)
		if problems.Errors() > 0 {
			t.Fatalf("copies: %v", problems.All())
		}
		s := Look("shop", model.NewTree(root), testClasses(), Host{MachineID: "host", Hostname: "here"}, false)
		s.Binds = binds
		return s
	}
	plan := func(s *Survey) (*Plan, string) {
		placement, short := place.Choose(place.Input{
			Needs: s.Needs, Previous: Keep(s, existing), Providers: []string{"local"}, Proposals: proposals(s.Needs, true),
			NewID: func(p value.Path) string { return fmt.Sprintf("machine-%s-%d", p, existing.Revision+1) },
		})
		if len(short) > 0 {
			t.Fatalf("no machine: %v", short)
		}
		p, problems := Make(Input{
			ID: "plan", Survey: s, Existing: existing, Placement: placement, File: "shop.sf", Description: "digest",
			Time: time.Unix(0, 0), Token: func(id StepID) string { return "token of " + string(id) },
		})
		var out strings.Builder
		for _, d := range problems.All() {
			fmt.Fprintf(&out, "%s %s: %s\n", d.Path, d.Attribute, d.Message)
		}
		return p, out.String()
	}
	base := survey(nil)
	p, problems := plan(base)
	if p == nil || len(p.Wants) == 0 {
		return p, problems
	}
	s := survey(p.Wants)
	s.Beside(base)
	p, problems = plan(s)
	if p != nil && len(p.Wants) > 0 {
		t.Errorf("wants %v once more", p.Wants)
	}
	return p, problems
}

// shop is a set of machines that something refers to.
func shop(copies, server string) string {
	return `sfConfig extends {
		front extends VM { lb extends Server { upstream LAZY web:app:uri; } }
		web extends VM { ` + copies + ` app extends Server { ` + server + ` } }
	}`
}

// running is what there is after text was deployed.
func running(t *testing.T, text string) *inventory.System {
	t.Helper()
	p, problems := plansCopies(t, text, (&inventory.System{Name: "shop"}).Clone())
	if p == nil {
		t.Fatal(problems)
	}
	for _, c := range p.Components {
		if c.Further {
			t.Errorf("%s is made though nothing is updated", c.Path)
		}
	}
	return carriedOut(p, nil)
}

// before reports whether one step has to be done before another can begin.
func (p *Plan) before(t *testing.T, first, then StepID) {
	t.Helper()
	needs := map[StepID][]StepID{}
	for _, s := range p.Steps {
		needs[s.ID] = slices.Concat(s.Needs, s.After)
	}
	if needs[first] == nil && !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.ID == first }) {
		t.Errorf("there is no step %s", first)
		return
	}
	seen := map[StepID]bool{}
	for queue := []StepID{then}; len(queue) > 0; queue = queue[1:] {
		for _, id := range needs[queue[0]] {
			if id == first {
				return
			}
			if !seen[id] {
				seen[id] = true
				queue = append(queue, id)
			}
		}
	}
	t.Errorf("%s does not come before %s", first, then)
}

func TestUP8FurtherCopiesRunBeforeOthersAreEndedAndEndAfterTheyRun(t *testing.T) {
	set := "sfCopies 2; sfMaxUnavailable 0; sfMaxSurge 1;"
	existing := running(t, shop(set, `dir "a";`))
	p, problems := plansCopies(t, shop(set, `dir "b";`), existing)
	if p == nil {
		t.Fatal(problems)
	}
	checkOrder(t, p)
	for _, chain := range [][]StepID{
		{"web3:app/start", "front:lb/reconfigure without web1", "web1:app/terminate", "web1:app/start"},
		{"web1:app/start", "front:lb/reconfigure without web2", "web2:app/terminate", "web2:app/start"},
		{"web2:app/start", "front:lb/reconfigure", "web3:app/terminate", "web3/terminate"},
	} {
		for i := 1; i < len(chain); i++ {
			p.before(t, chain[i-1], chain[i])
		}
	}
	for _, c := range p.Components {
		if further := strings.HasPrefix(string(c.Path), "web3"); c.Further != further {
			t.Errorf("%s: further is %v", c.Path, c.Further)
		}
		if c.Path != "front:lb" {
			continue
		}
		if upstream, _ := c.Attrs.Get("upstream"); len(upstream.(value.Vector)) != 2 {
			t.Errorf("it refers to %v at the end", upstream)
		}
		if upstream, _ := c.Meanwhile.Get("upstream"); len(upstream.(value.Vector)) != 3 {
			t.Errorf("it refers to %v meanwhile", upstream)
		}
		if !slices.Contains(c.Reads, value.Path("web3:app")) || c.Digest != existing.Components[c.Path].Digest {
			t.Errorf("it reads %v, and its digest is %s", c.Reads, c.Digest)
		}
	}
	if i := slices.IndexFunc(p.Edits, func(e Edit) bool {
		return e.Path == "web3:app" && e.Sign == Add && e.Reason == "only while others of its set are updated"
	}); i < 0 {
		t.Errorf("no further copy among %+v", p.Edits)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if q, err := Decode(b); err != nil || !value.Equal(q.Components[2].Meanwhile.Component, p.Components[2].Meanwhile.Component) {
		t.Errorf("stored: %v", err)
	}
}

func TestUP8FurtherCopiesAreAsManyAsAreUpdatedAtMost(t *testing.T) {
	for set, want := range map[string]string{
		"sfCopies 3; sfMaxSurge 1;":                           "web4; web1 web2, web3",
		"sfCopies 3; sfMaxUnavailable 0; sfMaxSurge 2;":       "web4 web5; web1 web2, web3",
		"sfCopies 1; sfMaxUnavailable 0; sfMaxSurge 9;":       "web2; web1",
		"sfCopies 3; sfMaxUnavailable 1; sfMaxSurge 9;":       "web4 web5 web6; web1 web2 web3",
		"sfCopies 3; sfMaxUnavailable 2; sfMaxSurge 0;":       "; web1 web2, web3",
		`sfCopies 2; sfReplace "before";`:                     "web3; web1, web2",
		`sfCopies 2; sfReplace "before"; sfMaxSurge 2;`:       "web3 web4; web1 web2",
		`sfCopies 2; sfReplace "after"; sfMaxUnavailable 1;`:  "; web1, web2",
		"sfCopies 3; sfMaxSurge 0;":                           ";",
		"sfCopies 0; sfMaxUnavailable 0; sfMaxSurge 1;":       ";",
		"sfCopies 1; sfMaxSurge 1; web4 extends { v 1; }":     "web2; web1",
		"sfCopies (1 + 1); sfMaxUnavailable 0; sfMaxSurge 1;": "web3; web1, web2",
	} {
		p, problems := plansCopies(t, shop(set, `dir "b";`), running(t, shop(set, `dir "a";`)))
		if p == nil {
			t.Errorf("%s: %s", set, problems)
			continue
		}
		checkOrder(t, p)
		var further []string
		var batches [][]string
		for _, c := range p.Components {
			if c.Further && c.Class == "VM" {
				further = append(further, c.Path.String())
			}
		}
		for _, s := range p.Steps {
			if s.ID.Path() == "front:lb" && len(s.Without) > 0 {
				var names []string
				for _, path := range s.Without {
					names = append(names, path.String())
				}
				batches = append(batches, names)
			}
		}
		var text []string
		for _, b := range batches {
			text = append(text, strings.Join(b, " "))
		}
		if got := strings.Join(further, " ") + "; " + strings.Join(text, ", "); strings.TrimSpace(got) != want {
			t.Errorf("%s: %s, want %s", set, got, want)
		}
	}
}

// A name that something else has, in the description or of what exists, is not a
// further copy's.
func TestUP8FurtherCopiesHaveNamesOfTheirOwn(t *testing.T) {
	beside := func(server string) string {
		return strings.Replace(shop("sfCopies 2; sfMaxUnavailable 0; sfMaxSurge 1;", server), "sfConfig extends {", `sfConfig extends { web3 "taken";`, 1)
	}
	existing := running(t, beside(`dir "a";`))
	left := existing.Components["web2"]
	left.Path = "web4"
	existing.Components["web4"] = left
	p, problems := plansCopies(t, beside(`dir "b";`), existing)
	if p == nil {
		t.Fatal(problems)
	}
	checkOrder(t, p)
	p.before(t, "web5:app/start", "web1:app/terminate")
	p.before(t, "front:lb/reconfigure", "web4/terminate")
}

func TestUP8FurtherCopiesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		shop("sfCopies 2; sfMaxUnavailable 0;", ""):                     "web1 sfMaxUnavailable: no copy may be away, and there is to be none beside them",
		shop("sfCopies 2; sfMaxUnavailable 0; sfMaxSurge 0;", ""):       "web1 sfMaxUnavailable: no copy may be away, and there is to be none beside them",
		shop(`sfCopies 2; sfMaxSurge "some";`, ""):                      "web1 sfMaxSurge: sfMaxSurge is no number of copies",
		shop("sfCopies 2; sfMaxUnavailable -1;", ""):                    "web1 sfMaxUnavailable: sfMaxUnavailable is no number of copies",
		shop("sfCopies 2; sfMaxSurge 1;", `dataDir "/d";`):              "web1 sfMaxSurge: copies that hold data cannot have others beside them",
		shop(`sfCopies 2; sfReplace "before"; sfMaxUnavailable 1;`, ""): "web1 sfReplace: what replaces a copy is to run before that is ended",
		shop(`sfCopies 2; sfReplace "before"; sfMaxSurge 0;`, ""):       "web1 sfReplace: what replaces a copy is to run before that is ended",
		shop(`sfCopies 2; sfReplace "before";`, `dataDir "/d";`):        "web1 sfReplace: copies that hold data cannot have others beside them",
		shop("sfCopies 1;", `sfReplace "before";`):                      "web1:app sfReplace: what replaces a component cannot run beside it",
		shop("", `sfReplace "sideways";`):                               "web:app sfReplace: sfReplace has an unknown value",
	} {
		p, problems := plansCopies(t, text, (&inventory.System{Name: "shop"}).Clone())
		if p != nil || !strings.Contains(problems, want) || strings.Count(problems, "\n") != 1 {
			t.Errorf("%s\n%s, want %s", text, problems, want)
		}
	}
}

// A set inside of a copy, where the copy itself stays, has further ones in it.
func TestUP8FurtherCopiesInsideOfACopy(t *testing.T) {
	text := func(dir string) string {
		return shop("sfCopies 2;", `in extends { sfCopies 1; sfMaxUnavailable 0; sfMaxSurge 1; s extends Server { dir "`+dir+`"; } }`)
	}
	p, problems := plansCopies(t, text("b"), running(t, text("a")))
	if p == nil {
		t.Fatal(problems)
	}
	checkOrder(t, p)
	for _, copy := range []string{"web1", "web2"} {
		in := value.Path(copy + ":app:in")
		p.before(t, ID(in+"2:s", Start), ID(in+"1:s", Terminate))
		p.before(t, ID(in+"1:s", Start), ID(in+"2:s", Terminate))
	}
}

// A copy on a machine that is lost serves nobody: it is placed again at once, and
// needs no further one beside it.
func TestUP8CopiesOnLostMachinesNeedNoFurtherOnes(t *testing.T) {
	text := shop("sfCopies 3; sfMaxUnavailable 0; sfMaxSurge 1;", "")
	existing := running(t, text)
	for _, path := range []value.Path{"web1", "web2"} {
		m := existing.Machines[path]
		m.Lost = "its host is gone"
		existing.Machines[path] = m
	}
	p, problems := plansCopies(t, text, existing)
	if p == nil {
		t.Fatal(problems)
	}
	checkOrder(t, p)
	for _, c := range p.Components {
		if c.Further {
			t.Errorf("%s is made beside", c.Path)
		}
	}
	for _, s := range p.Steps {
		if len(s.Without) > 0 {
			t.Errorf("%s", s.ID)
		}
	}
}
