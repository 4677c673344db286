package workspace

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/syntax"
	"aloft/library"
)

// maxFiles bounds how many descriptions of a workspace there can be, and
// maxEntries how many files and folders are looked at to find them.
const (
	maxFiles   = 20_000
	maxEntries = 500_000
)

// Files returns the descriptions of the workspace: those open, and those in
// its folders, or in the folder of the file near if there are no folders. It
// reports whether these are all: not if there are too many, or ctx ended.
func (s *Snapshot) Files(ctx context.Context, near string) (files []string, all bool) {
	found := map[string]bool{}
	for name := range s.docs {
		if !strings.HasPrefix(name, Library) {
			found[name] = true
		}
	}
	folders := s.options.Folders
	if len(folders) == 0 && filepath.IsAbs(near) {
		folders = []string{filepath.Dir(near)}
	}
	seen := 0
	all = true
	for _, folder := range folders {
		// What cannot be read is not part of the workspace.
		_ = filepath.WalkDir(folder, func(p string, e os.DirEntry, err error) error {
			seen++
			switch {
			case err != nil:
				return nil
			case ctx.Err() != nil || seen > maxEntries || len(found) >= maxFiles:
				all = false
				return filepath.SkipAll
			case e.IsDir() && p != folder && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules"):
				return filepath.SkipDir
			case e.Type().IsRegular() && path.Ext(p) == ".sf" && s.Document(p) == nil:
				found[p] = true
			}
			return nil
		})
	}
	return slices.Sorted(maps.Keys(found)), all
}

// Readers returns the descriptions of the workspace near a file that may read
// one of files, which they include themselves or through others; those among
// files are left out. It goes by the last word of names alone, and so takes
// little time. It reports whether all descriptions were looked at.
func (s *Snapshot) Readers(ctx context.Context, near string, files []string) (readers []string, all bool) {
	list, all := s.Files(ctx, near)
	by := map[string][]string{} // files by the names of what they include
	for _, name := range list {
		for _, inc := range s.included(name) {
			by[inc] = append(by[inc], name)
		}
	}
	for _, name := range library.Names() {
		for _, inc := range s.included(Library + name) {
			by[inc] = append(by[inc], Library+name)
		}
	}
	found := map[string]bool{}
	for _, name := range files {
		found[name] = true
	}
	for queue := slices.Clone(files); len(queue) > 0 && ctx.Err() == nil; queue = queue[1:] {
		for _, name := range by[path.Base(filepath.ToSlash(queue[0]))] {
			if found[name] {
				continue
			}
			found[name] = true
			queue = append(queue, name)
			if !strings.HasPrefix(name, Library) {
				readers = append(readers, name)
			}
		}
	}
	slices.Sort(readers)
	return readers, all && ctx.Err() == nil
}

// included is what a file includes.
type included struct {
	stamp string
	names []string // the last words
}

// included returns the last words of the names that the file called name
// includes.
func (s *Snapshot) included(name string) []string {
	stamp := s.stamp(name)
	c := s.cache
	c.mu.Lock()
	known, ok := c.names[name]
	c.mu.Unlock()
	if ok && known.stamp == stamp {
		return known.names
	}
	known = included{stamp: stamp}
	if t := s.Text(name); t != nil {
		known.names = includedNames(t)
	}
	c.mu.Lock()
	c.names[name] = known
	c.mu.Unlock()
	return known.names
}

func includedNames(t *text.Text) []string {
	content := t.String()
	if !strings.Contains(content, "#include") {
		return nil
	}
	var names []string
	include := false
	for _, token := range syntax.Tokens([]byte(content)) {
		if include && token.Text() {
			names = append(names, path.Base(strings.Trim(content[token.Start:token.End], `"#`)))
		}
		include = token.Sign() == "#include" || token.Sign() == "#include?"
	}
	return names
}
