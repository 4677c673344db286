// Package diag holds what the description language has to say to the people
// who write it: diagnostics with a place, what was expected, what was found
// and a hint, a bounded list of them, and the three forms they are printed in
// (text with an excerpt, one JSON object a line, SARIF). It decides nothing
// about the language, reads no file and starts no goroutine; whoever finds a
// mistake makes the Diagnostic.
package diag

import (
	"cmp"
	"slices"

	"aloft/value"
)

// Severity says how bad a diagnostic is.
type Severity uint8

// The severities. A Note tells something and changes no exit status.
const (
	Error Severity = iota
	Warning
	Note
)

func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "note"
	}
}

// Span is a stretch of written text. End names the character after the last
// one; a zero end line means that only the start is known.
type Span struct {
	Pos     value.Pos
	EndLine int32
	EndCol  int32
}

// At returns the span that begins at p and whose end is not known.
func At(p value.Pos) Span { return Span{Pos: p} }

// To returns the span from the start of s to the end of t.
func (s Span) To(t Span) Span {
	return Span{Pos: s.Pos, EndLine: t.EndLine, EndCol: t.EndCol}
}

// Related is another place a diagnostic speaks of, such as the template a
// value was copied from.
type Related struct {
	Span    Span
	Message string
}

// Diagnostic is one thing to tell about a description.
type Diagnostic struct {
	Severity Severity
	Code     Code
	Phase    string // of the language reference, "raw" to "conversion"
	Span     Span
	Message  string // one line, without the place

	IncludedFrom []value.Pos // the includes that lead here, innermost first
	Path         string      // of the component it is about, if any
	Attribute    string      // of that component, if any
	Expected     string      // completes "expected …"
	Found        string      // completes "found …"
	Hints        []string    // what to do, best first
	Related      []Related

	Class, Cause string // the original's exception names, or ""
}

// New returns a diagnostic with the severity, phase, class and cause that the
// table of codes gives for code.
func New(code Code, at Span, message string) Diagnostic {
	info := code.Info()
	return Diagnostic{
		Severity: info.Severity, Code: code, Phase: info.Phase, Class: info.Class, Cause: info.Cause,
		Span: at, Message: message,
	}
}

// MaxPerFile is how many diagnostics a List keeps for one file, and MaxKept how
// many for all files.
const (
	MaxPerFile = 50
	MaxKept    = 1_000
)

// List collects diagnostics in the order they are added and keeps at most
// MaxPerFile for each file and MaxKept in all; of the rest it knows the number.
// An error beyond a limit takes the place of the last warning or note that
// counts for it. The zero List is ready for use.
type List struct {
	kept    []Diagnostic
	files   map[string]*tally
	errors  int
	warning int
}

type tally struct{ kept, dropped int }

// Add appends d, or counts it if its file has had enough.
func (l *List) Add(d Diagnostic) {
	switch d.Severity {
	case Error:
		l.errors++
	case Warning:
		l.warning++
	}
	if l.files == nil {
		l.files = map[string]*tally{}
	}
	file := d.Span.Pos.File
	t := l.files[file]
	if t == nil {
		t = &tally{}
		l.files[file] = t
	}
	if t.kept < MaxPerFile && len(l.kept) < MaxKept {
		t.kept++
		l.kept = append(l.kept, d)
		return
	}
	i := -1
	if d.Severity == Error {
		i = l.lesser(file, t)
	}
	if i < 0 {
		t.dropped++
		return
	}
	other := l.files[l.kept[i].Span.Pos.File]
	other.kept--
	other.dropped++
	t.kept++
	l.kept = append(slices.Delete(l.kept, i, i+1), d)
}

// lesser returns the last warning or note whose place an error in file can
// take, or -1.
func (l *List) lesser(file string, t *tally) int {
	for i, k := range slices.Backward(l.kept) {
		if k.Severity != Error && (t.kept < MaxPerFile || k.Span.Pos.File == file) {
			return i
		}
	}
	return -1
}

// Same returns the diagnostic kept that says the same of the same place as d, or
// nil. Of a cycle the place alone counts: its text names where it was met. What
// is found there again can be added to it.
func (l *List) Same(d Diagnostic) *Diagnostic {
	if !d.Span.Pos.IsValid() {
		return nil
	}
	for i := range l.kept {
		if k := &l.kept[i]; k.Code == d.Code && k.Span.Pos == d.Span.Pos && (k.Message == d.Message || d.Code == ReferenceCycle) {
			return k
		}
	}
	return nil
}

// Full reports whether an error in file would only be counted, so that there is
// no use in making a good one.
func (l *List) Full(file string) bool {
	t := l.files[file]
	if t == nil {
		t = &tally{}
	}
	if t.kept < MaxPerFile && len(l.kept) < MaxKept {
		return false
	}
	return l.lesser(file, t) < 0
}

// Append adds all diagnostics of m, those m only counted included.
func (l *List) Append(m *List) {
	for _, d := range m.kept {
		l.Add(d)
	}
	for file, t := range m.files {
		if t.dropped == 0 {
			continue
		}
		if l.files[file] == nil {
			l.files[file] = &tally{}
		}
		l.files[file].dropped += t.dropped
	}
	l.errors += m.errors - count(m.kept, Error)
	l.warning += m.warning - count(m.kept, Warning)
}

func count(ds []Diagnostic, s Severity) (n int) {
	for _, d := range ds {
		if d.Severity == s {
			n++
		}
	}
	return n
}

// All returns the diagnostics kept, in the order they were added.
func (l *List) All() []Diagnostic { return l.kept }

// Errors returns how many errors were added, kept or not.
func (l *List) Errors() int { return l.errors }

// Warnings returns how many warnings were added, kept or not.
func (l *List) Warnings() int { return l.warning }

// Strict turns every warning, kept or only counted, into an error.
func (l *List) Strict() {
	for i := range l.kept {
		if l.kept[i].Severity == Warning {
			l.kept[i].Severity = Error
		}
	}
	l.errors, l.warning = l.errors+l.warning, 0
}

// Dropped is how many diagnostics of a file were counted but not kept.
type Dropped struct {
	File  string
	Count int
}

// Dropped returns the files of which not all diagnostics were kept, by name.
func (l *List) Dropped() []Dropped {
	var ds []Dropped
	for file, t := range l.files {
		if t.dropped > 0 {
			ds = append(ds, Dropped{file, t.dropped})
		}
	}
	slices.SortFunc(ds, func(a, b Dropped) int { return cmp.Compare(a.File, b.File) })
	return ds
}
