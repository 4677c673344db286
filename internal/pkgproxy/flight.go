package pkgproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
)

// largestRefusal is how much is read of an answer that is no content.
const largestRefusal = 1 << 20

// flight is one fetch, which everyone who asks for the same address meanwhile
// follows. Its goroutine writes what comes to a file; followers read it there.
type flight struct {
	key     string
	url     *url.URL
	cancel  context.CancelFunc
	readers int // guarded by Proxy.mu, with the goroutine as one

	ready chan struct{} // closed when the fields below are set
	// The fields below do not change after ready.
	err       error // the origin could not be asked
	unchanged bool  // what the cache has still holds
	status    int
	header    http.Header
	body      []byte // of a status other than 200
	size      int64  // announced, or -1
	file      *os.File

	taken int64 // bytes that the goroutine has read; only it looks at them

	mu sync.Mutex
	// The fields below are guarded by mu.
	written int64
	ended   bool
	failure error         // why it ended before its end
	changed chan struct{} // closed by the next change of the fields above
}

// join returns the flight for key, and starts it if there is none. Its caller
// must leave it.
func (p *Proxy) join(key string, r *http.Request) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return nil
	}
	if f := p.flights[key]; f != nil {
		f.readers++
		return f
	}
	// The fetch belongs to all its followers, not to the first.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	f := &flight{
		key: key, url: r.URL, cancel: cancel, readers: 2, size: -1,
		ready: make(chan struct{}), changed: make(chan struct{}),
	}
	p.flights[key] = f
	header := http.Header{}
	for _, name := range []string{"User-Agent", "Accept"} {
		if v := r.Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	p.running.Go(func() {
		p.fly(ctx, f, header)
		p.mu.Lock()
		if p.flights[key] == f {
			delete(p.flights, key)
		}
		p.mu.Unlock()
		cancel()
		p.leave(f)
	})
	return f
}

// leave ends following f. Without followers the fetch is given up.
func (p *Proxy) leave(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.readers--
	switch {
	case f.readers == 1 && p.flights[f.key] == f:
		f.cancel()
		delete(p.flights, f.key) // whoever comes next starts anew
	case f.readers == 0 && f.file != nil:
		_ = f.file.Close()
	}
}

// fly asks the origin and takes its answer to the end.
func (p *Proxy) fly(ctx context.Context, f *flight, header http.Header) {
	resp, err := p.ask(ctx, f, header)
	if err != nil {
		f.err = err
		close(f.ready)
		return
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified:
		f.unchanged = true
		if err := p.cache.touch(f.key, p.now()); err != nil {
			p.cfg.Log.Warn("package cache", "url", f.key, "err", err)
		}
	case resp.StatusCode != http.StatusOK:
		f.status, f.header = resp.StatusCode, resp.Header
		f.body, f.err = io.ReadAll(io.LimitReader(resp.Body, largestRefusal))
		f.header.Del("Content-Length")
	default:
		f.status, f.header, f.size = resp.StatusCode, resp.Header, resp.ContentLength
		f.file, f.err = p.cache.temporary()
	}
	if f.file == nil || f.err != nil {
		close(f.ready)
		return
	}
	if f.header.Get("Content-Type") == "" {
		f.header.Set("Content-Type", "application/octet-stream") // else it would be guessed
	}
	close(f.ready)
	last, err := p.take(f, resp.Body)
	if err == nil && p.keeps(resp) {
		// The cache has it before the followers are told of its end: who comes
		// then finds it there. Where it cannot be kept, they have it all the same.
		if err := p.cache.keep(f.key, f.file, f.written+last, resp.Header, p.now()); err != nil {
			p.cfg.Log.Warn("package cache", "url", f.key, "err", err)
		}
	}
	_ = os.Remove(f.file.Name()) // unless it was given its place
	p.coming.Add(-f.taken)
	if err != nil && ctx.Err() == nil {
		p.cfg.Log.Warn("package fetch", "url", f.key, "err", err)
	}
	f.advance(last, true, err)
}

// ask sends the request, on condition of a change when the cache has a copy.
func (p *Proxy) ask(ctx context.Context, f *flight, header http.Header) (*http.Response, error) {
	req := (&http.Request{Method: http.MethodGet, URL: f.url, Host: f.url.Host, Header: header}).WithContext(ctx)
	old, kept := p.cache.get(f.key)
	if kept {
		for condition, validator := range map[string]string{"If-None-Match": "Etag", "If-Modified-Since": "Last-Modified"} {
			if v := old.Header[validator]; v != "" {
				req.Header.Set(condition, v)
			}
		}
	}
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errOwn) {
			p.setSilent(f.url.Host, true)
		}
		return nil, err
	}
	p.setSilent(f.url.Host, false)
	if kept && resp.StatusCode >= 500 {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the origin answers %s", resp.Status)
	}
	dropHops(resp.Header)
	return resp, nil
}

// keeps reports whether an answer may be given to others later, and came
// whole beyond doubt: a length was announced, or its end was marked.
func (p *Proxy) keeps(resp *http.Response) bool {
	whole := resp.ContentLength >= 0 || slices.Contains(resp.TransferEncoding, "chunked")
	vary := resp.Header.Get("Vary")
	return whole && resp.Header.Get("Content-Encoding") == "" &&
		!containsAny(resp.Header.Get("Cache-Control"), "no-store", "private") && (vary == "" || vary == "Accept-Encoding")
}

// take writes what comes to the file and tells the followers, but for the
// last bytes of an announced size: it returns how many they are. Together the
// fetches under way write no more than the cache may hold.
func (p *Proxy) take(f *flight, body io.Reader) (last int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		f.taken += int64(n)
		if p.coming.Add(int64(n)) > p.cache.limit {
			return 0, fmt.Errorf("there is no room for it: fetches under way may take %d bytes", p.cache.limit)
		}
		if _, err := f.file.Write(buf[:n]); err != nil {
			return 0, err
		}
		if f.size >= 0 && f.written+int64(n) == f.size {
			return int64(n), nil
		}
		if n > 0 {
			f.advance(int64(n), false, nil)
		}
		if err == io.EOF {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (f *flight) advance(n int64, ended bool, failure error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written += n
	f.ended, f.failure = ended, failure
	close(f.changed)
	f.changed = make(chan struct{})
}

// growing reads a flight's content from the start while it comes. It is an
// io.ReadSeeker when the flight's size was announced.
type growing struct {
	ctx    context.Context
	flight *flight
	off    int64
	flush  func() error // hands on what was read before waiting for more
}

// Read waits for more than has been read.
func (g *growing) Read(b []byte) (int, error) {
	f := g.flight
	for {
		f.mu.Lock()
		written, ended, failure, changed := f.written, f.ended, f.failure, f.changed
		f.mu.Unlock()
		switch {
		case g.off < written:
			n, err := f.file.ReadAt(b[:min(int64(len(b)), written-g.off)], g.off)
			g.off += int64(n)
			return n, err
		case failure != nil:
			return 0, failure
		case ended:
			return 0, io.EOF
		}
		if err := g.flush(); err != nil {
			return 0, err
		}
		select {
		case <-changed:
		case <-g.ctx.Done():
			return 0, g.ctx.Err()
		}
	}
}

// Seek counts from the announced size where its end is meant.
func (g *growing) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += g.off
	case io.SeekEnd:
		offset += g.flight.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	g.off = offset
	return offset, nil
}
