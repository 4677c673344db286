// Package workspace holds the files an editor works on as immutable snapshots:
// the texts that are open, the files on disk behind them, and what analysing
// them found. Analyses are kept until a file they read changes, and shared
// between snapshots. The package reads files and writes none, knows nothing of
// the protocol, and starts no goroutine.
package workspace

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/syntax"
	"aloft/library"
)

// Library is what names of files of the built-in library begin with.
const Library = "library/"

// Options say how descriptions are read, as flags of the command line do.
type Options struct {
	Folders     []string          // of the workspace, absolute; the first is the working directory
	Include     []string          // -I, absolute
	Properties  map[string]string // -D
	Environment map[string]string // -E
}

// Document is an open file. Its name is the absolute path of a file, a name
// that begins with Library, or any other name without slashes for a text that
// is in no file.
type Document struct {
	Name string
	Text *text.Text

	stamp  string // tells its content from what the file held before
	parsed func() parsed
}

// parsed is the tree of a text by itself.
type parsed struct {
	tree   *syntax.File // with the braces that are missing at the end
	errors int          // of syntax
}

func parse(name, content string) parsed {
	var list, ignored diag.List
	tree := syntax.Parse(name, []byte(content), &list)
	if list.Errors() > 0 {
		if closed := syntax.Closed([]byte(content)); len(closed) > len(content) {
			tree = syntax.Parse(name, closed, &ignored)
		}
	}
	return parsed{tree, list.Errors()}
}

// Snapshot is the state of all open files at one moment. It may be used by
// several goroutines.
type Snapshot struct {
	options Options
	docs    map[string]*Document
	real    map[string]*Document // by the path behind symbolic links
	now     func() time.Time
	cache   *cache
}

// New returns a snapshot without open files. The clock now is what date means
// in descriptions.
func New(now func() time.Time) *Snapshot {
	return &Snapshot{now: now, cache: newCache()}
}

// WithOptions returns s with other options.
func (s *Snapshot) WithOptions(o Options) *Snapshot {
	c := *s
	c.options = o
	c.cache = newCache()
	return &c
}

// Options returns how descriptions are read.
func (s *Snapshot) Options() Options { return s.options }

// With returns s with the document name open as t.
func (s *Snapshot) With(name string, t *text.Text) *Snapshot { return s.with(s.document(name, t)) }

// document returns the text t open as name, which no snapshot has yet.
func (s *Snapshot) document(name string, t *text.Text) *Document {
	return &Document{
		Name: name, Text: t, stamp: s.cache.number(),
		parsed: sync.OnceValue(func() parsed { return parse(name, t.String()) }),
	}
}

func (s *Snapshot) with(d *Document) *Snapshot {
	c := *s
	c.docs, c.real = maps.Clone(s.docs), maps.Clone(s.real)
	if c.docs == nil {
		c.docs, c.real = map[string]*Document{}, map[string]*Document{}
	}
	c.docs[d.Name] = d
	if r := realPath(d.Name); r != d.Name {
		c.real[r] = d
	}
	return &c
}

// Without returns s with the document name closed.
func (s *Snapshot) Without(name string) *Snapshot {
	c := *s
	c.docs, c.real = maps.Clone(s.docs), maps.Clone(s.real)
	delete(c.docs, name)
	maps.DeleteFunc(c.real, func(_ string, d *Document) bool { return d.Name == name })
	return &c
}

// Apart returns s with caches of its own, for a text that will not come again.
func (s *Snapshot) Apart() *Snapshot {
	c := *s
	c.cache = newCache()
	return &c
}

// realPath returns the path of a file without symbolic links, or name if there
// is no such file.
func realPath(name string) string {
	if !filepath.IsAbs(name) {
		return name
	}
	r, err := filepath.EvalSymlinks(name)
	if err != nil {
		return name
	}
	return r
}

// Document returns the open document called name, or the one that is open
// under another name of the same file; or nil.
func (s *Snapshot) Document(name string) *Document {
	if d := s.docs[name]; d != nil {
		return d
	}
	if len(s.real) > 0 && filepath.IsAbs(name) {
		if d := s.real[realPath(name)]; d != nil {
			return d
		}
	}
	return nil
}

// Open returns the names of all open documents, sorted.
func (s *Snapshot) Open() []string { return slices.Sorted(maps.Keys(s.docs)) }

// Text returns the text of a file: as it is open, or else as it is on disk or
// in the library; nil if there is none.
func (s *Snapshot) Text(name string) *text.Text {
	if d := s.Document(name); d != nil {
		return d.Text
	}
	var content []byte
	var err error
	switch {
	case strings.HasPrefix(name, Library):
		return s.cache.libraryText(name)
	case filepath.IsAbs(name):
		content, err = os.ReadFile(name)
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	return text.New(string(content))
}

// LibraryFile returns the text of a file of the built-in library, by the name
// that positions carry.
func LibraryFile(name string) (string, bool) {
	content, err := readLibrary(strings.TrimPrefix(name, Library))
	return content, err == nil
}

func readLibrary(name string) (string, error) {
	f, err := library.FS.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return "", os.ErrNotExist
	}
	content := make([]byte, info.Size())
	n, err := f.Read(content)
	if err != nil && n < len(content) {
		return "", err
	}
	return string(content[:n]), nil
}

func (s *Snapshot) parsed(name string) (parsed, bool) {
	if d := s.Document(name); d != nil {
		return d.parsed(), true
	}
	if t := s.Text(name); t != nil {
		return parse(name, t.String()), true
	}
	return parsed{}, false
}

// deploys reports whether a file says itself what is deployed.
func deploys(f *syntax.File) bool {
	return slices.ContainsFunc(f.Items, func(item syntax.Item) bool {
		a, ok := item.(*syntax.Attribute)
		return ok && a.Name == "sfConfig" && len(a.Path) == 0
	})
}

// Broken reports whether the file called name has mistakes of syntax.
func (s *Snapshot) Broken(name string) bool {
	p, ok := s.parsed(name)
	return !ok || p.errors > 0
}

// Main returns the description that the file called name is part of: itself if
// it says what is deployed, or else one that includes it, if there is one.
func (s *Snapshot) Main(ctx context.Context, name string) (string, error) {
	if p, ok := s.parsed(name); strings.HasPrefix(name, Library) || ok && deploys(p.tree) {
		return name, nil
	}
	tree, err := s.Inspect(ctx, name)
	if err != nil {
		return "", err
	}
	if _, whole := tree.Root().Member("sfConfig"); whole {
		return name, nil
	}
	// As a rule it is the same as the last time.
	if last := s.cache.main(name); last != "" {
		if includes, err := s.includes(ctx, last, name); err != nil || includes {
			return last, err
		}
	}
	others, _ := s.Readers(ctx, name, []string{name})
	for _, other := range others {
		if includes, err := s.includes(ctx, other, name); err != nil || includes {
			s.cache.setMain(name, other)
			return other, err
		}
	}
	return name, nil
}

// includes reports whether the description main reads the file called name.
func (s *Snapshot) includes(ctx context.Context, main, name string) (bool, error) {
	if main == name || s.Text(main) == nil {
		return false, nil
	}
	tree, err := s.Inspect(ctx, main)
	if err != nil {
		return false, err
	}
	_, whole := tree.Root().Member("sfConfig")
	return whole && slices.Contains(tree.Includes(), name), nil
}

// Paths returns the files and folders, these with a slash at the end, that an
// #include in the file called name can go on with after prefix.
func (s *Snapshot) Paths(name, prefix string) []string {
	dir := path.Dir(prefix)
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		dir = path.Clean(prefix)
	}
	found := map[string]bool{}
	add := func(file string, isDir bool) {
		file = path.Join(dir, file)
		switch {
		case isDir:
			found[file+"/"] = true
		case path.Ext(file) == ".sf":
			found[file] = true
		}
	}
	var folders []string
	if filepath.IsAbs(name) {
		folders = append(folders, filepath.Dir(name))
	}
	folders = append(folders, s.options.Include...)
	if len(s.options.Folders) > 0 {
		folders = append(folders, s.options.Folders[0])
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(folder, filepath.FromSlash(dir)))
		if err != nil {
			continue // there need not be such a folder
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") && (dir != "." || filepath.Join(folder, e.Name()) != name) {
				add(e.Name(), e.IsDir())
			}
		}
	}
	for _, file := range library.Names() {
		if rest, in := strings.CutPrefix(file, strings.TrimPrefix(dir+"/", "./")); in {
			first, _, deeper := strings.Cut(rest, "/")
			add(first, deeper)
		}
	}
	for open := range s.docs { // not on disk yet
		if filepath.IsAbs(name) && open != name {
			if rel, err := filepath.Rel(filepath.Join(filepath.Dir(name), dir), open); err == nil && !strings.ContainsRune(rel, filepath.Separator) && rel != ".." {
				add(rel, false)
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
