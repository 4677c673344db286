// Package plain runs tests that measure time or memory without the race
// detector, which makes everything several times slower and larger.
package plain

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// Binary returns a binary of the tests of t's package without the race
// detector: the one that runs, if it has none.
func Binary(t *testing.T) string {
	t.Helper()
	if !RaceDetector() {
		return os.Args[0]
	}
	binary, err := Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// Build makes such a binary of the package whose tests run, in a folder.
func Build(folder string) (binary string, err error) {
	binary = filepath.Join(folder, "plain.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests without the race detector: %w\n%s", err, out)
	}
	return binary, nil
}

// RaceDetector reports whether this binary has the race detector.
func RaceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// Ran runs the test t in such a binary, unless this is one, and reports whether
// it did: the caller then has nothing more to do.
func Ran(t *testing.T) bool {
	t.Helper()
	if !RaceDetector() {
		return false
	}
	out, err := exec.CommandContext(t.Context(), Binary(t), "-test.v", "-test.run=^"+t.Name()+"$").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return true
}
