package resolve

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"sync"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Inspection is a description as tools see it while it is written: the tree
// after the phases raw, type and place, with what led to it. Mistakes do not
// end the phases; what cannot be resolved is missing, the rest is there. It may
// be used by several goroutines.
type Inspection struct {
	mu    sync.Mutex
	r     *resolver
	at    map[diag.Span][]*node // components by where they are written
	heirs map[*node][]*node     // components by what they extend
	texts map[string][]nested   // of components, by file
	kin   map[*syntax.Attribute]*syntax.Attribute
	every []*node
}

// trace is what the phases note for an Inspection.
type trace struct {
	protos map[*node][]usedProto
	from   map[*node]*node    // copies, by what they are copies of
	owners map[string][]*node // what holds the items of a file
	files  map[*syntax.Include]string
	same   map[[2]*syntax.Attribute]bool
	places []Placement
}

type usedProto struct {
	at    diag.Span
	link  []value.Part
	found *node
}

// alike notes that a and b give the same attribute, one in place of the other.
// It may be called on nil.
func (t *trace) alike(a, b *syntax.Attribute) {
	if t != nil && a != nil && b != nil && a != b {
		t.same[[2]*syntax.Attribute{a, b}] = true
	}
}

// Scope is a component in its place. Scopes are equal if they are the same
// component; the zero Scope is none.
type Scope struct {
	in *Inspection
	n  *node
}

// Member is an attribute of a component.
type Member struct {
	Name    string
	Tags    []string
	Source  *syntax.Attribute // where its value is written; nil for none
	Inside  Scope             // the component that is its value, if it is one
	Pending bool              // a path name that could not be placed
}

// Prototype is one thing a component extends by name.
type Prototype struct {
	Span  diag.Span
	Link  []value.Part
	Found Scope // zero if there is none
}

// Placement is an attribute written with a path name.
type Placement struct {
	Source *syntax.Attribute
	Steps  []*syntax.Attribute // what the words of the path found, as far as they did
	Target Scope               // zero if it could not be placed
	Over   *syntax.Attribute   // what it takes the place of, or nil
}

// Step is how far one part of a link leads.
type Step struct {
	Kind   model.OutcomeKind
	In     Scope             // where the part was looked for last
	Source *syntax.Attribute // what a word found, or nil
	To     Scope             // the component reached; zero for none
}

// Inspect reads src as Resolve does, up to the phase place. The error is that
// of ctx, or of reading the first file.
func Inspect(ctx context.Context, src Source, opts Options) (*Inspection, error) {
	return InspectTree(ctx, src, nil, opts)
}

// InspectTree is Inspect for a text whose tree is known already; nil for one
// that is not.
func InspectTree(ctx context.Context, src Source, tree *syntax.File, opts Options) (*Inspection, error) {
	r := &resolver{
		ctx: ctx, opts: opts, main: &src.Folder, budget: opts.MaxSteps, memory: maxCopied, quiet: 1,
		texts: map[string][]byte{}, trees: map[string]*syntax.File{}, files: map[string]*file{},
		trace: &trace{
			protos: map[*node][]usedProto{}, from: map[*node]*node{}, owners: map[string][]*node{}, files: map[*syntax.Include]string{},
			same: map[[2]*syntax.Attribute]bool{},
		},
	}
	if r.budget == 0 {
		r.budget = DefaultMaxSteps
	}
	text := src.Text
	if text == nil {
		var err error
		if text, err = r.readFile(r.main, src.Name); err != nil {
			return nil, fmt.Errorf("read description %s: %w", path.Join(src.Folder.Name, src.Name), err)
		}
	}
	in := &Inspection{r: r}
	r.root = r.newNode()
	first := &file{name: path.Join(src.Folder.Name, src.Name), folder: r.main, dir: path.Dir(src.Name)}
	r.trace.owners[first.name] = []*node{r.root}
	if tree != nil {
		r.trees[first.name] = tree
	}
	r.raw(first, text)
	r.phaseList()
	r.typePhase()
	r.placePhase()
	for i := range r.trace.places {
		if p := &r.trace.places[i]; p.Target.n != nil {
			p.Target.in = in
		}
	}
	// Nothing is read any more: the folders and texts need not be held.
	r.main, r.texts = nil, nil
	r.opts.Include, r.opts.WorkDir, r.opts.Outside, r.opts.Fetch = nil, nil, nil, nil
	return in, ctx.Err()
}

// placed notes a path name of n and where it led.
func (t *trace) placed(r *resolver, n *node, a *attr, target *node, over *syntax.Attribute) {
	p := Placement{Source: a.src, Over: over, Target: Scope{n: target}}
	parts := pathParts(a.src)
	for i := range parts {
		out := model.Walk(definitions{r, n}, n, parts[:i+1])
		if out.Name == "" || out.In == nil {
			break
		}
		at := out.In.find(out.Name)
		if at < 0 {
			break
		}
		p.Steps = append(p.Steps, out.In.attrs[at].src)
	}
	t.places = append(t.places, p)
	t.alike(a.src, over)
}

func pathParts(src *syntax.Attribute) []value.Part {
	parts := make([]value.Part, len(src.Path))
	for i, w := range src.Path {
		parts[i] = value.Part{Kind: value.PartHere, Name: w}
	}
	return parts
}

// enter prepares a question: what one costs does not count for the next.
func (in *Inspection) enter() func() {
	in.mu.Lock()
	in.r.ctx, in.r.stopped, in.r.budget, in.r.memory = context.Background(), false, 1_000_000, 1_000_000
	return in.mu.Unlock
}

func (in *Inspection) scope(n *node) Scope {
	if n == nil {
		return Scope{}
	}
	return Scope{in, n}
}

// Root returns the top of the description.
func (in *Inspection) Root() Scope { return in.scope(in.r.root) }

// Includes returns the names of the files read, in order of first use.
func (in *Inspection) Includes() []string { return in.r.res.Includes }

// File returns the tree of a file that was read, or nil.
func (in *Inspection) File(name string) *syntax.File { return in.r.trees[name] }

// Included returns the name of the file that inc, of a tree of File, means, or
// "" if it was not found.
func (in *Inspection) Included(inc *syntax.Include) string { return in.r.trace.files[inc] }

// Placements returns all path names.
func (in *Inspection) Placements() []Placement { return in.r.trace.places }

// nodes returns all components, each before those inside it.
func (in *Inspection) nodes() []*node {
	if in.every != nil {
		return in.every
	}
	var list []*node
	var walk func(n *node, depth int)
	walk = func(n *node, depth int) {
		list = append(list, n)
		if depth > maxDepth {
			return
		}
		for i := range n.attrs {
			if c := componentIn(n.attrs[i].v); c != nil {
				walk(c, depth+1)
			}
		}
	}
	walk(in.r.root, 0)
	in.every = list
	in.at, in.heirs = map[diag.Span][]*node{}, map[*node][]*node{}
	for _, n := range list {
		for _, p := range in.r.trace.protos[n] {
			if p.found != nil {
				in.heirs[p.found] = append(in.heirs[p.found], n)
			}
		}
		if n.at.Pos.IsValid() {
			in.at[n.at] = append(in.at[n.at], n)
		}
	}
	in.texts = map[string][]nested{}
	for at, same := range in.at { // what stands where it is written comes first
		slices.SortStableFunc(same, func(a, b *node) int { return in.copied(a) - in.copied(b) })
		if at.EndLine > 0 {
			in.texts[at.Pos.File] = append(in.texts[at.Pos.File], nested{at: at, in: -1})
		}
	}
	for _, texts := range in.texts {
		nest(texts)
	}
	return list
}

// nested is the text of a component, and the position, in the list of those of
// its file, of the one around it.
type nested struct {
	at diag.Span
	in int
}

// nest sorts texts by where they begin, and finds out which lie in which.
func nest(texts []nested) {
	slices.SortFunc(texts, func(a, b nested) int {
		return cmp.Or(
			cmp.Compare(a.at.Pos.Line, b.at.Pos.Line), cmp.Compare(a.at.Pos.Col, b.at.Pos.Col),
			cmp.Compare(b.at.EndLine, a.at.EndLine), cmp.Compare(b.at.EndCol, a.at.EndCol),
		)
	})
	outer := -1
	for i := range texts {
		for outer >= 0 && !around(texts[outer].at, texts[i].at.Pos) {
			outer = texts[outer].in
		}
		texts[i].in = outer
		outer = i
	}
}

// innermost returns the smallest text of a component around p.
func (in *Inspection) innermost(p value.Pos) (diag.Span, bool) {
	texts := in.texts[p.File]
	i := sort.Search(len(texts), func(i int) bool { return before(p, texts[i].at.Pos) }) - 1
	for ; i >= 0; i = texts[i].in {
		if around(texts[i].at, p) {
			return texts[i].at, true
		}
	}
	return diag.Span{}, false
}

func (in *Inspection) copied(n *node) int {
	if in.r.trace.from[n] != nil {
		return 1
	}
	return 0
}

// componentIn returns the component that t is or holds, or nil.
func componentIn(t term) *node {
	switch t := t.(type) {
	case *node:
		return t
	case *ref:
		return t.apply
	}
	return nil
}

// Scopes returns all components, each before those inside it.
func (in *Inspection) Scopes() []Scope {
	defer in.enter()()
	nodes := in.nodes()
	list := make([]Scope, len(nodes))
	for i, n := range nodes {
		list[i] = in.scope(n)
	}
	return list
}

// maxInstances bounds the instances of a component that At returns.
const maxInstances = 64

// At returns the component whose text is around a place of a file, line and
// column from 1: first where it stands, then its copies, and then what extends
// it or them, to which its text belongs as well.
func (in *Inspection) At(file string, line, col int) []Scope {
	defer in.enter()()
	in.nodes()
	found := in.r.trace.owners[file]
	if at, inside := in.innermost(value.Pos{File: file, Line: line, Col: col}); inside {
		found = in.at[at]
	}
	list := make([]Scope, 0, len(found))
	seen := map[*node]bool{}
	for queue := slices.Clone(found); len(queue) > 0 && len(list) < maxInstances; queue = queue[1:] {
		n := queue[0]
		if seen[n] {
			continue
		}
		seen[n] = true
		list = append(list, in.scope(n))
		for _, heir := range in.heirs[n] {
			queue = append(queue, in.at[heir.at]...)
		}
	}
	return list
}

// around reports whether p is in s, whose end is known.
func around(s diag.Span, p value.Pos) bool {
	end := value.Pos{Line: int(s.EndLine), Col: int(s.EndCol)}
	return s.Pos.File == p.File && !before(p, s.Pos) && before(p, end)
}

func before(a, b value.Pos) bool { return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col }

// Kin returns an attribute that stands for all that give the same one, each in
// place of another: they can only be renamed together.
func (in *Inspection) Kin(a *syntax.Attribute) *syntax.Attribute {
	defer in.enter()()
	if in.kin == nil {
		in.kin = map[*syntax.Attribute]*syntax.Attribute{}
		pairs := make([][2]*syntax.Attribute, 0, len(in.r.trace.same))
		for p := range in.r.trace.same {
			pairs = append(pairs, p)
		}
		for _, p := range pairs {
			if x, y := in.top(p[0]), in.top(p[1]); x != y {
				if before(y.NameSpan.Pos, x.NameSpan.Pos) {
					x, y = y, x
				}
				in.kin[y] = x
			}
		}
	}
	return in.top(a)
}

func (in *Inspection) top(a *syntax.Attribute) *syntax.Attribute {
	for in.kin[a] != nil {
		a = in.kin[a]
	}
	return a
}

// Valid reports whether s is a component.
func (s Scope) Valid() bool { return s.n != nil }

// Name returns the name of the attribute that holds s; "" for the top.
func (s Scope) Name() string { return s.n.name }

// Path returns the names that lead to s from the top of the description.
func (s Scope) Path() []string {
	var names []string
	for n := s.n; n.parent != nil; n = n.parent {
		names = append(names, n.name)
	}
	slices.Reverse(names)
	return names
}

// Parent returns the component that holds s; false at the top.
func (s Scope) Parent() (Scope, bool) { return s.in.scope(s.n.parent), s.n.parent != nil }

// Span returns where s is written; at the top it is not valid.
func (s Scope) Span() diag.Span { return s.n.at }

// Data reports whether s is a plain value rather than deployed.
func (s Scope) Data() bool { return s.n.data }

// Operator returns the operator that s was written as, or NotOp.
func (s Scope) Operator() syntax.Op { return s.n.op }

// Copy reports whether s was copied from a prototype.
func (s Scope) Copy() bool { return s.in.r.trace.from[s.n] != nil }

// Members returns the attributes of s in their order.
func (s Scope) Members() []Member {
	defer s.in.enter()()
	list := make([]Member, len(s.n.attrs))
	for i := range s.n.attrs {
		list[i] = s.member(&s.n.attrs[i])
	}
	return list
}

// Member returns the attribute of s called name.
func (s Scope) Member(name string) (Member, bool) {
	defer s.in.enter()()
	i := s.n.find(name)
	if i < 0 {
		return Member{}, false
	}
	return s.member(&s.n.attrs[i]), true
}

func (s Scope) member(a *attr) Member {
	return Member{
		Name: shownName(a.name), Tags: a.tags, Source: a.src, Pending: a.path,
		Inside: s.in.scope(componentIn(a.v)),
	}
}

// Prototypes returns what s extends by name, in the order of writing.
func (s Scope) Prototypes() []Prototype {
	defer s.in.enter()()
	n := s.n
	for len(s.in.r.trace.protos[n]) == 0 && s.in.r.trace.from[n] != nil {
		n = s.in.r.trace.from[n]
	}
	var list []Prototype
	for _, p := range slices.Backward(s.in.r.trace.protos[n]) { // they are merged from the last on
		list = append(list, Prototype{p.at, p.link, s.in.scope(p.found)})
	}
	return list
}

// Walk follows a link from s, part by part, as far as it leads. Links on the
// way are followed where they stand; what is known only at run time ends it.
func (s Scope) Walk(parts []value.Part) []Step {
	defer s.in.enter()()
	var steps []Step
	for i := range parts {
		out := model.Walk(definitions{s.in.r, s.n}, s.n, parts[:i+1])
		step := Step{Kind: out.Kind, In: s.in.scope(out.In)}
		if out.Name != "" {
			if at := out.In.find(out.Name); at >= 0 {
				step.Source = out.In.attrs[at].src
			}
		}
		if out.Kind == model.Whole {
			step.To = s.in.scope(out.Component)
		}
		steps = append(steps, step)
		if out.Kind != model.Whole {
			break
		}
	}
	return steps
}

// Visible returns the attributes that the first word of a link in s can find,
// the nearest first.
func (s Scope) Visible() []Member {
	var list []Member
	seen := map[string]bool{}
	for up, ok := s, true; ok; up, ok = up.Parent() {
		for _, m := range up.Members() {
			if !seen[m.Name] && !m.Pending {
				seen[m.Name] = true
				list = append(list, m)
			}
		}
	}
	return list
}
