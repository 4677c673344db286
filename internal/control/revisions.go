package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/internal/control/controlpb"
	"aloft/internal/plan"
	"aloft/internal/store"
	"aloft/value"
)

// maxRevisions is how many revisions of a system are remembered.
const maxRevisions = 200

// Of the failures of a revision so many are remembered, and so many bytes of
// their causes.
const (
	maxFailures = 10
	maxCause    = 1000
)

// revisionTable has a row for each revision of a system that is remembered.
var revisionTable = store.Table[*controlpb.Revision]{Prefix: "revision", Schema: 1}

// revisionKey has the keys of a system's revisions in their order.
func revisionKey(revision int64) string { return fmt.Sprintf("%019d", revision) }

func (r rows) putRevision(b *batch, system string, v *controlpb.Revision) {
	key := revisionKey(v.Revision)
	b.put(revisionTable.Key(system, key), func(context.Context) (store.Put, error) { return revisionTable.Put(v, system, key) })
}

// revisions returns the revisions of a system that are remembered, the oldest
// first.
func (r rows) revisions(ctx context.Context, system string) ([]*controlpb.Revision, error) {
	list, _, err := revisionTable.List(ctx, r.kv, system)
	if err != nil {
		return nil, err
	}
	revisions := make([]*controlpb.Revision, len(list))
	for i, row := range list {
		revisions[i] = row.Message
	}
	slices.SortFunc(revisions, func(a, b *controlpb.Revision) int { return int(a.Revision - b.Revision) })
	return revisions, nil
}

// revision returns one revision of a system, nil if it is not remembered.
func (r rows) revision(ctx context.Context, system string, revision int64) (*controlpb.Revision, error) {
	row, err := revisionTable.Get(ctx, r.kv, system, revisionKey(revision))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return row.Message, err
}

// dropRevisions drops the rows of a system that is gone.
func (r rows) dropRevisions(ctx context.Context, b *batch, system string) error {
	list, _, err := r.kv.List(ctx, revisionTable.Under(system))
	for _, e := range list {
		b.drop(e.Key)
	}
	return err
}

// enterRevision enters that a plan leads to a revision, and forgets what was
// very long ago.
func (c *Control) enterRevision(ctx context.Context, b *batch, p *plan.Plan, head *controlpb.System) *controlpb.Revision {
	v := &controlpb.Revision{
		Revision: head.Revision, State: head.Deployment, Cause: p.Cause, By: api.CallerOf(ctx).Name, File: head.File,
		Description: head.Description, DescriptionBlob: head.DescriptionBlob, WrittenBlob: head.WrittenBlob,
		Plan: p.ID, Summary: summary(p), Since: head.Since,
	}
	c.store.putRevision(b, head.Name, v)
	if old := head.Revision - maxRevisions; old > 0 {
		b.drop(revisionTable.Key(head.Name, revisionKey(old)))
	}
	return v
}

// endRevision enters how the newest plan has ended. The lock is held.
func (s *system) endRevision(b *batch, deployment string) {
	if s.revision == nil || s.revision.Plan != s.plan.ID {
		return // accepted by a version that kept none
	}
	v := proto.CloneOf(s.revision)
	v.State, v.Ended = deployment, timestamppb.New(s.control.now())
	for _, f := range s.failures[:min(len(s.failures), maxFailures)] {
		cause := f.Cause[:min(len(f.Cause), maxCause)]
		v.Failures = append(v.Failures, strings.ToValidUTF8(fmt.Sprintf("%s %s: %s", f.Operation, f.Path, cause), ""))
	}
	s.control.store.putRevision(b, s.name, v)
	s.revision = v
}

// Revisions lists the revisions of a system that are remembered, the oldest
// first.
func (c *Control) Revisions(ctx context.Context, name string) ([]api.Revision, error) {
	p, err := c.picture(ctx, name)
	if err != nil {
		return nil, err
	}
	all, err := c.known.revisions(ctx, p.head.Name)
	if err != nil {
		return nil, err
	}
	if p.top != value.Root { // of a part that was detached that is all there is
		all = slices.DeleteFunc(all, func(v *controlpb.Revision) bool { return v.Revision != p.head.Revision })
	}
	list := make([]api.Revision, len(all))
	for i, v := range all {
		list[i] = api.Revision{
			Revision: v.Revision, State: revisionStates[v.State], Current: v.Revision == p.head.Revision, Cause: v.Cause, By: v.By,
			File: v.File, Digest: v.Description, Plan: v.Plan, Summary: v.Summary, Since: v.Since.AsTime(), Failures: v.Failures,
		}
		if v.Ended != nil {
			list[i].Ended = v.Ended.AsTime()
		}
	}
	return list, nil
}

var revisionStates = map[string]string{
	api.DeploymentRunning: api.RevisionUnderWay, api.DeploymentDone: api.RevisionRunning,
	api.DeploymentDegraded: api.RevisionDegraded, api.DeploymentCancelled: api.RevisionCancelled,
}

// Written returns the text that a revision was made from; 0: the present one.
func (c *Control) Written(ctx context.Context, name string, revision int64) (*api.Written, error) {
	p, err := c.picture(ctx, name)
	if err != nil {
		return nil, err
	}
	if p.top != value.Root {
		return nil, notWritten(p)
	}
	blob := p.head.WrittenBlob
	if revision != 0 && revision != p.head.Revision {
		v, err := c.known.revision(ctx, name, revision)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, noRevision(name, revision)
		}
		blob = v.WrittenBlob
	} else {
		revision = p.head.Revision
	}
	if blob == "" {
		return nil, &api.Error{
			Kind: api.KindNotFound, Message: fmt.Sprintf("revision %d of system %s was given without its text", revision, name),
			Remedy: "change its file, and deploy it with: aloft up FILE --name " + name,
		}
	}
	w, err := c.readWritten(ctx, blob)
	if err != nil {
		return nil, err
	}
	w.Revision = revision
	return w, nil
}

// readWritten reads the text of a description from where it is kept.
func (c *Control) readWritten(ctx context.Context, blob string) (*api.Written, error) {
	text, err := c.cfg.Blobs.Read(ctx, blob)
	if err != nil {
		return nil, err
	}
	return decodeWritten(text)
}

// decodeWritten reads the text of a description as it is kept.
func decodeWritten(text []byte) (*api.Written, error) {
	w := &api.Written{}
	if err := json.Unmarshal(text, w); err != nil {
		return nil, fmt.Errorf("text of the description: %w", err)
	}
	if len(w.Folders) == 0 {
		return nil, errors.New("text of the description: it names no folder")
	}
	return w, nil
}

func noRevision(name string, revision int64) *api.Error {
	return &api.Error{
		Kind: api.KindNotFound, Message: fmt.Sprintf("revision %d of system %s is not known", revision, name),
		Remedy: "list the revisions with: aloft history " + name,
	}
}

// gone is the description of a system of which only what was detached is left.
var gone = value.Digest(noDescription)

// lastThatRan returns the revision that a rollback leads to which names none:
// the last one that ran before the system got its present description. Where
// that did not come to run it may be the same one, as after an undo that failed:
// then the rollback does what is missing of it. It is nil where there is none.
func lastThatRan(all []*controlpb.Revision) *controlpb.Revision {
	now, begun, ran := all[len(all)-1], len(all), false
	for begun > 0 && all[begun-1].Description == now.Description {
		begun--
		ran = ran || all[begun].State == api.DeploymentDone
	}
	for _, v := range slices.Backward(all[:begun]) {
		if v.State == api.DeploymentDone && v.Description != gone && !(ran && v.Description == now.Description) {
			return v
		}
	}
	return nil
}

// earlier returns the request for the description of an earlier revision, and
// where its text is.
func (c *Control) earlier(ctx context.Context, r api.PlanRequest) (_ api.PlanRequest, written string, err error) {
	all, err := c.store.revisions(ctx, r.Name)
	if err != nil {
		return r, "", err
	}
	if len(all) == 0 {
		return r, "", c.unknown(ctx, r.Name)
	}
	now := all[len(all)-1]
	to := lastThatRan(all)
	if r.To != 0 {
		i := slices.IndexFunc(all, func(v *controlpb.Revision) bool {
			return v.Revision == r.To && (v == now || v.Description != gone)
		})
		to = nil
		if i >= 0 {
			to = all[i]
		}
	}
	switch {
	case to == nil && r.To == 0:
		return r, "", &api.Error{
			Kind: api.KindNotFound, Message: fmt.Sprintf("no revision of system %s before %d ran with another description", r.Name, now.Revision),
			Remedy: "list the revisions with: aloft history " + r.Name,
		}
	case to == nil:
		return r, "", noRevision(r.Name, r.To)
	}
	r.Rollback, r.To, r.File, r.AllowUnresolved = false, to.Revision, to.File, true // as it was taken
	if r.Cause == "" {
		r.Cause = fmt.Sprintf("rollback to %d", to.Revision)
	}
	r.Description, err = c.cfg.Blobs.Read(ctx, to.DescriptionBlob)
	return r, to.WrittenBlob, err
}
