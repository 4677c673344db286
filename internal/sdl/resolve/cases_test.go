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
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// The language cases are the files testdata/RULE.sf: chunks between lines of
// three dashes, each a description. A chunk says what it means in comments:
//
//	//= JSON      the typed JSON of the result (or part of it: …)
//	//! CODE text a diagnostic of CODE, with text in its message or hints, on
//	              this line; every error and warning must be expected
//	//@ NAME=VALUE or //@ until=PHASE   options; properties are also variables
//	//+ NAME      what follows is the file NAME beside the description
var (
	wantResult = regexp.MustCompile(`(?m)^//= (.*)$`)
	wantDiag   = regexp.MustCompile(`//! (SDL\d+) ?(.*)$`)
	setOption  = regexp.MustCompile(`(?m)^//@ (\S+?)=(.*)$`)
	otherFile  = regexp.MustCompile(`(?m)^//\+ (\S+)\n`)
)

func TestLanguageCases(t *testing.T) {
	for name, chunk := range caseChunks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rule, _, _ := strings.Cut(name, "/")
			runCase(t, rule, chunk)
		})
	}
}

// caseChunks returns the language cases by RULE/NUMBER.
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
		rule := strings.TrimSuffix(filepath.Base(name), ".sf")
		for i, chunk := range strings.Split(string(text), "\n---\n") {
			chunks[fmt.Sprintf("%s/%d", rule, i)] = chunk
		}
	}
	return chunks
}

func runCase(t *testing.T, rule, chunk string) {
	opts := Options{Properties: map[string]string{}, Environment: map[string]string{}, Now: time.Unix(0, 0)}
	for _, m := range setOption.FindAllStringSubmatch(chunk, -1) {
		if m[1] == "until" {
			opts.Until = Phase(m[2])
			continue
		}
		opts.Properties[m[1]], opts.Environment[m[1]] = m[2], m[2]
	}
	files := fstest.MapFS{}
	name := rule + ".sf"
	parts := otherFile.FindAllStringSubmatchIndex(chunk, -1)
	main := chunk
	if len(parts) > 0 {
		main = chunk[:parts[0][0]]
	}
	files[name] = &fstest.MapFile{Data: []byte(main)}
	for i, m := range parts {
		end := len(chunk)
		if i+1 < len(parts) {
			end = parts[i+1][0]
		}
		files[chunk[m[2]:m[3]]] = &fstest.MapFile{Data: []byte(chunk[m[1]:end])}
	}
	res, err := Resolve(context.Background(), Source{Folder: Folder{FS: files}, Name: name}, opts)
	if err != nil {
		t.Fatal(err)
	}
	compareDiagnostics(t, files, res)
	want := wantResult.FindStringSubmatch(chunk)
	if want == nil {
		if res.Diagnostics.Errors() == 0 && !strings.Contains(chunk, "//!") {
			t.Errorf("the case expects nothing; the result is %s", typed(res.Tree))
		}
		return
	}
	if res.Tree == nil {
		t.Fatal("no result")
	}
	got := value.TypedJSON(res.Tree)
	if part, ok := strings.CutPrefix(want[1], "…"); ok {
		if part = strings.TrimSuffix(part, "…"); !strings.Contains(string(got), part) {
			t.Errorf("got  %s\nwant …%s…", got, part)
		}
		return
	}
	if !sameJSON(t, got, []byte(want[1])) {
		t.Errorf("got  %s\nwant %s", got, want[1])
	}
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
func compareDiagnostics(t *testing.T, files fstest.MapFS, res *Result) {
	type want struct{ code, text string }
	wants := map[string][]want{}
	for name, f := range files {
		for i, line := range strings.Split(string(f.Data), "\n") {
			if m := wantDiag.FindStringSubmatch(line); m != nil {
				at := fmt.Sprintf("%s:%d", name, i+1)
				wants[at] = append(wants[at], want{m[1], m[2]})
			}
		}
	}
	for _, d := range res.Diagnostics.All() {
		if d.Severity == diag.Note {
			continue
		}
		at := fmt.Sprintf("%s:%d", d.Span.Pos.File, d.Span.Pos.Line)
		text := strings.Join(append([]string{d.Message, d.Expected, d.Found}, d.Hints...), "\n")
		found := false
		for i, w := range wants[at] {
			if w.code == string(d.Code) && strings.Contains(text, w.text) {
				wants[at] = append(wants[at][:i:i], wants[at][i+1:]...)
				found = true
				break
			}
		}
		if !found {
			t.Errorf("unexpected %s %s: %s\n\tfound: %s\n\thints: %q", at, d.Code, d.Message, d.Found, d.Hints)
		}
	}
	for at, list := range wants {
		for _, w := range list {
			t.Errorf("%s: no %s %s", at, w.code, w.text)
		}
	}
}
