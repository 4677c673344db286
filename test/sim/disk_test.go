package sim

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"aloft/internal/journal/journalpb"
	"aloft/internal/store"
)

// errPower is what a daemon gets that writes after its end.
var errPower = errors.New("the power is off")

// power is one daemon's supply. When it is off nothing the daemon does reaches
// its disk or the store any more.
//
// A write is durable when it has returned. One that is under way when the power
// fails may be kept or lost, each by itself: that is what a disk does with what
// was not synced, and a store with a proposal whose proposer is gone. A Save is
// kept or lost whole; that the journal's file keeps this promise over torn pages
// is tested where the file is (package journal). Files beside the journal are
// replaced whole (TestFilesAreWrittenWhole), so of them there is nothing to tear.
type power struct {
	slow int             // others get their turn up to so often before a write is durable
	luck func(n int) int // draws from the seed
	tell func(lost bool) // of each write that was under way at the end; or nil

	mu sync.Mutex
	// guarded by mu
	off    bool
	writes int
	fuse   int      // the power fails at this write; 0: never
	blown  func()   // called when the fuse has blown
	lost   []func() // what a crash takes back of a planted fault
	under  []*write // begun and not durable, in order
}

// write is a change on its way to a disk or to the store.
type write struct {
	change func()
	over   bool // carried out, or lost
}

// cut ends the daemon as SIGKILL and a power failure do.
func (p *power) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail()
}

func (p *power) fail() {
	if p.off {
		return
	}
	p.off = true
	for _, w := range p.under {
		w.over = true
		lost := p.luck(2) == 0
		if !lost {
			w.change()
		}
		if p.tell != nil {
			p.tell(lost)
		}
	}
	p.under = nil
	for _, undo := range slices.Backward(p.lost) {
		undo()
	}
	p.lost = nil
}

// write performs one durable change while there is power. It takes no fake time:
// rooms write while they hold a lock, and synctest's time stands still while a
// goroutine waits for one.
func (p *power) write(change func()) error {
	p.mu.Lock()
	if p.off {
		p.mu.Unlock()
		return errPower
	}
	p.writes++
	w := &write{change: change}
	p.under = append(p.under, w)
	if p.writes == p.fuse {
		p.fail()
		go p.blown()
		p.mu.Unlock()
		return errPower
	}
	turns := 0
	if p.slow > 0 {
		turns = p.luck(p.slow)
	}
	p.mu.Unlock()
	for range turns {
		runtime.Gosched()
	}
	return p.settle(w)
}

// settle makes a write durable.
func (p *power) settle(w *write) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.over {
		return errPower // and nobody learns how it went
	}
	p.under = slices.DeleteFunc(p.under, func(u *write) bool { return u == w })
	w.over = true
	w.change()
	return nil
}

// disk is the journal's rows of a daemon, which outlive it.
type disk struct {
	watch func(key string, old, now []byte) // told of every change that is durable; or nil

	mu sync.Mutex
	// guarded by mu
	rows     map[string]row
	revision int64
}

type row struct {
	value    []byte
	revision int64
}

// newDisk returns the empty disk of a daemon. Fences on it are seen never to go
// back (runtime.md DI8).
func (w *world) newDisk(daemon string) *disk {
	return &disk{rows: map[string]row{}, watch: func(key string, old, now []byte) {
		if !strings.HasPrefix(key, "fence/") || old == nil {
			return
		}
		var before, after journalpb.Fence
		if proto.Unmarshal(old, &before) != nil || now == nil || proto.Unmarshal(now, &after) != nil ||
			cmp.Or(cmp.Compare(after.Epoch, before.Epoch), cmp.Compare(after.Term, before.Term)) < 0 {
			w.stage.mu.Lock()
			w.stage.never("on the disk of %s %s goes back from %v to %v", daemon, key, &before, &after)
			w.stage.mu.Unlock()
		}
	}}
}

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
	values = slices.Clone(values)
	for i := range values {
		values[i] = slices.Clone(values[i])
	}
	err = d.power.write(func() {
		if planted(halfSave) && d.power.off {
			n := len(keys) / 2
			d.apply(keys[:n], values[:n], revisions[:n])
			return
		}
		saved = d.apply(keys, values, revisions)
	})
	return saved && err == nil, err
}

func (d *disk) apply(keys []string, values [][]byte, revisions []int64) (saved bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, key := range keys {
		if revisions[i] >= 0 && d.rows[key].revision != revisions[i] {
			return false
		}
	}
	for i, key := range keys {
		if d.watch != nil {
			d.watch(key, d.rows[key].value, values[i])
		}
		if values[i] == nil {
			delete(d.rows, key)
			continue
		}
		d.revision++
		d.rows[key] = row{values[i], d.revision}
	}
	return true
}

// powered is the store as one manager reaches it. Rooms write while they hold a
// lock, for which fake time does not stop: so a write never waits. One that
// cannot reach the store fails at once, and that of a daemon which is frozen
// arrives when it thaws.
type powered struct {
	store.KV
	seat   *seat
	memory *store.Memory
	power  *power
}

func (p powered) Commit(ctx context.Context, t store.Txn) (revision int64, err error) {
	if planted(noConditions) {
		t.If = nil
	}
	if p.seat.keeps(t) {
		return 0, &store.QuorumError{}
	}
	off := p.power.write(func() { revision, err = p.memory.Commit(context.WithoutCancel(ctx), t) })
	return revision, cmp.Or(off, err)
}
