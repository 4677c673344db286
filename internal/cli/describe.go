package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/value"

	"github.com/spf13/cobra"
)

// describeFlags say how a description is read (sdl.md section 1).
type describeFlags struct {
	include, properties, environment []string
	allEnvironment                   bool
	seed                             int64
	now                              string
	strict, urls, outside, ask       bool
	diag                             string

	phase, format string // only parse and check
}

// maxFetch bounds an included URL, and a description on standard input, in
// bytes.
const maxFetch = 16 << 20

func (f *describeFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVarP(&f.include, "include", "I", nil, "`folder` to look for includes in; may repeat")
	fl.StringArrayVarP(&f.properties, "define", "D", nil, "`NAME=VALUE`: a property for PROPERTY and IPROPERTY; may repeat")
	fl.StringArrayVarP(&f.environment, "variable", "E", nil, "`NAME=VALUE`: a variable for ENVPROPERTY and IENVPROPERTY; may repeat")
	fl.BoolVar(&f.allEnvironment, "env", false, "let ENVPROPERTY and IENVPROPERTY see the environment")
	fl.Int64Var(&f.seed, "seed", 0, "what random uses")
	fl.StringVar(&f.now, "now", "", "what date uses, as 2006-01-02T15:04:05Z (default the current `time`)")
	fl.BoolVar(&f.strict, "strict", false, "warnings become errors")
	fl.BoolVar(&f.urls, "allow-url-include", false, "follow includes that are URLs")
	fl.BoolVar(&f.outside, "allow-include-outside", false, "follow includes that lead out of the include folders")
	fl.BoolVar(&f.ask, "interactive", false, "let the description ask questions")
	fl.StringVar(&f.diag, "diag", "text", "form of the diagnostics: text, json, sarif")
	_ = c.RegisterFlagCompletionFunc("diag", cobra.FixedCompletions([]string{"text", "json", "sarif"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *describeFlags) registerResult(c *cobra.Command) {
	f.register(c)
	c.Flags().StringVar(&f.phase, "phase", "", "stop after this `phase`: "+strings.Join(phases(), ", "))
	c.Flags().StringVar(&f.format, "format", "sf", "form of the result: sf, json, typed")
	_ = c.RegisterFlagCompletionFunc("phase", cobra.FixedCompletions(phases(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"sf", "json", "typed"}, cobra.ShellCompDirectiveNoFileComp))
}

func phases() (names []string) {
	for _, p := range resolve.Phases {
		names = append(names, string(p))
	}
	return names
}

// resolve reads the description in file and prints what is wrong with it. The
// result may hold errors.
func (a *app) resolve(ctx context.Context, file string, f *describeFlags) (*resolve.Result, error) {
	res, _, err := a.resolveQuietly(ctx, file, f)
	if err != nil {
		return nil, err
	}
	return res, a.printDiagnostics(&res.Diagnostics, f.diag)
}

// resolveQuietly is resolve, but prints nothing. It also returns what the
// description was made from, nil where that cannot be told.
func (a *app) resolveQuietly(ctx context.Context, file string, f *describeFlags) (*resolve.Result, *api.Written, error) {
	src, opts, done, err := a.description(ctx, file, f)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	r := record(&src, &opts)
	res, err := resolve.Resolve(ctx, src, opts)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return nil, nil, fmt.Errorf("description %s: %w", file, bare(err))
	}
	return res, r.done(opts.Environment), nil
}

// description returns the description in file, and how the flags say it is to
// be read. The caller calls done when nothing is read any more.
func (a *app) description(ctx context.Context, file string, f *describeFlags) (src resolve.Source, opts resolve.Options, done func(), err error) {
	opts = resolve.Options{Seed: f.seed, Strict: f.strict, Until: resolve.Phase(f.phase), Now: time.Now()}
	if f.phase != "" && !slices.Contains(resolve.Phases, opts.Until) {
		return src, opts, nil, fail("one of "+strings.Join(phases(), ", "), "unknown phase %q", f.phase)
	}
	if !slices.Contains([]string{"text", "json", "sarif"}, f.diag) {
		return src, opts, nil, fail("one of text, json, sarif", "unknown form of diagnostics %q", f.diag)
	}
	if f.now != "" {
		if opts.Now, err = time.Parse(time.RFC3339, f.now); err != nil {
			return src, opts, nil, fail("write it as 2006-01-02T15:04:05Z", "--now %s is no time", f.now)
		}
	}
	if opts.Properties, err = pairs("-D", f.properties); err != nil {
		return src, opts, nil, err
	}
	if opts.Environment, err = pairs("-E", f.environment); err != nil {
		return src, opts, nil, err
	}
	if f.allEnvironment {
		for _, e := range os.Environ() {
			name, text, _ := strings.Cut(e, "=")
			if _, given := opts.Environment[name]; !given {
				opts.Environment[name] = text
			}
		}
	}
	if f.outside {
		opts.Outside = os.DirFS("/")
	}
	if f.urls {
		opts.Fetch = fetch
	}
	if f.ask {
		opts.Ask = a.ask(ctx)
	}
	opts.Print = func(text string) { fmt.Fprintln(a.Stderr, text) }

	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return src, opts, nil, fail("name the files in it: "+filepath.Join(file, "*.sf"), "%s is a folder", file)
	}

	var folders []func() error
	closeAll := func() {
		for _, c := range folders {
			c() // only read from
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	open := func(dir string) (resolve.Folder, error) {
		folder, closeFolder, err := resolve.OpenFolder(dir)
		if err == nil {
			folders = append(folders, closeFolder)
		}
		return folder, err
	}
	src = resolve.Source{Name: filepath.Base(file)}
	if file == "-" {
		src.Name = standardInput
		if src.Text, err = a.readStdin(); err != nil {
			return src, opts, nil, err
		}
	}
	if src.Folder, err = open(filepath.Dir(file)); err != nil {
		return src, opts, nil, fmt.Errorf("description %s: %w", file, bare(err))
	}
	for _, dir := range f.include {
		folder, err := open(dir)
		if err != nil {
			return src, opts, nil, fmt.Errorf("include folder %s: %w", dir, bare(err))
		}
		opts.Include = append(opts.Include, folder)
	}
	work, err := open(".")
	if err != nil {
		return src, opts, nil, fmt.Errorf("working directory: %w", bare(err))
	}
	opts.WorkDir = &work
	return src, opts, closeAll, nil
}

// bare takes off what the file system adds to an error that names the file
// already.
func bare(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

func (a *app) printDiagnostics(l *diag.List, form string) error {
	switch form {
	case "json":
		return diag.WriteJSON(a.Stderr, l)
	case "sarif":
		return diag.WriteSARIF(a.Stderr, l)
	}
	return diag.WriteText(a.Stderr, l, a.excerptSource)
}

// readStdin reads the description on standard input, once.
func (a *app) readStdin() ([]byte, error) {
	if a.stdin == nil {
		text, err := io.ReadAll(io.LimitReader(a.Stdin, maxFetch+1))
		if err != nil {
			return nil, fmt.Errorf("description on standard input: %w", err)
		}
		if len(text) > maxFetch {
			return nil, fmt.Errorf("description on standard input: longer than %d MiB", maxFetch>>20)
		}
		a.stdin = append([]byte{}, text...)
	}
	return a.stdin, nil
}

// excerptSource returns the text that a diagnostic shows a line of. A pipe or
// device is not read: that could take for ever.
func (a *app) excerptSource(file string) ([]byte, bool) {
	if file == standardInput && a.stdin != nil {
		return a.stdin, true
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	text, err := os.ReadFile(file)
	return text, err == nil
}

// diagnostics gives what the daemon found wrong with a description the form of
// the language's own diagnostics.
func diagnostics(list []api.Diagnostic) *diag.List {
	l := &diag.List{}
	for _, d := range list {
		at := value.Pos{File: d.File, Line: d.Line, Col: d.Column}
		n := diag.New(diag.Code(d.Code), diag.At(at), d.Message)
		switch d.Severity {
		case diag.Error.String(): // planning may be stricter than the code's usual
			n.Severity = diag.Error
		case diag.Warning.String():
			n.Severity = diag.Warning
		case diag.Note.String():
			n.Severity = diag.Note
		}
		n.Path, n.Attribute, n.Expected, n.Found, n.Hints = d.Path, d.Attribute, d.Expected, d.Found, d.Hints
		l.Add(n)
	}
	return l
}

// pairs reads NAME=VALUE options.
func pairs(option string, list []string) (map[string]string, error) {
	m := map[string]string{}
	for _, s := range list {
		name, text, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, fail("write "+option+" NAME=VALUE", "%s %s has no name and value", option, s)
		}
		m[name] = text
	}
	return m, nil
}

// fetch reads an included URL.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, os.ErrNotExist
	default:
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxFetch+1))
	if err == nil && len(text) > maxFetch {
		err = fmt.Errorf("more than %d bytes", maxFetch)
	}
	return text, err
}

// systemName is what a system may be called.
var systemName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) })

// nameOf returns the system's name: name if given, else that of the file.
func nameOf(file, name string) (string, error) {
	if name != "" {
		if !systemName().MatchString(name) {
			return "", fail("small letters, digits and '-', at most 63, a letter or digit first", "a system cannot be called %q", name)
		}
		return name, nil
	}
	name = strings.TrimSuffix(filepath.Base(file), ".sf")
	if !systemName().MatchString(name) {
		return "", fail("give it a name with --name: small letters, digits and '-', at most 63", "a system cannot be called %q, after its file", name)
	}
	return name, nil
}
