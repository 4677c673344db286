package resolve

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// plainBinary returns a binary of these tests without the race detector, which
// makes everything several times slower and larger: tests that measure time and
// memory run in it.
func plainBinary(t *testing.T) string {
	t.Helper()
	if !raceDetector() {
		return os.Args[0]
	}
	binary := filepath.Join(t.TempDir(), "resolve.test")
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

// ranPlain runs the test t in a plain binary, unless this is one, and reports
// whether it did.
func ranPlain(t *testing.T) bool {
	t.Helper()
	if !raceDetector() {
		return false
	}
	out, err := exec.CommandContext(t.Context(), plainBinary(t), "-test.v", "-test.run=^"+t.Name()+"$").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return true
}
