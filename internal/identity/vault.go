package identity

import (
	"bytes"
	"context"
	"errors"
	"sync"
)

// Vault keeps the cluster's documents where every manager finds them. What is
// secret in them is sealed before it comes here. The daemon implements it over
// rows of the store. Names consist of parts between slashes.
type Vault interface {
	// Load returns a document. Version is 0 where there is none.
	Load(ctx context.Context, name string) (Document, error)
	// Store writes a document if its version is still the one given (0: there is
	// none), and returns ErrChanged otherwise. It is durable when Store returns.
	Store(ctx context.Context, name string, content []byte, version int64) error
}

// Document is content as it was at a version, which every change raises.
type Document struct {
	Content []byte
	Version int64
}

// ErrChanged says that somebody else wrote a document first. Load it and decide
// again.
var ErrChanged = errors.New("document was changed meanwhile")

// The documents in a vault.
const (
	keysDocument   = "keys"   // a keyring
	rosterDocument = "roster" // a signed roster
)

// machineDocument names the record of what was issued to a machine.
func machineDocument(id string) string { return "machine/" + id }

// change replaces a document by what edit makes of it, which nobody else
// changed meanwhile. edit may be asked several times; content is nil where there
// is no document. Where it returns content unchanged, nothing is written.
func change(ctx context.Context, v Vault, name string, edit func(content []byte) ([]byte, error)) ([]byte, error) {
	for {
		doc, err := v.Load(ctx, name)
		if err != nil {
			return nil, err
		}
		next, err := edit(doc.Content)
		if err != nil || doc.Version != 0 && bytes.Equal(next, doc.Content) {
			return next, err
		}
		if err := v.Store(ctx, name, next, doc.Version); !errors.Is(err, ErrChanged) {
			return next, err
		}
	}
}

// MemoryVault keeps documents in memory. The zero value is ready to use.
type MemoryVault struct {
	mu sync.Mutex
	// guarded by mu
	documents map[string]Document
}

// Load implements Vault.
func (m *MemoryVault) Load(_ context.Context, name string) (Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.documents[name], nil
}

// Store implements Vault.
func (m *MemoryVault) Store(_ context.Context, name string, content []byte, version int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.documents[name].Version != version {
		return ErrChanged
	}
	if m.documents == nil {
		m.documents = map[string]Document{}
	}
	m.documents[name] = Document{Content: bytes.Clone(content), Version: version + 1}
	return nil
}
