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
	Name: "Process", Doc: "A program that runs.",
	Attributes: []component.Attribute{
		{Name: "command", Required: true, Kinds: []value.Kind{value.KindVector}, Doc: "program and arguments"},
		{Name: "restart", Kinds: []value.Kind{value.KindString}, Enum: []string{"never", "always"}, Doc: "when it ends"},
		{Name: "password", Kinds: []value.Kind{value.KindString}, Secret: true},
	},
	Outputs: []component.Output{{Name: "pid", Kind: value.KindInteger, Doc: "its process"}},
}, {
	Name: "VM", Doc: "A machine of its own.",
	Outputs: []component.Output{{Name: "ip", Kind: value.KindString, Doc: "its address"}},
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
	tree, err := q.Inspect(t.Context(), whole)
	if c.Broken() {
		tree, err = q.InspectText(t.Context(), whole, q.view.Name, c.Without())
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.Completions(tree, files)
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
}
