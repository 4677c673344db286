// Package blob keeps bytes on disk under the digest of their content: shipped
// sources, manifests' pieces, templates' layers. Content is verified while it
// is written and appears under its name only whole and flushed to disk, so
// whoever finds a blob can use it without a further look.
//
// It refuses to know who needs a blob: Collect deletes what its caller does
// not name. The one goroutine it starts belongs to Ensure and ends when the
// fetch has ended or nobody waits for it any more.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"aloft/internal/crash"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("no such blob")
	ErrDigest   = errors.New("content does not have the digest it was asked for by")
	ErrTooLarge = errors.New("blob is too large")
	ErrFull     = errors.New("blob store is full")
)

const prefix = "sha256:"

// Config bounds a store of blobs.
type Config struct {
	Dir   string
	Blob  int64 // bytes of one blob at most
	Total int64 // bytes of all blobs at most
}

// Blobs is one folder of blobs. No two processes may use it at once.
type Blobs struct {
	cfg Config

	mu sync.Mutex
	// The fields below are guarded by mu.
	total   int64 // of whole blobs, and of bytes being written
	flights map[string]*flight
}

// flight is one fetch that several callers of Ensure wait for.
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{} // closed when err is set
	err     error
}

// Open opens the folder, or makes it with mode 0700, and deletes what an
// interrupted write has left.
func Open(cfg Config) (*Blobs, error) {
	b := &Blobs{cfg: cfg, flights: map[string]*flight{}}
	if err := os.RemoveAll(b.temporary()); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	for _, dir := range []string{b.temporary(), filepath.Join(cfg.Dir, "sha256")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	err := b.walk(func(_, _ string, info fs.FileInfo) error {
		b.total += info.Size()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Check returns an error unless digest is one: "sha256:" and 64 hexadecimal
// digits in lower case.
func Check(digest string) error {
	h, ok := strings.CutPrefix(digest, prefix)
	if ok && len(h) == 2*sha256.Size && strings.Trim(h, "0123456789abcdef") == "" {
		return nil
	}
	return fmt.Errorf("%q is not a digest (sha256: and 64 hexadecimal digits)", digest)
}

// Put writes all that r gives and returns its digest and size. Content that is
// there already is not written again.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	digest, size, err = b.write(ctx, r, "")
	if err != nil {
		return "", 0, fmt.Errorf("put a blob: %w", err)
	}
	return digest, size, nil
}

// Open opens a blob for reading, or returns ErrNotFound. A blob that Collect
// deletes meanwhile can be read to its end.
func (b *Blobs) Open(digest string) (*os.File, error) {
	if err := Check(digest); err != nil {
		return nil, err
	}
	f, err := os.Open(b.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	return f, nil
}

// Has reports whether the blob is there, and keeps it from a Collect of what
// is older than now.
func (b *Blobs) Has(digest string) bool {
	if Check(digest) != nil {
		return false
	}
	now := time.Now()
	return os.Chtimes(b.path(digest), now, now) == nil
}

// Ensure returns nil when the blob is there, after calling fetch for it if it
// was not. However many ask at once, fetch is called once; its context ends
// when all who wait have given up. Content of another digest is ErrDigest and
// leaves nothing.
func (b *Blobs) Ensure(ctx context.Context, digest string, fetch func(ctx context.Context) (io.ReadCloser, error)) error {
	if err := Check(digest); err != nil {
		return err
	}
	b.mu.Lock()
	f := b.flights[digest]
	if f == nil {
		if b.Has(digest) {
			b.mu.Unlock()
			return nil
		}
		// The fetch outlives its first caller when others wait too.
		fetchCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		b.flights[digest] = f
		go func() {
			err := b.fetch(fetchCtx, digest, fetch)
			b.mu.Lock()
			if b.flights[digest] == f {
				delete(b.flights, digest)
			}
			b.mu.Unlock()
			f.err = err
			close(f.done)
			cancel()
		}()
	}
	f.waiting++
	b.mu.Unlock()

	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if b.flights[digest] == f {
			delete(b.flights, digest) // whoever comes next starts anew
		}
	}
	return fmt.Errorf("fetch blob %s: %w", digest, ctx.Err())
}

func (b *Blobs) fetch(ctx context.Context, digest string, fetch func(ctx context.Context) (io.ReadCloser, error)) error {
	r, err := fetch(ctx)
	if err == nil {
		_, _, err = b.write(ctx, r, digest)
		_ = r.Close() // all that matters was read and verified, or failed
	}
	if err != nil {
		return fmt.Errorf("fetch blob %s: %w", digest, err)
	}
	return nil
}

// Collect deletes the blobs that live does not hold and that nobody has put,
// ensured or asked for since before, and returns how many and how many bytes.
// Take before from a time ahead of reading what is live.
func (b *Blobs) Collect(live map[string]bool, before time.Time) (n int, freed int64, err error) {
	err = b.walk(func(digest, path string, info fs.FileInfo) error {
		b.mu.Lock() // Ensure decides under it that a blob is there
		defer b.mu.Unlock()
		if live[digest] {
			return nil
		}
		// Its time again: the walk may have read it before a Has.
		if now, err := os.Stat(path); err != nil || !now.ModTime().Before(before) {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
		b.total -= info.Size()
		n++
		freed += info.Size()
		return nil
	})
	return n, freed, err
}

// Each visits the digest of every blob that is there.
func (b *Blobs) Each(visit func(digest string) error) error {
	return b.walk(func(digest, _ string, _ fs.FileInfo) error { return visit(digest) })
}

func (b *Blobs) temporary() string { return filepath.Join(b.cfg.Dir, "tmp") }

func (b *Blobs) path(digest string) string {
	h := strings.TrimPrefix(digest, prefix)
	return filepath.Join(b.cfg.Dir, "sha256", h[:2], h)
}

// walk visits every blob. Files that are none of ours are left alone.
func (b *Blobs) walk(visit func(digest, path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(filepath.Join(b.cfg.Dir, "sha256"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
		digest := prefix + d.Name()
		if d.IsDir() || Check(digest) != nil {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
		return visit(digest, path, info)
	})
}

// write takes r to its end and gives the content its name. With want, it is
// refused when it has another digest.
func (b *Blobs) write(ctx context.Context, r io.Reader, want string) (digest string, size int64, err error) {
	f, err := os.CreateTemp(b.temporary(), "")
	if err != nil {
		return "", 0, err
	}
	in := &meter{ctx: ctx, r: r, b: b, hash: sha256.New()}
	placed := false
	defer func() {
		_ = f.Close() // after Sync nothing is left to fail
		if !placed {
			_ = os.Remove(f.Name())
			b.reserve(-in.n)
		}
	}()
	if _, err := io.Copy(f, in); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: free some space on the disk of %s", err, b.cfg.Dir)
		}
		return "", 0, err
	}
	digest = prefix + hex.EncodeToString(in.hash.Sum(nil))
	if want != "" && digest != want {
		return "", 0, fmt.Errorf("%w: it has %s", ErrDigest, digest)
	}
	if b.Has(digest) {
		return digest, in.n, nil
	}
	if err := f.Sync(); err != nil {
		return "", 0, err
	}
	path := b.path(digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", 0, err
	}
	crash.Here("before content has its place")
	// Link, unlike rename, tells when another was faster, whose bytes count.
	switch err := os.Link(f.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return digest, in.n, nil
	case err != nil:
		return "", 0, err
	}
	placed = true
	crash.Here("after content has its place")
	_ = os.Remove(f.Name()) // else Open does it
	return digest, in.n, syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// reserve counts n more bytes, or refuses.
func (b *Blobs) reserve(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && b.total+n > b.cfg.Total {
		return fmt.Errorf("%w: it may hold %d MB; end systems that are no longer needed", ErrFull, b.cfg.Total>>20)
	}
	b.total += n
	return nil
}

// meter hashes and counts what is read, and stops at the bounds and when ctx
// ends.
type meter struct {
	ctx  context.Context
	r    io.Reader
	b    *Blobs
	hash hash.Hash
	n    int64 // bytes read and reserved
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	if m.n+int64(n) > m.b.cfg.Blob {
		return 0, fmt.Errorf("%w: at most %d MB", ErrTooLarge, m.b.cfg.Blob>>20)
	}
	if err := m.b.reserve(int64(n)); err != nil {
		return 0, err
	}
	m.n += int64(n)
	_, _ = m.hash.Write(p[:n]) // a hash takes everything
	return n, err
}
