package diag

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"aloft/value"
)

const site = "sfConfig extends {\n  web extends {\n    url (PARENT:prot ++ \"://\" ++ host);\n  }\n}\n"

func at(file string, line, col, endLine, endCol int) Span {
	return Span{value.Pos{File: file, Line: line, Col: col}, int32(endLine), int32(endCol)}
}

func sources(name string) ([]byte, bool) { return []byte(site), name == "site.sf" }

// sample is the example of the language reference.
func sample() *List {
	d := New(ReferenceNotFound, at("site.sf", 3, 10, 3, 21), "reference not found: PARENT:prot")
	d.Path, d.Attribute = "sfConfig:web", "url"
	d.IncludedFrom = []value.Pos{{File: "top.sf", Line: 2, Col: 1}}
	d.Expected = "an attribute"
	d.Found = "in sfConfig: host, port, web"
	d.Hints = []string{"did you mean PARENT:port?"}
	d.Related = []Related{{at("lib.sf", 7, 3, 7, 9), "copied by this extends"}}
	l := &List{}
	l.Add(d)
	return l
}

func TestTextOfADiagnostic(t *testing.T) {
	var b strings.Builder
	if err := WriteText(&b, sample(), sources); err != nil {
		t.Fatal(err)
	}
	want := `site.sf:3:10: error SDL801 (link): reference not found: PARENT:prot
    3 |     url (PARENT:prot ++ "://" ++ host);
      |          ^^^^^^^^^^^
    in sfConfig:web, attribute url
    included from top.sf:2:1
    expected an attribute
    found in sfConfig: host, port, web
    lib.sf:7:3: copied by this extends
    hint: did you mean PARENT:port?
`
	if b.String() != want {
		t.Errorf("text is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestExcerpts(t *testing.T) {
	long := strings.Repeat("x", 500) + "HERE" + strings.Repeat("y", 500)
	for name, c := range map[string]struct {
		text string
		span Span
		want string
	}{
		"end unknown":      {"ab c", at("f", 1, 4, 0, 0), "    1 | ab c\n      |    ^\n"},
		"several lines":    {"a {\r\nb\r\n}", at("f", 1, 3, 3, 2), "    1 | a {\n      |   ^\n"},
		"behind the end":   {"ab", at("f", 1, 3, 1, 3), "    1 | ab\n      |   ^\n"},
		"last line":        {"a\rb\n\nc", at("f", 4, 1, 4, 2), "    4 | c\n      | ^\n"},
		"empty line":       {"a\n\n", at("f", 2, 1, 2, 1), "    2 | \n      | ^\n"},
		"behind all lines": {"a\n", at("f", 2, 1, 2, 1), "    2 | \n      | ^\n"},
		"beyond":           {"a\n", at("f", 9, 1, 9, 1), ""},
		"tabs":             {"\ta\tb", at("f", 1, 4, 1, 5), "    1 |  a b\n      |    ^\n"},
		"escape codes":     {"\x1b[31m日", at("f", 1, 6, 1, 7), "    1 | \uFFFD[31m日\n      |      ^\n"},
		"long line": {long, at("f", 1, 501, 1, 505), "    1 | …" + strings.Repeat("x", 40) + "HERE" + strings.Repeat("y", 75) + "…\n      | " +
			strings.Repeat(" ", 41) + "^^^^\n"},
		"long span":  {long, at("f", 1, 1, 1, 1005), "    1 | " + strings.Repeat("x", 120) + "…\n      | " + strings.Repeat("^", 120) + "\n"},
		"no place":   {"a", Span{}, ""},
		"other file": {"a", at("g", 1, 1, 1, 2), ""},
	} {
		var b strings.Builder
		var l List
		l.Add(New(Unexpected, c.span, "m"))
		err := WriteText(&b, &l, func(file string) ([]byte, bool) { return []byte(c.text), file == "f" })
		_, got, _ := strings.Cut(b.String(), "\n")
		if err != nil || got != c.want {
			t.Errorf("%s: excerpt is\n%swant\n%s", name, got, c.want)
		}
	}
}

func TestMessagesStayOnTheirLine(t *testing.T) {
	var l List
	d := New(Unexpected, at("a\nb", 1, 1, 1, 1), "one\ntwo\x1b[2J")
	d.Hints = []string{"three\nfour"}
	l.Add(d)
	var b strings.Builder
	if err := WriteText(&b, &l, nil); err != nil || strings.Count(b.String(), "\n") != 2 || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestJSONHasAllMembersInOrder(t *testing.T) {
	var b strings.Builder
	l := sample()
	l.Add(New(PhaseNoEffect, Span{}, "nothing <to> do"))
	if err := WriteJSON(&b, l); err != nil {
		t.Fatal(err)
	}
	want := `{"severity":"error","code":"SDL801","phase":"link","class":"SmartFrogLinkResolutionException",` +
		`"cause":"SmartFrogResolutionException","file":"site.sf","line":3,"column":10,` +
		`"includedFrom":[{"file":"top.sf","line":2,"column":1}],"path":"sfConfig:web","attribute":"url",` +
		`"message":"reference not found: PARENT:prot","expected":"an attribute","found":"in sfConfig: host, port, web",` +
		`"hints":["did you mean PARENT:port?"],"related":[{"file":"lib.sf","line":7,"column":3,"message":"copied by this extends"}]}
{"severity":"warning","code":"SDL106","phase":"raw","class":"","cause":"","file":"","line":0,"column":0,"includedFrom":[],` +
		`"path":"","attribute":"","message":"nothing <to> do","expected":"","found":"","hints":[],"related":[]}
`
	if b.String() != want {
		t.Errorf("JSON is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestSARIF(t *testing.T) {
	var b bytes.Buffer
	l := sample()
	l.Add(New(LazyUnresolvable, at("/abs/a b.sf", 1, 2, 0, 0), "w"))
	if err := WriteSARIF(&b, l); err != nil {
		t.Fatal(err)
	}
	var log any
	if err := json.Unmarshal(b.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	get := func(path ...any) any {
		v := log
		for _, p := range path {
			switch p := p.(type) {
			case string:
				m, _ := v.(map[string]any)
				v = m[p]
			case int:
				s, _ := v.([]any)
				if p >= len(s) {
					t.Fatalf("no %v", path)
				}
				v = s[p]
			}
		}
		return v
	}
	run := []any{"runs", 0}
	for _, c := range []struct {
		want any
		path []any
	}{
		{"2.1.0", []any{"version"}},
		{"aloft", append(run, "tool", "driver", "name")},
		{"SDL801", append(run, "tool", "driver", "rules", 0, "id")},
		{"error", append(run, "results", 0, "level")},
		{"site.sf", append(run, "results", 0, "locations", 0, "physicalLocation", "artifactLocation", "uri")},
		{10.0, append(run, "results", 0, "locations", 0, "physicalLocation", "region", "startColumn")},
		{21.0, append(run, "results", 0, "locations", 0, "physicalLocation", "region", "endColumn")},
		{"sfConfig:web:url", append(run, "results", 0, "locations", 0, "logicalLocations", 0, "fullyQualifiedName")},
		{"included from here", append(run, "results", 0, "relatedLocations", 0, "message", "text")},
		{"lib.sf", append(run, "results", 0, "relatedLocations", 1, "physicalLocation", "artifactLocation", "uri")},
		{"warning", append(run, "results", 1, "level")},
		{"file:///abs/a%20b.sf", append(run, "results", 1, "locations", 0, "physicalLocation", "artifactLocation", "uri")},
		{nil, append(run, "results", 1, "locations", 0, "physicalLocation", "region", "endLine")},
	} {
		if got := get(c.path...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v is %v, want %v", c.path, got, c.want)
		}
	}
}

func TestListKeepsFiftyOfAFile(t *testing.T) {
	var l List
	for i := range 60 {
		l.Add(New(PhaseNoEffect, at("a", i+1, 1, 0, 0), "w"))
	}
	if l.Full("a") || l.Full("b") {
		t.Error("full of warnings is not full")
	}
	l.Add(New(Unexpected, at("a", 99, 1, 0, 0), "e"))
	l.Add(New(Unexpected, at("b", 1, 1, 0, 0), "e"))
	if len(l.All()) != 51 || l.Errors() != 2 || l.Warnings() != 60 {
		t.Errorf("%d kept, %d errors, %d warnings", len(l.All()), l.Errors(), l.Warnings())
	}
	if got := fmt.Sprint(l.Dropped()); got != "[{a 11}]" {
		t.Errorf("dropped %s", got)
	}
	if d := l.All()[49]; d.Severity != Error || d.Span.Pos.Line != 99 {
		t.Errorf("an error gives way to warnings: %+v", d)
	}
	for range 50 {
		l.Add(New(Unexpected, at("c", 1, 1, 0, 0), "e"))
	}
	if !l.Full("c") {
		t.Error("fifty errors are full")
	}
	var m List
	m.Add(New(Unexpected, at("a", 1, 1, 0, 0), "first"))
	m.Append(&l)
	if len(m.All()) != 101 || m.Errors() != 53 || m.Warnings() != 60 || fmt.Sprint(m.Dropped()) != "[{a 12}]" {
		t.Errorf("after Append: %d kept, %d errors, %d warnings, dropped %v", len(m.All()), m.Errors(), m.Warnings(), m.Dropped())
	}
	m.Strict()
	if m.Errors() != 113 || m.Warnings() != 0 || m.All()[1].Severity != Error {
		t.Errorf("after Strict: %d errors, %d warnings", m.Errors(), m.Warnings())
	}
}

func TestNearestNames(t *testing.T) {
	names := []string{"port", "prot0", "host", "path", "sfProcessHost", "PORT", "portt"}
	for name, want := range map[string]string{
		"prot":          "[port prot0]",
		"porz":          "[port]",
		"sfProcesHots":  "[sfProcessHost]",
		"ab":            "[]",
		"port":          "[portt]",
		"hots":          "[host]",
		"unrelated":     "[]",
		"\u00fcberport": "[]",
	} {
		if got := fmt.Sprint(Nearest(name, names)); got != want {
			t.Errorf("near %s: %s, want %s", name, got, want)
		}
	}
	if got := Nearest("abcdef", []string{"abcdeX", "abcdeX", "abcdXY", "Xbcdef", "aXcdef"}); fmt.Sprint(got) != "[Xbcdef aXcdef abcdeX]" {
		t.Errorf("at most three, each once, nearest first: %v", got)
	}
	if got := Nearest(strings.Repeat("a", 1<<20), []string{strings.Repeat("a", 1<<20) + "b"}); got != nil {
		t.Error("a monstrous name costs")
	}
}

func TestTableOfCodes(t *testing.T) {
	seen := map[Code]bool{}
	language := 0
	for i, c := range Codes() {
		info := c.Info()
		if seen[c] || info.Phase == "" || info.Meaning == "" {
			t.Errorf("%s: %+v", c, info)
		}
		if i > 0 && Codes()[i-1] >= c && Codes()[i-1][:3] == c[:3] {
			t.Errorf("%s is out of order", c)
		}
		if strings.HasPrefix(string(c), "SDL") {
			language++
		}
		if info.Severity == Warning && info.Class != "" {
			t.Errorf("%s is a warning with a class", c)
		}
		seen[c] = true
	}
	if language != 44 { // as many as the table of the language reference has, and SDL903
		t.Errorf("%d codes of the language", language)
	}
	if d := New(UnknownFunction, Span{}, ""); d.Class != "SmartFrogLinkResolutionException" || d.Cause != "SmartFrogFunctionResolutionException" {
		t.Errorf("%+v", d)
	}
}

func TestListKeepsABoundedNumberOfAllFilesAndErrorsFirst(t *testing.T) {
	var l List
	at := func(file string, line int) Span { return At(value.Pos{File: file, Line: line, Col: 1}) }
	for i := range MaxKept {
		l.Add(Diagnostic{Severity: Warning, Span: at(fmt.Sprintf("w%d", i), 1)})
	}
	if l.Full("new") {
		t.Error("no place for an error, and there are warnings")
	}
	for i := range 2 * MaxKept {
		l.Add(Diagnostic{Severity: Error, Span: at(fmt.Sprintf("e%d", i), 1)})
	}
	kept, dropped := l.All(), 0
	for _, d := range l.Dropped() {
		dropped += d.Count
	}
	if len(kept) != MaxKept || kept[0].Severity != Error || kept[0].Span.Pos.File != "e0" || dropped != 2*MaxKept {
		t.Errorf("kept %d, the first %v, dropped %d", len(kept), kept[0], dropped)
	}
	if l.Errors() != 2*MaxKept || l.Warnings() != MaxKept || !l.Full("new") {
		t.Errorf("%d errors, %d warnings, full %v", l.Errors(), l.Warnings(), l.Full("new"))
	}
}
