package resolve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/library"
	"aloft/value"
)

// Folder is a place where includes are looked for.
type Folder struct {
	Name string // how diagnostics name it: "" for the current directory
	// FS must refuse, with an error other than fs.ErrNotExist, names that lead
	// out of the folder by symbolic links; os.Root.FS does.
	FS fs.FS
	// Dir is the folder's absolute path, or "" if it has none. It is needed
	// only where includes outside the folders are allowed.
	Dir string
}

// OpenFolder returns the folder dir of the operating system. Its files are
// reached through os.Root, so that no link leads out. The caller calls close
// when nothing is resolved any more.
func OpenFolder(dir string) (folder Folder, close func() error, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Folder{}, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Folder{}, nil, err
	}
	name := filepath.ToSlash(filepath.Clean(dir))
	if name == "." {
		name = ""
	}
	return Folder{Name: name, FS: root.FS(), Dir: abs}, root.Close, nil
}

// libraryFolder is the last place of every search.
var libraryFolder = &Folder{Name: "library", FS: library.FS}

// file is one source text of the description. Its tree may be shared by
// several of them.
type file struct {
	tree   *syntax.File
	name   string // for diagnostics; unique for a text
	folder *Folder
	dir    string    // below folder
	from   *file     // the file that includes it; nil for the first
	depth  int       // how many includes lead here
	at     diag.Span // its name in the include
	inc    diag.Span // the include

	codebase []string // places added by #codebase, innermost last
}

// maxIncludes bounds how deep includes are nested, so that what each of them
// costs does not grow with all those around it.
const maxIncludes = 1_000

// chain returns the includes that lead to f, innermost first; of very many the
// innermost alone.
func (f *file) chain() []value.Pos {
	const most = 50
	var ps []value.Pos
	for ; f != nil && f.from != nil && len(ps) < most; f = f.from {
		ps = append(ps, f.inc.Pos)
	}
	return ps
}

// above returns the include in the file called name that leads to f, directly
// or through others.
func (f *file) above(name string) (value.Pos, bool) {
	for ; f != nil && f.from != nil; f = f.from {
		if f.inc.Pos.File == name {
			return f.inc.Pos, true
		}
	}
	return value.Pos{}, false
}

// include finds, reads and parses what inc names, or reports why not and
// returns nil.
func (r *resolver) include(f *file, inc *syntax.Include) *file {
	g := &file{from: f, depth: f.depth + 1, at: inc.FileSpan, inc: inc.Span, codebase: f.codebase}
	if g.depth > maxIncludes {
		d := diag.New(diag.TooDeep, inc.Span, fmt.Sprintf("includes nested more than %d deep", maxIncludes))
		d.Hints = []string{"include the files from one, side by side"}
		r.report(f, d)
		return nil
	}
	if inc.HasCodebase {
		g.codebase = append(append([]string(nil), f.codebase...), strings.Fields(inc.Codebase)...)
		if !r.grow(16 * len(g.codebase)) {
			return nil
		}
		if isURL(inc.Codebase) && r.opts.Fetch == nil {
			d := diag.New(diag.IncludeURL, inc.Span, "remote codebase not searched: "+inc.Codebase)
			d.Severity, d.Hints = diag.Note, []string{"allow it with --allow-url-include"}
			r.report(f, d)
		}
	}
	if isURL(inc.File) {
		return r.fetchInclude(g, inc)
	}
	var searched []string
	outside := ""
	for _, c := range r.candidates(f, g, inc.File) {
		if !r.spend(includeSteps) {
			return nil
		}
		text, err := r.readCandidate(c)
		if err == nil {
			return r.parseInclude(g, c, text)
		}
		switch {
		case errors.Is(err, errOutside):
			if outside == "" {
				outside = c.display()
			}
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR): // a file may bear the name of a folder
			d := diag.New(diag.IncludeNotFound, inc.FileSpan, fmt.Sprintf("include %q cannot be read: %v", inc.File, err))
			r.report(f, d)
			return nil
		}
		searched = append(searched, c.display())
	}
	if h, text := r.fetchCodebase(g, inc.File); h != nil {
		return r.parse(h, text)
	}
	if inc.Optional {
		return nil
	}
	if outside != "" {
		d := diag.New(diag.IncludeOutside, inc.FileSpan, fmt.Sprintf("include %q is outside the allowed folders", inc.File))
		d.Found = outside
		d.Hints = []string{"name its folder with -I, or allow it with --allow-include-outside"}
		r.report(f, d)
		return nil
	}
	d := diag.New(diag.IncludeNotFound, inc.FileSpan, fmt.Sprintf("include not found: %s", inc.File))
	d.Expected = "one of " + strings.Join(distinct(searched), ", ")
	if near := diag.Nearest(strings.TrimPrefix(inc.File, "/"), library.Names()); len(near) > 0 {
		d.Hints = append(d.Hints, fmt.Sprintf("did you mean %q?", near[0]))
	}
	r.report(f, d)
	return nil
}

// distinct returns the names that were looked for, each once: the folder of the
// file may be one that is searched in any case.
func distinct(names []string) (once []string) {
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once
}

// errOutside says that a name leads out of every allowed folder.
var errOutside = errors.New("outside the allowed folders")

// candidate is a file that an include may mean.
type candidate struct {
	folder *Folder
	name   string // clean; below folder, or absolute
	out    bool   // name is absolute or leads out of folder
}

func (c candidate) display() string {
	if path.IsAbs(c.name) {
		return c.name
	}
	return path.Join(c.folder.Name, c.name)
}

// candidates returns where name is looked for, in order (IN3).
func (r *resolver) candidates(f, g *file, name string) []candidate {
	var list []candidate
	add := func(folder *Folder, dir, name string) {
		joined := path.Join(dir, name)
		list = append(list, candidate{folder: folder, name: joined, out: !fs.ValidPath(joined)})
	}
	if path.IsAbs(name) {
		list = append(list, candidate{folder: f.folder, name: path.Clean(name), out: true})
	} else {
		add(f.folder, f.dir, name)
	}
	rel := strings.TrimPrefix(name, "/")
	for i := range r.opts.Include {
		add(&r.opts.Include[i], "", rel)
	}
	if r.opts.WorkDir != nil {
		add(r.opts.WorkDir, "", rel)
	}
	add(libraryFolder, "", rel)
	for _, base := range g.codebase {
		if !isURL(base) {
			for i := range r.opts.Include {
				add(&r.opts.Include[i], strings.TrimPrefix(base, "/"), rel)
			}
			if !path.IsAbs(base) {
				add(f.folder, path.Join(f.dir, base), rel)
			}
		}
	}
	return list
}

// readCandidate reads c. Only with the option set may it lie outside its
// folder.
func (r *resolver) readCandidate(c candidate) ([]byte, error) {
	if !c.out {
		text, err := r.readFile(c.folder, c.name)
		if err == nil || errors.Is(err, fs.ErrNotExist) || r.opts.Outside == nil && !escapes(err) {
			return text, err
		}
	}
	full := c.name
	if !path.IsAbs(full) {
		if c.folder.Dir == "" && r.main.Dir != "" {
			return nil, fs.ErrNotExist // nothing is beside the library
		}
		full = path.Join("/", filepath.ToSlash(c.folder.Dir), c.name)
	}
	// An absolute name that lies in an allowed folder is allowed.
	for _, folder := range r.folders() {
		if folder.Dir == "" {
			continue
		}
		if rel, ok := strings.CutPrefix(full, strings.TrimSuffix(filepath.ToSlash(folder.Dir), "/")+"/"); ok {
			if text, err := r.readFile(folder, rel); err == nil || errors.Is(err, fs.ErrNotExist) {
				return text, err
			}
		}
	}
	if r.opts.Outside == nil {
		// Only to say the right thing: /org/smartfrog/x.sf is no path of the
		// file system, though it looks like one.
		if _, err := os.Lstat(full); err != nil && r.main.Dir != "" {
			return nil, fs.ErrNotExist
		}
		return nil, errOutside
	}
	return r.readFile(&Folder{Name: "/", FS: r.opts.Outside}, strings.TrimPrefix(full, "/"))
}

// escapes reports whether err says that a link leads out of the folder.
func escapes(err error) bool {
	return err != nil && strings.Contains(err.Error(), "escapes")
}

func (r *resolver) folders() []*Folder {
	list := []*Folder{r.main}
	for i := range r.opts.Include {
		list = append(list, &r.opts.Include[i])
	}
	if r.opts.WorkDir != nil {
		list = append(list, r.opts.WorkDir)
	}
	return list
}

// maxSource bounds one source text.
const maxSource = 64 << 20

func (r *resolver) readFile(folder *Folder, name string) ([]byte, error) {
	if c, ok := r.texts[path.Join(folder.Name, name)]; ok {
		return c, nil
	}
	info, err := fs.Stat(folder.FS, name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fs.ErrNotExist
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file") // a pipe or device could be read for ever
	}
	if info.Size() > maxSource {
		return nil, fmt.Errorf("larger than %d bytes", maxSource)
	}
	text, err := fs.ReadFile(folder.FS, name)
	if err == nil {
		r.grow(len(text))
		r.texts[path.Join(folder.Name, name)] = text
	}
	return text, err
}

// parseInclude completes g from the text found at c.
func (r *resolver) parseInclude(g *file, c candidate, text []byte) *file {
	g.name, g.folder, g.dir = c.display(), c.folder, path.Dir(c.name)
	if c.out && r.opts.Outside != nil {
		full := c.name
		if !path.IsAbs(full) {
			full = path.Join(filepath.ToSlash(c.folder.Dir), full)
		}
		g.folder = &Folder{Name: "/", FS: r.opts.Outside, Dir: "/"}
		g.dir = strings.TrimPrefix(path.Dir(full), "/")
	}
	return r.parse(g, text)
}

// parse completes g with the tree of text, unless g includes itself or the
// context ends.
func (r *resolver) parse(g *file, text []byte) *file {
	for f := g.from; f != nil; f = f.from {
		if f.name == g.name {
			r.reportIncludeCycle(g)
			return nil
		}
	}
	if !r.spend(g.depth / 16) {
		return nil
	}
	_, again := r.files[g.name]
	if !again {
		r.files[g.name] = g
	}
	tree, parsed := r.trees[g.name]
	if !parsed {
		var list diag.List
		var err error
		if tree, err = syntax.ParseContext(r.ctx, g.name, text, &list); err != nil {
			r.stopped = true
			return nil
		}
		for _, d := range list.All() {
			r.report(g, d)
		}
		r.trees[g.name] = tree
	}
	if !again {
		r.res.Includes = append(r.res.Includes, g.name)
	}
	g.tree = tree
	return g
}

func (r *resolver) reportIncludeCycle(g *file) {
	d := diag.New(diag.IncludeCycle, g.at, fmt.Sprintf("%s includes itself", g.name))
	for f := g.from; f != nil && f.from != nil; f = f.from {
		d.Related = append(d.Related, diag.Related{Span: f.at, Message: "included from here"})
		if f.name == g.name {
			break
		}
	}
	r.report(g.from, d)
}

func (r *resolver) fetchInclude(g *file, inc *syntax.Include) *file {
	if r.opts.Fetch == nil {
		d := diag.New(diag.IncludeURL, inc.FileSpan, fmt.Sprintf("include of a URL refused: %s", inc.File))
		d.Hints = []string{"keep a copy beside the description, or allow it with --allow-url-include"}
		r.report(g.from, d)
		return nil
	}
	text, err := r.opts.Fetch(r.ctx, inc.File)
	if err != nil {
		if inc.Optional && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		r.report(g.from, diag.New(diag.IncludeNotFound, inc.FileSpan, fmt.Sprintf("include %s: %v", inc.File, err)))
		return nil
	}
	g.name, g.folder, g.dir = inc.File, g.from.folder, g.from.dir
	return r.parse(g, text)
}

// fetchCodebase looks for name under the remote codebases, if these are
// allowed.
func (r *resolver) fetchCodebase(g *file, name string) (*file, []byte) {
	if r.opts.Fetch == nil {
		return nil, nil
	}
	for _, base := range g.codebase {
		if !isURL(base) {
			continue
		}
		url := strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(name, "/")
		if text, err := r.opts.Fetch(r.ctx, url); err == nil {
			g.name, g.folder, g.dir = url, g.from.folder, g.from.dir
			return g, text
		}
	}
	return nil, nil
}

func isURL(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, "/\\ ")
}

// Fetch reads the text behind a URL. It returns fs.ErrNotExist when there is
// nothing.
type Fetch func(ctx context.Context, url string) ([]byte, error)
