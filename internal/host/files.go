package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"aloft/component"
	"aloft/value"
)

// Owned is who owns a file and who may do what with it.
type Owned struct {
	Owner, Group string // "": the daemon's
	Keep         bool   // "" is that of the file which is there, if one is
	Mode         fs.FileMode
}

// ParseMode reads an octal mode as people write it.
func ParseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o7777 {
		return 0, fmt.Errorf("mode %q is not an octal number from 0 to 7777", s)
	}
	mode := fs.FileMode(n & 0o777)
	for bit, m := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= m
		}
	}
	return mode, nil
}

// ids returns the numbers of owner and group, -1 for one that is not named.
func (o Owned) ids() (uid, gid int, err error) {
	uid, gid = -1, -1
	if o.Owner != "" {
		u, err := LookupUser(o.Owner)
		if err != nil {
			return 0, 0, err
		}
		uid, gid = u.UID, u.GID
	}
	if o.Group != "" {
		if gid, err = LookupGroup(o.Group); err != nil {
			return 0, 0, err
		}
	}
	return uid, gid, nil
}

// holds reports whether the file or folder has this owner, group and mode.
func (o Owned) holds(info fs.FileInfo) (bool, error) {
	uid, gid, err := o.ids()
	if err != nil {
		return false, err
	}
	st := info.Sys().(*syscall.Stat_t)
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	return info.Mode()&bits == o.Mode && (uid < 0 || int(st.Uid) == uid) && (gid < 0 || int(st.Gid) == gid), nil
}

// apply gives the file or folder its owner, group and mode.
func (o Owned) apply(path string) error {
	uid, gid, err := o.ids()
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(path, uid, gid); err != nil {
			return explain(err)
		}
	}
	return explain(os.Chmod(path, o.Mode)) // after chown, which clears set-id bits
}

// Kept is one file under a component's management: what it should be, and a
// record in the work folder of what was there before.
type Kept struct {
	Path    string // absolute
	WorkDir string
	Name    string // of the record, unique in the work folder
	Backup  bool   // keep the original, to put it back
}

// original is the record of what stood at a path before its first change.
type original struct {
	Path    string   `json:"path"`
	Existed bool     `json:"existed"`
	Backup  bool     `json:"backup"` // the original's content is kept
	Made    []string `json:"made"`   // folders made for it, outermost first
}

func (k Kept) record() string { return filepath.Join(k.WorkDir, k.Name+".json") }
func (k Kept) saved() string  { return filepath.Join(k.WorkDir, k.Name+".original") }

func (k Kept) read() (*original, error) {
	b, err := os.ReadFile(k.record())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var o original
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, fmt.Errorf("record %s of %s: %w", k.record(), k.Path, err)
	}
	return &o, nil
}

// claim records what is there, before anything is changed.
func (k Kept) claim() error {
	rec, err := k.read()
	if err != nil || rec != nil {
		return err
	}
	rec = &original{Path: k.Path, Made: missingDirs(filepath.Dir(k.Path))}
	info, err := os.Lstat(k.Path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return &component.Failure{
			Err:    fmt.Errorf("%s is there already and is %s", k.Path, kindOf(info.Mode())),
			Remedy: "choose another path, or remove it",
		}
	case err == nil:
		rec.Existed, rec.Backup = true, k.Backup
	case !errors.Is(err, fs.ErrNotExist):
		return explain(err)
	}
	if rec.Backup {
		if err := copyOwned(k.Path, k.saved(), info); err != nil {
			return fmt.Errorf("back up %s: %w", k.Path, err)
		}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return writeAtomic(k.record(), b, 0o600, -1, -1)
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "not a regular file"
}

// Original returns the content that was there before the first Put; nil if
// there was none or it was not kept.
func (k Kept) Original() ([]byte, error) {
	rec, err := k.read()
	if err != nil {
		return nil, err
	}
	path := k.Path
	if rec != nil {
		if !rec.Backup {
			return nil, nil
		}
		path = k.saved()
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Put gives the file its content, owner and mode, changing only what differs.
// It reports whether the content changed.
func (k Kept) Put(content []byte, o Owned) (changed bool, err error) {
	if err := k.claim(); err != nil {
		return false, err
	}
	uid, gid, err := o.ids()
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(k.Path), 0o755); err != nil {
		return false, explain(err)
	}
	info, err := os.Lstat(k.Path)
	there := err == nil && info.Mode().IsRegular() // a link that was put there since is replaced, not followed
	if there {
		if old, err := os.ReadFile(k.Path); err == nil && bytes.Equal(old, content) {
			if ok, err := o.holds(info); ok || err != nil {
				return false, err
			}
			return false, o.apply(k.Path)
		}
	}
	if there && o.Keep && os.Geteuid() == 0 {
		st := info.Sys().(*syscall.Stat_t)
		if uid < 0 {
			uid = int(st.Uid)
		}
		if gid < 0 {
			gid = int(st.Gid)
		}
	}
	if err := writeAtomic(k.Path, content, o.Mode, uid, gid); err != nil {
		return false, fmt.Errorf("write %s: %w", k.Path, err)
	}
	return true, nil
}

// Fill gives the file the content that fill writes, whatever it had before.
func (k Kept) Fill(o Owned, fill func(*os.File) error) error {
	if err := k.claim(); err != nil {
		return err
	}
	uid, gid, err := o.ids()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(k.Path), 0o755); err != nil {
		return explain(err)
	}
	f, err := createBeside(k.Path)
	if err != nil {
		return explain(err)
	}
	return replaceDurably(f, k.Path, o.Mode, uid, gid, fill)
}

// CheckDigest returns nil if the file has this content, owner and mode.
func (k Kept) CheckDigest(digest string, o Owned) error {
	info, err := os.Lstat(k.Path)
	if err != nil {
		return err
	}
	f, err := os.Open(k.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if "sha256:"+hex.EncodeToString(h.Sum(nil)) != digest {
		return fmt.Errorf("%s was changed", k.Path)
	}
	ok, err := o.holds(info)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s has another owner, group or mode", k.Path)
	}
	return nil
}

// Restore puts back what was there before: the original if it was kept, else
// nothing. Folders made for the file go if they are empty.
func (k Kept) Restore() error {
	rec, err := k.read()
	if err != nil || rec == nil {
		return err
	}
	if rec.Backup {
		info, err := os.Stat(k.saved())
		if err != nil {
			return err
		}
		if err := copyOwned(k.saved(), rec.Path, info); err != nil {
			return fmt.Errorf("restore %s: %w", rec.Path, err)
		}
	} else if err := RemoveFile(rec.Path); err != nil {
		return err
	}
	removeMade(rec.Made)
	if err := RemoveFile(k.record()); err != nil {
		return err
	}
	return RemoveFile(k.saved())
}

// copyOwned copies a file atomically with its owner and mode.
func copyOwned(from, to string, info fs.FileInfo) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	uid, gid := -1, -1
	if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
		uid, gid = int(st.Uid), int(st.Gid)
	}
	return writeAtomic(to, b, info.Mode(), uid, gid)
}

// missingDirs returns the folders that making dir would make, outermost first.
func missingDirs(dir string) []string {
	var missing []string
	for {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return missing
		}
		missing = append([]string{dir}, missing...)
		dir = filepath.Dir(dir)
	}
}

// removeMade deletes folders, innermost first, that are empty; the others
// hold what somebody else put there.
func removeMade(dirs []string) {
	for i := len(dirs) - 1; i >= 0; i-- {
		if os.Remove(dirs[i]) != nil {
			return
		}
	}
}

// Shipped is content that was sent along with the description.
type Shipped struct {
	Path   string // as written, or below the folder that was sent
	Digest string
	Mode   fs.FileMode
}

// ReadShipped reads the data component that stands for a source.
func ReadShipped(c *value.Component) (Shipped, error) {
	text := func(name string) string {
		v, _ := c.Get(name)
		s, _ := v.(value.String)
		return string(s)
	}
	s := Shipped{Path: text("path"), Digest: text("digest"), Mode: 0o644}
	if s.Digest == "" {
		return s, fmt.Errorf("source %q has no digest: it was not sent along", s.Path)
	}
	if m := text("mode"); m != "" {
		var err error
		if s.Mode, err = ParseMode(m); err != nil {
			return s, fmt.Errorf("source %q: %w", s.Path, err)
		}
	}
	return s, nil
}

// maxShipped is the largest shipped file; it is read into memory.
const maxShipped = 256 << 20

// Fetch reads the shipped content and checks it against its digest.
func (s Shipped) Fetch(ctx context.Context, env component.Environment) ([]byte, error) {
	r, err := env.Source(ctx, s.Digest)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Path, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxShipped+1))
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Path, err)
	}
	if len(b) > maxShipped {
		return nil, fmt.Errorf("source %s is larger than %d MiB", s.Path, maxShipped>>20)
	}
	if got := Digest(b); got != s.Digest {
		return nil, fmt.Errorf("source %s: its content has digest %s, want %s", s.Path, got, s.Digest)
	}
	return b, nil
}

// To copies the shipped content to the file w and checks it against its digest.
func (s Shipped) To(ctx context.Context, w *os.File, env component.Environment) error {
	r, err := env.Source(ctx, s.Digest)
	if err != nil {
		return fmt.Errorf("source %s: %w", s.Path, err)
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), r); err != nil {
		return fmt.Errorf("source %s: %w", s.Path, err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != s.Digest {
		return fmt.Errorf("source %s: its content has digest %s, want %s", s.Path, got, s.Digest)
	}
	return nil
}

// Digest returns the digest of content, in the form sources are named by.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
