// Package library holds the descriptions built into aloft: functions,
// predicates and component descriptions that other descriptions include. It
// holds text only; what the text means is the resolver's business.
package library

import (
	"embed"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"
)

//go:embed *
var files embed.FS

// original is the folder under which SmartFrog's own files are found as well.
const original = "org/smartfrog/"

// FS holds the library's files under both spellings: functions.sf and
// org/smartfrog/functions.sf are the same text.
var FS fs.FS = both{}

// both opens names below original first as they are, then without it.
type both struct{}

func (both) Open(name string) (fs.File, error) {
	f, err := files.Open(name)
	if err == nil {
		return f, nil
	}
	if rest, ok := strings.CutPrefix(name, original); ok && !strings.Contains(rest, "/") && path.Ext(rest) == ".sf" {
		return files.Open(rest)
	}
	return nil, err
}

// Names returns the names of all files that can be included, sorted.
var Names = sync.OnceValue(func() []string {
	var names []string
	// The files are in the program: walking them cannot fail.
	_ = fs.WalkDir(files, ".", func(name string, e fs.DirEntry, _ error) error {
		if !e.IsDir() && path.Ext(name) == ".sf" {
			names = append(names, name)
			if !strings.Contains(name, "/") {
				names = append(names, original+name)
			}
		}
		return nil
	})
	sort.Strings(names)
	return names
})
