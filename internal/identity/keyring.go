package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
)

// keyring is the cluster's keys, as they lie in the vault and, as of the last
// look there, in every manager's folder. What is secret in it is an age file for
// all managers, so any of them can do what any other can.
type keyring struct {
	Root     []byte `json:"root"`      // the root certificate, DER
	RootKey  []byte `json:"root_key"`  // sealed PKCS#8
	Store    []byte `json:"store"`     // the certificate of the issuer of store peers, DER
	StoreKey []byte `json:"store_key"` // sealed PKCS#8
	// Services is the certificate of the issuer of services, DER, and
	// ServicesKey its key, sealed PKCS#8; there is none before the first service
	// has asked.
	Services    []byte            `json:"services,omitempty"`
	ServicesKey []byte            `json:"services_key,omitempty"`
	Secrets     []sealedSecretKey `json:"secrets"`  // newest first, at least one
	Managers    map[string]string `json:"managers"` // age recipients by manager id

	// beyond is what a newer release has put into the ring, by name: it stays as
	// it is.
	beyond map[string]json.RawMessage
}

// knownFields are the names of the fields of a ring that this release knows.
var knownFields = []string{"root", "root_key", "store", "store_key", "services", "services_key", "secrets", "managers"}

// sealedSecretKey is an age identity that secrets are encrypted for.
type sealedSecretKey struct {
	Recipient string    `json:"recipient"`
	Sealed    []byte    `json:"sealed"`
	Made      time.Time `json:"made"`
}

// maxKeyring bounds what is decoded: some kilobytes are usual.
const maxKeyring = 128 << 10

func decodeKeyring(content []byte) (*keyring, error) {
	if len(content) > maxKeyring {
		return nil, fmt.Errorf("keys of %d bytes: at most %d are read", len(content), maxKeyring)
	}
	var r keyring
	if err := errors.Join(json.Unmarshal(content, &r), json.Unmarshal(content, &r.beyond)); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	maps.DeleteFunc(r.beyond, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(knownFields, func(k string) bool { return strings.EqualFold(k, name) }) // as the decoder has it
	})
	if _, err := r.root(); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if len(r.Secrets) == 0 || len(r.RootKey) == 0 || len(r.StoreKey) == 0 {
		return nil, errors.New("keys: some are missing")
	}
	if _, err := x509.ParseCertificate(r.Store); err != nil {
		return nil, fmt.Errorf("keys: issuer of store peers: %w", err)
	}
	if r.Services != nil || r.ServicesKey != nil {
		if len(r.ServicesKey) == 0 {
			return nil, errors.New("keys: that of the issuer of services is missing")
		}
		if _, err := x509.ParseCertificate(r.Services); err != nil {
			return nil, fmt.Errorf("keys: issuer of services: %w", err)
		}
	}
	if _, err := r.recipients(); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &r, nil
}

// encode returns the ring as it lies in the vault, also with what of it this
// release does not know.
func (r *keyring) encode() ([]byte, error) {
	content, err := json.Marshal(r)
	if err != nil || len(r.beyond) == 0 {
		return content, err
	}
	all := maps.Clone(r.beyond)
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, err
	}
	return json.Marshal(all)
}

func (r *keyring) root() (*x509.Certificate, error) {
	root, err := x509.ParseCertificate(r.Root)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	_, err = clusterOf(root)
	return root, err
}

// recipients returns whom everything is sealed for, in a fixed order.
func (r *keyring) recipients() ([]age.Recipient, error) {
	if len(r.Managers) == 0 {
		return nil, errors.New("no manager could open them")
	}
	to := make([]age.Recipient, 0, len(r.Managers))
	for _, id := range slices.Sorted(maps.Keys(r.Managers)) {
		one, err := age.ParseX25519Recipient(r.Managers[id])
		if err != nil {
			return nil, fmt.Errorf("age recipient of manager %s is malformed", id)
		}
		to = append(to, one)
	}
	return to, nil
}

// rewrap seals everything anew for the managers there are now.
func (r *keyring) rewrap(keeper age.Identity) error {
	to, err := r.recipients()
	if err != nil {
		return err
	}
	sealed := []*[]byte{&r.RootKey, &r.StoreKey}
	if r.Services != nil {
		sealed = append(sealed, &r.ServicesKey)
	}
	r.Secrets = slices.Clone(r.Secrets)
	for i := range r.Secrets {
		sealed = append(sealed, &r.Secrets[i].Sealed)
	}
	for _, s := range sealed {
		plain, err := unseal(*s, keeper)
		if err != nil {
			return err
		}
		if *s, err = seal(plain, to...); err != nil {
			return err
		}
	}
	return nil
}

// addSecretKey makes a new key for secrets, which becomes the first.
func (r *keyring) addSecretKey(now time.Time) error {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	to, err := r.recipients()
	if err != nil {
		return err
	}
	sealed, err := seal([]byte(key.String()), to...)
	if err != nil {
		return err
	}
	r.Secrets = append([]sealedSecretKey{{Recipient: key.Recipient().String(), Sealed: sealed, Made: now.UTC()}}, r.Secrets...)
	return nil
}

// seal encrypts so that any one of the recipients can open it.
func seal(plain []byte, to ...age.Recipient) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

func unseal(sealed []byte, keeper age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), keeper)
	if err != nil {
		return nil, fmt.Errorf("%w; the key is not sealed for this manager: it was removed, or another manager has to admit it again", err)
	}
	return io.ReadAll(r)
}

// sealKey encrypts a private key so that any one of the recipients can open it.
func sealKey(key *ecdsa.PrivateKey, to ...age.Recipient) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return seal(der, to...)
}

func unsealKey(sealed []byte, keeper age.Identity) (*ecdsa.PrivateKey, error) {
	der, err := unseal(sealed, keeper)
	if err != nil {
		return nil, err
	}
	return parseKey(der)
}

// keys are the cluster's keys in the hands of one manager.
type keys struct {
	dir     string
	manager string
	keeper  *age.X25519Identity
	vault   Vault
	now     Clock

	mu sync.Mutex
	// ring is the newest that is known; on disk too; guarded by mu
	ring *keyring
}

// openKeys reads a manager's copy of the cluster's keys. In an empty folder it
// founds a cluster; in one of an older version, which has the root key alone,
// it makes the rest.
func openKeys(dir, manager string, vault Vault, now Clock) (*keys, error) {
	if !uuidForm.MatchString(manager) {
		return nil, fmt.Errorf("manager id %q is not a UUID in lower case", manager)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keeper, err := openAge(filepath.Join(dir, ageFile))
	if err != nil {
		return nil, err
	}
	k := &keys{dir: dir, manager: manager, keeper: keeper, vault: vault, now: now.orReal()}
	content, err := os.ReadFile(k.path())
	switch {
	case err == nil:
		k.ring, err = decodeKeyring(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.path(), err)
		}
		return k, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := notJoining(dir); err != nil {
		return nil, err
	}
	root, rootKey, err := foundRoot(dir, keeper, k.now())
	if err != nil {
		return nil, err
	}
	ring, err := newKeyring(manager, keeper.Recipient(), root, rootKey, k.now())
	if err != nil {
		return nil, err
	}
	content, err = ring.encode()
	if err != nil {
		return nil, err
	}
	if err := k.adopt(content); err != nil {
		return nil, err
	}
	for _, name := range []string{oldRootKeyFile, oldRootFile} { // what they held is in the ring
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return k, nil
}

// newKeyring makes the keys of a cluster with one manager around a root.
func newKeyring(manager string, recipient *age.X25519Recipient, root *x509.Certificate, rootKey *ecdsa.PrivateKey, now time.Time) (*keyring, error) {
	cluster, err := clusterOf(root)
	if err != nil {
		return nil, err
	}
	r := &keyring{Root: root.Raw, Managers: map[string]string{manager: recipient.String()}}
	if r.RootKey, err = sealKey(rootKey, recipient); err != nil {
		return nil, err
	}
	storeKey, err := newKey()
	if err != nil {
		return nil, err
	}
	issuer, err := newStoreIssuer(cluster, storeKey, now)
	if err != nil {
		return nil, err
	}
	r.Store = issuer.Raw
	if r.StoreKey, err = sealKey(storeKey, recipient); err != nil {
		return nil, err
	}
	return r, r.addSecretKey(now)
}

func (k *keys) path() string { return filepath.Join(k.dir, keysFile) }

// known returns the newest ring known without asking anybody.
func (k *keys) known() *keyring {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring
}

// adopt takes up an encoded ring, on disk and then in memory.
func (k *keys) adopt(content []byte) error {
	r, err := decodeKeyring(content)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ring != nil && !bytes.Equal(r.Root, k.ring.Root) {
		return fmt.Errorf("the store holds the keys of another cluster than %s", k.dir)
	}
	if err := writeFileOnce(k.path(), content); err != nil {
		return err
	}
	k.ring = r
	return nil
}

// change edits the ring in the vault, and with it the copy here; the first
// manager brings its own there. edit gets a ring that it may alter, perhaps
// several times, and says whether it has.
func (k *keys) change(ctx context.Context, edit func(*keyring) (changed bool, err error)) error {
	content, err := change(ctx, k.vault, keysDocument, func(content []byte) ([]byte, error) {
		if content == nil {
			var err error
			if content, err = k.known().encode(); err != nil {
				return nil, err
			}
		}
		r, err := decodeKeyring(content)
		if err != nil {
			return nil, err
		}
		restored, err := k.restoreServices(r)
		if err != nil {
			return nil, err
		}
		if changed, err := edit(r); err != nil || !changed && !restored {
			return content, err
		}
		return r.encode()
	})
	if err != nil {
		return fmt.Errorf("keys of the cluster: %w", err)
	}
	return k.adopt(content)
}

// restoreServices puts the issuer of services that is known here back into a
// ring without one: a manager of a release that knows of none has written it. It
// seals the key for the managers of that ring, unless this one is none of them.
func (k *keys) restoreServices(r *keyring) (changed bool, err error) {
	known := k.known()
	if _, is := r.Managers[k.manager]; !is || r.Services != nil || known.Services == nil || !bytes.Equal(r.Root, known.Root) {
		return false, nil
	}
	to, err := r.recipients()
	if err != nil {
		return false, err
	}
	plain, err := unseal(known.ServicesKey, k.keeper)
	if err != nil {
		return false, fmt.Errorf("key of the issuer of services: %w", err)
	}
	r.Services = known.Services
	r.ServicesKey, err = seal(plain, to...)
	return true, err
}

// sync brings the copy here up to date, and to the vault what it lacks.
func (k *keys) sync(ctx context.Context) error {
	return k.change(ctx, func(*keyring) (bool, error) { return false, nil })
}
