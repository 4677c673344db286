package answer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"
	"aloft/value"

	"github.com/rogpeppe/go-internal/txtar"
)

// mark is where the cursor is in the files of a test.
const mark = "‸"

// folder is where the files of a test would be.
const folder = "/w/"

// classes are those that tests know.
var classes = []component.Class{{
	Name:       "Process",
	Attributes: []component.Attribute{{Name: "password", Secret: true}},
	Outputs:    []component.Output{{Name: "pid", Kind: value.KindInteger, Doc: "its process"}},
}, {
	Name:    "VM",
	Outputs: []component.Output{{Name: "ip", Kind: value.KindString, Doc: "its address"}},
}, {
	Name:    "Retry",
	Aliases: []string{"org.smartfrog.sfcore.workflow.combinators.Retry"},
}}

// asked is a test read from an archive: files, and a place in one of them.
type asked struct {
	*workspace.Snapshot
	view answer.View
	off  int
}

// question reads the files of a, one of which holds the mark.
func question(t *testing.T, a *txtar.Archive) *asked {
	t.Helper()
	w := workspace.New(func() time.Time { return time.Unix(0, 0) })
	q := &asked{off: -1}
	for _, f := range a.Files {
		if filepath.Ext(f.Name) != ".sf" {
			continue
		}
		content := strings.ReplaceAll(string(f.Data), "@@\n", "\r\n")
		if off := strings.Index(content, mark); off >= 0 {
			content = content[:off] + content[off+len(mark):]
			q.off = off
			q.view.Name = folder + f.Name
		}
		w = w.With(folder+f.Name, text.New(content))
	}
	if q.off < 0 {
		t.Fatal("no file holds the mark " + mark)
	}
	q.Snapshot = w
	lib, err := catalog.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	q.view.Text = w.Text(q.view.Name)
	q.view.Source = w.Text
	q.view.Known = &answer.Known{Catalogue: lib, Classes: classes}
	return q
}

// analysed adds the description to the view.
func (q *asked) analysed(t *testing.T) *answer.View {
	t.Helper()
	whole, err := q.Main(t.Context(), q.view.Name)
	if err != nil {
		t.Fatal(err)
	}
	if q.view.Tree, err = q.Inspect(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	res, err := q.Resolve(t.Context(), whole)
	if err != nil {
		t.Fatal(err)
	}
	q.view.Values = res.Good
	return &q.view
}

func (q *asked) completions(t *testing.T) []answer.Completion {
	t.Helper()
	c := answer.Ask(q.view, q.off)
	if !c.Wanted() {
		return nil
	}
	var files []string
	if prefix, ok := c.IncludePrefix(); ok {
		files = q.Paths(q.view.Name, prefix)
	}
	whole, err := q.Main(t.Context(), q.view.Name)
	if err != nil {
		t.Fatal(err)
	}
	read := q.view.Text
	tree, err := q.Inspect(t.Context(), whole)
	if q.Broken(q.view.Name) {
		read = c.Without()
		tree, err = q.InspectText(t.Context(), whole, q.view.Name, read)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Completions(tree, read, files)
}

// show writes a range of a file as what it holds and where it is.
func (q *asked) show(file string, r answer.Range) string {
	line, col := q.Text(file).Place(r.From)
	return fmt.Sprintf("%s:%d:%d %q", strings.TrimPrefix(file, folder), line, col, q.Text(file).String()[r.From:r.To])
}

// TestAnswers runs the files in testdata. The comment of each says what is
// asked; its file "want" is the answer.
func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no tests", err)
	}
	for _, name := range files {
		ask := asks[filepath.Base(filepath.Dir(name))]
		t.Run(strings.TrimSuffix(strings.TrimPrefix(name, "testdata/"), ".txtar"), func(t *testing.T) {
			if ask == nil {
				t.Fatal("nothing is asked this way")
			}
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := ask(t, question(t, a), strings.TrimSpace(string(a.Comment)))
			if got != "" && !strings.HasSuffix(got, "\n") {
				got += "\n"
			}
			i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
			if os.Getenv("UPDATE") != "" {
				if i < 0 {
					a.Files = append(a.Files, txtar.File{Name: "want"})
					i = len(a.Files) - 1
				}
				a.Files[i].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if i < 0 || string(a.Files[i].Data) != got {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

// asks are the ways to ask, by the folder of the test. The comment's lines
// after the first tell more.
var asks = map[string]func(t *testing.T, q *asked, comment string) string{
	"completion": func(t *testing.T, q *asked, comment string) string {
		var b strings.Builder
		list := q.completions(t)
		slices.SortStableFunc(list, func(a, b answer.Completion) int {
			if a.Rank != b.Rank {
				return a.Rank - b.Rank
			}
			return strings.Compare(a.Label, b.Label)
		})
		_, only, _ := strings.Cut(comment, "only: ")
		for _, c := range list {
			if only != "" && !slices.Contains(strings.Fields(only), c.Label) {
				continue
			}
			fmt.Fprintf(&b, "%d %s", c.Rank, c.Label)
			if c.Detail != "" {
				fmt.Fprintf(&b, " | %s", c.Detail)
			}
			if c.Edit.Text != c.Label || c.Edit.From != c.Edit.To {
				fmt.Fprintf(&b, " | %q for %q", c.Edit.Text, q.view.Text.String()[c.Edit.From:c.Edit.To])
			}
			for _, e := range c.Also {
				line, col := q.view.Text.Place(e.From)
				fmt.Fprintf(&b, " | also %d:%d %q", line, col, e.Text)
			}
			b.WriteByte('\n')
		}
		return b.String()
	},
	"definition": func(t *testing.T, q *asked, _ string) string {
		return q.places(q.analysed(t).Definition(q.off))
	},
	"hover": func(t *testing.T, q *asked, _ string) string {
		h, ok := q.analysed(t).Hover(q.off)
		if !ok {
			return ""
		}
		return q.show(q.view.Name, h.At) + "\n" + strings.ReplaceAll(h.Text, folder, "")
	},
	"references": func(t *testing.T, q *asked, _ string) string {
		return q.places(q.analysed(t).References(q.off, true))
	},
	"rename": func(t *testing.T, q *asked, comment string) string {
		v := q.analysed(t)
		_, to, _ := strings.Cut(comment, "to: ")
		subject, ok := v.Subject(q.off)
		if !ok {
			return "nothing to rename"
		}
		for subject.Grow(v) {
		}
		list, err := v.Rename(subject, to)
		if err != nil {
			return strings.ReplaceAll("refused: "+err.Error(), folder, "")
		}
		w := q.Apart()
		var b strings.Builder
		for _, file := range q.Open() {
			changed := answer.Apply(q.Text(file), file, list, to)
			w = w.With(file, changed)
			fmt.Fprintf(&b, "// %s\n%s", strings.TrimPrefix(file, folder), changed)
		}
		whole := v.Tree.Includes()[0]
		before, err := q.Resolve(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		after, err := w.Resolve(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.SameMeaning(before.Result, after.Result, subject.Name, to); err != nil {
			return strings.ReplaceAll("refused: "+err.Error(), folder, "")
		}
		return b.String()
	},
	"outline": func(t *testing.T, q *asked, _ string) string {
		var b strings.Builder
		var show func(list []answer.Symbol, margin string)
		show = func(list []answer.Symbol, margin string) {
			for _, s := range list {
				fmt.Fprintf(&b, "%s%d %s | %s | %q\n", margin, s.Kind, s.Name, s.Detail, q.view.Text.String()[s.NameAt.From:s.NameAt.To])
				show(s.Inside, margin+"  ")
			}
		}
		show(answer.Outline(q.view.Name, q.view.Text), "")
		for _, l := range answer.Lenses(q.view.Name, q.view.Text) {
			fmt.Fprintf(&b, "lens %s at %s\n", l.Action, q.show(q.view.Name, l.At))
		}
		return b.String()
	},
	"folds": func(t *testing.T, q *asked, _ string) string {
		var b strings.Builder
		for _, f := range answer.Folds(q.view.Text) {
			fmt.Fprintf(&b, "%d-%d kind %d\n", f.From+1, f.To+1, f.Kind)
		}
		return b.String()
	},
	"colours": func(t *testing.T, q *asked, _ string) string {
		var b strings.Builder
		for _, c := range answer.Colours(q.view.Name, q.view.Text) {
			given := ""
			if c.Given {
				given = " given"
			}
			fmt.Fprintf(&b, "%s %s%s\n", q.show(q.view.Name, c.Range), answer.TokenNames[c.Kind], given)
		}
		return b.String()
	},
}

// places shows where something is.
func (q *asked) places(list []answer.Location) string {
	var b strings.Builder
	for _, l := range list {
		t := q.Text(l.File)
		r := answer.Range{From: t.At(l.Span.Pos.Line, l.Span.Pos.Col)}
		r.To = max(r.From, t.At(int(l.Span.EndLine), int(l.Span.EndCol)))
		b.WriteString(q.show(l.File, r) + "\n")
	}
	return b.String()
}
