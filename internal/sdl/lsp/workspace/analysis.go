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
	last    int               // counts
	names   map[string]included
}

func newCache() *cache {
	return &cache{entries: map[string]*entry{}, library: map[string]*text.Text{}, mains: map[string]string{}, names: map[string]included{}}
}

// entry is what is known of the description that begins with one file.
type entry struct {
	used int // the moment of the last use, as cache.last counts

	work   turn // held while it is resolved
	result *Result
	good   *resolve.Result // the last without errors

	look  turn // held while it is looked into
	tree  looked
	draft looked // as it was with draftOf open
	// draftOf is the last text of InspectText.
	draftOf *Document
}

// looked is an inspection with what was read for it.
type looked struct {
	tree *resolve.Inspection
	seen *record
}

func (l looked) fresh(s *Snapshot) bool { return l.tree != nil && l.seen.fresh(s) }

// turn is a lock that can be waited for until a context ends.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// maxKept bounds the descriptions that are kept though the file they begin with
// is not open.
const maxKept = 32

// entry returns what is known of the description that begins with the file
// called name.
func (s *Snapshot) entry(name string) *entry {
	c := s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	if e == nil {
		c.shed(s)
		e = &entry{work: newTurn(), look: newTurn()}
		c.entries[name] = e
	}
	c.last++
	e.used = c.last
	return e
}

// shed makes room for one more entry. The caller holds the lock.
func (c *cache) shed(s *Snapshot) {
	closed, oldest := 0, ""
	for name, e := range c.entries {
		if s.docs[name] != nil {
			continue
		}
		if closed++; oldest == "" || e.used < c.entries[oldest].used {
			oldest = name
		}
	}
	if closed >= maxKept {
		delete(c.entries, oldest)
	}
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
	// cache has the texts of the library. The snapshot is not held: it has all
	// other documents as they were.
	cache *cache
}

// Text returns the text of a file as the analysis read it.
func (r *Result) Text(name string) *text.Text {
	if t := r.seen.texts[name]; t != nil {
		return t
	}
	if strings.HasPrefix(name, Library) {
		return r.cache.libraryText(name)
	}
	return nil
}

// Resolve resolves the description that begins with the file called name. The
// error is that of ctx, or of reading the file.
func (s *Snapshot) Resolve(ctx context.Context, name string) (*Result, error) {
	e := s.entry(name)
	if err := e.work.take(ctx); err != nil {
		return nil, err
	}
	defer e.work.give()
	if e.result != nil && e.result.seen.fresh(s) {
		return e.result, nil
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
	if res.Tree != nil && res.Diagnostics.Errors() == 0 {
		e.good = res
	}
	e.result = &Result{Result: res, Name: name, Good: e.good, seen: in.seen, cache: s.cache}
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
	e := s.entry(name)
	if err := e.look.take(ctx); err != nil {
		return nil, err
	}
	defer e.look.give()
	if e.tree.fresh(s) {
		return e.tree.tree, nil
	}
	l, err := s.inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	e.tree = l
	return l.tree, nil
}

// InspectText looks into the description that begins with the file called name
// as it would be with the text t in file. It is meant for texts from which the
// item being written is left out, which are the same from one key to the next:
// the last one is kept.
func (s *Snapshot) InspectText(ctx context.Context, name, file string, t *text.Text) (*resolve.Inspection, error) {
	e := s.entry(name)
	if err := e.look.take(ctx); err != nil {
		return nil, err
	}
	defer e.look.give()
	d := e.draftOf
	if d == nil || d.Name != file || d.Text.String() != t.String() {
		d = s.document(file, t)
	}
	s = s.with(d)
	if d == e.draftOf && e.draft.fresh(s) {
		return e.draft.tree, nil
	}
	l, err := s.inspect(ctx, name)
	if err != nil {
		return nil, err
	}
	e.draft, e.draftOf = l, d
	return l.tree, nil
}

func (s *Snapshot) inspect(ctx context.Context, name string) (looked, error) {
	in, err := s.open(name)
	if err != nil {
		return looked{}, err
	}
	defer in.close()
	var own *syntax.File
	if d := s.docs[name]; d != nil {
		own = d.parsed().tree
	} else {
		in.source.Text = syntax.Closed(in.source.Text)
	}
	tree, err := resolve.InspectTree(ctx, in.source, own, in.options)
	return looked{tree, in.seen}, err
}
