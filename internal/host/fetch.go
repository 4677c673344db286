package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"aloft/component"
	"aloft/value"
)

// Fetch says what to get from the network.
type Fetch struct {
	URL     string // http or https
	Header  map[string]string
	Digest  string // "sha256:…"; "": whatever comes
	Retries int    // after the first attempt
	Proxy   string // "http://host:port" for what is not on the machine's own networks, or ""
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Check returns an error if the address or the digest is not one.
func (f Fetch) Check() error {
	u, err := url.Parse(f.URL)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an address: %w", f.URL, errors.Unwrap(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q is not an address that begins with http:// or https://", f.URL)
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", f.URL)
	case f.Digest != "" && !digestForm.MatchString(f.Digest):
		return fmt.Errorf("%q is not a digest: want sha256: and 64 hexadecimal digits", f.Digest)
	}
	for name, v := range f.Header {
		if !headerName.MatchString(name) || strings.ContainsAny(v, "\r\n\x00") {
			return fmt.Errorf("%q cannot be a header with this value", name)
		}
	}
	return nil
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// CheckFetch finds, while planning, what Check would.
func CheckFetch(attrs *value.Component, urlAttr string) (problems []component.Problem) {
	text := func(name string) string {
		v, _ := attrs.Get(name)
		s, _ := v.(value.String)
		return string(s)
	}
	for _, one := range []struct {
		attr, expected, remedy string
		f                      Fetch
	}{
		{urlAttr, "an address such as https://host/file", "write the whole address", Fetch{URL: text(urlAttr)}},
		{"digest", `"sha256:…"`, "take what sha256sum prints for the file, after sha256:", Fetch{URL: "http://h", Digest: text("digest")}},
	} {
		if v, _ := attrs.Get(one.attr); v == nil || v.Kind() != value.KindString {
			continue
		}
		if err := one.f.Check(); err != nil {
			problems = append(problems, component.Problem{Attr: one.attr, Expected: one.expected, Found: text(one.attr), Message: err.Error(), Remedy: one.remedy})
		}
	}
	return problems
}

// Pauses of a fetch.
const (
	fetchPause = time.Second      // before the first repetition; it doubles
	fetchStall = 30 * time.Second // without a byte: the attempt has failed
)

// lasting is an error that a repetition would not mend.
type lasting struct{ error }

func (l lasting) Unwrap() error { return l.error }

// To writes what it gets to the file w, from its beginning, and returns its
// digest. What may pass by itself is tried again.
func (f Fetch) To(ctx context.Context, w *os.File, env component.Environment) (digest string, err error) {
	if err := f.Check(); err != nil {
		return "", err
	}
	client := &http.Client{Transport: f.transport(), CheckRedirect: f.redirect}
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		digest, err = f.once(ctx, client, w, env)
		if err == nil {
			return digest, nil
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("get %s: %w", f.URL, ctx.Err())
		}
		if _, last := errors.AsType[lasting](err); last || n >= f.Retries {
			return "", f.failure(err, n+1)
		}
		env.Log().Warn("fetching again", "url", f.URL, "error", err)
		if Sleep(ctx, fetchPause<<min(n, 5)) != nil {
			return "", fmt.Errorf("get %s: %w", f.URL, err)
		}
	}
}

func (f Fetch) failure(err error, attempts int) error {
	if _, remedy := component.Detail(err); remedy != "" {
		return err
	}
	times := ""
	if attempts > 1 {
		times = fmt.Sprintf(" (%d attempts)", attempts)
	}
	return &component.Failure{
		Err:    fmt.Errorf("get %s%s: %w", f.URL, times, err),
		Remedy: "check that the address is right and that this machine reaches it",
	}
}

func (f Fetch) once(ctx context.Context, client *http.Client, w *os.File, env component.Environment) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(fetchStall, func() { cancel(fmt.Errorf("nothing came for %s", fetchStall)) })
	defer stalled.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return "", lasting{err}
	}
	req.Header.Set("User-Agent", "aloft")
	for name, v := range f.Header {
		req.Header.Set(name, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", because(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("the answer is %s", resp.Status)
		switch resp.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests:
			return "", err
		}
		if resp.StatusCode < 500 {
			return "", lasting{err}
		}
		return "", err
	}
	if err := errors.Join(w.Truncate(0), seekStart(w)); err != nil {
		return "", lasting{explain(err)}
	}
	sum := sha256.New()
	r := &watched{Reader: resp.Body, stalled: stalled, size: resp.ContentLength, env: env}
	if _, err := io.Copy(io.MultiWriter(disk{w}, sum), r); err != nil {
		return "", because(ctx, err)
	}
	digest := "sha256:" + hex.EncodeToString(sum.Sum(nil))
	if f.Digest != "" && digest != f.Digest {
		return "", lasting{&component.Failure{
			Err:    fmt.Errorf("%s has digest %s, want %s", f.URL, digest, f.Digest),
			Remedy: "if the file was changed rightly, give the new digest; else do not use it",
		}}
	}
	return digest, nil
}

func seekStart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// because returns why ctx was cancelled, if that is what err comes from.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var u *url.Error
	if errors.As(err, &u) { // the address is told with it already
		return u.Err
	}
	return err
}

// disk makes errors of the machine's disk lasting, and clear.
type disk struct{ f *os.File }

func (d disk) Write(b []byte) (int, error) {
	n, err := d.f.Write(b)
	if err != nil {
		err = lasting{explain(err)}
	}
	return n, err
}

// watched tells how far it is, and that something comes.
type watched struct {
	io.Reader
	stalled   *time.Timer
	size, got int64
	told      time.Time
	env       component.Environment
}

func (r *watched) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 {
		r.stalled.Reset(fetchStall)
	}
	r.got += int64(n)
	if now := time.Now(); r.size > 0 && r.got <= r.size && now.Sub(r.told) > time.Second {
		r.told = now
		r.env.Progress(float64(r.got)/float64(r.size), fmt.Sprintf("%d of %d MB", r.got>>20, r.size>>20))
	}
	return n, err
}

// redirect follows a few, not from https to http, and does not show another
// host the headers, which may have a password.
func (f Fetch) redirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) >= 10:
		return lasting{errors.New("more than 10 redirections")}
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return lasting{fmt.Errorf("it leads to %s, which is not encrypted", req.URL)}
	case req.URL.Host != first.Host:
		for name := range f.Header {
			req.Header.Del(name)
		}
	}
	return nil
}

func (f Fetch) transport() *http.Transport {
	t := &http.Transport{DisableCompression: true, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second}
	proxy, err := url.Parse(f.Proxy)
	if f.Proxy == "" || err != nil {
		return t
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if near(req.Context(), req.URL.Hostname()) {
			return nil, nil
		}
		return proxy, nil
	}
	return t
}

// near reports whether a host is on one of the machine's own networks, which no
// proxy leads to.
func near(ctx context.Context, host string) bool {
	var all []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		all = []netip.Addr{a}
	} else if all, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return false // the proxy may know the name
	}
	for _, a := range all {
		if a = a.Unmap(); a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}
