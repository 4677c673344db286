package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/internal/journal/journalpb"
)

// ErrState says that a resource cannot go from its state to the one asked for.
var ErrState = errors.New("a resource never goes back")

// Intend records that a resource is about to be asked for. When it returns
// nil the provider may be called. Repeating it with the same token is nothing
// new as long as the row is an intent.
func (j *Journal) Intend(ctx context.Context, r *journalpb.Resource) error {
	old, revision, err := j.resources.load(ctx, r.GetToken())
	if err != nil {
		return err
	}
	if revision != 0 {
		if old.GetState() != journalpb.Resource_STATE_INTENT {
			return fmt.Errorf("resource %s: %w: it is %s", r.GetToken(), ErrState, old.GetState())
		}
		return nil
	}
	r.State = journalpb.Resource_STATE_INTENT
	r.Intended = timestamppb.New(time.Now())
	return j.putResource(ctx, r, 0)
}

// Advance changes the row of a resource: change sets a later state and what
// came with it. States go from intent to created, destroying and destroyed,
// never back; leaving out some is allowed, staying too. Each state's time is
// recorded once.
func (j *Journal) Advance(ctx context.Context, token string, change func(*journalpb.Resource)) error {
	r, revision, err := j.resources.load(ctx, token)
	if err != nil {
		return err
	}
	if revision == 0 {
		return fmt.Errorf("resource %s is not in the ledger", token)
	}
	from := r.GetState()
	change(r)
	if r.GetToken() != token {
		return fmt.Errorf("resource %s: its token cannot change", token)
	}
	if r.GetState() < from {
		return fmt.Errorf("resource %s: %w: from %s to %s", token, ErrState, from, r.GetState())
	}
	now := timestamppb.New(time.Now())
	switch at := r.GetState(); {
	case at == from:
	case at == journalpb.Resource_STATE_CREATED:
		r.Created = now
	case at == journalpb.Resource_STATE_DESTROYING:
		r.Destroying = now
	case at == journalpb.Resource_STATE_DESTROYED:
		r.Destroyed = now
	}
	return j.putResource(ctx, r, revision)
}

func (j *Journal) putResource(ctx context.Context, r *journalpb.Resource, revision int64) error {
	w := j.resources.Set(r)
	w.revision = revision
	saved, err := j.save(ctx, []Write{w})
	if err == nil && !saved {
		err = errRaced
	}
	if err != nil {
		return fmt.Errorf("resource %s: %w", r.GetToken(), err)
	}
	return nil
}

// Resource returns the ledger's row of a token; ok is false when there is none.
func (j *Journal) Resource(ctx context.Context, token string) (r *journalpb.Resource, ok bool, err error) {
	return j.resources.Get(ctx, token)
}

// Resources returns the whole ledger, sorted by token.
func (j *Journal) Resources(ctx context.Context) ([]*journalpb.Resource, error) {
	return j.resources.List(ctx)
}

// DropResource deletes the row of a destroyed resource.
func (j *Journal) DropResource(ctx context.Context, token string) error {
	r, revision, err := j.resources.load(ctx, token)
	if err != nil || revision == 0 {
		return err
	}
	if r.GetState() != journalpb.Resource_STATE_DESTROYED {
		return fmt.Errorf("resource %s: %s: only what is destroyed can be dropped", token, r.GetState())
	}
	w := j.resources.Drop(token)
	w.revision = revision
	_, err = j.save(ctx, []Write{w})
	return err
}
