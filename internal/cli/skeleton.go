package cli

import (
	"embed"
	"errors"
	"fmt"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"aloft/internal/sdl/catalog"

	"github.com/spf13/cobra"
)

// skeletons are components to begin with, of scripts and in Go. In their texts
// NAME is the component's name, and FILE that of its files.
//
//go:embed all:skeleton
var skeletons embed.FS

// componentName is what a component of one's own may be called.
var componentName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

// reserved are names that a package of components cannot have: those of folders
// that the go command or the source keeps for other things, and what the
// skeleton in Go, or the list that it is registered in, knows under these names.
var reserved = []string{
	"documentation", "init", "internal", "main", "testdata", "vendor",

	"attrs", "class", "component", "componenttest", "context", "filepath", "fmt", "goleak", "greeting", "host", "os", "t", "testing", "value",

	"apache", "archive", "binary", "certificate", "check", "compound", "configfile", "directory", "download", "executables", "file",
	"haproxy", "hostentry", "java", "maps", "mariadb", "mediawiki", "nginx", "pkg", "process", "redis", "registry", "repository", "script",
	"service", "services", "slices", "slog", "software", "strings", "sysctl", "tomcat", "tools", "user", "vm", "webapp", "website", "workflow",
}

// cannotBePackage reports whether a package of that name would not compile, or
// not be found.
func cannotBePackage(name string) bool {
	return token.IsKeyword(name) || slices.Contains(types.Universe.Names(), name) || slices.Contains(reserved, name)
}

func (a *app) componentNewCommand() *cobra.Command {
	var inGo bool
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a component of your own to begin with, and its test",
		Long: `Write a component of your own to begin with, and its test, into a new folder
called after it: a description NAME.sf to include, a folder of executables for
its operations, and test.sf for 'aloft component test'. It is right as it
stands.

With --go it is a Go package instead, for a folder internal/components/NAME of
the source of aloft.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !componentName.MatchString(args[0]) {
				return fail("letters and digits, a letter first", "a component cannot be called %q", args[0])
			}
			if file := strings.ToLower(args[0]); inGo && cannotBePackage(file) {
				return fail("choose a name that is no word of Go, and none that the skeleton or the list of components uses", "a Go package cannot be called %s here", file)
			}
			name := strings.ToUpper(args[0][:1]) + args[0][1:]
			known, err := catalog.Load(c.Context())
			if err != nil {
				return err
			}
			if x, is := known.Component(name); is && x.Name == name {
				return fail("choose another name: in a description that includes both, the later one counts", "%s is a component of aloft's library", name)
			}
			return a.writeSkeleton(name, inGo)
		},
	}
	c.Flags().BoolVar(&inGo, "go", false, "a Go package, to be built into aloft")
	return c
}

// writeSkeleton writes a component into a new folder, or nothing.
func (a *app) writeSkeleton(name string, inGo bool) error {
	file := strings.ToLower(name)
	form := "skeleton/script"
	if inGo {
		form = "skeleton/go"
	}
	if err := os.Mkdir(file, 0o755); errors.Is(err, fs.ErrExist) {
		return fail("choose another name, or another folder to be in", "%s is there already", file)
	} else if err != nil {
		return err
	}
	replace := strings.NewReplacer("NAME", name, "FILE", file).Replace
	err := fs.WalkDir(skeletons, form, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := skeletons.ReadFile(path)
		if err != nil {
			return err
		}
		below := strings.TrimSuffix(strings.TrimPrefix(path, form+"/"), ".txt")
		below = strings.Replace(below, "name", file, 1)
		to := filepath.Join(file, filepath.FromSlash(below))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := create(to, []byte(replace(string(text)))); err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(to)) == "scripts" {
			err = os.Chmod(to, 0o755)
		}
		fmt.Fprintln(a.Stdout, to)
		return err
	})
	if err != nil {
		return errors.Join(err, os.RemoveAll(file)) // it was not there before
	}
	if inGo {
		fmt.Fprintf(a.Stderr, "In internal/daemon/registry.go: import \"aloft/internal/components/%s\", and %s.New() in the list of machineManagers.\n", file, file)
		return nil
	}
	fmt.Fprintf(a.Stderr, "To try it: aloft component test %s\n", file)
	return nil
}
