package sim

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"aloft/internal/store"
)

// errPower is what a daemon gets that writes after its end.
var errPower = errors.New("the power is off")

// power is one daemon's supply. When it is off nothing the daemon does reaches
// its disk any more, as after SIGKILL.
type power struct {
	mu     sync.Mutex
	off    bool
	writes int
	fuse   int    // the power fails at this write; 0: never
	last   bool   // … which still reaches the disk
	blown  func() // called when the fuse has blown
}

func (p *power) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
}

// write performs one durable change while there is power.
func (p *power) write(change func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return errPower
	}
	p.writes++
	if p.writes != p.fuse {
		return change()
	}
	p.off = true
	go p.blown()
	if p.last {
		_ = change() // nobody learns how it went
	}
	return errPower
}

// disk is the journal's rows of a daemon, which outlive it.
type disk struct {
	mu       sync.Mutex
	rows     map[string]row
	revision int64
}

type row struct {
	value    []byte
	revision int64
}

func newDisk() *disk { return &disk{rows: map[string]row{}} }

// drive is a disk as one daemon writes it. It implements journal.Rows.
type drive struct {
	*disk
	power *power
}

func (d *disk) Load(_ context.Context, key string) ([]byte, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.rows[key]
	return slices.Clone(r.value), r.revision, nil
}

func (d *disk) Scan(_ context.Context, prefix string, visit func(string, []byte, int64) error) error {
	type named struct {
		key string
		row
	}
	var found []named
	d.mu.Lock()
	for key, r := range d.rows {
		if strings.HasPrefix(key, prefix) {
			found = append(found, named{key, r})
		}
	}
	d.mu.Unlock()
	slices.SortFunc(found, func(a, b named) int { return cmp.Compare(a.key, b.key) })
	for _, f := range found {
		if err := visit(f.key, slices.Clone(f.value), f.revision); err != nil {
			return err
		}
	}
	return nil
}

func (d drive) Save(_ context.Context, keys []string, values [][]byte, revisions []int64) (saved bool, err error) {
	err = d.power.write(func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, key := range keys {
			if revisions[i] >= 0 && d.rows[key].revision != revisions[i] {
				return nil
			}
		}
		for i, key := range keys {
			if values[i] == nil {
				delete(d.rows, key)
				continue
			}
			d.revision++
			d.rows[key] = row{slices.Clone(values[i]), d.revision}
		}
		saved = true
		return nil
	})
	return saved, err
}

// powered is the store as one manager reaches it.
type powered struct {
	store.KV
	power *power
}

func (p powered) Commit(ctx context.Context, t store.Txn) (revision int64, err error) {
	err = p.power.write(func() error {
		revision, err = p.KV.Commit(ctx, t)
		return err
	})
	return revision, err
}

// readOnly returns the disk for those who only look.
func (d *disk) readOnly() drive { return drive{d, &power{off: true}} }
