package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"aloft/internal/backup"
	"aloft/internal/journal"
	"aloft/internal/member"
	"aloft/internal/store"
)

// The parts of a backup of a manager's home, in the order in which they are
// written. Those of identity and of content come under a prefix.
const (
	partAbout    = "about"
	partHomeID   = "home-id"
	partMachine  = "machine-id"
	partSettings = settingsFile
	partIdentity = "identity/"
	partRows     = "rows"
	partJournal  = "journal"
	partBlob     = "blob/"
)

// about says what a backup is of.
type about struct {
	Cluster  string    `json:"cluster"`
	Epoch    int64     `json:"epoch"`
	Name     string    `json:"name"` // of the member
	Managers []string  `json:"managers"`
	Made     time.Time `json:"made"`
	Build    string    `json:"build"`
}

// Backup writes what a home is restored from: the rows of the store at one
// instant, the content that they name, this manager's identity, ids and
// settings, and its host's journal. Without a quorum the rows are those that
// this manager has.
func (s service) Backup(ctx context.Context, to io.Writer) error { return s.m.backup(ctx, to) }

func (m *Manager) backup(ctx context.Context, to io.Writer) error {
	_, all, err := memberRows(ctx, store.Stale(m.world.Store))
	if err != nil {
		return err
	}
	of := about{Cluster: m.identity.Name().Cluster, Epoch: m.epoch(), Name: m.world.name(), Made: m.world.now().UTC(), Build: m.world.Build}
	for _, r := range member.Managers(all) {
		of.Managers = append(of.Managers, r.Name)
	}
	head, err := json.Marshal(of)
	if err != nil {
		return err
	}
	w := backup.NewWriter(to)
	text := func(name, content string) {
		_ = w.Part(name, func(w io.Writer) error { // the error stays
			_, err := io.WriteString(w, content)
			return err
		})
	}
	text(partAbout, string(head))
	text(partHomeID, m.world.HomeID+"\n")
	text(partMachine, m.world.MachineID+"\n")
	if err := m.backupFiles(w); err != nil {
		return err
	}
	named := &digests{found: map[string]bool{}}
	err = w.Part(partRows, func(w io.Writer) error {
		_, _, err := store.Backup(ctx, store.Stale(m.world.Store), io.MultiWriter(w, named))
		return err
	})
	if err != nil {
		return err
	}
	err = w.Part(partJournal, func(w io.Writer) error {
		return backupJournal(ctx, m.world.Journal, w)
	})
	if err != nil {
		return err
	}
	if err := m.backupContent(ctx, w, named.found); err != nil {
		return err
	}
	return w.Close()
}

// backupFiles writes the settings and what belongs to the identity.
func (m *Manager) backupFiles(w *backup.Writer) error {
	names := []string{settingsFile}
	entries, err := os.ReadDir(m.world.path("identity"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && plainName.MatchString(e.Name()) {
			names = append(names, partIdentity+e.Name())
		}
	}
	for _, name := range names {
		content, err := os.ReadFile(m.world.path(filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a home without settings, or a file that was being replaced
		}
		if err == nil {
			err = w.Part(name, func(w io.Writer) error {
				_, err := w.Write(content)
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainName is what a file of the identity is called.
var plainName = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9]+)+$`)

// backupContent writes the content that is here, and what the rows name and only
// other managers have.
func (m *Manager) backupContent(ctx context.Context, w *backup.Writer, named map[string]bool) error {
	here := map[string]bool{}
	if err := m.blobs.Each(func(digest string) error { here[digest] = true; return nil }); err != nil {
		return err
	}
	for digest := range named {
		if here[digest] {
			continue
		}
		f, err := m.kept().Open(ctx, digest)
		if err != nil { // perhaps it is the digest of something else
			m.world.Log.Info("backup: content that is not there", "digest", digest, "error", err)
			continue
		}
		f.Close()
		here[digest] = true
	}
	for _, digest := range slices.Sorted(maps.Keys(here)) {
		err := w.Part(partBlob+digest, func(w io.Writer) error {
			f, err := m.blobs.Open(digest)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// digests finds digests in what is written to it.
type digests struct {
	found map[string]bool
	tail  []byte
}

var digestForm = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

func (d *digests) Write(p []byte) (int, error) {
	const length = len("sha256:") + 64
	text := append(d.tail, p...)
	for _, found := range digestForm.FindAll(text, -1) {
		d.found[string(found)] = true
	}
	d.tail = slices.Clone(text[max(0, len(text)-length+1):])
	return len(p), nil
}

// backupJournal writes the rows of a journal, a backup of its own with a part for
// each.
func backupJournal(ctx context.Context, rows journal.Rows, to io.Writer) error {
	w := backup.NewWriter(to)
	err := rows.Scan(ctx, "", func(key string, value []byte, _ int64) error {
		return w.Part(key, func(w io.Writer) error {
			_, err := w.Write(value)
			return err
		})
	})
	if err != nil {
		return err
	}
	return w.Close()
}

// fillJournal makes a journal at path with the rows of a backup.
func fillJournal(ctx context.Context, path string, rows io.Reader) (err error) {
	file, err := journal.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var keys []string
	var values [][]byte
	var revisions []int64
	save := func() error {
		if len(keys) == 0 {
			return nil
		}
		_, err := file.Save(ctx, keys, values, revisions)
		keys, values, revisions = nil, nil, nil
		return err
	}
	err = backup.Read(rows, func(key string, content io.Reader) error {
		value, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		keys, values, revisions = append(keys, key), append(values, value), append(revisions, journal.Any)
		if len(keys) < 1000 {
			return nil
		}
		return save()
	})
	if err == nil {
		err = save()
	}
	if err != nil {
		return fmt.Errorf("restore the journal: %w", err)
	}
	return nil
}
