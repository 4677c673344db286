package real

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"

	"github.com/chromedp/chromedp"
)

// The administrator of examples/wiki/wiki.sf.
const (
	wikiAdmin    = "Admin"
	wikiPassword = "correct horse battery"
)

// browserSystem is a machine with a headless browser in it, which takes any
// certificate, and a door to its debugger.
const browserSystem = `#include "aloft/components.sf"
sfConfig extends {
  desk extends VM {
    cores 2; memory 2048;
    tools extends Package { names [| "chromium", "socat" |]; }
    chromium extends Process {
      command [| "/usr/bin/chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--ignore-certificate-errors", "--remote-debugging-port=9222", "--user-data-dir=/var/tmp/chromium", "about:blank" |];
      readyPort 9222; readyTimeout 120;
    }
    door extends Process { command [| "/usr/bin/socat", "TCP-LISTEN:9223,fork,reuseaddr", "TCP:127.0.0.1:9222" |]; readyPort 9223; }
  }
}
`

// visitor is somebody who looks at a wiki with a program, and takes any
// certificate.
type visitor struct {
	t   *testing.T
	uri string // of the wiki
	*http.Client
}

func visit(t *testing.T, uri string) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	return visitor{t, uri, &http.Client{Jar: jar, Transport: tr, Timeout: time.Minute}}
}

// ask asks the wiki's API.
func (v visitor) ask(pairs ...string) (map[string]any, error) {
	form := url.Values{"format": {"json"}, "formatversion": {"2"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := v.PostForm(v.uri+"/api.php", form)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil || answer["error"] != nil {
		return nil, fmt.Errorf("%s %v: %s, %w\n%.1000s", v.uri, pairs[:2], resp.Status, err, body)
	}
	return answer, nil
}

// in returns what the answer to a question has under one name after the other.
func (v visitor) in(names []string, pairs ...string) any {
	v.t.Helper()
	answer, err := v.ask(pairs...)
	if err != nil {
		v.t.Fatal(err)
	}
	var found any = answer
	for _, n := range names {
		m, _ := found.(map[string]any)
		found = m[n]
	}
	return found
}

// login returns what an edit has to bring along.
func (v visitor) login() (token string) {
	v.t.Helper()
	token, _ = v.in([]string{"query", "tokens", "logintoken"}, "action", "query", "meta", "tokens", "type", "login").(string)
	if got := v.in([]string{"login", "result"}, "action", "login", "lgname", wikiAdmin, "lgpassword", wikiPassword, "lgtoken", token); got != "Success" {
		v.t.Fatalf("login: %v", got)
	}
	token, _ = v.in([]string{"query", "tokens", "csrftoken"}, "action", "query", "meta", "tokens", "type", "csrf").(string)
	return token
}

// text is the text of a page.
func (v visitor) text(page string) any {
	v.t.Helper()
	return v.in([]string{"parse", "wikitext"}, "action", "parse", "page", page, "prop", "wikitext")
}

// The running example of the paper: every request passes Tomcat, the database is
// on another machine, what a browser writes is read over HTTPS, and all that was
// acknowledged is there after anything was killed. One command makes it, one
// changes it, one takes that back, and one ends it without residue.
func TestRT01WikiOfThePaper(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	begun := time.Now()
	h.do("up", examples(t, "wiki/wiki.sf"), "-y")
	t.Logf("up took %.1f s", time.Since(begun).Seconds())

	var endpoints []api.Endpoint
	h.json(&endpoints, "endpoints", "wiki")
	i := slices.IndexFunc(endpoints, func(e api.Endpoint) bool { return strings.HasSuffix(e.URI, "/mediawiki") })
	if i < 0 {
		t.Fatalf("the wiki is not among %v", endpoints)
	}
	plain := endpoints[i].URI
	secure := strings.Replace(plain, "http://", "https://", 1)

	writer := visit(t, secure)
	token := writer.login()
	write := func(page, text string) error {
		answer, err := writer.ask("action", "edit", "title", page, "text", text, "token", token)
		if err == nil && fmt.Sprint(answer["edit"]) == "" {
			err = fmt.Errorf("the edit was answered with %v", answer)
		}
		return err
	}
	long := strings.TrimSpace(strings.Repeat("Ünïcode & <tags> 'quoted'.\n", 4000)) // above 100 kB
	if err := write("Long", long); err != nil {
		t.Fatal(err)
	}
	if got := visit(t, plain).text("Long"); got != long {
		t.Errorf("%d bytes were written, and read is %.100q", len(long), got)
	}
	for _, uri := range []string{plain, secure} {
		resp, err := visit(t, uri).Get(uri)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		at := resp.Request.URL
		if asked, _ := url.Parse(uri); resp.StatusCode != http.StatusOK || at.Scheme != asked.Scheme || at.Hostname() != asked.Hostname() || at.Query().Get("title") != "Main_Page" {
			t.Errorf("%s leads to %s, %s", uri, at, resp.Status)
		}
	}

	everyRequestPassesTomcat(t, h, plain)
	aBrowserEdits(t, h, secure)

	// Whatever dies, the wiki is back, with all that it had acknowledged.
	killed := []struct{ what, machine, script string }{
		{"mariadbd", "wiki/vmA", "kill -9 $(pgrep -x mariadbd)"},
		{"Tomcat", "wiki/vmB", "kill -9 $(pgrep -u tomcat java)"},
		{"the database machine's daemon", "wiki/vmA", "kill -9 $(pgrep -f 'daemon run --machine')"},
		{"the web machine's daemon", "wiki/vmB", "kill -9 $(pgrep -f 'daemon run --machine')"},
	}
	for i, k := range killed {
		last := fmt.Sprintf("written before the end of %s", k.what)
		if err := write(fmt.Sprint("Edit", i), last); err != nil {
			t.Fatal(err)
		}
		h.try("exec", k.machine, "--", "sh", "-c", k.script) // it may take the answer along
		begun := time.Now()
		eventually(t, time.Minute, "an edit after the end of "+k.what, func() bool { return write(fmt.Sprint("After", i), last) == nil })
		t.Logf("after the end of %s an edit is taken within %.1f s", k.what, time.Since(begun).Seconds())
		for j := range i + 1 {
			if got := visit(t, plain).text(fmt.Sprint("Edit", j)); got != fmt.Sprintf("written before the end of %s", killed[j].what) {
				t.Errorf("after the end of %s, edit %d is %v", k.what, j, got)
			}
		}
	}

	// An update, and its way back.
	title := func() string {
		page := get(t, plain+"/index.php?title=Long")
		_, page, _ = strings.Cut(page, "<title>")
		page, _, _ = strings.Cut(page, "</title>")
		return page
	}
	before := title()
	begun = time.Now()
	h.do("set", "wiki", "vmB:software:tomcat:apps:mediaWiki:siteName", "Encyclopedia", "-y")
	t.Logf("reconfigured in %.1f s", time.Since(begun).Seconds())
	if now := title(); !strings.Contains(now, "Encyclopedia") {
		t.Errorf("the title is %q", now)
	}
	h.do("rollback", "wiki", "-y")
	if now := title(); now != before {
		t.Errorf("the title is %q, and was %q", now, before)
	}

	id := h.id()
	h.do("down", "wiki", "-y")
	h.do("down", "browser", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}

// everyRequestPassesTomcat looks into its log, and stops it for a moment.
func everyRequestPassesTomcat(t *testing.T, h *home, wiki string) {
	t.Helper()
	mark := fmt.Sprintf("Mark_%d", time.Now().UnixNano())
	get(t, wiki+"/index.php?title=Special:BlankPage&x="+mark)
	if out := h.do("logs", "wiki", "vmB:software:tomcat"); !strings.Contains(out, mark) {
		t.Errorf("Tomcat's log does not have %s:\n%s", mark, tail(out, 20))
	}
	h.do("exec", "wiki/vmB", "--", "pkill", "-STOP", "-u", "tomcat", "java")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wiki+"/load.php", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := visit(t, wiki).Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("while Tomcat is stopped the wiki answers %s", resp.Status)
	}
	h.do("exec", "wiki/vmB", "--", "pkill", "-CONT", "-u", "tomcat", "java")
	get(t, wiki+"/index.php?title=Long")
}

// aBrowserEdits has a real browser log in, make a page in the wiki's own form,
// and read it.
func aBrowserEdits(t *testing.T, h *home, wiki string) {
	t.Helper()
	h.do("up", h.write("browser", browserSystem), "-y")
	ctx, cancel := chromedp.NewRemoteAllocator(t.Context(), "ws://"+h.address("browser", "desk")+":9223")
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	const text = "Written by hand, in a browser."
	var read string
	err := chromedp.Run(
		ctx,
		chromedp.Navigate(wiki+"/index.php?title=Special:UserLogin"),
		chromedp.WaitVisible("#wpName1"),
		chromedp.SendKeys("#wpName1", wikiAdmin),
		chromedp.SendKeys("#wpPassword1", wikiPassword),
		chromedp.Click("#wpLoginAttempt"),
		chromedp.WaitVisible("#pt-logout"),
		chromedp.Navigate(wiki+"/index.php?title=Browsed&action=edit"),
		chromedp.WaitVisible("#wpTextbox1"),
		chromedp.SendKeys("#wpTextbox1", text),
		chromedp.Click("#wpSave"),
		chromedp.WaitVisible("#mw-content-text"),
		chromedp.Navigate(wiki+"/index.php?title=Browsed"),
		chromedp.WaitVisible("#mw-content-text"),
		chromedp.Text("#mw-content-text", &read),
	)
	if err != nil || !strings.Contains(read, text) {
		t.Errorf("the browser reads %q, %v", read, err)
	}
}
