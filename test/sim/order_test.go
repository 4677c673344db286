package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"aloft/value"
)

const hello = `
sfConfig extends {
  m1 extends VM { a extends Probe { deployTakes 1000; startTakes 500; } }
  m2 extends VM { b extends Probe { reads (LAZY m1:a:out ++ "!"); later LAZY m1:ip; } }
}`

func TestHelloIsDeployedAndTakenDown(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(hello)
		w.expectLive("m1:a", "m2:b")
		w.balance(2)
		if took := time.Since(w.stage.begun); took > 5*time.Minute {
			t.Errorf("it took %v", took)
		}
		b := w.last("m2:b", "start")
		if v, _ := b.Attrs.Get("reads"); v != value.String("m1:a@sys/m1!") {
			t.Errorf("m2:b read %v", v)
		}
		if v, _ := b.Attrs.Get("later"); v != value.String(w.machine("sys/m1").resource.Address) {
			t.Errorf("m2:b read %v at start", v)
		}
		w.down(false)
	})
}

// operation is one call from its begin to its end, as places in the trace.
type operation struct {
	begin, end int
	from, to   time.Duration
	attrs      *value.Component
}

// operations returns the calls since mark by "path op". Twice the same call is
// an error.
func (w *world) operations(mark int) map[string]operation {
	w.t.Helper()
	return w.operationsIn(w.stage.trace()[mark:])
}

// operationsIn returns likewise those of some calls, which are of one system.
func (w *world) operationsIn(calls []call) map[string]operation {
	w.t.Helper()
	ops := map[string]operation{}
	for i, c := range calls {
		key := string(c.Path) + " " + c.Op
		o, known := ops[key]
		switch {
		case c.Path == value.Root || c.Op == "ended" || c.Op == "adopt":
		case !c.Done && known:
			w.t.Errorf("%s was called twice", key)
		case !c.Done:
			ops[key] = operation{begin: i, end: -1, from: c.At, attrs: c.Attrs}
		default:
			o.end, o.to = i, c.At
			ops[key] = o
		}
	}
	return ops
}

// follows checks that one operation began after another had ended.
func (w *world) follows(ops map[string]operation, later, earlier string) {
	w.t.Helper()
	l, ok := ops[later]
	e, ok2 := ops[earlier]
	switch {
	case !ok || !ok2:
		w.t.Errorf("%s: %t, %s: %t; want both", later, ok, earlier, ok2)
	case e.end < 0 || l.begin < e.end:
		w.t.Errorf("%s began at %v, before the end of %s at %v", later, l.from, earlier, e.to)
	}
}

// last returns the newest call of an operation, or fails.
func (w *world) last(path value.Path, op string) call {
	w.t.Helper()
	var found call
	for _, c := range w.stage.trace() {
		if c.Path == path && c.Op == op && c.Done {
			found = c
		}
	}
	if found.Op == "" {
		w.t.Fatalf("%s of %s was not called", op, path)
	}
	return found
}

// plant is one component of a description made up by chance.
type plant struct {
	path   value.Path
	parent int // -1: a machine
	reads  int // of another plant's output in deploy; -1: none
	later  int // … at start
	host   int // its machine
}

// reference is an attribute that refers to another plant's output.
type reference struct {
	name   string
	target int
}

func (p plant) references() (list []reference) {
	for _, r := range []reference{{"reads", p.reads}, {"later", p.later}} {
		if r.target >= 0 {
			list = append(list, r)
		}
	}
	return list
}

// forest is a made-up description: components by definition order.
type forest struct {
	machines int
	plants   []plant
}

// grow makes up a description with so many machines and components.
func grow(rng *rand.Rand, machines, components int) forest {
	f := forest{machines: machines}
	for m := range machines {
		var here []int
		for i := range components/machines + 1 {
			p := plant{parent: -1, reads: -1, later: -1, host: m}
			name := fmt.Sprintf("c%d", i)
			p.path = value.PathOf(fmt.Sprintf("m%d", m), name)
			if len(here) > 0 && rng.IntN(3) > 0 {
				p.parent = here[rng.IntN(len(here))]
				p.path = f.plants[p.parent].path.Child(name)
			}
			here = append(here, len(f.plants))
			f.plants = append(f.plants, p)
		}
	}
	for i := range f.plants {
		// References lead to what is defined before, so there are no cycles.
		if i > 0 && rng.IntN(2) == 0 {
			f.plants[i].reads = rng.IntN(i)
		}
		if i > 0 && rng.IntN(2) == 0 {
			f.plants[i].later = rng.IntN(i)
		}
	}
	return f
}

// text writes the forest as a description. Some attributes are left to each.
func (f forest) text(each func(i int) string) string {
	var b strings.Builder
	b.WriteString("sfConfig extends {\n")
	for m := range f.machines {
		fmt.Fprintf(&b, "m%d extends VM {\n", m)
		for i, p := range f.plants {
			if p.host == m && p.parent < 0 {
				f.write(&b, i, each)
			}
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func (f forest) write(b *strings.Builder, i int, each func(i int) string) {
	p := f.plants[i]
	fmt.Fprintf(b, "%s extends Probe { ", p.path.Name())
	for _, r := range p.references() {
		fmt.Fprintf(b, "%s LAZY ROOT:%s:out; ", r.name, f.plants[r.target].path)
	}
	if each != nil {
		b.WriteString(each(i))
	}
	b.WriteString("\n")
	for j, c := range f.plants {
		if c.parent == i {
			f.write(b, j, each)
		}
	}
	b.WriteString("}\n")
}

// checkDeployed checks LC2, LC4, LZ2 and LZ4 over a deployment of the forest,
// and that late values arrived.
func (f forest) checkDeployed(w *world, mark int) {
	w.t.Helper()
	ops := w.operations(mark)
	lastDeploy, firstStart := -1, 1<<30
	for _, p := range f.plants {
		lastDeploy = max(lastDeploy, ops[string(p.path)+" deploy"].end)
		firstStart = min(firstStart, ops[string(p.path)+" start"].begin)
	}
	if firstStart < lastDeploy {
		w.t.Error("a component started before the last was deployed")
	}
	for _, p := range f.plants {
		for _, op := range []string{" deploy", " start"} {
			if p.parent >= 0 {
				w.follows(ops, string(p.path)+op, string(f.plants[p.parent].path)+op)
			}
		}
		for _, r := range p.references() {
			to := f.plants[r.target]
			if r.name == "reads" {
				w.follows(ops, string(p.path)+" deploy", string(to.path)+" deploy")
			}
			w.follows(ops, string(p.path)+" start", string(to.path)+" start")
			want := value.String(fmt.Sprintf("%s@sys/m%d", to.path, to.host))
			if got, _ := ops[string(p.path)+" start"].attrs.Get(r.name); got != want {
				w.t.Errorf("%s: %s is %v, want %v", p.path, r.name, got, want)
			}
		}
	}
}

// checkTerminated checks LC5.
func (f forest) checkTerminated(w *world, mark int) {
	w.t.Helper()
	ops := w.operations(mark)
	for _, p := range f.plants {
		if p.parent >= 0 {
			w.follows(ops, string(f.plants[p.parent].path)+" terminate", string(p.path)+" terminate")
		}
	}
}

func (f forest) paths() []string {
	var paths []string
	for _, p := range f.plants {
		paths = append(paths, string(p.path))
	}
	return paths
}

func TestLC2LC4LC5LZ2LZ4OrderHoldsWhateverEachOperationTakes(t *testing.T) {
	overSeeds(t, 20, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 2)), 4, 16)
		scenario(t, options{seed: seed, random: 20 * time.Second}, func(w *world) {
			w.net.Delay(0, 300*time.Millisecond)
			w.runs(f.text(nil))
			f.checkDeployed(w, 0)
			w.expectLive(f.paths()...)
			mark := len(w.stage.trace())
			w.down(false)
			f.checkTerminated(w, mark)
		})
	})
}

func TestTenMachinesOverManySeeds(t *testing.T) {
	overSeeds(t, 20, func(t *testing.T, seed uint64) {
		f := grow(rand.New(rand.NewPCG(seed, 3)), 10, 30)
		scenario(t, options{seed: seed, random: 5 * time.Second}, func(w *world) {
			w.runs(f.text(nil))
			f.checkDeployed(w, 0)
			w.balance(10)
			w.down(false)
		})
	})
}

func TestLC4IndependentBranchesActConcurrently(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends {
			m1 extends VM {
				a extends Probe { deployTakes 600000; startTakes 60000; }
				b extends Probe { deployTakes 600000; startTakes 60000; }
			}
			m2 extends VM { c extends Probe { deployTakes 600000; startTakes 60000; } }
		}`)
		ops := w.operations(0)
		for _, op := range []string{" deploy", " start"} {
			a, b, c := ops["m1:a"+op], ops["m1:b"+op], ops["m2:c"+op]
			if max(a.begin, b.begin, c.begin) > min(a.end, b.end, c.end) {
				t.Errorf("%s: %v–%v, %v–%v, %v–%v do not overlap", op, a.from, a.to, b.from, b.to, c.from, c.to)
			}
		}
	})
}

func TestRT12LZ4ServicesThatReferToEachOtherStart(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		p := w.begin(`sfConfig extends {
			m1 extends VM { a extends Probe { later LAZY m2:b:out; } }
			m2 extends VM { b extends Probe { later LAZY m1:a:out; } }
		}`)
		if len(p.Notes) == 0 {
			t.Error("the plan does not tell that they refer to each other")
		}
		w.end()
		w.expectState("running")
		if v, _ := w.last("m1:a", "start").Attrs.Get("later"); v != value.String("m2:b@sys/m2") {
			t.Errorf("m1:a read %v", v)
		}
		if v, _ := w.last("m2:b", "start").Attrs.Get("later"); v != value.String("m1:a@sys/m1") {
			t.Errorf("m2:b read %v", v)
		}
	})
}

func TestLC5SystemIsTakenDownInPostOrder(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends {
			m1 extends VM {
				sfSyncTerminate true;
				a extends Probe { terminateTakes 5000; x extends Probe { terminateTakes 1000; } }
				b extends Probe { terminateTakes 5000; }
			}
			m2 extends VM {
				c extends Probe { terminateTakes 5000; }
				d extends Probe { terminateTakes 5000; }
			}
		}`)
		mark := len(w.stage.trace())
		w.down(false)
		ops := w.operations(mark)
		w.follows(ops, "m1:a terminate", "m1:a:x terminate")
		w.follows(ops, "m1:a terminate", "m1:b terminate") // one after the other, in reverse order
		if c, d := ops["m2:c terminate"], ops["m2:d terminate"]; max(c.begin, d.begin) > min(c.end, d.end) {
			t.Errorf("%v–%v and %v–%v do not overlap", c.from, c.to, d.from, d.to)
		}
	})
}

// LC5: more siblings than a machine acts on at a time are begun in the reverse of
// their order all the same.
func TestLC5SiblingsAreBegunInReverse(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		const many = 40
		var text strings.Builder
		for i := range many {
			fmt.Fprintf(&text, "c%02d extends Probe { terminateTakes %d; }\n", i, 1000+i%7*500)
		}
		w.runs(`sfConfig extends { m extends VM { ` + text.String() + ` } }`)
		mark := len(w.stage.trace())
		w.down(false)
		ops := w.operations(mark)
		for i := 1; i < many; i++ {
			first, last := ops[fmt.Sprintf("m:c%02d terminate", i-1)], ops[fmt.Sprintf("m:c%02d terminate", i)]
			if first.from < last.from {
				t.Errorf("c%02d was begun at %v, c%02d at %v", i-1, first.from, i, last.from)
			}
		}
	})
}
