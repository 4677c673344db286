// Package plain runs tests that measure time or memory without the race
// detector, which makes everything several times slower and larger.
package plain

import (
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
	if !raceDetector() {
		return os.Args[0]
	}
	binary := filepath.Join(t.TempDir(), "plain.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// raceDetector reports whether this binary has the race detector.
func raceDetector() bool {
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
	if !raceDetector() {
		return false
	}
	out, err := exec.CommandContext(t.Context(), Binary(t), "-test.v", "-test.run=^"+t.Name()+"$").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return true
}
