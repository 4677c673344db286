package lsp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/protocol"
)

// published is what was told about each document. A description may speak of
// the files it includes, so each document has a list from each description.
type published struct {
	from map[string]map[protocol.DocumentURI][]protocol.Diagnostic // by description
	sent map[protocol.DocumentURI][]protocol.Diagnostic
}

// checkAll looks for mistakes in all open documents, soon. What was under way
// is given up: the texts are not the same any more.
func (s *server) checkAll(ctx context.Context) {
	for _, name := range s.current.Open() {
		if strings.HasPrefix(name, workspace.Library) {
			continue
		}
		if stop := s.checks[name]; stop != nil {
			stop()
		}
		ctx, cancel := context.WithCancel(ctx)
		s.checks[name] = cancel
		w, wait := s.current, s.After(debounce)
		s.requests.Go(func() {
			defer cancel()
			select {
			case <-wait:
			case <-ctx.Done():
				return
			}
			_, err := s.guarded(ctx, func() (any, error) { return nil, s.check(ctx, w, name) }, "check")
			if err != nil && !errors.Is(err, context.Canceled) {
				s.Log.Warn("not checked", "document", name, "error", err)
			}
		})
	}
}

// check publishes what is wrong with the description that begins with the
// document name.
func (s *server) check(ctx context.Context, w *workspace.Snapshot, name string) error {
	whole, err := w.Main(ctx, name)
	if err != nil {
		return err
	}
	res, err := w.Resolve(ctx, whole)
	if err != nil {
		return err
	}
	lists := map[protocol.DocumentURI][]protocol.Diagnostic{s.uriOf(name): {}}
	for _, d := range res.Diagnostics.All() {
		file := d.Span.Pos.File
		if file == "" || strings.HasPrefix(file, workspace.Library) {
			file = name // nobody can mend the library
		}
		u := s.uriOf(file)
		lists[u] = append(lists[u], s.diagnostic(res, d, file))
	}
	return s.publish(ctx, name, lists)
}

func (s *server) diagnostic(res *workspace.Result, d diag.Diagnostic, file string) protocol.Diagnostic {
	out := protocol.Diagnostic{
		Severity: protocol.DiagnosticSeverityError, Code: string(d.Code), Source: "aloft", Message: explain(d),
	}
	switch d.Severity {
	case diag.Warning:
		out.Severity = protocol.DiagnosticSeverityWarning
	case diag.Note:
		out.Severity = protocol.DiagnosticSeverityInformation
	}
	if d.Span.Pos.File == file {
		out.Range, _ = s.rangeOf(res, d.Span)
	}
	if !s.client.related {
		return out
	}
	for _, r := range d.Related {
		if at, ok := s.rangeOf(res, r.Span); ok {
			if u := s.uriOf(r.Span.Pos.File); u != "" {
				out.RelatedInformation = append(out.RelatedInformation, protocol.DiagnosticRelatedInformation{
					Location: protocol.Location{URI: u, Range: at}, Message: r.Message,
				})
			}
		}
	}
	return out
}

// explain returns the text of d with all that is known, as the command line
// prints it.
func explain(d diag.Diagnostic) string {
	lines := []string{d.Message}
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if d.Expected != "" {
		add("expected %s", d.Expected)
	}
	if d.Found != "" {
		add("found %s", d.Found)
	}
	for _, h := range d.Hints {
		add("hint: %s", h)
	}
	return strings.Join(lines, "\n")
}

// rangeOf returns the range of a span in the text it was found in.
func (s *server) rangeOf(res *workspace.Result, at diag.Span) (protocol.Range, bool) {
	if !at.Pos.IsValid() {
		return protocol.Range{}, false
	}
	t := res.Text(at.Pos.File)
	if t == nil {
		return protocol.Range{}, false
	}
	from := t.At(at.Pos.Line, at.Pos.Col)
	to := from
	if at.EndLine > 0 {
		to = max(from, t.At(int(at.EndLine), int(at.EndCol)))
	}
	return s.span(t, from, to), true
}

// publish tells the client what changed in what the description name says of
// documents.
func (s *server) publish(ctx context.Context, name string, lists map[protocol.DocumentURI][]protocol.Diagnostic) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err() // a newer text is being looked at
	}
	if s.shown.from == nil {
		s.shown = published{map[string]map[protocol.DocumentURI][]protocol.Diagnostic{}, map[protocol.DocumentURI][]protocol.Diagnostic{}}
	}
	touched := map[protocol.DocumentURI]bool{}
	for u := range s.shown.from[name] {
		touched[u] = true
	}
	for u := range lists {
		touched[u] = true
	}
	s.shown.from[name] = lists
	return s.tell(touched)
}

// tell sends the diagnostics of documents that are not what was sent last. The
// caller holds the lock.
func (s *server) tell(touched map[protocol.DocumentURI]bool) error {
	for u := range touched {
		if u == "" {
			continue
		}
		all := []protocol.Diagnostic{}
		for _, lists := range s.shown.from {
			for _, d := range lists[u] {
				if !slices.ContainsFunc(all, func(e protocol.Diagnostic) bool { return reflect.DeepEqual(d, e) }) {
					all = append(all, d)
				}
			}
		}
		slices.SortStableFunc(all, func(a, b protocol.Diagnostic) int {
			if a.Range.Start.Line != b.Range.Start.Line {
				return int(a.Range.Start.Line) - int(b.Range.Start.Line)
			}
			return int(a.Range.Start.Character) - int(b.Range.Start.Character)
		})
		if last, told := s.shown.sent[u]; told && reflect.DeepEqual(last, all) {
			continue
		}
		s.shown.sent[u] = all
		if err := s.notify("textDocument/publishDiagnostics", protocol.PublishDiagnosticsParams{URI: u, Diagnostics: all}); err != nil {
			return err
		}
	}
	return nil
}

// forget takes back what the description name said: it is closed.
func (s *server) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	touched := map[protocol.DocumentURI]bool{s.uriOf(name): true}
	for u := range s.shown.from[name] {
		touched[u] = true
	}
	delete(s.shown.from, name)
	if s.shown.sent == nil {
		return
	}
	if err := s.tell(touched); err != nil {
		s.Log.Debug("diagnostics not taken back", "document", name, "error", err)
	}
}
