package lsp

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/protocol"
	"go.lsp.dev/uri"
)

// nameOf returns the name under which the workspace knows the document u. A
// copy of a library file stands for the library's.
func (s *server) nameOf(u protocol.DocumentURI) string {
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Scheme != uri.FileScheme || !strings.HasPrefix(parsed.Path, "/") {
		return url.PathEscape(string(u))
	}
	name := filepath.Clean(parsed.Path)
	if s.LibraryDir != "" {
		if rest, in := strings.CutPrefix(name, s.LibraryDir+string(filepath.Separator)); in {
			return workspace.Library + filepath.ToSlash(rest)
		}
	}
	return name
}

// uriOf is the inverse of nameOf. A library file is written to its folder
// first; without one it has no URI, which is told by "".
func (s *server) uriOf(name string) protocol.DocumentURI {
	switch rest, isLibrary := strings.CutPrefix(name, workspace.Library); {
	case isLibrary:
		path := s.writeLibrary(rest)
		if path == "" {
			return ""
		}
		name = path
	case !filepath.IsAbs(name):
		if u, err := url.PathUnescape(name); err == nil {
			return protocol.DocumentURI(u)
		}
		return protocol.DocumentURI(name)
	}
	return protocol.DocumentURI((&url.URL{Scheme: uri.FileScheme, Path: name}).String())
}

// writeLibrary makes sure that a library file can be read in LibraryDir, and
// returns its path, or "" if that is impossible. It is written under another
// name first, since servers run beside one another.
func (s *server) writeLibrary(name string) string {
	content, known := workspace.LibraryFile(name)
	if !known || s.LibraryDir == "" {
		return ""
	}
	path := filepath.Join(s.LibraryDir, filepath.FromSlash(name))
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return path
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Log.Warn("library not written", "file", path, "error", err)
		return ""
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		s.Log.Warn("library not written", "file", path, "error", err)
		return ""
	}
	_, err = f.WriteString(content)
	for _, next := range []func() error{
		func() error { return f.Chmod(0o444) }, f.Close, func() error { return os.Rename(f.Name(), path) },
	} {
		if e := next(); err == nil {
			err = e
		}
	}
	if err != nil {
		os.Remove(f.Name()) // what is there is of no use
		s.Log.Warn("library not written", "file", path, "error", err)
		return ""
	}
	return path
}
