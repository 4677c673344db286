package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketOfAHome(t *testing.T) {
	env := func(runtime string) func(string) string {
		return func(name string) string {
			if name == "XDG_RUNTIME_DIR" {
				return runtime
			}
			return ""
		}
	}
	long := "/home/" + strings.Repeat("x", 100)
	if got := SocketPath("/h", env("/run/user/1")); got != "/h/aloft.sock" {
		t.Errorf("short home: %s", got)
	}
	inRun, inTmp := SocketPath(long, env("/run/user/1")), SocketPath(long, env(""))
	if filepath.Dir(inRun) != "/run/user/1/aloft" || !strings.HasPrefix(inTmp, "/tmp/aloft-") || len(inTmp) > maxSocket {
		t.Errorf("long home: %s, %s", inRun, inTmp)
	}
	if other := SocketPath(long+"y", env("/run/user/1")); other == inRun {
		t.Error("two homes share a socket")
	}
}

func TestRecordedSocketIsFoundFromAnotherEnvironment(t *testing.T) {
	home := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	there := func(string) string { return "/run/user/1" }
	nowhere := func(string) string { return "" }
	path := SocketPath(home, there)
	if err := RecordSocket(home, path); err != nil {
		t.Fatal(err)
	}
	if got := SocketPath(home, nowhere); got != path {
		t.Errorf("found %s, recorded %s", got, path)
	}
	if err := RecordSocket(home, filepath.Join(home, "aloft.sock")); err != nil {
		t.Fatal(err)
	}
	if got := SocketPath(home, nowhere); got == path {
		t.Error("an old record is still believed")
	}
}
