package pkgproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// entry is what is known of one kept file.
type entry struct {
	URL     string            `json:"url"`
	Header  map[string]string `json:"header"` // those of the answer that matter later
	Size    int64             `json:"size"`
	Checked time.Time         `json:"checked"` // when the origin last said that it holds

	used time.Time
}

// keptHeaders are told again with what is served from the cache.
var keptHeaders = []string{"Content-Type", "Etag", "Last-Modified"}

func (e entry) path() string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return ""
	}
	return u.Path
}

func (e entry) fresh(now time.Time) bool {
	return immutable(e.path()) || now.Sub(e.Checked) < fresh
}

// cache is the files that were fetched whole. Each has its content in one file
// and its entry beside it, written afterwards: without the entry, or with
// another size than it says, there is no content.
type cache struct {
	dir   string
	limit int64

	mu sync.Mutex
	// The fields below are guarded by mu.
	entries map[string]*entry
	total   int64
}

func openCache(dir string, limit int64) (*cache, error) {
	c := &cache{dir: dir, limit: limit, entries: map[string]*entry{}}
	if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, isEntry := strings.CutSuffix(file, ".json")
		if !isEntry {
			// Content whose entry was never written.
			if _, err := os.Stat(file + ".json"); errors.Is(err, fs.ErrNotExist) {
				return os.Remove(file)
			}
			return nil
		}
		e, err := readEntry(file)
		info, statErr := os.Stat(name)
		if err != nil || statErr != nil || info.Size() != e.Size || c.file(e.URL) != name {
			_ = os.Remove(name)
			return os.Remove(file)
		}
		e.used = info.ModTime()
		c.entries[e.URL] = &e
		c.total += e.Size
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	c.shrink()
	return c, nil
}

func readEntry(file string) (e entry, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	return e, err
}

func (c *cache) file(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(c.dir, name[:2], name)
}

// get returns the entry of key.
func (c *cache) get(key string) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return entry{}, false
	}
	return *e, true
}

// open returns the entry of key with its content, or nil. What is deleted
// meanwhile can be read to its end.
func (c *cache) open(key string) (entry, *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return entry{}, nil
	}
	f, err := os.Open(c.file(key))
	if err != nil {
		c.remove(e) // somebody cleaned up by hand
		return entry{}, nil
	}
	e.used = time.Now()
	_ = os.Chtimes(f.Name(), e.used, e.used) // for the order after a restart
	return *e, f
}

// temporary makes the file that a fetch writes to.
func (c *cache) temporary() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(c.dir, "tmp"), "")
	if err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	return f, nil
}

// keep gives a whole file its place. Its content is on disk before its entry
// is, for what is kept for good must not be half of it after a loss of power.
func (c *cache) keep(key string, f *os.File, size int64, header http.Header, now time.Time) error {
	e := &entry{URL: key, Header: map[string]string{}, Size: size, Checked: now, used: time.Now()}
	for _, name := range keptHeaders {
		if v := header.Get(name); v != "" {
			e.Header[name] = v
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[key]; old != nil {
		c.remove(old)
		c.doubt(e)
	}
	place := c.file(key)
	err := os.MkdirAll(filepath.Dir(place), 0o700)
	if err == nil {
		err = os.Rename(f.Name(), place)
	}
	if err == nil {
		err = c.write(e)
	}
	if err != nil {
		return fmt.Errorf("package cache: %w", err)
	}
	c.entries[key] = e
	c.total += e.Size
	c.shrink()
	return nil
}

// doubt has the neighbours of a new release file asked for again: an index of
// before does not fit the release of after.
func (c *cache) doubt(release *entry) {
	dir, name := path.Split(release.path())
	if name != "InRelease" && name != "Release" {
		return
	}
	below := strings.TrimSuffix(release.URL, name)
	for key, e := range c.entries {
		if dir != "" && strings.HasPrefix(key, below) {
			e.Checked = time.Time{}
		}
	}
}

// touch records that the origin has confirmed what is kept.
func (c *cache) touch(key string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	e.Checked = now
	return c.write(e)
}

// write puts an entry beside its content, whole or not at all.
func (c *cache) write(e *entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	file := c.file(e.URL) + ".json"
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// shrink deletes what was not used for longest until the rest is in bounds.
func (c *cache) shrink() {
	for c.total > c.limit {
		var oldest *entry
		for _, e := range c.entries {
			if oldest == nil || e.used.Before(oldest.used) {
				oldest = e
			}
		}
		if oldest == nil {
			return
		}
		c.remove(oldest)
	}
}

// remove forgets e. What cannot be deleted now is found at the next start.
func (c *cache) remove(e *entry) {
	_ = os.Remove(c.file(e.URL) + ".json")
	_ = os.Remove(c.file(e.URL))
	if c.entries[e.URL] == e {
		delete(c.entries, e.URL)
		c.total -= e.Size
	}
}
