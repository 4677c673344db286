package workspace

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/library"
)

// cache keeps analyses by the file they begin with. Snapshots that follow on
// one another share it.
type cache struct {
	mu      sync.Mutex
	entries map[string]*entry
	library map[string]*text.Text
	mains   map[string]string // what a file was found to be part of
	last    int
}

func newCache() *cache {
	return &cache{entries: map[string]*entry{}, library: map[string]*text.Text{}, mains: map[string]string{}}
}

// entry is what is known of one file.
type entry struct {
	work sync.Mutex // held while an analysis is made

	mu     sync.Mutex
	result *Result
	good   *resolve.Result // the last without errors

	look     sync.Mutex
	tree     *resolve.Inspection
	treeSeen *record
}

func (c *cache) entry(name string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	if e == nil {
		e = &entry{}
		c.entries[name] = e
	}
	return e
}

// number returns a stamp no other document has.
func (c *cache) number() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	return "open " + strconv.Itoa(c.last)
}

// main returns what the file called name was part of last, or "".
func (c *cache) main(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mains[name]
}

func (c *cache) setMain(name, main string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mains[name] = main
}

func (c *cache) libraryText(name string) *text.Text {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, known := c.library[name]; known {
		return t
	}
	var t *text.Text
	if content, err := readLibrary(strings.TrimPrefix(name, Library)); err == nil {
		t = text.New(content)
	}
	c.library[name] = t
	return t
}

// Result is what resolving the description that begins with a file found.
type Result struct {
	*resolve.Result
	Name string          // of the file
	Good *resolve.Result // the last without errors, or nil
	seen *record
	s    *Snapshot
}

// Text returns the text of a file as the analysis read it.
func (r *Result) Text(name string) *text.Text {
	if t := r.seen.texts[name]; t != nil {
		return t
	}
	return r.s.Text(name)
}

// Resolve resolves the description that begins with the file called name. The
// error is that of ctx, or of reading the file.
func (s *Snapshot) Resolve(ctx context.Context, name string) (*Result, error) {
	e := s.cache.entry(name)
	e.work.Lock()
	defer e.work.Unlock()
	e.mu.Lock()
	known := e.result
	e.mu.Unlock()
	if known != nil && known.seen.fresh(s) {
		return known, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer in.close()
	res, err := resolve.Resolve(ctx, in.source, in.options)
	if err == nil && slices.ContainsFunc(res.Diagnostics.All(), func(d diag.Diagnostic) bool { return d.Code == diag.ConfigMissing }) {
		// A file for others to include: all else in it can be checked.
		in.options.Until = resolve.Function
		res, err = resolve.Resolve(ctx, in.source, in.options)
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if res.Tree != nil && res.Diagnostics.Errors() == 0 {
		e.good = res
	}
	e.result = &Result{Result: res, Name: name, Good: e.good, seen: in.seen, s: s}
	return e.result, nil
}

// input is a description ready to be read.
type input struct {
	source  resolve.Source
	options resolve.Options
	seen    *record
	closers []func() error
}

func (in *input) close() {
	for _, c := range in.closers {
		c() // only read from
	}
}

// open finds the folders that the description name may read. The caller closes
// the input.
func (s *Snapshot) open(name string) (*input, error) {
	in := &input{seen: newRecord()}
	in.options = resolve.Options{
		Properties: s.options.Properties, Environment: s.options.Environment, Now: s.now(), MaxSteps: maxSteps,
	}
	if t := s.Text(name); t != nil {
		in.source.Text = []byte(t.String())
		in.seen.texts[name] = t
	}
	in.seen.stamps[name] = s.stamp(name)
	switch {
	case strings.HasPrefix(name, Library):
		in.source.Folder = resolve.Folder{Name: path.Clean(Library), FS: library.FS}
		in.source.Name = strings.TrimPrefix(name, Library)
		return in, nil
	case filepath.IsAbs(name):
		in.source.Folder = in.folder(s, filepath.Dir(name))
		in.source.Name = filepath.Base(name)
	default:
		in.source.Folder = resolve.Folder{FS: overlay{snapshot: s, seen: in.seen}}
		in.source.Name = name
	}
	if in.source.Text == nil {
		in.close()
		return nil, fmt.Errorf("there is no description %s", name)
	}
	for _, dir := range s.options.Include {
		in.options.Include = append(in.options.Include, in.folder(s, dir))
	}
	if len(s.options.Folders) > 0 {
		work := in.folder(s, s.options.Folders[0])
		in.options.WorkDir = &work
	}
	return in, nil
}

// maxSteps bounds the work on one description: an editor has no use for an
// answer that takes longer.
const maxSteps = 5_000_000

// folder returns the folder dir under the open documents. One that is not
// there yet has none but these.
func (in *input) folder(s *Snapshot, dir string) resolve.Folder {
	o := overlay{dir: dir, snapshot: s, seen: in.seen}
	folder, closeFolder, err := resolve.OpenFolder(dir)
	if err == nil {
		in.closers = append(in.closers, closeFolder)
		o.base = folder.FS
	}
	return resolve.Folder{Name: filepath.ToSlash(dir), FS: o, Dir: dir}
}

// Inspect looks into the description that begins with the file called name. The
// error is that of ctx, or of reading the file.
func (s *Snapshot) Inspect(ctx context.Context, name string) (*resolve.Inspection, error) {
	e := s.cache.entry(name)
	e.look.Lock()
	defer e.look.Unlock()
	if e.tree != nil && e.treeSeen.fresh(s) {
		return e.tree, nil
	}
	tree, seen, err := s.inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	e.tree, e.treeSeen = tree, seen
	return tree, nil
}

// InspectText looks into the description that begins with the file called name
// as it would be with another text in file. Nothing of it is kept.
func (s *Snapshot) InspectText(ctx context.Context, name, file, content string) (*resolve.Inspection, error) {
	c := s.With(file, text.New(content)).Apart()
	tree, _, err := c.inspect(ctx, name)
	return tree, err
}

func (s *Snapshot) inspect(ctx context.Context, name string) (*resolve.Inspection, *record, error) {
	in, err := s.open(name)
	if err != nil {
		return nil, nil, err
	}
	defer in.close()
	var own *syntax.File
	if d := s.docs[name]; d != nil {
		own = d.parsed().tree
	} else {
		in.source.Text = syntax.Closed(in.source.Text)
	}
	tree, err := resolve.InspectTree(ctx, in.source, own, in.options)
	return tree, in.seen, err
}
