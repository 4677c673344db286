package host

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"aloft/component"
)

// A process may own the folder that its output goes to, and the daemon may do
// more than the process.
func TestOutputDoesNotFollowALinkOrWaitForAReader(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, dir} {
		if f, err := openOutput(path, User{UID: 1, GID: 1}); err == nil {
			f.Close()
			t.Errorf("%s is taken for an output file", path)
		}
		if err := rotate(t.TempDir(), path, 1); err == nil {
			t.Errorf("%s is rotated", path)
		}
		if lines := tail(path, 0); lines != nil {
			t.Errorf("%s: shown as output: %q", path, lines)
		}
	}
	st, err := os.Stat(victim)
	if err != nil || st.Size() != 6 || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		t.Errorf("the victim is %+v, %v", st, err)
	}
}

// shipped is an environment that has one content for every source.
type shipped struct {
	component.Environment
	content string
}

func (s shipped) Source(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(s.content)), nil
}
func (shipped) Progress(float64, string) {}

func TestFolderDoesNotFollowALinkOutOfIt(t *testing.T) {
	outside, work := t.TempDir(), t.TempDir()
	f := Folder{Path: filepath.Join(t.TempDir(), "site"), WorkDir: work, Owned: Owned{Mode: 0o755}}
	f.Files = []Shipped{{Path: "sub/page", Digest: Digest([]byte("new")), Mode: 0o644}}
	if err := f.Put(t.Context(), shipped{content: "new"}); err != nil {
		t.Fatal(err)
	}
	sub, theirs := filepath.Join(f.Path, "sub"), filepath.Join(outside, "page")
	if err := os.RemoveAll(sub); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, sub); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), shipped{content: "new"}); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("written by way of a link: %v", err)
	}
	if err := os.WriteFile(theirs, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveFolder(work, true); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(theirs); string(b) != "theirs" {
		t.Errorf("another's file holds %q, %v", b, err)
	}
	if _, err := os.Lstat(f.Path); err == nil {
		t.Error("the folder is left")
	}
}

func TestFileThatBecameALinkIsReplaced(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	k := Kept{Path: filepath.Join(dir, "conf"), WorkDir: t.TempDir(), Name: "file"}
	if _, err := k.Put([]byte("same"), Owned{Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(k.Path, victim); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, k.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Put([]byte("same"), Owned{Mode: 0o666}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(k.Path); err != nil || st.Mode() != 0o666 {
		t.Errorf("the file is %v, %v", st.Mode(), err)
	}
	if st, err := os.Lstat(victim); err != nil || st.Mode() != 0o644 {
		t.Errorf("the victim is %v, %v", st.Mode(), err)
	}
}
