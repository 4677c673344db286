package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fresh(t *testing.T) *Blobs {
	t.Helper()
	return reopen(t, t.TempDir())
}

func reopen(t *testing.T, dir string) *Blobs {
	t.Helper()
	b, err := Open(Config{Dir: dir, Blob: 1 << 20, Total: 3 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

func read(t *testing.T, b *Blobs, digest string) string {
	t.Helper()
	f, err := b.Open(digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func gives(s string) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// files returns how many files lie in the store, unfinished ones too.
func files(t *testing.T, b *Blobs) (n int) {
	t.Helper()
	_ = filepath.Walk(b.cfg.Dir, func(_ string, info os.FileInfo, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		if !info.IsDir() {
			n++
		}
		return nil
	})
	return n
}

func TestContentIsFoundByItsDigest(t *testing.T) {
	b := fresh(t)
	digest, size, err := b.Put(t.Context(), strings.NewReader("hello"))
	if err != nil || digest != digestOf("hello") || size != 5 {
		t.Fatal(digest, size, err)
	}
	if _, _, err := b.Put(t.Context(), strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	if n := files(t, b); n != 1 {
		t.Errorf("%d files for one content", n)
	}
	b = reopen(t, b.cfg.Dir)
	if got := read(t, b, digest); got != "hello" || !b.Has(digest) || b.total != 5 {
		t.Errorf("got %q, total %d", got, b.total)
	}
	if _, err := b.Open(digestOf("other")); !errors.Is(err, ErrNotFound) || b.Has(digestOf("other")) {
		t.Errorf("missing blob: %v", err)
	}
}

func TestWrongContentIsRefusedAndLeavesNothing(t *testing.T) {
	b := fresh(t)
	broken := errors.New("line cut")
	for name, c := range map[string]struct {
		fetch func(context.Context) (io.ReadCloser, error)
		want  error
	}{
		"other content": {gives("something else"), ErrDigest},
		"cut short":     {gives("hel"), ErrDigest},
		"broken": {func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(broken))), nil
		}, broken},
		"refused": {func(context.Context) (io.ReadCloser, error) { return nil, broken }, broken},
	} {
		if err := b.Ensure(t.Context(), digestOf("hello"), c.fetch); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if b.Has(digestOf("hello")) || files(t, b) != 0 || b.total != 0 {
			t.Errorf("%s: left %d files, %d bytes counted", name, files(t, b), b.total)
		}
	}
	if err := b.Ensure(t.Context(), digestOf("hello"), gives("hello")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestManyWhoAskShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t)
		var fetches atomic.Int32
		release := make(chan struct{})
		fetch := func(ctx context.Context) (io.ReadCloser, error) {
			fetches.Add(1)
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return gives("hello")(ctx)
		}
		// The first one gives up; the rest get what it began to fetch.
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.Ensure(first, digestOf("hello"), fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up got %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if err := b.Ensure(t.Context(), digestOf("hello"), fetch); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := fetches.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestFetchEndsWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := make(chan struct{})
		err := b.Ensure(ctx, digestOf("hello"), func(ctx context.Context) (io.ReadCloser, error) {
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-ended
		if err := b.Ensure(t.Context(), digestOf("hello"), gives("hello")); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

func TestBoundsAreKept(t *testing.T) {
	b := fresh(t)
	if _, _, err := b.Put(t.Context(), bytes.NewReader(make([]byte, 1<<20+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a blob over its bound: %v", err)
	}
	for i := range 3 {
		if _, _, err := b.Put(t.Context(), bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := b.Put(t.Context(), strings.NewReader("x")); !errors.Is(err, ErrFull) {
		t.Errorf("a blob over the whole bound: %v", err)
	}
	if _, _, err := b.Collect(nil, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Put(t.Context(), strings.NewReader("x")); err != nil {
		t.Errorf("after room was made: %v", err)
	}
}

func TestCollectKeepsWhatLivesAndWhatIsNew(t *testing.T) {
	b := fresh(t)
	for _, s := range []string{"live", "dead", "asked for"} {
		digest, _, err := b.Put(t.Context(), strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-time.Hour)
		if err := os.Chtimes(b.path(digest), long, long); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now().Add(-time.Minute)
	if _, _, err := b.Put(t.Context(), strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	b.Has(digestOf("asked for"))
	n, freed, err := b.Collect(map[string]bool{digestOf("live"): true}, began)
	if n != 1 || freed != 4 || err != nil {
		t.Errorf("deleted %d of %d bytes, %v", n, freed, err)
	}
	for s, want := range map[string]bool{"live": true, "dead": false, "new": true, "asked for": true} {
		if b.Has(digestOf(s)) != want {
			t.Errorf("%s: there is %v", s, !want)
		}
	}
}

func TestInterruptedWriteIsDeletedAtOpen(t *testing.T) {
	b := fresh(t)
	if err := os.WriteFile(filepath.Join(b.temporary(), "half"), []byte("he"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b = reopen(t, b.cfg.Dir); files(t, b) != 0 {
		t.Error("it is still there")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(digestOf(""))
	f.Add("sha256:../../../../etc/passwd")
	f.Add("sha256:" + strings.Repeat("A", 64))
	f.Fuzz(func(t *testing.T, digest string) {
		b := &Blobs{cfg: Config{Dir: "/blobs"}}
		if Check(digest) == nil && !strings.HasPrefix(b.path(digest), "/blobs/sha256/"+digest[7:9]+"/") {
			t.Errorf("%q leads to %s", digest, b.path(digest))
		}
	})
}
