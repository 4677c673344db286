package plan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"aloft/component"
	"aloft/internal/inventory"
	"aloft/internal/model"
	"aloft/internal/place"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/resolve"
	"aloft/provider"
	"aloft/value"
)

// classes are the component classes of the cases.
type classes []component.Class

func (cs classes) Class(name string) (component.Class, bool) {
	for _, c := range cs {
		if c.Name == name || slices.Contains(c.Aliases, name) {
			return c, true
		}
	}
	return component.Class{}, false
}

func (cs classes) Names() (names []string) {
	for _, c := range cs {
		names = append(names, c.Name)
	}
	return names
}

// schemas are what the library would say of the classes, had it these.
const schemas = `#include "components.sf"
Server extends Prim {
  sfClass "Server";
  port 80;
  sfServerSchema extends DATA Schema {
    sfAssertionPhase "static";
    port extends OptionalInteger { description "where it listens"; minimum 1; }
    password extends OptionalString;
    dir extends OptionalString;
    mode extends OptionalString { values [| "fast", "safe" |]; }
    peer extends Optional;
    upstream extends Optional;
  }
}
Installer extends Prim {
  sfClass "Installer";
  sfInstallerSchema extends DATA Schema {
    sfAssertionPhase "static";
    name extends String { description "what to install"; }
  }
}
`

// testClasses returns the component classes of the cases.
var testClasses = sync.OnceValue(func() classes {
	fsys := fstest.MapFS{"schemas.sf": &fstest.MapFile{Data: []byte(schemas)}}
	known, err := catalog.Load(context.Background(), resolve.Folder{Name: "test", FS: fsys})
	if err != nil || known.Problems.Errors() > 0 {
		panic(fmt.Sprint(err, known.Problems.All()))
	}
	schema := func(class string) component.Schema {
		c, ok := known.Component(class)
		if !ok {
			panic("no schema of " + class)
		}
		return c
	}
	return classes{
		{Name: "Compound", Aliases: []string{"org.smartfrog.sfcore.compound.CompoundImpl"}, Site: component.SiteInherit, Children: true, OpenAttributes: true, Reconfigures: true},
		{
			Name: "VM", Site: component.SiteResource, Children: true, Reconfigures: true, OpenAttributes: true,
			Attributes: []component.Attribute{{Name: "memory", Fixed: true}, {Name: "cloudProvider", Fixed: true}},
			Outputs:    []component.Output{{Name: "ip", Kind: value.KindString}, {Name: "hostname", Kind: value.KindString}},
		},
		{
			Name: "Server", Site: component.SiteMachine, Schema: schema("Server"), Reconfigures: true,
			Attributes: []component.Attribute{
				{Name: "password", Secret: true},
				{Name: "dir", Fixed: true},
				{Name: "peer", Use: component.UseStart},
			},
			Outputs: []component.Output{{Name: "uri", Kind: value.KindString}},
		},
		{Name: "Installer", Site: component.SiteMachine, Schema: schema("Installer"), Isolation: true},
	}
})

const prelude = `
VM extends { sfClass "VM"; }
Server extends { sfClass "Server"; }
Installer extends { sfClass "Installer"; }
Compound extends { sfClass "org.smartfrog.sfcore.compound.CompoundImpl"; }
`

func tree(t *testing.T, name, text string) *model.Tree {
	t.Helper()
	if text == "" {
		return nil
	}
	res, err := resolve.Resolve(t.Context(), resolve.Source{Name: name, Text: []byte(text + prelude)}, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if res.Description == nil {
		t.Fatalf("%s does not resolve: %v", name, res.Diagnostics.All())
	}
	return model.NewTree(res.Description.Root)
}

// plans makes the plan that leads from existing to text.
func plans(t *testing.T, file, text string, existing *inventory.System, isolation bool) (*Plan, string) {
	t.Helper()
	survey := Look("shop", tree(t, file, text), testClasses(), Host{MachineID: "host", Hostname: "here"}, false)
	placement, short := place.Choose(place.Input{
		Needs: survey.Needs, Previous: Keep(survey, existing), Providers: []string{"local"},
		Proposals: proposals(survey.Needs, isolation),
		NewID:     func(p value.Path) string { return fmt.Sprintf("machine-%s-%d", p, existing.Revision+1) },
	})
	if len(short) > 0 {
		t.Fatalf("no machine: %v", short)
	}
	p, problems := Make(Input{
		ID: "plan", Survey: survey, Existing: existing, Placement: placement, File: file, Description: "digest",
		Time: time.Unix(0, 0), Down: text == "", Token: func(id StepID) string { return "token of " + string(id) },
	})
	var out strings.Builder
	for _, d := range problems.All() {
		fmt.Fprintf(&out, "%s %s %s %s: %s\n", d.Severity, d.Code, d.Path, d.Attribute, d.Message)
		for _, h := range d.Hints {
			fmt.Fprintf(&out, "  hint: %s\n", h)
		}
	}
	if p != nil {
		show(&out, p)
	}
	return p, out.String()
}

func proposals(needs []place.Need, isolation bool) map[value.Path][]provider.Proposal {
	all := map[value.Path][]provider.Proposal{}
	for _, n := range needs {
		all[n.Path] = []provider.Proposal{{
			Need: string(n.Path), Provider: "local", Host: "host", Cores: n.Cores, Memory: n.Memory, Disk: n.Disk, Isolation: isolation,
		}}
	}
	return all
}

func show(out *strings.Builder, p *Plan) {
	if p.Empty() {
		out.WriteString("no changes\n")
	}
	for _, e := range p.Edits {
		fmt.Fprintf(out, "%s %s %s", e.Sign, e.Path, e.Class)
		if e.Machine != value.Root {
			fmt.Fprintf(out, " on %s", e.Machine)
		}
		if e.Reason != "" {
			fmt.Fprintf(out, " (%s)", e.Reason)
		}
		out.WriteString("\n")
		for _, d := range e.Attributes {
			fmt.Fprintf(out, "    %s: %s -> %s\n", d.Name, d.Old, d.New)
		}
	}
	for _, l := range p.Late {
		fmt.Fprintf(out, "late: %s waits for %s (%s)\n", l.From, l.To, l.Attribute)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	for _, s := range p.Steps {
		fmt.Fprintf(out, "%s", s.ID)
		if s.Executor != "" {
			fmt.Fprintf(out, " by %s", s.Executor)
		}
		if len(s.Needs) > 0 {
			fmt.Fprintf(out, " needs %v", s.Needs)
		}
		if len(s.After) > 0 {
			fmt.Fprintf(out, " after %v", s.After)
		}
		for _, a := range s.Awaits {
			fmt.Fprintf(out, " awaits %s for %s on %q", a.Step, a.Attribute, a.Machine)
		}
		out.WriteString("\n")
	}
}

// carriedOut is the inventory after a plan, with the named components failed.
func carriedOut(p *Plan, failed []string) *inventory.System {
	inv := (&inventory.System{Name: p.System, File: p.File, Revision: p.Revision, OnFailure: p.OnFailure}).Clone()
	for _, c := range p.Components {
		state := inventory.Running
		if slices.Contains(failed, c.Path.String()) {
			state = inventory.Failed
		}
		inv.Components[c.Path] = inventory.Component{
			Path: c.Path, Class: c.Class, Machine: c.Machine, OnHost: c.OnHost, Executor: c.Executor, Order: c.Order,
			Attrs: c.Attrs.Component, Digest: c.Digest, State: state,
		}
	}
	for path, choice := range p.Placement {
		inv.Machines[path] = inventory.Machine{ID: choice.MachineID, Path: path, Proposal: choice.Proposal, State: inventory.MachineRunning}
	}
	return inv
}

// TestPlans makes, for each case in testdata, the plan from before.sf (nothing
// if absent) to after.sf (the end of the system if absent) and compares it
// with the golden plan. UPDATE=1 rewrites the plans.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := map[string]string{}
			for _, f := range a.Files {
				text[f.Name] = string(f.Data)
			}
			isolation := text["process-machines"] == ""
			existing := (&inventory.System{Name: "shop"}).Clone()
			if before := text["before.sf"]; before != "" {
				p, problems := plans(t, "shop.sf", before, existing, isolation)
				if p == nil {
					t.Fatalf("before.sf cannot be planned: %s", problems)
				}
				existing = carriedOut(p, strings.Fields(text["failed"]))
			}
			p, got := plans(t, "shop.sf", text["after.sf"], existing, isolation)
			checkOrder(t, p)
			if os.Getenv("UPDATE") != "" {
				golden(t, file, a, got)
				return
			}
			if got != text["plan"] {
				t.Errorf("got\n%s\nwant\n%s", got, text["plan"])
			}
		})
	}
}

// checkOrder fails if the steps cannot all be carried out.
func checkOrder(t *testing.T, p *Plan) {
	t.Helper()
	if p == nil {
		return
	}
	f := NewFrontier(p.Steps)
	todo := f.Ready()
	for len(todo) > 0 {
		ready, skipped := f.Settle(todo[0].ID, Done)
		if len(skipped) > 0 {
			t.Errorf("skipped without a failure: %v", skipped)
		}
		todo = append(todo[1:], ready...)
	}
	if f.Pending() > 0 {
		t.Errorf("%d steps wait for ever", f.Pending())
	}
}

func golden(t *testing.T, file string, a *txtar.Archive, got string) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "plan" })
	a.Files = append(a.Files, txtar.File{Name: "plan", Data: []byte(got)})
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPlanSurvivesStorage(t *testing.T) {
	p, _ := plans(t, "shop.sf", `sfConfig extends { m extends VM { s extends Server { port 80; password "x"; upstream LAZY PARENT:ip; } } }`, (&inventory.System{Name: "shop"}).Clone(), true)
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	q, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	var before, after strings.Builder
	show(&before, p)
	show(&after, q)
	if before.String() != after.String() || !value.Equal(q.Components[2].Attrs.Component, p.Components[2].Attrs.Component) {
		t.Errorf("stored\n%s\nread\n%s", before.String(), after.String())
	}
}

func TestPartHasItsStepsAndHearsWhatItWaitsFor(t *testing.T) {
	p, _ := plans(t, "shop.sf", `sfConfig extends {
		a extends VM { s extends Server; }
		b extends VM { s extends Server { upstream LAZY a:s:uri; } }
	}`, (&inventory.System{Name: "shop"}).Clone(), true)
	parts, err := p.Cut()
	if err != nil {
		t.Fatal(err)
	}
	b := parts["machine-b-1"]
	var steps []string
	for _, s := range b.Steps {
		steps = append(steps, s.Id)
	}
	if want := []string{"b:s/deploy", "b:s/start"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	for _, want := range []string{"a:s/deploy", "a:s/start", "b/deploy", "b/start", "/deployed"} {
		if !slices.Contains(b.Listens, want) {
			t.Errorf("listens for %v, not for %s", b.Listens, want)
		}
	}
	if b.Machine != "shop/b" || len(b.Components) != 1 || b.Components[0].Path != "b:s" {
		t.Errorf("part of %s holds %v", b.Machine, b.Components)
	}
	if host := parts["host"]; len(host.Components) != 2 || !strings.Contains(string(host.Components[0].Attributes), AttrMachine) {
		t.Errorf("the host's part holds %v", host.Components)
	}
}
