package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"filippo.io/age"
)

// joinRequest is what a joiner asks: JSON, between two of this package.
type joinRequest struct {
	Identity []byte `json:"identity"` // certificate request, PKCS#10 in DER
	// Of a manager only: requests for its intermediate and its store peer, and
	// whom the keys are to be sealed for.
	Intermediate []byte `json:"intermediate,omitempty"`
	Store        []byte `json:"store,omitempty"`
	Recipient    string `json:"recipient,omitempty"`
}

// joinReply is the answer.
type joinReply struct {
	Chain  [][]byte `json:"chain"` // of the joiner, leaf first, DER
	Roots  [][]byte `json:"roots"` // to trust, DER
	Roster []byte   `json:"roster"`
	// To a manager only: certificates of its intermediate and its store peer,
	// DER, and the keyring.
	Intermediate []byte          `json:"intermediate,omitempty"`
	Store        []byte          `json:"store,omitempty"`
	Keys         json.RawMessage `json:"keys,omitempty"`
}

// maxJoin bounds what is decoded of a join request or its answer.
const maxJoin = 1 << 20

func decodeJoin(what string, content []byte, to any) error {
	if len(content) > maxJoin {
		return refuse("%s of %d bytes: at most %d are read", what, len(content), maxJoin)
	}
	if err := json.Unmarshal(content, to); err != nil {
		return refuse("%s: %v", what, err)
	}
	return nil
}

// MaxJoinLife is the longest life of a token that a daemon may join with. Whoever
// finds one that was not used can become a manager: a week is enough for a host
// that has to be ordered, and no such token is forgotten somewhere for ever.
const MaxJoinLife = 7 * 24 * time.Hour

// NewJoinToken mints the token with which one daemon may join with a role within
// life, at most MaxJoinLife.
func (m *Manager) NewJoinToken(ctx context.Context, role MemberRole, life time.Duration) (Token, error) {
	if role != RoleManage && role != RoleHost {
		return Token{}, refuse("join token: role %.40q is not %s or %s", string(role), RoleManage, RoleHost)
	}
	if life > MaxJoinLife {
		return Token{}, refuse("join token: a life of %s is too long, it may be a week (%s) at most: whoever finds the token can join", life, MaxJoinLife)
	}
	return m.mint(ctx, Grant{Role: role, Expires: m.now().Add(life)})
}

// Admit lets in the daemon with this UUID, as role, if the token is for that:
// request is what its Joining made, and the reply what that takes up. Who joins
// to manage is one of those who can open the cluster's keys from then on.
//
// The same token with the same key is answered again, since the first answer may
// have been lost; every other second use is a Refusal, as are a token that is
// expired or for another role, and an id that was removed. Adding a store member
// and entering the roster is the caller's. expires is when the token does.
func (m *Manager) Admit(ctx context.Context, token, id string, role MemberRole, request []byte) (reply []byte, expires time.Time, err error) {
	var asked joinRequest
	if err := decodeJoin("join request", request, &asked); err != nil {
		return nil, expires, err
	}
	if !uuidForm.MatchString(id) {
		return nil, expires, refuse("join: id %.40q is not a UUID in lower case", id)
	}
	key, err := requestedKey(asked.Identity)
	if err != nil {
		return nil, expires, err
	}
	if expires, err = m.spend(ctx, token, Grant{Role: role}, key); err != nil {
		return nil, expires, fmt.Errorf("join of %s: %w", id, err)
	}
	var answer joinReply
	switch role {
	case RoleHost:
		answer.Chain, answer.Roots, err = m.admit(ctx, id, key, renewal{})
	case RoleManage:
		answer, err = m.admitManager(ctx, id, key, asked)
	default:
		err = refuse("join: role %.40q is not %s or %s", string(role), RoleManage, RoleHost)
	}
	if err != nil {
		return nil, expires, fmt.Errorf("join of %s: %w", id, err)
	}
	answer.Roster = m.SignedRoster()
	reply, err = json.Marshal(answer)
	return reply, expires, err
}

func (m *Manager) admitManager(ctx context.Context, id string, key *ecdsa.PublicKey, asked joinRequest) (answer joinReply, err error) {
	between, err := requestedKey(asked.Intermediate)
	if err != nil {
		return answer, fmt.Errorf("intermediate: %w", err)
	}
	store, err := requestedKey(asked.Store)
	if err != nil {
		return answer, fmt.Errorf("store peer: %w", err)
	}
	if _, err := age.ParseX25519Recipient(asked.Recipient); err != nil {
		return answer, refuse("age recipient is malformed")
	}
	a := m.authority.Load()
	name := Name{Cluster: a.cluster, Kind: KindManager, ID: id}
	if err := m.Trust().revoked(name, ""); err != nil {
		return answer, err
	}
	if err := m.keys.admit(ctx, id, asked.Recipient); err != nil {
		return answer, err
	}
	ring := m.keys.known()
	rootKey, err := unsealKey(ring.RootKey, m.keys.keeper)
	if err != nil {
		return answer, fmt.Errorf("root key: %w", err)
	}
	intermediate, err := newIntermediate(a.root, rootKey, id, between, m.now())
	if err != nil {
		return answer, err
	}
	issuer, err := x509.ParseCertificate(ring.Store)
	if err != nil {
		return answer, err
	}
	issuerKey, err := unsealKey(ring.StoreKey, m.keys.keeper)
	if err != nil {
		return answer, fmt.Errorf("key of the issuer of store peers: %w", err)
	}
	peer, err := issueStorePeer(issuer, issuerKey, id, store, m.now(), m.cfg.Life)
	if err != nil {
		return answer, err
	}
	leaf, err := a.issue(name, "", key, m.cfg.Life)
	if err != nil {
		return answer, err
	}
	keys, err := ring.encode()
	return joinReply{
		Chain: rawOf(leaf), Roots: m.Trust().Roots(), Intermediate: intermediate.Raw, Store: peer.Raw, Keys: keys,
	}, err
}

// Spent is ErrTokenUsed where a token that some daemon may join with was used by
// another than the one that asks, whatever role it asks for.
func (m *Manager) Spent(ctx context.Context, token string, request []byte) error {
	var asked joinRequest
	if err := decodeJoin("join request", request, &asked); err != nil {
		return err
	}
	key, err := requestedKey(asked.Identity)
	if err != nil {
		return err
	}
	t, err := ParseToken(token)
	if err != nil {
		return refuse("%v", err)
	}
	own, err := useBy(key)
	if err != nil {
		return err
	}
	for _, role := range []MemberRole{RoleManage, RoleHost} {
		use, err := m.cfg.Tokens.Used(ctx, t.hash("", role))
		switch {
		case err != nil:
			return err
		case use != TokenUse{} && use != own:
			return ErrTokenUsed
		}
	}
	return nil
}

func useBy(key *ecdsa.PublicKey) (TokenUse, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	return sha256.Sum256(spki), err
}

// spend uses up a token for a key, if it is what want says but for the time, and
// returns until when it can be used.
func (m *Manager) spend(ctx context.Context, token string, want Grant, key *ecdsa.PublicKey) (time.Time, error) {
	t, err := ParseToken(token)
	if err != nil {
		return time.Time{}, refuse("%v", err)
	}
	if t.Pin != PinOf(m.authority.Load().root) {
		return time.Time{}, refuse("the join token is for another cluster")
	}
	use, err := useBy(key)
	if err != nil {
		return time.Time{}, err
	}
	grant, err := m.cfg.Tokens.Take(ctx, t.hash(want.Machine, want.Role), use)
	switch {
	case err != nil:
		return time.Time{}, err
	case m.now().After(grant.Expires):
		return time.Time{}, refuse("join token expired at %s", grant.Expires.Format(time.RFC3339))
	case grant.Machine != want.Machine || grant.Role != want.Role:
		return time.Time{}, ErrTokenUnknown
	}
	return grant.Expires, nil
}

func (m *Manager) mint(ctx context.Context, grant Grant) (Token, error) {
	t := newToken(PinOf(m.authority.Load().root))
	return t, m.cfg.Tokens.Put(ctx, t.hash(grant.Machine, grant.Role), grant)
}

// admit seals the cluster's keys for one manager more.
func (k *keys) admit(ctx context.Context, manager, recipient string) error {
	return k.change(ctx, func(r *keyring) (bool, error) {
		if r.Managers[manager] == recipient {
			return false, nil
		}
		r.Managers[manager] = recipient
		return true, r.rewrap(k.keeper)
	})
}

// remove seals the cluster's keys for the managers but one, which has seen the
// key of secrets: those that are written from now on are sealed with another.
func (k *keys) remove(ctx context.Context, manager string) error {
	return k.change(ctx, func(r *keyring) (bool, error) {
		if _, is := r.Managers[manager]; !is {
			return false, nil
		}
		delete(r.Managers, manager)
		if err := r.rewrap(k.keeper); err != nil {
			return false, err
		}
		return true, r.addSecretKey(k.now())
	})
}

// Remove revokes managers, machines or users for ever: everybody who has the
// roster that this makes refuses them, and a manager's intermediates. A manager's
// removal also seals the keys anew for the others, and makes a new key for
// secrets. It may be repeated. Telling others the roster is the caller's, as is
// refusing to remove the last manager.
func (m *Manager) Remove(ctx context.Context, kind Kind, ids ...string) error {
	for _, id := range ids {
		if err := (Name{Cluster: m.authority.Load().cluster, Kind: kind, ID: id}).check(); err != nil {
			return refuse("remove: %v", err)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err := m.ChangeRoster(ctx, func(r *Roster) error {
		for _, id := range ids {
			r.revoke(kind, id, m.now(), m.cfg.Life)
			if kind == KindManager {
				r.revoke(KindUser, OperatorName(id), m.now(), m.cfg.Life)
			}
		}
		return nil
	})
	for _, id := range ids {
		switch {
		case err != nil:
		case kind == KindManager:
			err = m.keys.remove(ctx, id)
		case kind == KindMachine:
			err = m.Retire(ctx, id)
		}
		if err != nil {
			return fmt.Errorf("remove %s %s: %w", kind, id, err)
		}
	}
	return nil
}

// SecretKeys returns the keys that secrets are sealed with, newest first: the
// first seals, and any may be needed to open what was sealed before. The key
// changes with the removal of a manager; while the vault is out of reach these
// are the keys of the last look there.
func (m *Manager) SecretKeys(ctx context.Context) ([]*age.X25519Identity, error) {
	if err := m.keys.sync(ctx); err != nil {
		m.cfg.Log.Warn("keys of secrets are those known last", "error", err)
	}
	var found []*age.X25519Identity
	for _, s := range m.keys.known().Secrets {
		plain, err := unseal(s.Sealed, m.keys.keeper)
		if err != nil {
			return nil, fmt.Errorf("key of secrets: %w", err)
		}
		key, err := age.ParseX25519Identity(string(bytes.TrimSpace(plain)))
		if err != nil {
			return nil, errors.New("key of secrets is malformed")
		}
		found = append(found, key)
	}
	return found, nil
}

// ForgetSecretKeys drops the keys of secrets that are older than the one with
// this recipient, once nothing is sealed with them any more.
func (m *Manager) ForgetSecretKeys(ctx context.Context, oldest string) error {
	return m.keys.change(ctx, func(r *keyring) (bool, error) {
		for i, s := range r.Secrets {
			if s.Recipient == oldest && i+1 < len(r.Secrets) {
				r.Secrets = r.Secrets[:i+1]
				return true, nil
			}
		}
		return false, nil
	})
}
