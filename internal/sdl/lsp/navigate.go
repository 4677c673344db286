package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/protocol"
)

func hover(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.HoverParams](params)
	if err != nil {
		return nil, err
	}
	v, off, err := s.view(ctx, w, p.TextDocumentPositionParams)
	if err != nil {
		return nil, err
	}
	// The first hover may come before the text was looked at for mistakes.
	if res, err := w.Resolve(ctx, v.Tree.Includes()[0]); err == nil {
		v.Values = res.Good
	}
	h, ok := v.Hover(off)
	if !ok {
		return nil, nil
	}
	at := s.span(v.Text, h.At.From, h.At.To)
	return protocol.Hover{Contents: protocol.MarkupContent{Kind: protocol.Markdown, Value: h.Text}, Range: &at}, nil
}

func definition(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.DefinitionParams](params)
	if err != nil {
		return nil, err
	}
	v, off, err := s.view(ctx, w, p.TextDocumentPositionParams)
	if err != nil {
		return nil, err
	}
	return s.locations(w, v.Definition(off)), nil
}

// locations returns places as the protocol names them. Those that cannot be
// shown are left out.
func (s *server) locations(w *workspace.Snapshot, list []answer.Location) []protocol.Location {
	out := []protocol.Location{}
	for _, l := range list {
		t := w.Text(l.File)
		if t == nil {
			continue
		}
		if u := s.uriOf(l.File); u != "" {
			out = append(out, protocol.Location{URI: u, Range: s.locationRange(t, l)})
		}
	}
	return out
}

func (s *server) locationRange(t *text.Text, l answer.Location) protocol.Range {
	from := t.At(l.Span.Pos.Line, l.Span.Pos.Col)
	to := from
	if l.Span.EndLine > 0 {
		to = max(from, t.At(int(l.Span.EndLine), int(l.Span.EndCol)))
	}
	return s.span(t, from, to)
}

// maxReaders bounds the descriptions that are looked into for one attribute.
const maxReaders = 500

// subject returns the attribute at a position, with all descriptions of the
// workspace that read a file which gives it. The first is the one of the
// position. It reports whether these are all that there may be.
func (s *server) subject(ctx context.Context, w *workspace.Snapshot, p protocol.TextDocumentPositionParams) (*answer.Subject, []*answer.View, bool, error) {
	v, off, err := s.view(ctx, w, p)
	if err != nil {
		return nil, nil, false, err
	}
	subject, ok := v.Subject(off)
	if !ok {
		return nil, nil, true, nil
	}
	views, all := []*answer.View{v}, true
	tried := map[string]bool{v.Tree.Includes()[0]: true}
	subject.Grow(v)
	for grown := true; grown; {
		grown = false
		files := subject.Files()
		readers, some := w.Readers(ctx, v.Name, files)
		all = some && all
		for _, file := range append(readers, files...) {
			if tried[file] || strings.HasPrefix(file, workspace.Library) {
				continue
			}
			if len(tried) > maxReaders {
				all = false
				break
			}
			tried[file] = true
			o, err := s.reader(ctx, w, file)
			if err != nil {
				return nil, nil, false, err
			}
			if o != nil && slices.ContainsFunc(o.Tree.Includes(), func(name string) bool { return slices.Contains(files, name) }) {
				views = append(views, o)
			}
		}
		for _, o := range views {
			grown = subject.Grow(o) || grown
		}
	}
	return subject, views, all, ctx.Err()
}

// reader returns the description that begins with file; nil if it is gone.
func (s *server) reader(ctx context.Context, w *workspace.Snapshot, file string) (*answer.View, error) {
	tree, err := w.Inspect(ctx, file)
	if err != nil {
		return nil, ctx.Err()
	}
	t := w.Text(file)
	if t == nil {
		return nil, nil
	}
	return &answer.View{Name: file, Text: t, Tree: tree, Source: w.Text, Known: s.known()}, nil
}

func references(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.ReferenceParams](params)
	if err != nil {
		return nil, err
	}
	subject, views, all, err := s.subject(ctx, w, p.TextDocumentPositionParams)
	if err != nil {
		return nil, err
	}
	if !all {
		s.say("window/showMessage", protocol.MessageTypeWarning, "references: "+tooMany(len(views)))
	}
	var list []answer.Location
	for _, v := range views {
		for _, l := range v.Uses(subject, p.Context.IncludeDeclaration) {
			if !slices.Contains(list, l) {
				list = append(list, l)
			}
		}
	}
	return s.locations(w, list), nil
}

func prepareRename(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.PrepareRenameParams](params)
	if err != nil {
		return nil, err
	}
	subject, views, _, err := s.subject(ctx, w, p.TextDocumentPositionParams)
	if err != nil || subject == nil {
		return nil, err
	}
	for _, v := range views {
		if err := v.Renamable(subject); err != nil {
			return nil, err
		}
	}
	at := subject.At()
	return struct {
		Range       protocol.Range `json:"range"`
		Placeholder string         `json:"placeholder"`
	}{s.span(views[0].Text, at.From, at.To), subject.Name}, nil
}

// tooMany says that not all descriptions that may use an attribute were looked
// into.
func tooMany(n int) string {
	return fmt.Sprintf("the workspace has too many descriptions that may use it: %d were looked into; open a smaller folder to have all of them", n)
}

var errNothingToRename = errors.New("there is no attribute here")

func rename(ctx context.Context, s *server, w *workspace.Snapshot, params json.RawMessage) (any, error) {
	p, err := decode[protocol.RenameParams](params)
	if err != nil {
		return nil, err
	}
	subject, views, all, err := s.subject(ctx, w, p.TextDocumentPositionParams)
	if err != nil {
		return nil, err
	}
	if subject == nil {
		return nil, errNothingToRename
	}
	if !all {
		return nil, answer.Refusal(tooMany(len(views)))
	}
	name := strings.TrimSpace(p.NewName)
	var list []answer.Location
	for _, v := range views {
		found, err := v.Rename(subject, name)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if !slices.Contains(list, l) {
				list = append(list, l)
			}
		}
	}
	if err := s.sameMeaning(ctx, w, views, list, subject.Name, name); err != nil {
		return nil, err
	}
	edit := protocol.WorkspaceEdit{Changes: map[protocol.DocumentURI][]protocol.TextEdit{}}
	for _, l := range list {
		u := s.uriOf(l.File)
		edit.Changes[u] = append(edit.Changes[u], protocol.TextEdit{Range: s.locationRange(w.Text(l.File), l), NewText: name})
	}
	return edit, nil
}

// sameMeaning makes the changes in a snapshot of its own and compares what the
// descriptions mean before and after.
func (s *server) sameMeaning(ctx context.Context, w *workspace.Snapshot, views []*answer.View, list []answer.Location, from, to string) error {
	changed := w
	files := map[string]bool{}
	for _, l := range list {
		if !files[l.File] {
			files[l.File] = true
			of := slices.DeleteFunc(slices.Clone(list), func(m answer.Location) bool { return m.File != l.File })
			changed = changed.With(l.File, answer.Apply(w.Text(l.File), l.File, of, to))
		}
	}
	changed = changed.Apart()
	for _, v := range views {
		whole := v.Tree.Includes()[0]
		before, err := w.Resolve(ctx, whole)
		if err != nil {
			return err
		}
		if before.Diagnostics.Errors() > 0 {
			return answer.Refusal(whole + " has mistakes: whether the new name changes its meaning cannot be found out")
		}
		after, err := changed.Resolve(ctx, whole)
		if err != nil {
			return err
		}
		if err := answer.SameMeaning(before.Result, after.Result, from, to); err != nil {
			return err
		}
	}
	return nil
}
