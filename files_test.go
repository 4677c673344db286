package aloft_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// torn are the places that write files which a power failure may tear or lose,
// and why nothing is lost with them. All else that daemons rely on goes through
// durable.WriteFile, host.WriteFile, the journal or the store.
var torn = map[string]string{
	"internal/host/atomic.go":                 "is host.WriteFile, and its form for files that tell of this boot alone",
	"internal/host/output.go":                 "what components print",
	"internal/durable/durable.go":             "is durable.WriteFile",
	"internal/stamp/stamp.go":                 "times of what components print",
	"internal/host/task.go":                   "what a program hands over while it runs",
	"internal/components/apache/apache.go":    "a configuration that was tested beside its place, on the disk by then",
	"internal/host/httpd/httpd.go":            "likewise",
	"internal/components/archive/archive.go":  "an archive while it is unpacked",
	"internal/components/archive/tree.go":     "files of the user's, synced before the record names them",
	"internal/components/sysctl/sysctl.go":    "settings of the kernel",
	"internal/journal/ahead.go":               "a log with a checksum for each write; a torn end was told to nobody",
	"internal/blob/blob.go":                   "content is on the disk before it gets its name, which is its digest",
	"internal/daemon/restore.go":              "a folder that is filled, synced and then gets its name",
	"internal/store/backup.go":                "likewise",
	"internal/daemon/enrol.go":                "folders that are renamed, and found under either name",
	"internal/daemon/home.go":                 "the lock of a home",
	"internal/store/open.go":                  "the lock of a store",
	"internal/store/disk.go":                  "asks whether a file can be written",
	"internal/daemon/writable.go":             "likewise",
	"internal/daemon/machine.go":              "what a daemon logs",
	"internal/agent/exec.go":                  "terminals",
	"internal/observe/logs.go":                "what components print",
	"internal/observe/events.go":              "events, with a checksum for each; a torn end is cut off",
	"internal/crash/armed.go":                 "tests",
	"internal/pkgproxy/cache.go":              "a cache: what is broken is fetched anew",
	"internal/drivers/local/limits/limits.go": "control groups",
	"internal/drivers/local/light/enter.go":   "settings of the kernel",
	"internal/drivers/local/light/net.go":     "likewise",
	"internal/drivers/local/light/tree.go":    "the disk of a machine that is being made",
	"internal/drivers/local/boot.go":          "likewise, and what its init logs",
	"internal/drivers/local/initd/keeper.go":  "what a daemon logs",
	"internal/drivers/local/pool/pool.go":     "who uses which network of this host, for this boot",
	"internal/drivers/local/record.go":        "the driver's own books: synced where they must be",
	"internal/components/haproxy/haproxy.go":  "a configuration that was tested beside its place, on the disk by then",
	"internal/components/mediawiki/web.go":    "a folder that gets its name when it is whole, and is made anew from packages",
	"internal/components/nginx/nginx.go":      "a configuration that was tested beside its place, on the disk by then",
	"client/socket.go":                        "where the daemon listens that runs now",
	"internal/cli/backup.go":                  "synced, then renamed",
	"internal/cli/start.go":                   "a lock, and what a daemon logs",
	"internal/cli/fmt.go":                     "a file of the user's, renamed over it",
	"internal/cli/catalog.go":                 "a new file of the user's",
	"internal/cli/context.go":                 "synced, then renamed; and the name of a context",
	"internal/cli/convert.go":                 "a new file of the user's",
	"internal/sdl/lsp/uri.go":                 "a copy for an editor",
}

// TestFilesAreWrittenWhole: what a crash tears is where it is known.
func TestFilesAreWrittenWhole(t *testing.T) {
	makes := []string{"WriteFile", "Create", "CreateTemp", "OpenFile", "Rename"}
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "test", "bench", "cmd"}, path) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.Base(filepath.Dir(path)), "component") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "os" && slices.Contains(makes, sel.Sel.Name) {
				if torn[filepath.ToSlash(path)] == "" && !found[path] {
					t.Errorf("%s: os.%s: a crash may leave a part of the file. Use durable.WriteFile, or say in this test why nothing is lost", path, sel.Sel.Name)
				}
				found[path] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range torn {
		if !found[path] {
			t.Errorf("%s writes no file by itself any more: take it off the list", path)
		}
	}
}
