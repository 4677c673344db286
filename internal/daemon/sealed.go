package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"filippo.io/age"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/durable"
	"aloft/internal/secret"
	"aloft/value"
)

// sealed keeps the secrets that components of this machine refer to, sealed, so
// that what died is started again while no manager is in reach. The key lies
// beside them: it keeps contents out of copies of single files and out of what
// is searched, not from who has all of the disk. It implements agent.Secrets.
type sealed struct {
	dir string
	ask func(ctx context.Context, r *peerpb.SecretRequest) (*peerpb.SecretReply, error)

	mu   sync.Mutex
	keys secret.Keys // of this machine alone; guarded by mu
}

// sealedFile is one secret as it lies on disk.
type sealedFile struct {
	Version int64  `json:"version"`
	Sealed  []byte `json:"sealed"`
}

// Open returns the content of a secret at its version, or a newer one that has
// replaced it. An older one that is here serves where nobody can be asked.
func (s *sealed) Open(ctx context.Context, system string, want value.Secret) (string, error) {
	s.mu.Lock()
	have, content, err := s.read(system, want.Name)
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	if have >= want.Version && have > 0 {
		return content, nil
	}
	reply, err := s.ask(ctx, &peerpb.SecretRequest{System: system, Name: want.Name, Version: want.Version})
	if err != nil {
		if have > 0 && status.Code(err) == codes.Unavailable {
			return content, nil
		}
		return "", errors.New(status.Convert(err).Message())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(reply.Content), s.keep(system, want.Name, reply)
}

// Forget removes what is kept of a system.
func (s *sealed) Forget(system string) error { return os.RemoveAll(s.folder(system)) }

func (s *sealed) folder(system string) string { return filepath.Join(s.dir, "of", system) }

// file is named by a digest: names of secrets have slashes.
func (s *sealed) file(system, name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.folder(system), hex.EncodeToString(sum[:12]))
}

// read returns what is kept of a secret; version 0 where there is nothing. The
// lock is held.
func (s *sealed) read(system, name string) (version int64, content string, err error) {
	text, err := os.ReadFile(s.file(system, name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	var f sealedFile
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	var keys secret.Keys
	if err == nil {
		keys, err = s.key()
	}
	if err != nil {
		return 0, "", fmt.Errorf("secret %s as kept here: %w", name, err)
	}
	v, err := keys.Open(name, f.Sealed)
	return f.Version, string(v.Reveal()), err
}

// keep replaces what is kept of a secret. The lock is held.
func (s *sealed) keep(system, name string, r *peerpb.SecretReply) error {
	keys, err := s.key()
	if err != nil {
		return err
	}
	closed, err := keys.Seal(name, secret.NewValue(r.Content))
	if err != nil {
		return err
	}
	text, err := json.Marshal(sealedFile{Version: r.Version, Sealed: closed})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.folder(system), 0o700); err != nil {
		return fmt.Errorf("keep secret %s: %w", name, err)
	}
	return durable.WriteFile(s.file(system, name), text)
}

// key returns this machine's own key, made now if there is none. The lock is
// held.
func (s *sealed) key() (secret.Keys, error) {
	if s.keys != nil {
		return s.keys, nil
	}
	path := filepath.Join(s.dir, "key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var made *age.X25519Identity
		if made, err = age.GenerateX25519Identity(); err != nil {
			return nil, err
		}
		text = []byte(made.String() + "\n")
		if err = os.MkdirAll(s.dir, 0o700); err == nil {
			err = durable.WriteFile(path, text)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key of this machine's secrets: %w", err)
	}
	key, err := age.ParseX25519Identity(string(bytes.TrimSpace(text)))
	if err != nil {
		return nil, fmt.Errorf("key of this machine's secrets %s is malformed", path)
	}
	s.keys = secret.Keys{key}
	return s.keys, nil
}
