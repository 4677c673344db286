package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/secret"
	"aloft/internal/secret/secretpb"
	"aloft/internal/store"
)

// secrets keeps the secrets of the installation: sealed rows of the store, which
// every manager can open.
type secrets struct {
	kv       store.KV
	identity *identity.Manager
}

var secretTable = store.Table[*secretpb.Secret]{Prefix: "secret", Schema: 1}

// byItself is who made up the content of a secret that nobody had set.
const byItself = "aloft"

func (s secrets) keys(ctx context.Context) (secret.Keys, error) {
	keys, err := s.identity.SecretKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("keys of secrets: %w", err)
	}
	return keys, nil
}

// change writes a secret's row as edit leaves it, unless edit returns an error.
func (s secrets) change(ctx context.Context, name string, edit func(row *secretpb.Secret, exists bool) error) (*secretpb.Secret, error) {
	for {
		row := store.Row[*secretpb.Secret]{Message: &secretpb.Secret{Name: name}}
		found, err := secretTable.Get(ctx, s.kv, name)
		switch {
		case err == nil:
			row = found
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		if err := edit(row.Message, row.Revision != 0); err != nil {
			return nil, err
		}
		put, err := secretTable.Put(row.Message, name)
		if err != nil {
			return nil, err
		}
		_, err = s.kv.Commit(ctx, store.Txn{If: []store.Condition{{Key: put.Key, Revision: row.Revision}}, Put: []store.Put{put}})
		if !errors.Is(err, store.ErrConflict) {
			return row.Message, err
		}
	}
}

// set gives a secret its content.
func (s secrets) set(ctx context.Context, name string, content []byte, by string) (*secretpb.Secret, error) {
	keys, err := s.keys(ctx)
	if err != nil {
		return nil, err
	}
	return s.change(ctx, name, func(row *secretpb.Secret, _ bool) error {
		row.By, row.Changed = by, timestamppb.Now()
		return keys.Put(row, secret.NewValue(content))
	})
}

// errMade ends a change that there is no need for.
var errMade = errors.New("nothing to change")

// Make makes up the contents of those of the secrets that there are not yet.
func (s secrets) Make(ctx context.Context, names []string) error {
	keys, err := s.keys(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, err := s.change(ctx, name, func(row *secretpb.Secret, exists bool) error {
			if exists {
				return errMade
			}
			row.By, row.Changed = byItself, timestamppb.Now()
			return keys.Put(row, secret.NewValue([]byte(rand.Text())))
		})
		if err != nil && !errors.Is(err, errMade) {
			return fmt.Errorf("make secret %s: %w", name, err)
		}
	}
	return nil
}

// Versions returns the versions of the secrets there are, by name.
func (s secrets) Versions(ctx context.Context) (map[string]int64, error) {
	rows, _, err := secretTable.List(ctx, s.kv)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]int64, len(rows))
	for _, r := range rows {
		versions[r.Message.Name] = r.Message.Version
	}
	return versions, nil
}

// refresh seals everything with the newest key, and has the older ones
// forgotten: who was a manager once may have kept those.
func (s secrets) refresh(ctx context.Context) error {
	keys, err := s.keys(ctx)
	if err != nil || len(keys) < 2 {
		return err
	}
	versions, err := s.Versions(ctx)
	if err != nil {
		return err
	}
	for name := range versions {
		_, err := s.change(ctx, name, func(row *secretpb.Secret, exists bool) error {
			if !exists {
				return errMade // removed meanwhile
			}
			changed, err := keys.Refresh(row)
			if err == nil && !changed {
				return errMade
			}
			return err
		})
		if err != nil && !errors.Is(err, errMade) {
			return err
		}
	}
	return s.identity.ForgetSecretKeys(ctx, keys[0].Recipient().String())
}

// keepSealed keeps secrets sealed with the newest key, whenever who belongs to
// the cluster has changed, until ctx ends.
func (m *Manager) keepSealed(ctx context.Context) error {
	const again = time.Minute
	for ctx.Err() == nil {
		changed := m.identity.Changed()
		wait := (<-chan time.Time)(nil)
		if err := m.secrets.refresh(ctx); err != nil && ctx.Err() == nil {
			m.world.Log.Warn("secrets are not sealed anew yet", "error", err)
			wait = time.After(again)
		}
		select {
		case <-changed:
		case <-wait:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// content opens a secret.
func (s secrets) content(ctx context.Context, name string) (*secretpb.Secret, secret.Value, error) {
	row, err := secretTable.Get(ctx, s.kv, name)
	if err != nil {
		return nil, secret.Value{}, err
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return nil, secret.Value{}, err
	}
	v, err := keys.Get(row.Message)
	return row.Message, v, err
}

// Secret gives a machine the content of a secret that a component there refers
// to. A newer content than was planned is given as well: the one before is gone.
func (o owner) Secret(ctx context.Context, r *peerpb.SecretRequest) (*peerpb.SecretReply, error) {
	from, _, err := reporter(ctx, r.Machine)
	if err != nil {
		return nil, err
	}
	if err := o.m.control.MayOpen(ctx, from, r.System, r.Name); err != nil {
		return nil, err
	}
	row, v, err := o.m.secrets.content(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	return &peerpb.SecretReply{Content: v.Reveal(), Version: row.Version}, nil
}

// Secrets lists the secrets by name.
func (s service) Secrets(ctx context.Context) ([]api.Secret, error) {
	rows, _, err := secretTable.List(ctx, s.m.world.Store)
	if err != nil {
		return nil, err
	}
	users, err := s.SecretUsers(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.Secret, 0, len(rows))
	for _, r := range rows {
		list = append(list, public(r.Message, users))
	}
	return list, nil
}

func public(row *secretpb.Secret, users map[string][]string) api.Secret {
	systems := users[row.Name]
	if systems == nil {
		systems = []string{}
	}
	return api.Secret{Name: row.Name, Version: row.Version, Changed: row.Changed.AsTime(), By: row.By, Systems: systems}
}

// SetSecret gives a secret its content.
func (s service) SetSecret(ctx context.Context, name string, content []byte) (*api.Secret, error) {
	if err := secret.CheckName(name); err != nil {
		return nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
	}
	if len(content) == 0 || len(content) > secret.MaxValue {
		return nil, &api.Error{Kind: api.KindInvalid, Message: fmt.Sprintf("secret %s: a content has 1 to %d bytes, this one has %d", name, secret.MaxValue, len(content))}
	}
	row, err := s.m.secrets.set(ctx, name, content, api.CallerOf(ctx).Name)
	if err != nil {
		return nil, err
	}
	users, err := s.SecretUsers(ctx)
	if err != nil {
		return nil, err
	}
	answer := public(row, users)
	return &answer, nil
}

// RemoveSecret removes a secret that no system refers to.
func (s service) RemoveSecret(ctx context.Context, name string) (*api.Secret, error) {
	row, err := secretTable.Get(ctx, s.m.world.Store, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("there is no secret %q", name), Remedy: "list them with: aloft secret list"}
	}
	if err != nil {
		return nil, err
	}
	users, err := s.SecretUsers(ctx)
	if err != nil {
		return nil, err
	}
	if systems := users[name]; len(systems) > 0 {
		return nil, &api.Error{
			Kind: api.KindConflict, Message: fmt.Sprintf("secret %s is in use by %s", name, english(systems)),
			Remedy: "take it out of their descriptions first, or end them",
		}
	}
	_, err = s.m.world.Store.Commit(ctx, store.Txn{
		If: []store.Condition{{Key: row.Key, Revision: row.Revision}}, Delete: []string{row.Key},
	})
	if errors.Is(err, store.ErrConflict) {
		return nil, &api.Error{Kind: api.KindConflict, Message: fmt.Sprintf("secret %s was set meanwhile", name), Remedy: "look at it with: aloft secret list"}
	}
	answer := public(row.Message, nil)
	return &answer, err
}

// english lists names in a sentence.
func english(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) == 1 {
		return "system " + names[0]
	}
	last := len(names) - 1
	return "systems " + strings.Join(names[:last], ", ") + " and " + names[last]
}
