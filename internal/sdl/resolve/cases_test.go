package resolve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// The language cases are the files testdata/ID-ok.sf, what a rule allows and
// means, and testdata/ID-bad.sf, what it refuses or warns of. Each holds
// descriptions between lines of four dashes. What one means stands in comments:
//
//	//= ITEMS     attributes of the result, literals only; several lines are one
//	//= {…}       the result as typed JSON; …PART… a part of it
//	//! CODE text a diagnostic of CODE whose message, expectation, finding or
//	              hints hold the text, on this line (//!+1: on the next);
//	              CODE@7 also says the column; " … " leaves something out
//	//@ OPTION    an option of aloft parse, such as -D port=80
//	//+ NAME      what follows is the file NAME beside the description
//
// Behind a line of four equal signs stands what is printed besides: the trees
// of the phase print, and then the diagnostics as text or JSON.
var (
	wantResult = regexp.MustCompile(`(?m)^//= (.*)$`)
	wantDiag   = regexp.MustCompile(`^([+-]\d+)? (SDL\d+)(?:@(\d+))? ?(.*?)\s*$`)
	setOption  = regexp.MustCompile(`(?m)^//@ (-\S+) ?(.*)$`)
	otherFile  = regexp.MustCompile(`(?m)^//\+ (\S+)\n`)
)

func TestLanguageCases(t *testing.T) {
	for name, chunk := range caseChunks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, _, _ := strings.Cut(name, "/")
			bad, says := strings.HasSuffix(file, "-bad"), strings.Contains(chunk, "//!")
			if bad != says && !(bad && strings.Contains(chunk, "\n====\n")) {
				t.Error("every description of a bad file expects a diagnostic, none of a good file does")
			}
			runCase(t, file, chunk)
		})
	}
}

// caseChunks returns the language cases by FILE/NUMBER.
func caseChunks(tb testing.TB) map[string]string {
	files, err := filepath.Glob("testdata/*.sf")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no cases: %v", err)
	}
	chunks := map[string]string{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		file := strings.TrimSuffix(filepath.Base(name), ".sf")
		for i, chunk := range strings.Split(string(text), "\n----\n") {
			chunks[fmt.Sprintf("%s/%d", file, i)] = chunk + "\n"
		}
	}
	return chunks
}

// caseOptions returns what the //@ lines of a case say.
func caseOptions(t *testing.T, chunk string) (opts Options, form string) {
	opts = Options{Properties: map[string]string{}, Environment: map[string]string{}, Now: time.Unix(0, 0)}
	for _, m := range setOption.FindAllStringSubmatch(chunk, -1) {
		name, text, _ := strings.Cut(m[2], "=")
		var err error
		switch m[1] {
		case "-D":
			opts.Properties[name] = text
		case "-E":
			opts.Environment[name] = text
		case "--phase":
			opts.Until = Phase(m[2])
		case "--strict":
			opts.Strict = true
		case "--seed":
			opts.Seed, err = strconv.ParseInt(m[2], 10, 64)
		case "--now":
			opts.Now, err = time.Parse(time.RFC3339, m[2])
		case "--interactive": // with the answer to every question
			opts.Ask = func(string) (string, error) { return m[2], nil }
		case "--allow-url-include": // from the files behind //+
		case "--diag":
			form = m[2]
		default:
			t.Fatalf("unknown option %s", m[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return opts, form
}

// caseFiles returns the files of a case; what is printed is left out.
func caseFiles(name, chunk string) fstest.MapFS {
	files := fstest.MapFS{}
	for {
		m := otherFile.FindStringSubmatchIndex(chunk)
		if m == nil {
			files[name] = &fstest.MapFile{Data: []byte(chunk)}
			return files
		}
		files[name] = &fstest.MapFile{Data: []byte(chunk[:m[0]])}
		name, chunk = chunk[m[2]:m[3]], chunk[m[1]:]
	}
}

func runCase(t *testing.T, file, chunk string) {
	chunk, printed, prints := strings.Cut(chunk, "\n====\n")
	opts, form := caseOptions(t, chunk)
	var out strings.Builder
	opts.Print = func(text string) { out.WriteString(text) }
	name := file + ".sf"
	files := caseFiles(name, chunk)
	if strings.Contains(chunk, "//@ --allow-url-include") {
		opts.Fetch = func(_ context.Context, url string) ([]byte, error) { return files[url].Data, nil }
	}
	res, err := Resolve(context.Background(), Source{Folder: Folder{FS: files}, Name: name}, opts)
	if err != nil {
		t.Fatal(err)
	}
	compareDiagnostics(t, files, res, prints)
	if prints {
		if err := writeDiagnostics(&out, form, files, &res.Diagnostics); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimRight(out.String(), "\n"); got != strings.TrimRight(printed, "\n") {
			t.Errorf("printed\n%s\nwant\n%s", got, printed)
		}
	}
	compareResult(t, chunk, res)
}

func writeDiagnostics(out *strings.Builder, form string, files fstest.MapFS, list *diag.List) error {
	if form == "json" {
		return diag.WriteJSON(out, list)
	}
	return diag.WriteText(out, list, func(name string) ([]byte, bool) {
		f := files[name]
		if f == nil {
			return nil, false
		}
		return f.Data, true
	})
}

// compareResult checks the result that the //= lines of chunk expect.
func compareResult(t *testing.T, chunk string, res *Result) {
	var want []string
	for _, m := range wantResult.FindAllStringSubmatch(chunk, -1) {
		want = append(want, m[1])
	}
	text := strings.Join(want, "\n")
	switch {
	case text == "" && res.Diagnostics.Errors() == 0 && !strings.Contains(chunk, "//!"):
		t.Errorf("the case expects nothing; the result is %s", typed(res.Tree))
		return
	case text == "":
		return
	case res.Tree == nil:
		t.Fatal("no result")
	}
	got := typed(res.Tree)
	part, isPart := strings.CutPrefix(text, "…")
	switch {
	case isPart:
		if part = strings.TrimSuffix(part, "…"); !strings.Contains(string(got), part) {
			t.Errorf("got  %s\nwant …%s…", got, part)
		}
		return
	case !strings.HasPrefix(text, "{"):
		text = string(value.TypedJSON(expected(t, text)))
	}
	if !sameJSON(t, got, []byte(text)) {
		t.Errorf("got  %s\nwant %s", got, text)
	}
}

// expected reads attributes as they stand, without resolving anything.
func expected(t *testing.T, text string) *value.Component {
	var list diag.List
	f := syntax.Parse("expected", []byte(text), &list)
	for _, d := range list.All() {
		t.Fatalf("in the expected result: %v %s", d.Span.Pos, d.Message)
	}
	return (&plainReader{t: t}).body(false, f.Items)
}

// plainReader makes values of what is written without references to follow.
type plainReader struct {
	t     *testing.T
	fresh int
}

func (p *plainReader) body(data bool, items []syntax.Item) *value.Component {
	var attrs []value.Attr
	for _, item := range items {
		a := item.(*syntax.Attribute)
		if a.Fresh {
			a.Name = fmt.Sprintf("unique%d", p.fresh)
			p.fresh++
		}
		attrs = append(attrs, value.Attr{Name: a.Name, Tags: a.Tags, Value: p.value(a.Value)})
	}
	return value.NewComponent(data, attrs...)
}

func (p *plainReader) value(e syntax.Expr) value.Value {
	switch e := e.(type) {
	case *syntax.Literal:
		return e.Value
	case *syntax.Vector:
		v := make(value.Vector, 0, len(e.Elems))
		for _, x := range e.Elems {
			v = append(v, p.value(x))
		}
		return v
	case *syntax.Reference:
		r := &value.Reference{Lazy: e.Lazy, Data: e.Data, Optional: e.Optional, Assert: e.Assert, Parts: e.Parts}
		if e.Default != nil {
			r.Default = p.value(e.Default)
		}
		if e.Apply != nil {
			r.Apply = p.body(true, e.Apply.Items)
		}
		return r
	case *syntax.Component:
		switch {
		case e.Op == syntax.OpVector:
			v := value.Vector{}
			for _, x := range e.Operands() {
				v = append(v, p.value(x.(*syntax.Attribute).Value))
			}
			return v
		case e.Op == syntax.NotOp && len(e.Protos) == 1 && e.Protos[0].Body != nil:
			return p.body(e.Data, e.Protos[0].Body.Items)
		}
	}
	p.t.Fatalf("an expected result holds literals only: %v", e.Span().Pos)
	return nil
}

func typed(c *value.Component) []byte {
	if c == nil {
		return nil
	}
	return value.TypedJSON(c)
}

// sameJSON compares as JSON, numbers by their digits.
func sameJSON(t *testing.T, a, b []byte) bool {
	decode := func(text []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

// compareDiagnostics checks that the diagnostics are those expected.
func compareDiagnostics(t *testing.T, files fstest.MapFS, res *Result, prints bool) {
	type want struct{ code, col, text string }
	wants := map[string][]want{}
	for name, f := range files {
		for i, line := range strings.Split(string(f.Data), "\n") {
			for _, part := range strings.Split(line, "//!")[1:] {
				m := wantDiag.FindStringSubmatch(part)
				if m == nil {
					t.Fatalf("malformed expectation %q", part)
				}
				skip, _ := strconv.Atoi(m[1])
				at := fmt.Sprintf("%s:%d", name, i+1+skip)
				wants[at] = append(wants[at], want{m[2], m[3], m[4]})
			}
		}
	}
	for _, d := range res.Diagnostics.All() {
		if d.Severity == diag.Note || strings.HasPrefix(d.Span.Pos.File, "library/") && prints {
			continue
		}
		at := fmt.Sprintf("%s:%d", d.Span.Pos.File, d.Span.Pos.Line)
		said := append([]string{d.Message, d.Expected, d.Found}, d.Hints...)
		for _, r := range d.Related {
			said = append(said, r.Message)
		}
		text := strings.Join(said, "\n")
		found := false
		for i, w := range wants[at] {
			if w.code == string(d.Code) && saysAll(text, w.text) && (w.col == "" || w.col == strconv.Itoa(d.Span.Pos.Col)) {
				wants[at] = append(wants[at][:i:i], wants[at][i+1:]...)
				found = true
				break
			}
		}
		if !found {
			t.Errorf("unexpected %s:%d %s: %s\n\texpected: %s\n\tfound: %s\n\thints: %q\n\trelated: %v", at, d.Span.Pos.Col, d.Code, d.Message, d.Expected, d.Found, d.Hints, d.Related)
		}
	}
	for at, list := range wants {
		for _, w := range list {
			t.Errorf("%s: no %s %s", at, w.code, w.text)
		}
	}
}

// saysAll reports whether text holds the parts of want, which " … " separates,
// one behind the other.
func saysAll(text, want string) bool {
	for part := range strings.SplitSeq(want, " … ") {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
