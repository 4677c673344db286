package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"aloft/internal/durable"
)

// Joining is the identity of a daemon that is about to become a member of a
// cluster, by a token for a role. Like an unenrolled machine it shows a
// throw-away certificate, and recognises managers of the token's cluster alone.
type Joining struct {
	dir       string
	state     joiningState
	keeper    *age.X25519Identity
	throwaway *tls.Certificate
}

// joiningState is what a join that was cut goes on with.
type joiningState struct {
	ID           string     `json:"id"`
	Role         MemberRole `json:"role"`
	Pin          []byte     `json:"pin"`
	Identity     []byte     `json:"identity"` // private keys, PKCS#8
	Intermediate []byte     `json:"intermediate,omitempty"`
	Store        []byte     `json:"store,omitempty"`
}

// OpenJoining prepares a folder, made when it does not exist, for joining the
// cluster of a token, under a UUID. A join that was cut goes on where it was,
// with the same keys, until OpenManager or OpenMachine has opened the folder. A
// folder of a member is refused, with nothing changed.
func OpenJoining(dir, id string, role MemberRole, token string) (*Joining, error) {
	t, err := ParseToken(token)
	switch {
	case err != nil:
		return nil, refuse("%v", err)
	case !uuidForm.MatchString(id):
		return nil, fmt.Errorf("id %q is not a UUID in lower case", id)
	case role != RoleManage && role != RoleHost:
		return nil, refuse("role %.40q is not %s or %s", string(role), RoleManage, RoleHost)
	}
	begun, err := readJoining(dir)
	if err != nil {
		return nil, err
	}
	member, err := memberOf(dir)
	switch {
	case err != nil:
		return nil, err
	case member != "" && (begun == nil || !bytes.Equal(begun.Pin, t.Pin[:])):
		return nil, refuse("%s belongs to a member of cluster %s already; join with another folder", dir, member)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &Joining{dir: dir}
	if begun == nil || !bytes.Equal(begun.Pin, t.Pin[:]) || begun.ID != id || begun.Role != role {
		if begun, err = newJoining(id, role, t.Pin); err != nil {
			return nil, err
		}
		content, err := json.Marshal(begun)
		if err != nil {
			return nil, err
		}
		if err := durable.WriteFile(filepath.Join(dir, joiningFile), content); err != nil {
			return nil, err
		}
	}
	j.state = *begun
	if role == RoleManage {
		if j.keeper, err = openAge(filepath.Join(dir, ageFile)); err != nil {
			return nil, err
		}
	}
	j.throwaway, err = throwaway(time.Now())
	return j, err
}

func newJoining(id string, role MemberRole, pin Pin) (*joiningState, error) {
	s := &joiningState{ID: id, Role: role, Pin: pin[:]}
	made := []*[]byte{&s.Identity}
	if role == RoleManage {
		made = append(made, &s.Intermediate, &s.Store)
	}
	for _, to := range made {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		if *to, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readJoining returns how far a join in dir is; nil if there is none.
func readJoining(dir string) (*joiningState, error) {
	path := filepath.Join(dir, joiningFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s joiningState
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

// memberOf returns the cluster that the daemon of a folder is a member of, or "".
func memberOf(dir string) (string, error) {
	pair, err := loadKeyPair(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	p, err := newProof(nil, pair)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(dir, identityFile), err)
	}
	return p.name.Cluster, nil
}

// notJoining refuses to found a cluster where a join has begun.
func notJoining(dir string) error {
	s, err := readJoining(dir)
	if err != nil || s == nil {
		return err
	}
	return fmt.Errorf("%s has begun to join a cluster and was cut: repeat the join with the same token", dir)
}

// doneJoining removes the keys that a member joined with: it has them elsewhere.
func doneJoining(dir string) error {
	if err := os.Remove(filepath.Join(dir, joiningFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Certificate returns the throw-away certificate to present.
func (j *Joining) Certificate() *tls.Certificate { return j.throwaway }

// Verify accepts a manager of the cluster to join, and nobody else.
func (j *Joining) Verify(chain []*x509.Certificate) (name string, expires time.Time, err error) {
	return verifyPinned(nil, Pin(j.state.Pin), chain, KindManager)
}

// Request makes what is asked of a manager, for Manager.Admit. It is always for
// the same keys.
func (j *Joining) Request() ([]byte, error) {
	var r joinRequest
	of := func(private []byte) ([]byte, error) {
		key, err := parseKey(private)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(j.dir, joiningFile), err)
		}
		return newRequest(j.state.ID, key)
	}
	var err error
	if r.Identity, err = of(j.state.Identity); err != nil {
		return nil, err
	}
	if j.state.Role == RoleManage {
		if r.Intermediate, err = of(j.state.Intermediate); err != nil {
			return nil, err
		}
		if r.Store, err = of(j.state.Store); err != nil {
			return nil, err
		}
		r.Recipient = j.keeper.Recipient().String()
	}
	return json.Marshal(r)
}

// Install checks a manager's answer and writes the files of a member, so that
// OpenManager or OpenMachine finds them; identity.pem comes last. It may be
// repeated. What is not for this daemon, or not from the token's cluster, is a
// Refusal, with nothing changed.
func (j *Joining) Install(reply []byte) error {
	files, err := j.files(reply)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	for _, f := range files {
		if err := durable.WriteFile(filepath.Join(j.dir, f.name), f.content); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	return nil
}

type file struct {
	name    string
	content []byte
}

// files returns what Install writes.
func (j *Joining) files(reply []byte) ([]file, error) {
	var r joinReply
	if err := decodeJoin("answer to the join", reply, &r); err != nil {
		return nil, err
	}
	pair, name, err := j.pair(r)
	if err != nil {
		return nil, err
	}
	p, err := newProof(nil, pair)
	if err != nil {
		return nil, err
	}
	if _, err := p.trust.VerifyRoster(name.Cluster, r.Roster); err != nil {
		return nil, err
	}
	var files []file
	if j.state.Role == RoleManage {
		if files, err = j.managerFiles(r, pair.chain[len(pair.chain)-1]); err != nil {
			return nil, err
		}
	}
	identity, err := pair.encode()
	if err != nil {
		return nil, err
	}
	return append(files, file{rosterFile, r.Roster}, file{identityFile, identity}), nil
}

// pair checks the chain in an answer and puts it together with its key.
func (j *Joining) pair(r joinReply) (keyPair, Name, error) {
	key, err := parseKey(j.state.Identity)
	if err != nil {
		return keyPair{}, Name{}, err
	}
	chain, err := parseChain(r.Chain)
	if err != nil {
		return keyPair{}, Name{}, refuse("%v", err)
	}
	kind := KindMachine
	if j.state.Role == RoleManage {
		kind = KindManager
	}
	trust, err := trustPinned(nil, Pin(j.state.Pin), chain)
	if err != nil {
		return keyPair{}, Name{}, err
	}
	return checkChain(keyPair{key: key, chain: chain}, trust, kind, j.state.ID, r.Roots)
}

// managerFiles checks what only a manager gets, against the root.
func (j *Joining) managerFiles(r joinReply, root *x509.Certificate) ([]file, error) {
	ring, err := decodeKeyring(r.Keys)
	if err != nil {
		return nil, refuse("%v", err)
	}
	if !bytes.Equal(ring.Root, root.Raw) {
		return nil, refuse("the keys are of another root than the certificate")
	}
	rootKey, err := unsealKey(ring.RootKey, j.keeper)
	if err != nil {
		return nil, refuse("root key: %v", err)
	}
	if !rootKey.PublicKey.Equal(root.PublicKey) {
		return nil, refuse("the root key is not that of the root certificate")
	}
	issuer, err := x509.ParseCertificate(ring.Store)
	if err != nil {
		return nil, refuse("issuer of store peers: %v", err)
	}
	between, err := j.issued(j.state.Intermediate, r.Intermediate, root)
	if err != nil {
		return nil, fmt.Errorf("intermediate: %w", err)
	}
	if managerOf(between.chain[0]) != j.state.ID {
		return nil, refuse("the intermediate is for manager %.40q", managerOf(between.chain[0]))
	}
	peer, err := j.issued(j.state.Store, r.Store, issuer)
	if err != nil {
		return nil, fmt.Errorf("store peer: %w", err)
	}
	intermediate, err := between.encode()
	if err != nil {
		return nil, err
	}
	storeKey, err := keyPair{key: peer.key}.encode()
	if err != nil {
		return nil, err
	}
	return []file{
		{intermediateFile, intermediate},
		{storeCAFile, encodeCerts(peer.chain[1:])},
		{storeKeyFile, storeKey},
		{storeCertFile, encodeCerts(peer.chain[:1])},
		{keysFile, r.Keys},
	}, nil
}

// issued checks that a certificate is for one of our keys, by issuer.
func (j *Joining) issued(private, der []byte, issuer *x509.Certificate) (keyPair, error) {
	key, err := parseKey(private)
	if err != nil {
		return keyPair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return keyPair{}, refuse("%v", err)
	}
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return keyPair{}, refuse("%v", err)
	}
	if got, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !got.Equal(&key.PublicKey) {
		return keyPair{}, refuse("the certificate is for another key than the one asked with")
	}
	return keyPair{key: key, chain: []*x509.Certificate{cert, issuer}}, nil
}
