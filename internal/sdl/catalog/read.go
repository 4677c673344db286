package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/internal/sdl/syntax"
	embedded "aloft/library"
	"aloft/value"
)

// libraryName is how the resolver names the folder of the built-in library.
const libraryName = "library"

// workflowFile is what to include for the components of workflow, and their
// conditions; original is where the files that it includes lie.
const (
	workflowFile = "aloft/workflow.sf"
	original     = "org/smartfrog/sfcore/workflow/"
)

// original has more of them than a description can use: these it can.
var workflow = map[string]Kind{
	"Sequence": Workflow, "Parallel": Workflow, "Repeat": Workflow, "Retry": Workflow, "Try": Workflow, "Timeout": Workflow,
	"During": Workflow, "Delay": Workflow, "Finally": Workflow, "If": Workflow, "WaitFor": Workflow,
	"True": Condition, "False": Condition, "Equals": Condition, "ReferenceResolves": Condition, "RunningFor": Condition,
	"IsAlive": Condition, "And": Condition, "Or": Condition, "Not": Condition,
}

// maxFiles bounds the files read of one folder.
const maxFiles = 1000

// readLibrary reads all components of the built-in library at once.
func (c *Catalogue) readLibrary(ctx context.Context) error {
	folder := resolve.Folder{Name: libraryName, FS: embedded.FS}
	src := resolve.Source{Folder: folder, Name: "catalog.sf", Text: []byte("#include \"aloft/components.sf\"\n#include \"" + workflowFile + "\"")}
	res, err := resolve.Resolve(ctx, src, resolve.Options{Until: resolve.Function})
	if err != nil {
		return err
	}
	c.problems(res)
	texts := texts{folder: folder}
	if res.Tree != nil {
		for a := range res.Tree.All() {
			file := strings.TrimPrefix(a.Pos.File, libraryName+"/")
			x := newComponent(a, func(pos value.Pos) string { return texts.before(ctx, file, pos) })
			if x == nil {
				continue
			}
			switch kind, usable := workflow[x.Name]; {
			case strings.HasPrefix(file, "aloft/"):
				x.Include = file
			case !strings.HasPrefix(file, original):
				x.Include = "components.sf" // whose files build on one another
			case !usable:
				continue
			default:
				x.Include, x.Kind = workflowFile, kind
				// Events of the original are not handed on.
				x.Attributes = slices.DeleteFunc(x.Attributes, func(a Attribute) bool { return a.Name == "sendTo" || a.Name == "registerWith" })
			}
			c.put(x)
		}
	}
	return nil
}

// read reads the files of folder, and of the folders in it.
func (c *Catalogue) read(ctx context.Context, folder resolve.Folder, include []resolve.Folder) error {
	names, err := descriptions(folder.FS, ".")
	if err != nil {
		return fmt.Errorf("read folder %s: %w", folder.Name, err)
	}
	if len(names) > maxFiles {
		return fmt.Errorf("folder %s holds %d descriptions, more than the %d that are read", folder.Name, len(names), maxFiles)
	}
	for _, name := range names {
		if err := c.readFile(ctx, folder, name, include); err != nil {
			return err
		}
	}
	return nil
}

// descriptions lists the descriptions in dir, then those in its folders, one
// level down. Only what is a file or a folder is opened: a pipe would not end.
func descriptions(files fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var names, below []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := fs.Stat(files, name)
			if err != nil {
				continue // it leads nowhere, or out of the folder
			}
			mode = info.Mode()
		}
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case mode.IsRegular() && path.Ext(name) == ".sf":
			names = append(names, name)
		case mode.IsDir() && dir == "." && len(below) <= maxFiles:
			inside, err := descriptions(files, name)
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return nil, err
			}
			below = append(below, inside...)
		}
	}
	return append(names, below...), nil
}

// readFile reads one file: the prototypes in it, or the system that it is.
func (c *Catalogue) readFile(ctx context.Context, folder resolve.Folder, name string, include []resolve.Folder) error {
	res, err := resolve.Resolve(ctx, resolve.Source{Folder: folder, Name: name}, resolve.Options{Include: include, Until: resolve.Function})
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := diag.New(diag.IncludeNotFound, diag.At(value.Pos{File: path.Join(folder.Name, name), Line: 1, Col: 1}), fmt.Sprintf("cannot be read: %v", err))
		c.Problems.Add(d)
		return nil
	}
	c.problems(res)
	if res.Tree == nil {
		return nil
	}
	texts := texts{folder: folder}
	file := path.Join(folder.Name, name)
	if config, ok := res.Tree.Attr("sfConfig"); ok && config.Pos.File == file {
		// Its prototypes are its own.
		c.putSystem(&System{
			Name: strings.TrimSuffix(path.Base(name), ".sf"), File: name, Doc: texts.first(ctx, name),
			Pos: config.Pos, folder: folder,
		})
		return nil
	}
	for a := range res.Tree.All() {
		if a.Pos.File != file {
			continue // of an include, which is listed itself
		}
		if x := newComponent(a, func(pos value.Pos) string { return texts.before(ctx, name, pos) }); x != nil {
			x.Include = name
			c.put(x)
		}
	}
	return nil
}

func (c *Catalogue) problems(res *resolve.Result) {
	for _, d := range res.Diagnostics.All() {
		c.Problems.Add(d)
	}
}

// newComponent returns the component that a is a prototype of, or nil. Comment
// returns the comment before a position.
func newComponent(a value.Attr, comment func(value.Pos) string) *Component {
	proto, isComponent := a.Value.(*value.Component)
	if !isComponent {
		return nil
	}
	class, _ := proto.Get("sfClass")
	name, isString := class.(value.String)
	if !isString || strings.HasPrefix(a.Name, "sf") {
		return nil
	}
	x := &Component{Name: a.Name, Kind: Plain, Class: string(name), Pos: a.Pos}
	for schema := range schemas(proto) {
		if text, ok := schema.Get("sfSchemaDescription"); ok {
			if text, ok := text.(value.String); ok {
				x.Doc = string(text)
			}
		}
		for e := range schema.All() {
			element, ok := resolve.ElementOf(e)
			if !ok {
				continue
			}
			attr := Attribute{Element: element}
			if v, given := proto.Get(element.Name); given && v.Kind() != value.KindTBD {
				attr.Default = v
			}
			if old, known := x.Attribute(element.Name); known {
				*old = attr
			} else {
				x.Attributes = append(x.Attributes, attr)
			}
		}
	}
	if text := comment(a.Pos); text != "" {
		x.Doc = text
	}
	return x
}

// schemas yields the schemas of a prototype, in order.
func schemas(proto *value.Component) func(yield func(*value.Component) bool) {
	return func(yield func(*value.Component) bool) {
		for a := range proto.All() {
			f, isRef := a.Value.(*value.Reference)
			if isRef && f.Assert && f.Apply != nil && !yield(f.Apply) {
				return
			}
		}
	}
}

// texts reads comments of the files of a folder.
type texts struct {
	folder resolve.Folder
	read   map[string][]syntax.Comment
}

func (t *texts) comments(ctx context.Context, name string) []syntax.Comment {
	if comments, ok := t.read[name]; ok {
		return comments
	}
	text, err := fs.ReadFile(t.folder.FS, name)
	if err != nil {
		return nil // nor does it have comments
	}
	file, err := syntax.ParseContext(ctx, name, text, &diag.List{})
	if err != nil {
		return nil
	}
	if t.read == nil {
		t.read = map[string][]syntax.Comment{}
	}
	t.read[name] = file.Comments
	return file.Comments
}

// before returns the text of the comment that ends on the line before pos.
func (t *texts) before(ctx context.Context, name string, pos value.Pos) string {
	comments := t.comments(ctx, name)
	end := slices.IndexFunc(comments, func(c syntax.Comment) bool { return c.Span.Pos.Line >= pos.Line })
	if end < 0 {
		end = len(comments)
	}
	start := end
	for next := int(pos.Line); start > 0; start-- {
		if span := comments[start-1].Span; int(span.EndLine) != next-1 || span.Pos.Col != 1 {
			break
		}
		next = int(comments[start-1].Span.Pos.Line)
	}
	return plain(comments[start:end])
}

// first returns the text of the comment that the file begins with.
func (t *texts) first(ctx context.Context, name string) string {
	comments := t.comments(ctx, name)
	end := 0
	for next := 1; end < len(comments) && int(comments[end].Span.Pos.Line) == next; end++ {
		next = int(comments[end].Span.EndLine) + 1
	}
	return plain(comments[:end])
}

// plain returns the text of comments without their marks.
func plain(comments []syntax.Comment) string {
	var lines []string
	for _, c := range comments {
		text, isLine := strings.CutPrefix(c.Text, "//")
		if !isLine {
			text = strings.TrimLeft(strings.TrimSuffix(strings.TrimPrefix(c.Text, "/*"), "*/"), "*")
		}
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, " \t\r\n")
			if !isLine {
				line = strings.TrimPrefix(strings.TrimLeft(line, " \t"), "*")
			}
			lines = append(lines, strings.TrimPrefix(line, " "))
		}
		if text == "" {
			lines = append(lines, "")
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
