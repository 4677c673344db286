package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// HTTP manages HTTPCheck components.
type HTTP struct{ component.Keep }

var _ component.Manager = HTTP{}

// Class describes HTTPCheck.
func (HTTP) Class() component.Class { return httpClass }

var httpClass = component.Class{
	Name:   "HTTPCheck",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("HTTPCheck"),
	Attributes: []component.Attribute{
		{Name: "url", Use: component.UseStart},
		{Name: "contains", Use: component.UseStart},
	},
	Outputs:      []component.Output{{Name: "latency", Kind: value.KindInteger, Doc: "time of the answer that it started with, in ms"}},
	Reconfigures: true,
	KeepsNothing: "it makes nothing, and only looks",
	StartTimeout: startTimeout,
	Check: func(attrs *value.Component, _ component.Target) []component.Problem {
		v, _ := attrs.Get("url")
		text, ok := v.(value.String)
		if !ok {
			return nil
		}
		if err := checkURL(string(text)); err != nil {
			return []component.Problem{{
				Attr: "url", Expected: "an address such as http://host:port/path", Found: string(text),
				Message: err.Error(), Remedy: "begin it with http:// or https:// and a host",
			}}
		}
		return nil
	},
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.Unwrap(err) // without the address, which the problem has already
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q is not an address of a page", text)
	case u.Hostname() == "":
		return fmt.Errorf("%q names no host", text)
	}
	return nil
}

// page is the answer that is wanted.
type page struct {
	pace
	url, contains string
	status        int
}

func readPage(c *component.Call) (page, error) {
	v := httpClass.Values(c.Attrs)
	p := page{pace: readPace(v), url: v.Text("url"), contains: v.Text("contains"), status: v.Int("status")}
	if err := v.Err(); err != nil {
		return p, err
	}
	if err := checkURL(p.url); err != nil {
		return p, fmt.Errorf("attribute url: %w", err)
	}
	return p, nil
}

// maxPage is how much of a page is looked at.
const maxPage = 1 << 20

// ask gets the page. A redirection is an answer like others: what is checked is
// the page that was named.
func (p page) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "aloft-HTTPCheck")
	// No proxy and no connection kept: the question is whether it answers now,
	// to this machine.
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if resp.StatusCode != p.status {
		where := ""
		if to := resp.Header.Get("Location"); to != "" {
			where = " (to " + to + ")"
		}
		return &component.Failure{Err: fmt.Errorf("%s answers %s%s, want %d", p.url, resp.Status, where, p.status), Output: firstLines(body)}
	}
	if err != nil {
		return fmt.Errorf("%s breaks off: %w", p.url, err)
	}
	if !bytes.Contains(body, []byte(p.contains)) {
		return &component.Failure{Err: fmt.Errorf("%s answers %s without %q", p.url, resp.Status, p.contains), Output: firstLines(body)}
	}
	return nil
}

// firstLines is the beginning of a page, for people.
func firstLines(body []byte) (lines []string) {
	for line := range strings.Lines(strings.ToValidUTF8(string(body[:min(len(body), 4096)]), "\uFFFD")) {
		if line = strings.TrimSpace(line); line != "" && len(lines) < 10 {
			lines = append(lines, line)
		}
	}
	return lines
}

// Start waits until the page answers as wanted.
func (HTTP) Start(ctx context.Context, c *component.Call) error {
	p, err := readPage(c)
	if err != nil {
		return err
	}
	var begun time.Time
	err = p.await(ctx, c.Env, func(ctx context.Context) error {
		begun = time.Now()
		return p.ask(ctx)
	})
	if err == nil {
		c.Env.Output("latency", value.Integer(time.Since(begun).Milliseconds()))
	}
	return err
}

// Reconfigure waits for the new page.
func (m HTTP) Reconfigure(ctx context.Context, c *component.Call) error { return m.Start(ctx, c) }

// Ping asks once.
func (HTTP) Ping(ctx context.Context, c *component.Call) error {
	p, err := readPage(c)
	if err != nil {
		return err
	}
	return p.once(ctx, p.ask)
}
