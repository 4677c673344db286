package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"aloft/internal/backup"
	"aloft/internal/blob"
	"aloft/internal/store"
)

// RestoreOptions says what a home is made of.
type RestoreOptions struct {
	Home   string    // state folder, absolute; empty, or not there
	From   io.Reader // the backup
	Listen string    // ADDRESS:PORT of the daemon; "": as before
	Epoch  int64     // the least that the epoch is to be; it is raised in any case
}

// Restored is what a home was made of.
type Restored struct {
	Cluster, Name string // of the cluster, and the member's
	Listen        string // "": it listens for no other
	Made          time.Time
	Epoch         int64    // that it has now
	GivenUp       []string // names of the managers that are none any more
}

// Restore makes a home out of a backup: the only manager of the cluster that
// the backup is of, in a new epoch. Nothing is changed where it returns an
// error. The backup is known to be whole before the home is there.
func Restore(ctx context.Context, o RestoreOptions) (_ *Restored, err error) {
	held, err := os.ReadDir(o.Home)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case len(held) > 0:
		return nil, advise("give another with --home, or move it away first", "the home %s is not empty: a backup is restored into a new one", o.Home)
	}
	if o.Listen != "" {
		if o.Listen, err = listenAt(o.Listen, ""); err != nil {
			return nil, err
		}
	}
	// The home appears whole, by its new name.
	half := o.Home + ".restoring"
	if err := os.MkdirAll(half, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(half, "daemon.lock"))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another command restores %s", o.Home)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(half))
		}
	}()
	if err := empty(half, "daemon.lock"); err != nil { // what a restore that was cut has left
		return nil, err
	}
	r, err := unpack(ctx, half, o)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(o.Home); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; give a folder in it with --home", err)
	}
	return r, os.Rename(half, o.Home)
}

// empty deletes all that a folder holds but one file.
func empty(dir, except string) error {
	held, err := os.ReadDir(dir)
	for _, e := range held {
		if e.Name() != except {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// unpack makes a home in dir.
func unpack(ctx context.Context, dir string, o RestoreOptions) (*Restored, error) {
	u := unpacking{dir: dir}
	var err error
	if u.blobs, err = blob.Open(blob.Config{Dir: filepath.Join(dir, "blobs"), Blob: managerBlob, Total: managerBlobs}); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "identity"), 0o700); err != nil {
		return nil, err
	}
	err = backup.Read(o.From, func(name string, content io.Reader) error { return u.part(ctx, name, content) })
	switch {
	case errors.Is(err, backup.ErrDamaged), errors.Is(err, store.ErrDamaged), errors.Is(err, blob.ErrDigest):
		return nil, advise("nothing was changed; take another backup", "%v", backup.ErrDamaged)
	case errors.Is(err, backup.ErrForeign):
		return nil, advise("'aloft backup --out FILE' writes one", "%v", err)
	case err != nil:
		return nil, err
	}
	machine, err := os.ReadFile(filepath.Join(dir, partMachine))
	if err != nil || u.of.Cluster == "" || !u.rows {
		return nil, advise("take another backup", "the backup lacks what a home is made of")
	}
	is, err := readSettings(dir)
	if err != nil {
		return nil, err
	}
	if o.Listen != "" {
		is.Listen = o.Listen
	}
	if is.Name == "" {
		is.Name = u.of.Name // another host has another name
	}
	is.Join, is.Removed = nil, false
	if err := is.write(dir); err != nil {
		return nil, err
	}
	if is.Listen != "" {
		if err := checkFree(is.Listen, is.Roles); err != nil {
			return nil, err
		}
	}
	s, err := succeed(ctx, successor{dir: dir, machine: strings.TrimSpace(string(machine)), least: max(o.Epoch, u.of.Epoch+1)})
	if err != nil {
		return nil, err
	}
	return &Restored{Cluster: u.of.Cluster, Name: u.of.Name, Listen: is.Listen, Made: u.of.Made, Epoch: s.Epoch, GivenUp: s.GivenUp}, nil
}

// unpacking takes the parts of a backup.
type unpacking struct {
	dir   string
	blobs *blob.Blobs
	of    about
	rows  bool // they were there
}

func (u *unpacking) part(ctx context.Context, name string, content io.Reader) error {
	file, isIdentity := strings.CutPrefix(name, partIdentity)
	digest, isBlob := strings.CutPrefix(name, partBlob)
	switch {
	case name == partAbout:
		text, err := io.ReadAll(io.LimitReader(content, 1<<20))
		if err != nil {
			return err
		}
		if json.Unmarshal(text, &u.of) != nil {
			return backup.ErrDamaged
		}
		return nil
	case name == partHomeID, name == partMachine, name == partSettings, isIdentity && plainName.MatchString(file):
		return u.file(filepath.FromSlash(name), content)
	case name == partRows:
		u.rows = true
		rest := &attentive{r: content}
		_, err := store.Restore(ctx, store.Config{Dir: filepath.Join(u.dir, "store"), Name: "restored", Log: slog.New(slog.DiscardHandler)}, rest)
		return errors.Join(err, rest.err)
	case name == partJournal:
		return fillJournal(ctx, filepath.Join(u.dir, "journal.db"), content)
	case isBlob:
		return u.blobs.Ensure(ctx, digest, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(content), nil })
	}
	return fmt.Errorf("%w of this version: it has a part %.40q", backup.ErrForeign, name)
}

func (u *unpacking) file(name string, content io.Reader) error {
	f, err := os.OpenFile(filepath.Join(u.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// attentive keeps the error with which a reader ends, which store.Restore takes
// for damage of its own.
type attentive struct {
	r   io.Reader
	err error
}

func (c *attentive) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
