package host

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDataFolderThatIsALinkGivesNothingAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	theirs, link := filepath.Join(dir, "theirs"), filepath.Join(dir, "data")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(theirs, link); err != nil {
		t.Fatal(err)
	}
	if err := GiveFolder(link, User{UID: 1, GID: 1}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(theirs); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("given away: %+v, %v", st, err)
	}
	ours := filepath.Join(dir, "ours")
	if err := GiveFolder(ours, User{UID: 1, GID: 1}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(ours); err != nil || st.Sys().(*syscall.Stat_t).Uid != 1 {
		t.Errorf("not given: %+v, %v", st, err)
	}
}
