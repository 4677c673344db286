package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"aloft/component"
	"aloft/value"
)

// Tree is the part of the file system that one component may touch.
type Tree struct {
	Folder  string // "/" on a machine with a root file system of its own
	WorkDir string // where relative paths begin
}

// TreeOf returns the tree of the component of c.
func TreeOf(c *component.Call) Tree { return Tree{Folder: c.Machine.Folder, WorkDir: c.WorkDir} }

// Path returns path as an absolute one. It refuses those that lead out of the
// tree, also by way of a symbolic link. (A program of the machine could put a
// link there a moment later; process machines keep components from mistakes,
// not from each other.)
func (t Tree) Path(path string) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("%q is not a path", path)
	}
	if !filepath.IsAbs(path) {
		if !filepath.IsLocal(path) {
			return "", fmt.Errorf("path %s leads out of the component's work folder", path)
		}
		path = filepath.Join(t.WorkDir, path)
	}
	path = filepath.Clean(path)
	real, err := realPath(path)
	if err != nil {
		return "", err
	}
	for _, folder := range []string{t.Folder, t.WorkDir} {
		if folder == "" {
			continue
		}
		top, err := realPath(folder)
		if err != nil {
			return "", err
		}
		if rel, err := filepath.Rel(top, real); err == nil && filepath.IsLocal(rel) {
			return path, nil
		}
	}
	return "", &component.Failure{
		Err:    fmt.Errorf("path %s is outside the machine's folder %s", path, t.Folder),
		Remedy: outsideRemedy,
	}
}

const outsideRemedy = "use a relative path, or a machine with a root file system of its own (run the daemon as root)"

// realPath resolves the symbolic links of that part of path which exists. The
// last element is not followed: it is what gets written, renamed or deleted.
func realPath(path string) (string, error) {
	dir, rest := filepath.Dir(path), filepath.Base(path)
	for {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return "", err
		}
		dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest)
	}
}

// CheckPaths finds, while planning, the attributes whose value is a path that
// the machine will not have.
func CheckPaths(attrs *value.Component, m component.Target, names ...string) []component.Problem {
	var problems []component.Problem
	for _, name := range names {
		v, _ := attrs.Get(name)
		path, ok := v.(value.String)
		switch {
		case !ok:
		case filepath.IsAbs(string(path)) && !m.Isolation:
			problems = append(problems, component.Problem{
				Attr: name, Expected: "a relative path", Found: string(path),
				Message: fmt.Sprintf("%s is outside the machine's folder, and this machine has no root file system of its own", path),
				Remedy:  outsideRemedy,
			})
		case !filepath.IsAbs(string(path)) && !filepath.IsLocal(string(path)):
			problems = append(problems, component.Problem{
				Attr: name, Expected: "a path", Found: string(path),
				Message: fmt.Sprintf("%q does not lead to a place below the component's work folder", path),
				Remedy:  "leave out the steps upward (..)",
			})
		}
	}
	return problems
}

// CheckPorts finds, while planning, the attributes whose value is a port that
// the machine cannot listen on.
func CheckPorts(attrs *value.Component, m component.Target, names ...string) []component.Problem {
	var problems []component.Problem
	for _, name := range names {
		v, _ := attrs.Get(name)
		port, ok := v.(value.Integer)
		switch {
		case !ok:
		case port < 1 || port > 65535:
			problems = append(problems, component.Problem{
				Attr: name, Expected: "1 to 65535", Found: fmt.Sprint(port),
				Message: fmt.Sprintf("%d is not a TCP port", port), Remedy: "choose a port from 1 to 65535",
			})
		case port < 1024 && !m.Privileged:
			problems = append(problems, component.Problem{
				Attr: name, Expected: "1024 or above", Found: fmt.Sprint(port),
				Message: fmt.Sprintf("port %d needs a right that this machine does not have", port),
				Remedy:  "choose a port of 1024 or above, or run the daemon as root",
			})
		}
	}
	return problems
}

// CheckEnv finds names that cannot be environment variables.
func CheckEnv(attrs *value.Component, name string) []component.Problem {
	v, _ := attrs.Get(name)
	env, ok := v.(*value.Component)
	if !ok {
		return nil
	}
	var problems []component.Problem
	for a := range env.All() {
		if a.Name == "" || strings.ContainsAny(a.Name, "=\x00") {
			problems = append(problems, component.Problem{
				Attr: name, Expected: "names without '='", Found: a.Name,
				Message: fmt.Sprintf("%q cannot be the name of an environment variable", a.Name), Remedy: "rename it",
			})
		}
	}
	return problems
}

// CheckNoSecret finds secrets in attributes that every user of the machine can
// see: a process's arguments and environment.
func CheckNoSecret(attrs *value.Component, names ...string) (problems []component.Problem) {
	for _, name := range names {
		v, _ := attrs.Get(name)
		_, _ = value.ReplaceSecrets(v, func(s value.Secret) (value.Value, error) {
			problems = append(problems, component.Problem{
				Attr: name, Expected: "no secret", Found: "secret " + s.Name,
				Message: "what is in " + name + " is seen by others on the machine, and secret " + s.Name + " would be",
				Remedy:  "write it to a file that only the program's user can read (a File with mode \"0600\"), and tell the program the file's name",
			})
			return s.Value(), nil
		})
	}
	return problems
}

// CheckMode finds a mode that is not one.
func CheckMode(attrs *value.Component, name string) []component.Problem {
	v, _ := attrs.Get(name)
	mode, ok := v.(value.String)
	if !ok {
		return nil
	}
	if _, err := ParseMode(string(mode)); err != nil {
		return []component.Problem{{
			Attr: name, Expected: "an octal mode", Found: string(mode), Message: err.Error(), Remedy: `write it as "0644"`,
		}}
	}
	return nil
}
