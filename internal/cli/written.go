package cli

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"aloft/api"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// The roles of a written folder.
const (
	roleFirst   = "first"
	roleInclude = "include"
	roleWork    = "work"
	roleOutside = "outside"
)

// recorder notes what a description is made from while it is resolved, so that
// it can be resolved again elsewhere, with an attribute set to something else.
type recorder struct {
	mu      sync.Mutex
	written api.Written
	unclear string // why it cannot be noted, or ""
}

// record has what src and opts read be noted.
func record(src *resolve.Source, opts *resolve.Options) *recorder {
	r := &recorder{written: api.Written{Name: src.Name, Properties: opts.Properties, Seed: opts.Seed, Now: opts.Now}}
	src.Folder = r.folder(src.Folder, roleFirst)
	if src.Text != nil {
		r.note(0, src.Name, src.Text)
	}
	for i := range opts.Include {
		opts.Include[i] = r.folder(opts.Include[i], roleInclude)
	}
	if opts.WorkDir != nil {
		work := r.folder(*opts.WorkDir, roleWork)
		opts.WorkDir = &work
	}
	if opts.Outside != nil {
		opts.Outside = r.folder(resolve.Folder{Name: "/", FS: opts.Outside}, roleOutside).FS
	}
	if fetch := opts.Fetch; fetch != nil {
		opts.Fetch = func(ctx context.Context, url string) ([]byte, error) {
			text, err := fetch(ctx, url)
			if err == nil {
				r.keep(&r.written.URLs, url, text)
			}
			return text, err
		}
	}
	if ask := opts.Ask; ask != nil {
		opts.Ask = func(prompt string) (string, error) {
			answer, err := ask(prompt)
			if err == nil {
				r.keep(&r.written.Answers, prompt, []byte(answer))
			}
			return answer, err
		}
	}
	return r
}

func (r *recorder) folder(f resolve.Folder, role string) resolve.Folder {
	at := len(r.written.Folders)
	r.written.Folders = append(r.written.Folders, api.WrittenFolder{Name: f.Name, Dir: f.Dir, Role: role})
	f.FS = noting{f.FS, func(name string, text []byte) { r.note(at, name, text) }}
	return f
}

func (r *recorder) note(folder int, name string, text []byte) {
	r.keep(&r.written.Folders[folder].Files, name, text)
}

func (r *recorder) keep(in *map[string]string, name string, text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !utf8.Valid(text) {
		r.unclear = name + " is not UTF-8"
	}
	if *in == nil {
		*in = map[string]string{}
	}
	(*in)[name] = string(text)
}

// done returns what was noted, nil where it cannot be. Of the environment only
// the variables are kept that a text may name.
func (r *recorder) done(environment map[string]string) *api.Written {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unclear != "" {
		return nil
	}
	w := &r.written
	for name, text := range environment {
		if r.names(name) {
			if w.Environment == nil {
				w.Environment = map[string]string{}
			}
			w.Environment[name] = text
		}
	}
	return w
}

// noting tells of the files that are read.
type noting struct {
	fs.FS
	read func(name string, text []byte)
}

func (n noting) Stat(name string) (fs.FileInfo, error) { return fs.Stat(n.FS, name) }

func (n noting) ReadFile(name string) ([]byte, error) {
	text, err := fs.ReadFile(n.FS, name)
	if err == nil {
		n.read(name, text)
	}
	return text, err
}

// texts is a folder of files that are held.
type texts map[string]string

func (t texts) missing(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func (t texts) Open(name string) (fs.File, error) { return nil, t.missing("open", name) }

func (t texts) Stat(name string) (fs.FileInfo, error) {
	text, ok := t[name]
	if !ok {
		return nil, t.missing("stat", name)
	}
	return held{path.Base(name), int64(len(text))}, nil
}

func (t texts) ReadFile(name string) ([]byte, error) {
	text, ok := t[name]
	if !ok {
		return nil, t.missing("read", name)
	}
	return []byte(text), nil
}

// held is what is to be known of a file that is held.
type held struct {
	name string
	size int64
}

func (h held) Name() string     { return h.name }
func (h held) Size() int64      { return h.size }
func (held) Mode() fs.FileMode  { return 0o444 }
func (held) ModTime() time.Time { return time.Time{} }
func (held) IsDir() bool        { return false }
func (held) Sys() any           { return nil }

// setFile is how positions name the file that sets attributes.
const setFile = "(set)"

// rewritten returns what resolves to the description as it was written, with
// its attributes set.
func rewritten(w *api.Written) (src resolve.Source, opts resolve.Options, err error) {
	opts = resolve.Options{Properties: w.Properties, Environment: w.Environment, Seed: w.Seed, Now: w.Now}
	for _, f := range w.Folders {
		folder := resolve.Folder{Name: f.Name, Dir: f.Dir, FS: texts(f.Files)}
		switch f.Role {
		case roleFirst:
			src.Folder = folder
		case roleInclude:
			opts.Include = append(opts.Include, folder)
		case roleWork:
			opts.WorkDir = &folder
		case roleOutside:
			opts.Outside = folder.FS
		}
	}
	if w.URLs != nil {
		opts.Fetch = func(_ context.Context, url string) ([]byte, error) { return texts(w.URLs).ReadFile(url) }
	}
	if w.Answers != nil {
		opts.Ask = func(prompt string) (string, error) {
			answer, ok := w.Answers[prompt]
			if !ok {
				return "", fmt.Errorf("nobody has answered %q yet; change the file, and deploy it with 'aloft up'", prompt)
			}
			return answer, nil
		}
	}
	if src.Name = w.Name; len(w.Set) > 0 {
		file := &syntax.File{Items: []syntax.Item{&syntax.Include{File: w.Name}}}
		for _, s := range w.Set {
			var wrong diag.List
			v := syntax.ParseValue(setFile, []byte(s.Value), &wrong)
			names := value.Path(s.Path).Names()
			if v == nil || len(names) == 0 {
				return src, opts, fmt.Errorf("%s is set to what is no value: %s", s.Path, s.Value)
			}
			path := append([]string{"sfConfig"}, names[:len(names)-1]...)
			file.Items = append(file.Items, &syntax.Attribute{Path: path, Name: names[len(names)-1], Value: v})
		}
		src.Name, src.Text = setFile, []byte(syntax.Print(file))
	}
	return src, opts, nil
}

// names reports whether a text of the description has a word in it.
func (r *recorder) names(word string) bool {
	for _, f := range r.written.Folders {
		for _, text := range f.Files {
			if strings.Contains(text, word) {
				return true
			}
		}
	}
	for _, text := range r.written.URLs {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
