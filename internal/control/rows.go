package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/internal/control/controlpb"
	"aloft/internal/inventory"
	"aloft/internal/ownership"
	"aloft/internal/plan"
	"aloft/internal/store"
	"aloft/value"
)

// rows reads and writes the systems in the store.
type rows struct {
	kv    store.Reader
	blobs Blobs
}

var (
	systemTable    = store.Table[*controlpb.System]{Prefix: "system", Schema: headParts, Upgrade: func(uint32, *controlpb.System) error { return nil }}
	stepTable      = store.Table[*controlpb.Step]{Prefix: "step", Schema: 1}
	componentTable = store.Table[*controlpb.Component]{Prefix: "component", Schema: 1}
	machineTable   = store.Table[*controlpb.Machine]{Prefix: "machine", Schema: 1}
	leftTable      = store.Table[*controlpb.Machine]{Prefix: "left", Schema: 1} // by system and machine id
)

// The schemas of a system's head. What does not know of detached parts must not
// plan for a system that has some: it would end them.
const (
	headPlain = 1
	headParts = 2
)

// inline is the largest document kept in a row; a larger one becomes a blob.
const inline = 48 << 10

// document returns what to put in a row for content: itself, or its digest.
func (r rows) document(ctx context.Context, content []byte) (in []byte, blob string, err error) {
	if len(content) <= inline {
		return content, "", nil
	}
	blob, _, err = r.blobs.Put(ctx, bytes.NewReader(content))
	return nil, blob, err
}

func (r rows) content(ctx context.Context, in []byte, blob string) ([]byte, error) {
	if blob == "" {
		return in, nil
	}
	return r.blobs.Read(ctx, blob)
}

// names lists the systems.
func (r rows) names(ctx context.Context) ([]string, error) {
	heads, _, err := systemTable.List(ctx, r.kv)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(heads))
	for i, h := range heads {
		names[i] = h.Message.Name
	}
	return names, nil
}

// batch gathers writes that belong together; commit cuts them where the store
// wants no more at once, and every prefix of them is consistent. What is
// written last under a key is what counts: the store takes each key once.
type batch struct {
	writes []write
	last   map[string]int    // by key: which of writes counts
	on     []store.Condition // on which it is written
}

// write is a row, made when it is committed; without one its key is deleted.
type write struct {
	key string
	row func(context.Context) (store.Put, error)
}

func (b *batch) put(key string, row func(context.Context) (store.Put, error)) {
	if b.last == nil {
		b.last = map[string]int{}
	}
	b.last[key] = len(b.writes)
	b.writes = append(b.writes, write{key, row})
}

func (b *batch) drop(keys ...string) {
	for _, key := range keys {
		b.put(key, nil)
	}
}

// reserve is room in a transaction for the condition of the claim.
const reserve = 8 << 10

// commit writes b under the claim of its system.
func (r rows) commit(ctx context.Context, claim *ownership.Claim, b *batch) error {
	t := store.Txn{If: b.on}
	size := reserve
	flush := func() error {
		if len(t.Put)+len(t.Delete) == 0 {
			return nil
		}
		_, err := claim.Commit(ctx, t)
		t, size = store.Txn{If: b.on}, reserve
		return err
	}
	room := func(n int) error {
		if len(t.Put)+len(t.Delete) >= store.MaxTxnOp || size+n > store.MaxTxn {
			if err := flush(); err != nil {
				return err
			}
		}
		size += n
		return nil
	}
	// What is put goes before what is deleted: a row that others name is there
	// as long as they are.
	for i, w := range b.writes {
		if w.row == nil || b.last[w.key] != i {
			continue
		}
		p, err := w.row(ctx)
		if err != nil {
			return err
		}
		if err := room(len(p.Key) + len(p.Value)); err != nil {
			return err
		}
		t.Put = append(t.Put, p)
	}
	for i, w := range b.writes {
		if w.row != nil || b.last[w.key] != i {
			continue
		}
		if err := room(len(w.key)); err != nil {
			return err
		}
		t.Delete = append(t.Delete, w.key)
	}
	return flush()
}

func (r rows) putHead(b *batch, h *controlpb.System) {
	table := systemTable
	if len(h.Detached) == 0 {
		table.Schema = headPlain
	}
	b.put(systemTable.Key(h.Name), func(context.Context) (store.Put, error) { return table.Put(h, h.Name) })
}

func (r rows) putFact(b *batch, f *peerpb.Fact) {
	b.put(stepTable.Key(f.System, f.Step), func(ctx context.Context) (store.Put, error) {
		in, blob, err := r.document(ctx, f.Component)
		if err != nil {
			return store.Put{}, err
		}
		row := &controlpb.Step{Fact: &peerpb.Fact{
			System: f.System, Revision: f.Revision, Step: f.Step, Outcome: f.Outcome, Component: in, Record: f.Record, Plan: f.Plan,
		}, ComponentBlob: blob}
		return stepTable.Put(row, f.System, f.Step)
	})
}

func (r rows) putComponent(b *batch, system string, c inventory.Component) {
	b.put(componentTable.Key(system, string(c.Path)), func(ctx context.Context) (store.Put, error) {
		row := &controlpb.Component{Machine: string(c.Machine), OnHost: c.OnHost, Executor: c.Executor, Order: int32(c.Order), Flow: c.Flow}
		row.State = &peerpb.ComponentState{
			System: system, Revision: c.Revision, Path: string(c.Path), Class: c.Class, State: string(c.State), Reason: c.Reason,
			Digest: c.Digest, Record: inventory.RecordProto(c.Record), Restarts: c.Restarts,
		}
		var err1, err2 error
		row.State.Component, row.ComponentBlob, err1 = r.encoded(ctx, c.Resolved)
		row.Attributes, row.AttributesBlob, err2 = r.encoded(ctx, c.Attrs)
		if err := errors.Join(err1, err2); err != nil {
			return store.Put{}, fmt.Errorf("component %s: %w", c.Path, err)
		}
		return componentTable.Put(row, system, string(c.Path))
	})
}

// encoded returns what to put in a row for a component's attributes.
func (r rows) encoded(ctx context.Context, c *value.Component) (in []byte, blob string, err error) {
	if c == nil {
		return nil, "", nil
	}
	wire, err := value.Encode(c)
	if err != nil {
		return nil, "", err
	}
	return r.document(ctx, wire)
}

func (r rows) putMachine(b *batch, system string, m inventory.Machine) {
	putMachineIn(machineTable, b, m, system, string(m.Path))
}

func (r rows) putLeft(b *batch, system string, m inventory.Machine) {
	putMachineIn(leftTable, b, m, system, m.ID)
}

func putMachineIn(table store.Table[*controlpb.Machine], b *batch, m inventory.Machine, key ...string) {
	b.put(table.Key(key...), func(context.Context) (store.Put, error) {
		proposal, err := json.Marshal(m.Proposal)
		if err != nil {
			return store.Put{}, fmt.Errorf("machine %s: %w", m.Path, err)
		}
		row := &controlpb.Machine{Id: m.ID, Path: string(m.Path), Proposal: proposal, Since: timestamppb.New(m.Since), Lost: m.Lost}
		for _, d := range m.Data {
			row.Data = append(row.Data, &controlpb.LeftData{Path: string(d.Path), Class: d.Class, Directory: d.Directory})
		}
		return table.Put(row, key...)
	})
}

func (r rows) dropComponent(b *batch, system string, path value.Path) {
	b.drop(componentTable.Key(system, string(path)))
}

// inventory reads what is held of a system.
func (r rows) inventory(ctx context.Context, h *controlpb.System) (*inventory.System, error) {
	inv := (&inventory.System{
		Name: h.Name, File: h.File, Revision: h.Revision, Digest: h.Description, OnFailure: h.OnFailure,
		Detached: detachedIn(h),
	}).Clone()
	components, _, err := componentTable.List(ctx, r.kv, h.Name)
	if err != nil {
		return nil, err
	}
	for _, row := range components {
		c, err := r.component(ctx, row.Message)
		if err != nil {
			return nil, fmt.Errorf("component %s: %w", row.Key, err)
		}
		inv.Components[c.Path] = c
	}
	machines, err := r.machines(ctx, machineTable, h.Name)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		inv.Machines[m.Path] = m
	}
	left, err := r.machines(ctx, leftTable, h.Name)
	for _, m := range left {
		inv.Left[m.ID] = m
	}
	return inv, err
}

func (r rows) machines(ctx context.Context, table store.Table[*controlpb.Machine], system string) ([]inventory.Machine, error) {
	list, _, err := table.List(ctx, r.kv, system)
	if err != nil {
		return nil, err
	}
	machines := make([]inventory.Machine, len(list))
	for i, row := range list {
		m := inventory.Machine{ID: row.Message.Id, Path: value.Path(row.Message.Path), Since: row.Message.Since.AsTime(), Lost: row.Message.Lost}
		if err := json.Unmarshal(row.Message.Proposal, &m.Proposal); err != nil {
			return nil, fmt.Errorf("machine %s: %w", row.Key, err)
		}
		for _, d := range row.Message.Data {
			m.Data = append(m.Data, inventory.Data{Path: value.Path(d.Path), Class: d.Class, Directory: d.Directory})
		}
		machines[i] = m
	}
	return machines, nil
}

func (r rows) component(ctx context.Context, row *controlpb.Component) (inventory.Component, error) {
	st := row.State
	c := inventory.Component{
		Path: value.Path(st.Path), Class: st.Class, Machine: value.Path(row.Machine), OnHost: row.OnHost, Executor: row.Executor,
		Order: int(row.Order), Digest: st.Digest, State: inventory.State(st.State), Reason: st.Reason,
		Record: inventory.RecordFromProto(st.Record), Restarts: st.Restarts, Revision: st.Revision, Flow: row.Flow,
	}
	decode := func(in []byte, blob string) (*value.Component, error) {
		wire, err := r.content(ctx, in, blob)
		if err != nil || len(wire) == 0 {
			return nil, err
		}
		return decodeComponent(wire)
	}
	var err1, err2 error
	c.Resolved, err1 = decode(st.Component, row.ComponentBlob)
	c.Attrs, err2 = decode(row.Attributes, row.AttributesBlob)
	return c, errors.Join(err1, err2)
}

// facts reads the settled steps of a plan.
func (r rows) facts(ctx context.Context, system, planID string) ([]*peerpb.Fact, error) {
	list, _, err := stepTable.List(ctx, r.kv, system)
	if err != nil {
		return nil, err
	}
	var facts []*peerpb.Fact
	for _, row := range list {
		f := row.Message.Fact
		if f.Plan != planID {
			continue
		}
		if f.Component, err = r.content(ctx, f.Component, row.Message.ComponentBlob); err != nil {
			return nil, fmt.Errorf("step %s: %w", f.Step, err)
		}
		facts = append(facts, f)
	}
	return facts, nil
}

// dropSteps drops the settled steps of the plans before.
func (r rows) dropSteps(ctx context.Context, b *batch, system string) error {
	list, _, err := r.kv.List(ctx, stepTable.Under(system))
	if err != nil {
		return err
	}
	for _, e := range list {
		b.drop(e.Key)
	}
	return nil
}

func decodeComponent(wire []byte) (*value.Component, error) {
	v, err := value.Decode(wire)
	if err != nil {
		return nil, err
	}
	c, ok := v.(*value.Component)
	if !ok {
		return nil, fmt.Errorf("a %s where a component is expected", v.Kind())
	}
	return c, nil
}

func (r rows) plan(ctx context.Context, digest string) (*plan.Plan, error) {
	b, err := r.blobs.Read(ctx, digest)
	if err != nil {
		return nil, err
	}
	return plan.Decode(b)
}
