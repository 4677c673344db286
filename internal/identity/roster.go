package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"aloft/internal/durable"
)

// Roster is the list of a cluster's members, and of who is one no more. It is
// signed with the root key, so that who has been away for long, and knows none
// of the present managers, believes it. A newer one replaces an older one, and
// none is ever replaced by an older one.
type Roster struct {
	Cluster string `json:"cluster"`
	// Epoch comes first in every fence. Only a restore, and moving management,
	// raise it.
	Epoch    int64          `json:"epoch"`
	Version  int64          `json:"version"` // raised with every change
	Managers []RosterMember `json:"managers"`
	Hosts    []RosterMember `json:"hosts,omitempty"` // that are no managers
	Revoked  []Revocation   `json:"revoked,omitempty"`
}

// RosterMember is a member, and where to find it.
type RosterMember struct {
	ID        string   `json:"id"` // UUID
	Name      string   `json:"name,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // host:port of its daemon, best first
}

// Revocation is of a manager, with all that its intermediates have signed or
// will, or of a machine or a user.
type Revocation struct {
	Kind Kind      `json:"kind"`
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	// Series is that of the certificates of a user that are revoked; "": all.
	Series string `json:"series,omitempty"`
	// Until is when no certificate of it can be valid any more; zero: never.
	Until time.Time `json:"until,omitzero"`
}

// maxRoster bounds what is signed and what is decoded, in bytes.
const maxRoster = 192 << 10

// signedRoster is a roster on the wire and on disk.
type signedRoster struct {
	Roster    []byte `json:"roster"` // JSON of a Roster
	Signature []byte `json:"signature"`
}

// rosterContext keeps a signature over a roster from being taken for any other
// signature of the root key.
const rosterContext = "aloft roster 1\x00"

func rosterDigest(roster []byte) []byte {
	h := sha256.New()
	h.Write([]byte(rosterContext))
	h.Write(roster)
	return h.Sum(nil)
}

// SignRoster signs a roster with the key of its cluster's root.
func SignRoster(r *Roster, rootKey *ecdsa.PrivateKey) ([]byte, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(content) > maxRoster {
		return nil, fmt.Errorf("roster of %d bytes: at most %d; fewer members have to be revoked at a time", len(content), maxRoster)
	}
	signature, err := ecdsa.SignASN1(rand.Reader, rootKey, rosterDigest(content))
	if err != nil {
		return nil, err
	}
	return json.Marshal(signedRoster{Roster: content, Signature: signature})
}

// VerifyRoster reads a signed roster of cluster. What no root of that cluster
// signed is a Refusal.
func (t *Trust) VerifyRoster(cluster string, signed []byte) (*Roster, error) {
	if len(signed) > 2*maxRoster {
		return nil, refuse("roster of %d bytes: at most %d are read", len(signed), 2*maxRoster)
	}
	var s signedRoster
	if err := json.Unmarshal(signed, &s); err != nil {
		return nil, refuse("roster: %v", err)
	}
	ours := func(signature []byte) bool {
		for _, root := range t.roots {
			key, ok := root.PublicKey.(*ecdsa.PublicKey)
			of, err := clusterOf(root)
			if ok && err == nil && of == cluster && ecdsa.VerifyASN1(key, rosterDigest(s.Roster), signature) {
				return true
			}
		}
		return false
	}
	if !ours(s.Signature) {
		return nil, refuse("roster: the signature is not that of the root of cluster %s", cluster)
	}
	var r Roster
	if err := json.Unmarshal(s.Roster, &r); err != nil {
		return nil, refuse("roster: %v", err)
	}
	switch {
	case r.Cluster != cluster:
		return nil, refuse("roster: it is of cluster %.63q, not %s", r.Cluster, cluster)
	case r.Epoch < 1 || r.Version < 1:
		return nil, refuse("roster: epoch %d, version %d; both begin at 1", r.Epoch, r.Version)
	}
	return &r, nil
}

// compare is negative when r is older than s.
func (r *Roster) compare(s *Roster) int {
	return cmp.Or(cmp.Compare(r.Epoch, s.Epoch), cmp.Compare(r.Version, s.Version))
}

// revocation returns the entry of somebody, or nil.
func (r *Roster) revocation(kind Kind, id string) *Revocation { return r.revocationOf(kind, id, "") }

// revocationOf returns the entry that revokes the certificates of a series, or nil.
func (r *Roster) revocationOf(kind Kind, id, series string) *Revocation {
	if r == nil {
		return nil
	}
	for i, v := range r.Revoked {
		if v.ID == id && v.Kind == kind && (v.Series == "" || v.Series == series) {
			return &r.Revoked[i]
		}
	}
	return nil
}

// revoke enters somebody, and drops entries whose time is over. It reports
// whether the entry is new.
func (r *Roster) revoke(kind Kind, id string, now time.Time, life time.Duration) bool {
	return r.revokeSeries(kind, id, "", now, life)
}

// revokeSeries is revoke for the certificates of a user's series.
func (r *Roster) revokeSeries(kind Kind, id, series string, now time.Time, life time.Duration) bool {
	if r.revocationOf(kind, id, series) != nil {
		return false
	}
	now = now.UTC().Truncate(time.Second)
	r.Revoked = slices.DeleteFunc(r.Revoked, func(v Revocation) bool { return !v.Until.IsZero() && now.After(v.Until) })
	v := Revocation{Kind: kind, ID: id, Series: series, At: now}
	if kind != KindManager { // an intermediate lives long, and a removed manager's name does not come back
		v.Until = now.Add(life + backdate)
	}
	r.Revoked = append(r.Revoked, v)
	gone := func(m RosterMember) bool { return m.ID == id }
	r.Managers = slices.DeleteFunc(r.Managers, gone)
	r.Hosts = slices.DeleteFunc(r.Hosts, gone)
	return true
}

// Roster returns the newest roster that the member has seen; nil if it has seen
// none. It must not be altered.
func (m *Member) Roster() *Roster {
	if p := m.current.Load(); p != nil {
		return p.trust.roster
	}
	return nil
}

// SignedRoster returns the newest roster as it is told to others; nil if the
// member has seen none.
func (m *Member) SignedRoster() []byte {
	if p := m.current.Load(); p != nil {
		return p.signed
	}
	return nil
}

// AcceptRoster takes up a signed roster if it is newer than the one the member
// has, and reports whether it is. It is on disk then, and from now on whom it
// revokes is refused. A forged one is a Refusal.
func (m *Member) AcceptRoster(signed []byte) (newer bool, err error) {
	m.replacing.Lock()
	defer m.replacing.Unlock()
	p := m.current.Load()
	if p == nil {
		return false, refuse("roster: this daemon is not enrolled")
	}
	if p.signed != nil && bytes.Equal(signed, p.signed) {
		return false, nil
	}
	r, err := p.trust.VerifyRoster(p.name.Cluster, signed)
	if err != nil {
		return false, err
	}
	if have := p.trust.roster; have != nil && r.compare(have) <= 0 {
		return false, nil
	}
	if err := durable.WriteFile(filepath.Join(m.dir, rosterFile), signed); err != nil {
		return false, fmt.Errorf("roster: %w", err)
	}
	m.use(p.with(r, signed))
	return true, nil
}

// loadRoster gives a proof the roster on disk, if there is one.
func (m *Member) loadRoster(p *proof) (*proof, error) {
	path := filepath.Join(m.dir, rosterFile)
	signed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := p.trust.VerifyRoster(p.name.Cluster, signed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p.with(r, signed), nil
}

// ChangeRoster makes a new version of the roster: edit alters what it is given,
// and may be asked several times. Where it alters nothing the version stays. The
// new roster is in the vault, and accepted here, when ChangeRoster returns; to
// tell others is the caller's.
func (m *Manager) ChangeRoster(ctx context.Context, edit func(*Roster) error) error {
	return m.changeRoster(ctx, func(r *Roster) error {
		epoch, version := r.Epoch, r.Version
		err := edit(r)
		r.Cluster, r.Epoch, r.Version = m.authority.Load().cluster, epoch, version
		return err
	})
}

// RaiseEpoch makes the epoch of all fences higher than it was, and at least
// least. It is for a restore from a backup and for moving management: what
// orders of the time before are still on their way, machines refuse from then on.
func (m *Manager) RaiseEpoch(ctx context.Context, least int64) error {
	return m.changeRoster(ctx, func(r *Roster) error {
		r.Epoch = max(r.Epoch+1, least)
		return nil
	})
}

func (m *Manager) changeRoster(ctx context.Context, edit func(*Roster) error) error {
	signed, err := change(ctx, m.cfg.Vault, rosterDocument, func(stored []byte) ([]byte, error) {
		if _, err := m.EpochOf(stored); err != nil {
			return nil, err
		}
		if stored == nil || m.newerThan(stored) {
			stored = m.SignedRoster()
		}
		r, err := m.Trust().VerifyRoster(m.Name().Cluster, stored)
		if err != nil {
			return nil, err
		}
		before, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if err := edit(r); err != nil {
			return nil, err
		}
		after, err := json.Marshal(r)
		if err != nil || bytes.Equal(before, after) {
			return stored, err
		}
		r.Version++
		return m.signRoster(r)
	})
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	_, err = m.AcceptRoster(signed)
	return err
}

// ErrSuperseded says that the cluster has gone on from a backup, or from another
// of its managers: the vault of this one is of an epoch that is over, and nothing
// that is decided with it counts.
var ErrSuperseded = errors.New("the cluster was restored or recovered elsewhere, and this manager was given up")

// EpochOf returns the epoch of what the vault holds as the roster (nil: nothing
// yet), which is that of the cluster which this manager rules together with all
// who have that vault. It is ErrSuperseded where a later one was heard of.
func (m *Manager) EpochOf(stored []byte) (int64, error) {
	epoch, err := m.epochOf(stored)
	if err == nil && epoch < m.Roster().Epoch {
		err = ErrSuperseded
	}
	return epoch, err
}

// epochOf returns the epoch of a stored roster; of none it is that of the
// roster here, which will be stored.
func (m *Manager) epochOf(stored []byte) (int64, error) {
	if stored == nil {
		return m.Roster().Epoch, nil
	}
	r, err := m.Trust().VerifyRoster(m.Name().Cluster, stored)
	if err != nil {
		return 0, err
	}
	return r.Epoch, nil
}

// newerThan reports whether the roster here is newer than a stored one of the
// same epoch, as when a manager wrote one and died before others had it.
func (m *Manager) newerThan(stored []byte) bool {
	r, err := m.Trust().VerifyRoster(m.Name().Cluster, stored)
	return err == nil && m.Roster().compare(r) > 0
}

func (m *Manager) signRoster(r *Roster) ([]byte, error) {
	key, err := unsealKey(m.keys.known().RootKey, m.keys.keeper)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	return SignRoster(r, key)
}
