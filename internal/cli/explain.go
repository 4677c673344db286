package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	pages "aloft/doc/diagnostics"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/explain"
	"aloft/internal/sdl/resolve"
	"aloft/library"
	"aloft/value"

	"github.com/spf13/cobra"
)

// diagnosticCode is how the code of a diagnostic is written.
var diagnosticCode = regexp.MustCompile(`^(?i:SDL|PLN|CNV)[0-9]{3}$`)

func (a *app) explainCommand() *cobra.Command {
	var f describeFlags
	c := &cobra.Command{
		Use:   "explain FILE PATH | CODE",
		Short: "Say where an attribute's value comes from, or what a diagnostic means",
		Long: `Say where an attribute's value comes from: the line that gives it, the
prototypes it was inherited through, what it takes the place of, the path name
that put it there, the links it was read from. PATH begins in sfConfig, or else
at the top of the file. With the code of a diagnostic, such as SDL801: what it
means, with an example, and what to do.`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeFile,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return a.explain(c.Context(), args[0], args[1], &f)
			}
			if !diagnosticCode.MatchString(args[0]) {
				return fail("usage: "+c.UseLine(), "of %s, which attribute?", args[0])
			}
			page, ok := pages.Page(args[0])
			if !ok {
				return fail("the codes are those that diagnostics show", "there is no diagnostic %s", strings.ToUpper(args[0]))
			}
			fmt.Fprint(a.Stdout, page)
			return nil
		},
	}
	f.register(c)
	a.outputFlag(c)
	return c
}

// explanation is the answer for programs.
type explanation struct {
	Path    string          `json:"path"`
	Value   json.RawMessage `json:"value,omitempty"` // typed JSON; absent if the description has errors
	Reasons []reason        `json:"reasons"`
}

type reason struct {
	What    string   `json:"what"`
	File    string   `json:"file"`
	Line    int      `json:"line"`
	Column  int      `json:"column"`
	Source  string   `json:"source,omitempty"` // the line from there on
	Because []reason `json:"because,omitempty"`
}

func (a *app) explain(ctx context.Context, file, text string, f *describeFlags) error {
	path, err := value.ParsePath(text)
	if err != nil {
		return err
	}
	src, opts, done, err := a.description(ctx, file, f)
	if err != nil {
		return err
	}
	defer done()
	in, err := resolve.Inspect(ctx, src, opts)
	if err != nil {
		return fmt.Errorf("description %s: %w", file, bare(err))
	}
	names := append([]string{"sfConfig"}, path.Names()...)
	reasons, err := explain.Attribute(in, names)
	if missing, ok := errors.AsType[*explain.NotFoundError](err); ok {
		top, topErr := explain.Attribute(in, path.Names())
		made, makerErr := a.maker(ctx, in, src, opts, names)
		switch {
		case topErr == nil && len(top) > 0:
			names, reasons = path.Names(), top
		case makerErr != nil:
			return makerErr
		case len(made) > 0:
			reasons = made
		case len(missing.Nearest) > 0:
			return fail("did you mean "+strings.Join(missing.Nearest, " or ")+"?", "%s: %w", file, err)
		default:
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	ans := explanation{Path: explain.Path(names), Reasons: a.reasons(reasons, sourceLines{})}
	v, why, err := a.valueOf(ctx, src, opts, names)
	if err != nil {
		return err
	}
	if v != nil {
		ans.Value = value.TypedJSON(v)
	}
	return a.printExplanation(ans, v, why)
}

// valueOf returns the resolved value that names lead to from the top of the
// file; or, without one, why there is none.
func (a *app) valueOf(ctx context.Context, src resolve.Source, opts resolve.Options, names []string) (v value.Value, why string, err error) {
	opts.Print = nil
	res, err := resolve.Resolve(ctx, src, opts)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("description %s: %w", src.Name, bare(err))
	case res.Description == nil:
		return nil, "known only when the description has no errors", nil
	case names[0] != "sfConfig":
		return nil, "not in the result, which is what sfConfig holds", nil
	}
	v = res.Description.Root
	for _, name := range names[1:] {
		c, _ := v.(*value.Component)
		if c == nil {
			return nil, "not in the result", nil
		}
		inside, ok := c.Get(name)
		if !ok {
			return nil, "not in the result", nil
		}
		v = inside
	}
	return v, "", nil
}

// maker explains a value that no line gives: what a function made. It returns
// nothing if names lead to none in the result.
func (a *app) maker(ctx context.Context, in *resolve.Inspection, src resolve.Source, opts resolve.Options, names []string) ([]explain.Reason, error) {
	if v, _, err := a.valueOf(ctx, src, opts, names); v == nil || err != nil {
		return nil, err
	}
	for n := len(names) - 1; n > 1; n-- {
		reasons, err := explain.Attribute(in, names[:n])
		if err == nil && len(reasons) > 0 {
			made := explain.Reason{What: "made by " + explain.Path(names[:n]), At: reasons[0].At}
			return append([]explain.Reason{made}, reasons[1:]...), nil
		}
	}
	return nil, nil
}

// sourceLines are the lines of the files that reasons lie in.
type sourceLines map[string][]string

// line returns what stands at a place, to the end of its line. text returns
// the content of a file.
func (s sourceLines) line(at value.Pos, content diag.Sources) string {
	lines, ok := s[at.File]
	if !ok {
		text, read := content(at.File)
		if name, inLibrary := strings.CutPrefix(at.File, "library/"); !read && inLibrary {
			text, _ = fs.ReadFile(library.FS, name)
		}
		lines = strings.Split(string(text), "\n")
		s[at.File] = lines
	}
	if at.Line < 1 || at.Line > len(lines) {
		return ""
	}
	line := []rune(lines[at.Line-1])
	return strings.TrimSpace(string(line[min(max(at.Col-1, 0), len(line)):]))
}

// shortened returns the beginning of a long line.
func shortened(line string) string {
	const limit = 60
	if r := []rune(line); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return line
}

func (a *app) reasons(list []explain.Reason, s sourceLines) []reason {
	out := make([]reason, 0, len(list))
	for _, r := range list {
		out = append(out, reason{
			What: r.What, File: r.At.File, Line: r.At.Line, Column: r.At.Col,
			Source: s.line(r.At, a.excerptSource), Because: a.reasons(r.Because, s),
		})
	}
	return out
}

func (a *app) printExplanation(ans explanation, v value.Value, why string) error {
	t := table{head: []string{"WHERE", "WHY", "SOURCE"}}
	var add func(list []reason, depth int)
	add = func(list []reason, depth int) {
		for _, r := range list {
			t.rows = append(t.rows, []string{
				fmt.Sprintf("%s:%d:%d", r.File, r.Line, r.Column), strings.Repeat("  ", depth) + r.What, shortened(r.Source),
			})
			add(r.Because, depth+1)
		}
	}
	add(ans.Reasons, 0)
	if a.format == "table" || a.format == "wide" {
		shown := why
		if v != nil {
			shown, _, _ = strings.Cut(value.Source(v), "\n")
		}
		fmt.Fprintf(a.Stdout, "%s  %s\n\n", ans.Path, shown)
	}
	return a.print(answer{value: ans, names: []string{ans.Path}, table: t, empty: "nothing is known of where it comes from"})
}
