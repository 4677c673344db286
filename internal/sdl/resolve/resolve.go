// Package resolve turns the text of a description into the values it means, in
// the phases of the language reference: raw (parse, includes), type (extends),
// place (path names), function, sfConfig, link (references) and conversion.
//
// All phases work on one tree of nodes, made from the syntax trees by the raw
// phase and changed in place. Type resolution copies prototypes into their
// heirs; it goes from demand to demand, so every component is resolved once,
// and a demand that meets itself is a cycle. Linking replaces each attribute by
// its value at its first use, by the walk of package model, and notes that it
// is under way, so that a cycle of references is found when it closes. A
// linked component is not copied: the tree becomes a graph, which conversion
// turns into immutable values that share the same way.
//
// The package reads no clock, environment or random source: Options hands them
// in. It reads files only through the folders it is given, starts no goroutine,
// and no text makes it run without end: every copy and step is counted against
// a budget.
package resolve

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"aloft/internal/model"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// Phase names a phase. The zero Phase means all of them.
type Phase string

// The phases in their usual order.
const (
	Raw        Phase = "raw"
	Type       Phase = "type"
	Place      Phase = "place"
	Function   Phase = "function"
	SFConfig   Phase = "sfConfig"
	Link       Phase = "link"
	Conversion Phase = "conversion"
)

// Phases lists the phases in their usual order.
var Phases = []Phase{Raw, Type, Place, Function, SFConfig, Link, Conversion}

// Options says how a description is resolved. The zero Options resolve it
// fully, without properties, at the zero time.
type Options struct {
	Include []Folder // -I, in order
	// WorkDir is the working directory, or nil where it is not searched (a
	// daemon).
	WorkDir *Folder
	// Outside is the whole file system, if includes outside the folders are
	// allowed.
	Outside fs.FS
	// Fetch reads URL includes, if they are allowed.
	Fetch Fetch

	Properties  map[string]string // for PROPERTY and IPROPERTY
	Environment map[string]string // for ENVPROPERTY and IENVPROPERTY
	Seed        int64             // for random without a seed of its own
	Now         time.Time         // for date
	// Ask puts a question to the user (userinput); nil if not interactive.
	Ask func(prompt string) (string, error)

	Until  Phase // stop after this phase
	Strict bool  // warnings become errors
	// MaxSteps bounds the work: attributes copied, values computed. 0 means
	// DefaultMaxSteps.
	MaxSteps int
	// Print is given each tree that the phase print writes; may be nil.
	Print func(text string)

	whole bool // copies are not sealed: for tests, which compare
}

// Source is the description to resolve.
type Source struct {
	Folder Folder // the folder it lies in
	Name   string // of the file, below the folder
	Text   []byte // nil: read from the folder
}

// Result is what became of a description.
type Result struct {
	// Description is the resolved description, nil if a phase was left out or
	// an error was found. Its Name is the file's base name without ".sf".
	Description *model.Description
	// Tree is the tree after the last phase. Before link its references may be
	// eager, before place its names paths; before type, a component with
	// prototypes has them in the attribute "extends", a vector of references and
	// components.
	Tree *value.Component
	// Includes lists the files read, in order of first use.
	Includes []string
	// Diagnostics are errors and warnings, in order.
	Diagnostics diag.List

	text     string // of what Tree does not show
	isConfig bool   // Tree is the value of sfConfig
}

// Text returns the tree after the last phase as text of the language that
// resolves to the same; "" if there is none.
func (res *Result) Text() string {
	switch {
	case res.Tree == nil || res.text != "":
		return res.text
	case res.isConfig:
		return "sfConfig " + value.Source(res.Tree) + "\n"
	}
	return value.SourceItems(res.Tree)
}

// Resolve resolves src as far as opts say. The error is that of ctx, or of
// reading the first file; mistakes in the description are diagnostics.
func Resolve(ctx context.Context, src Source, opts Options) (*Result, error) {
	r := &resolver{
		ctx: ctx, opts: opts, main: &src.Folder, budget: opts.MaxSteps, memory: maxCopied,
		texts: map[string][]byte{}, trees: map[string]*syntax.File{}, files: map[string]*file{},
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
	first := &file{name: path.Join(src.Folder.Name, src.Name), folder: r.main, dir: path.Dir(src.Name)}
	r.run(first, text)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.Strict {
		r.res.Diagnostics.Strict()
		if r.res.Diagnostics.Errors() > 0 {
			r.res.Description = nil
		}
	}
	if d := r.res.Description; d != nil {
		d.File = first.name
		d.Name = strings.TrimSuffix(path.Base(src.Name), ".sf")
	}
	return &r.res, nil
}

// resolver is one call of Resolve.
type resolver struct {
	ctx  context.Context
	opts Options
	main *Folder
	res  Result

	texts map[string][]byte
	trees map[string]*syntax.File
	files map[string]*file // the first of each name, whose includes stand for all

	root     *node     // the top of the file
	config   *node     // the value of sfConfig
	fresh    int       // names made by --
	phasesAt diag.Span // of phaseList
	names    []string  // the next of them
	slab     []node    // nodes, references and attributes are made many at a time
	refs     []ref
	attrs    []attr

	budget  int
	memory  int    // attributes that may still be made
	stopped bool   // the budget is spent or ctx is done
	trace   *trace // notes for an Inspection, which goes on after mistakes; or nil
	quiet   int    // above 0, failures are not reported (OPTIONAL)
	hinted  int    // names compared for hints
	muffled int    // failures not reported
	phase   Phase
	busy    *node     // what a phase went into last
	writing diag.Span // the item that the raw phase read last

	images map[*node]*image // of the type phase; nil outside it
	pass   int              // how many passes of actions there have been

	typing typing
	linking
}

// run carries out the phases.
func (r *resolver) run(first *file, text []byte) {
	r.root, r.phase = r.newNode(), Raw
	r.raw(first, text)
	if r.ended(Raw) {
		return
	}
	linked := false
	list := r.phaseList()
	if r.ended("") {
		return
	}
	for _, p := range list {
		r.phase = p
		switch p {
		case Type:
			r.typePhase()
		case Place:
			r.placePhase()
		case Function:
			r.functionPhase()
		case SFConfig:
			r.configPhase()
		case Link:
			r.linkPhase()
			linked = true
		case "print":
			if r.opts.Print != nil {
				r.opts.Print(r.text(r.top()))
			}
		default:
			r.namedPhase(p)
		}
		if r.ended(p) {
			return
		}
	}
	r.phase = Conversion
	r.conversion(linked)
}

// ended reports whether the phase just run was the last, because of errors or
// because no more was asked for.
func (r *resolver) ended(p Phase) bool {
	if r.stopped || r.res.Diagnostics.Errors() > 0 {
		return true
	}
	if p == "" || p != r.opts.Until {
		return false
	}
	r.res.isConfig = r.config != nil
	switch p {
	case Raw, Type, Place: // what values cannot hold is still there
		r.res.text = r.text(r.root)
	case SFConfig: // its references still lead to the rest of the file
		r.res.text = r.text(r.root)
	}
	r.res.Tree = r.convertAsIs(r.top())
	return true
}

// top returns the component that the next phase acts on.
func (r *resolver) top() *node {
	if r.config != nil {
		return r.config
	}
	return r.root
}

func (r *resolver) rootName() string {
	if len(r.res.Includes) > 0 {
		return r.res.Includes[0]
	}
	return ""
}

// report adds d, found in file f, unless failures are expected.
func (r *resolver) report(f *file, d diag.Diagnostic) {
	if r.quiet > 0 {
		r.muffled++
		return
	}
	if f == nil {
		f = r.files[d.Span.Pos.File]
	}
	d.IncludedFrom = f.chain()
	if same := r.res.Diagnostics.Same(d); same != nil {
		alsoIn(same, d)
		return
	}
	r.res.Diagnostics.Add(d)
}

// wanted reports whether d would be shown if it were reported, so that it is
// worth what there is to find out about it.
func (r *resolver) wanted(d diag.Diagnostic) bool {
	return r.quiet == 0 && !r.res.Diagnostics.Full(d.Span.Pos.File) && r.res.Diagnostics.Same(d) == nil
}

// alsoIn adds to what was reported of a place that d says the same: what is
// wrong in a template is wrong in each heir, and still one mistake.
func alsoIn(reported *diag.Diagnostic, d diag.Diagnostic) {
	const most = 6
	if reported.Path == d.Path || len(reported.Related) > most {
		return
	}
	i := slices.IndexFunc(d.Related, func(r diag.Related) bool { return strings.HasPrefix(r.Message, "used in ") })
	switch {
	case len(reported.Related) == most:
		reported.Related = append(reported.Related, diag.Related{Message: "and in more"})
	case i >= 0:
		reported.Related = append(reported.Related, d.Related[i])
	default:
		reported.Related = append(reported.Related, diag.Related{Span: d.Span, Message: "the same in " + d.Path})
	}
}
