package sim

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/component"
	"aloft/examples"
	"aloft/internal/daemon"
	cloud "aloft/internal/drivers/sim"
	"aloft/test/plain"
	"aloft/value"
)

// understudy has the class of a component of the library, as planning and
// machines know it, with its schema, outputs and what it reads when. What it
// does is a probe's: each operation takes its time and is recorded.
type understudy struct {
	*probe
	class component.Class
}

func (u understudy) Class() component.Class { return u.class }

// Deploy puts out what the class promises, as values of the right kind that name
// the component and its machine.
func (u understudy) Deploy(ctx context.Context, c *component.Call) error {
	for _, o := range u.class.Outputs {
		switch o.Kind {
		case value.KindString:
			c.Env.Output(o.Name, value.String(fmt.Sprintf("%s of %s@%s", o.Name, c.Path, c.Machine.Name)))
		case value.KindInteger:
			c.Env.Output(o.Name, value.Integer(len(c.Path)))
		}
	}
	return u.perform(ctx, c, "deploy", func() error { return u.deployed(c) })
}

// understudies are those of the wiki's components.
func understudies(p *probe) (list []component.Manager) {
	for _, name := range []string{"VirtualSoftwareComponent", "MariaDB", "Tomcat", "MediaWiki"} {
		class, _ := daemon.Class(name)
		list = append(list, understudy{p, class})
	}
	return list
}

// wiki is the published example, with sim as its cloud: nothing else is another.
func wiki(t *testing.T) (ours, published string) {
	t.Helper()
	text, err := fs.ReadFile(examples.FS, "wiki/wiki.sf")
	if err != nil {
		t.Fatal(err)
	}
	published = string(text)
	return strings.Replace(published, `cloudProvider "local"`, `cloudProvider "sim"`, 1), published
}

// attributes lists those of a description, by path.
func attributes(t *testing.T, r api.PlanRequest) map[string]string {
	t.Helper()
	v, err := value.Decode(r.Description)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	var visit func(at string, c *value.Component)
	visit = func(at string, c *value.Component) {
		for a := range c.All() {
			if inner, ok := a.Value.(*value.Component); ok {
				visit(at+":"+a.Name, inner)
				continue
			}
			list[at+":"+a.Name] = value.Source(a.Value)
		}
	}
	visit("", v.(*value.Component))
	return list
}

// RT02, its second half: the wiki on a cloud double. The description differs
// from the published one only in cloudProvider; that the database is read over
// hosts, and that nothing is left, is as with real machines.
func TestRT02WikiRunsOnACloudDoubleWithAnotherCloudProviderAlone(t *testing.T) {
	overSeeds(t, 3, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 20 * time.Second, cloud: cloud.Config{Latency: 200 * time.Millisecond, ListLag: 2 * time.Second}}, func(w *world) {
			ours, published := wiki(t)
			with, without := attributes(t, w.requestFor("sys", ours)), attributes(t, w.requestFor("sys", published))
			for at, v := range without {
				if is := strings.HasSuffix(at, ":cloudProvider"); is != (with[at] != v) {
					t.Errorf("%s is %s with the cloud, %s without", at, with[at], v)
				}
			}
			if len(with) != len(without) || len(with) == 0 {
				t.Errorf("%d attributes with the cloud, %d without", len(with), len(without))
			}
			w.insist(w.requestFor("sys", ours))
			if d := w.end(); d.State != api.DeploymentDone {
				t.Fatalf("up ended %s: %+v", d.State, d.Failures)
			}
			w.expectState(api.SystemRunning)
			w.expectLive("vmA:software", "vmA:software:mysql", "vmB:software", "vmB:software:tomcat", "vmB:software:tomcat:apps:mediaWiki")
			w.balance(2)
			w.readsTheDatabase("sys", w.operations(0)[mediaWiki+" start"])
			w.down(false)
		})
	})
}

const (
	mysql     = "vmA:software:mysql"
	tomcat    = "vmB:software:tomcat"
	mediaWiki = "vmB:software:tomcat:apps:mediaWiki"
)

// readsTheDatabase checks that a wiki was started with what the database on the
// other machine puts out, and what its description says.
func (w *world) readsTheDatabase(system string, start operation) {
	w.t.Helper()
	v, _ := start.attrs.Get("db")
	db, ok := v.(*value.Component)
	if !ok {
		w.t.Fatalf("%s: the wiki was started with the database %v", system, v)
	}
	for name, want := range map[string]value.Value{
		"host": value.String(fmt.Sprintf("host of %s@%s/vmA", mysql, system)), "port": value.Integer(len(mysql)), "user": value.String("joey"),
	} {
		if got, _ := db.Get(name); got != want {
			w.t.Errorf("%s: the wiki was started with the database's %s %v, want %v", system, name, got, want)
		}
	}
}

// bare are the wiki's machines without what runs on them.
const bare = `#include "aloft/components.sf"
sfConfig extends { vmA extends VM { cloudProvider "sim"; } vmB extends VM { cloudProvider "sim"; } }`

// RT03: the order of the operations of the wiki, recorded in 1,000 lives with
// random times of whatever takes any. Every tenth is with its machines; of the
// others the machines stay, which are what costs processor time here.
func TestRT03OrderOfTheWikiHoldsInAThousandRuns(t *testing.T) {
	if plain.Ran(t) {
		return
	}
	const worlds, systems, lives = 10, 10, 10
	overSeeds(t, worlds, func(t *testing.T, seed uint64) {
		scenario(t, options{seed: seed, random: 2 * time.Second}, func(w *world) {
			w.net.Delay(0, 50*time.Millisecond)
			ours, _ := wiki(t)
			whole, machines := w.requestFor("", ours), w.requestFor("", bare)
			machines.AllowDataLoss = []string{mysql}
			for life := range lives {
				mark := len(w.stage.trace())
				w.each(systems, whole)
				end := machines
				if life == lives-1 {
					end = api.PlanRequest{Down: true}
				}
				w.each(systems, end)
				for n := range systems {
					w.checkWiki(fmt.Sprint("wiki", n), mark, life == 0, life == lives-1)
				}
			}
			w.expectNothing()
		})
	})
}

// each has a request carried out for so many systems at the same time.
func (w *world) each(systems int, r api.PlanRequest) {
	w.t.Helper()
	for n := range systems {
		r.Name = fmt.Sprint("wiki", n)
		w.insist(r)
	}
	for n := range systems {
		if d := w.endOf(fmt.Sprint("wiki", n)); d.State != api.DeploymentDone {
			w.t.Fatalf("wiki%d: it ended %s: %+v", n, d.State, d.Failures)
		}
	}
}

// checkWiki checks the order of a wiki's life, from the deploys to the
// terminates, with those of its machines where they were made and ended in it.
func (w *world) checkWiki(system string, mark int, made, ended bool) {
	w.t.Helper()
	ops, all := w.operationsOf(system, mark), w.spans(system)
	tree := []struct{ path, parent string }{
		{"vmA:software", "vmA"},
		{mysql, "vmA:software"},
		{"vmB:software", "vmB"},
		{tomcat, "vmB:software"},
		{tomcat + ":apps", tomcat},
		{mediaWiki, tomcat + ":apps"},
	}
	var paths, probes []string
	for _, c := range tree {
		// LC4 and LC5: parents first, and last. Machines and apps have no probe.
		machine := !strings.Contains(c.parent, ":")
		if made || !machine {
			notBefore(w.t, all, c.path+" deploying", c.parent+" deploying")
			notBefore(w.t, all, c.path+" starting", c.parent+" starting")
		}
		if ended || !machine {
			notBefore(w.t, all, c.parent+" terminating", c.path+" terminating")
		}
		paths = append(paths, c.path)
		if c.path != tomcat+":apps" {
			probes = append(probes, c.path)
		}
	}
	if made {
		paths = append(paths, "vmA", "vmB")
	}
	for _, later := range paths { // LC2
		for _, earlier := range paths {
			notBefore(w.t, all, later+" starting", earlier+" deploying")
		}
	}
	for _, later := range probes {
		for _, earlier := range probes {
			w.follows(ops, later+" start", earlier+" deploy")
			if strings.HasPrefix(later, earlier+":") {
				w.follows(ops, later+" deploy", earlier+" deploy")
				w.follows(ops, later+" start", earlier+" start")
				w.follows(ops, earlier+" terminate", later+" terminate")
			}
		}
	}
	// LZ2: a component as a whole, read at start, runs by then; an output read in
	// deploy is there.
	w.follows(ops, mediaWiki+" start", mysql+" start")
	w.readsTheDatabase(system, ops[mediaWiki+" start"])
	for _, software := range []string{"vmA:software", "vmB:software"} {
		if host, _ := ops[software+" deploy"].attrs.Get("sfProcessHost"); host == nil || host.Kind() != value.KindString || host == value.String("") {
			w.t.Errorf("%s: %s was deployed with the host %v, want its machine's address", system, software, host)
		}
	}
	if want := 3 * len(probes); len(ops) != want {
		w.t.Errorf("%s: %d operations, want %d, none twice", system, len(ops), want)
	}
}

// operationsOf returns the calls of one system since mark, as operations does
// where there is but one.
func (w *world) operationsOf(system string, mark int) map[string]operation {
	w.t.Helper()
	calls := slices.DeleteFunc(w.stage.trace()[mark:], func(c call) bool { return !strings.HasPrefix(c.Machine, system+"/") })
	return w.operationsIn(calls)
}

// databasesAndWikis describes n machines with a database and twice as many with
// a wiki.
func databasesAndWikis(n int) string {
	var b strings.Builder
	b.WriteString("#include \"aloft/components.sf\"\nMachine extends VM { cloudProvider \"sim\"; }\nsfConfig extends {\n")
	for i := range n {
		fmt.Fprintf(&b, "db%d extends Machine { mysql extends MariaDB { user \"joey\"; password \"joeys password\"; rootPassword \"roots password\"; } }\n", i)
	}
	for i := range 2 * n {
		fmt.Fprintf(&b, `web%d extends Machine { tomcat extends Tomcat { mediaWiki extends MediaWiki {
			db LAZY ATTRIB db%d:mysql; siteName "Wiki"; adminUser "Admin"; adminPassword "correct horse battery";
		} } }
		`, i, i/2)
	}
	b.WriteString("}\n")
	return b.String()
}

// RT04: databases and web machines as 1 to 2. What the infrastructure takes is
// told apart from what the services take, and neither these nor the distribution
// of an update grow with the machines.
func TestRT04DatabasesToWebMachinesOneToTwo(t *testing.T) {
	type times struct{ infrastructure, service, distribution time.Duration }
	measured := map[int]times{}
	for _, machines := range []int{3, 9, 30} {
		scenario(t, options{seed: 1}, func(w *world) {
			w.stage.always = 20 * time.Second
			w.net.Delay(9*time.Millisecond, 11*time.Millisecond)
			began := time.Now()
			w.insist(w.requestFor("sys", databasesAndWikis(machines/3)))
			if d := w.end(); d.State != api.DeploymentDone {
				t.Fatalf("up ended %s: %+v", d.State, d.Failures)
			}
			ended := time.Now()
			var up time.Time // when the last machine was
			for what, s := range w.spans("sys") {
				if !strings.Contains(what, ":") && strings.HasSuffix(what, " deploying") && s.to.After(up) {
					up = s.to
				}
			}
			w.balance(machines)
			m := times{infrastructure: up.Sub(began), service: ended.Sub(up)}

			at, mark := time.Since(w.stage.begun), len(w.stage.trace())
			w.insist(w.requestFor("sys", strings.ReplaceAll(databasesAndWikis(machines/3), `siteName "Wiki"`, `siteName "Another"`)))
			if d := w.end(); d.State != api.DeploymentDone {
				t.Fatalf("the update ended %s: %+v", d.State, d.Failures)
			}
			changed := 0
			for _, c := range w.stage.trace()[mark:] {
				if !c.Done { // begun: the description has come there
					changed++
					m.distribution = max(m.distribution, c.At-at)
				}
			}
			if want := machines / 3 * 2; changed != want {
				t.Errorf("%d machines: %d operations, want one of each of %d wikis", machines, changed, want)
			}
			measured[machines] = m
			t.Logf("%2d machines: infrastructure %v, service %v, distribution of a change %v", machines,
				m.infrastructure.Round(time.Millisecond), m.service.Round(time.Millisecond), m.distribution.Round(time.Millisecond))
			w.down(false)
		})
	}
	few := measured[3]
	for machines, m := range measured {
		if m.infrastructure <= 0 || m.service <= 0 || m.distribution <= 0 {
			t.Errorf("%d machines: %+v: a part of it takes no time", machines, m)
		}
		if m.service > 2*few.service || m.distribution > 2*few.distribution {
			t.Errorf("%d machines: %+v, more than twice what 3 take: %+v", machines, m, few)
		}
	}
}
