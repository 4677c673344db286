package local

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"aloft/internal/drivers/local/ident"
	"aloft/internal/drivers/local/light"
	"aloft/provider"
)

// phase is how far a machine is in its books.
type phase string

const (
	making     phase = "making"     // parts of it may exist
	made       phase = "made"       // all of it exists on disk; it runs or is stopped
	destroying phase = "destroying" // parts of it may exist; it does not come back
)

// record is what the driver keeps about a machine on disk. It is written
// before anything of the machine is made, and removed after all of it is gone.
type record struct {
	Ref      string            `json:"ref"` // a UUID; the name of the machine's folder
	Token    string            `json:"token"`
	Name     string            `json:"name"`
	Mark     provider.Mark     `json:"mark"`
	Spec     provider.Proposal `json:"spec"`
	UserData []byte            `json:"user_data"`
	Form     Form              `json:"form"`
	Offset   int               `json:"offset"` // of the address in the home's network
	Address  netip.Addr        `json:"address"`
	Bridge   int               `json:"bridge"`
	Stack    []light.Layer     `json:"stack,omitempty"`
	Created  time.Time         `json:"created"`
	Phase    phase             `json:"phase"`
	Stopped  bool              `json:"stopped"` // by Operate
	Run      ident.Process     `json:"run"`     // that keeps it, as of the last boot
}

// machine is a machine of this driver.
type machine struct {
	// busy is held by whoever changes the machine.
	busy chan struct{}

	// guarded by Driver.mu; written only by who holds busy too.
	rec record
}

func newMachine(r record) *machine { return &machine{busy: make(chan struct{}, 1), rec: r} }

// lock waits until nobody else changes the machine.
func (m *machine) lock(ctx context.Context) error {
	select {
	case m.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *machine) unlock() { <-m.busy }

// inWork reports whether somebody changes the machine.
func (m *machine) inWork() bool { return len(m.busy) > 0 }

const recordFile = "record.json"

func (d *Driver) folderOf(ref string) string { return filepath.Join(d.folder(), ref) }

// save writes a machine's record. Durable says that it must survive a crash of
// the host, not just of this process.
func (d *Driver) save(r record, durable bool) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := d.folderOf(r.Ref)
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return replace(filepath.Join(dir, recordFile), b, durable)
}

// replace writes a file in one step.
func replace(path string, b []byte, durable bool) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func readRecord(dir string) (record, error) {
	var r record
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	if r.Ref != filepath.Base(dir) || r.Token == "" {
		return r, errors.New("is not that machine's")
	}
	return r, nil
}

// newRef returns the id of a machine to be made: the one it has in its system
// unless that is no UUID or another's, else one that follows from the token.
func newRef(req provider.Request, taken func(string) bool) string {
	if id, err := uuid.Parse(req.Mark.Machine); err == nil && !taken(id.String()) {
		return id.String()
	}
	sum := sha256.Sum256([]byte("machine of token " + req.Token))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8, the variant of RFC 9562
	return id.String()
}
