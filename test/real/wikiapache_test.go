package real

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// overHTTPS reads the page Long of the wiki over HTTPS, and writes one, for whom
// the cluster's issuer has to vouch; what leads on stays there.
func overHTTPS(t *testing.T, h *home, long string) {
	t.Helper()
	secure := strings.TrimSuffix(strings.TrimSpace(h.do("get", "apache", "web:apache:httpsUri")), "/") + "/mediawiki"
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(h.do("cluster", "ca"))) {
		t.Fatal("aloft cluster ca prints no certificate")
	}
	someone := func() visitor {
		v := visit(t, secure)
		v.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
		return v
	}
	if got := someone().text("Long"); got != long {
		t.Errorf("over HTTPS read is %.100q", got)
	}
	writer := someone()
	if _, err := writer.ask("action", "edit", "title", "Secure", "text", "written over HTTPS", "token", writer.login()); err != nil {
		t.Fatal(err)
	}
	if got := someone().text("Secure"); got != "written over HTTPS" {
		t.Errorf("read over HTTPS: %q", got)
	}
	resp, err := someone().Get(secure)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if asked, _ := url.Parse(secure); resp.StatusCode != http.StatusOK || resp.Request.URL.Scheme != "https" || resp.Request.URL.Host != asked.Host {
		t.Errorf("%s leads to %s, %s", secure, resp.Request.URL, resp.Status)
	}
}

// The wiki under Apache: served by it directly, with its database on another
// machine. What was acknowledged is there after either was killed; a changed
// site beside it leaves it alone; and it ends without residue.
func TestWikiUnderApache(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	begun := time.Now()
	h.do("up", examples(t, "wiki/apache.sf"), "-y")
	t.Logf("up took %.1f s", time.Since(begun).Seconds())

	var endpoints []api.Endpoint
	h.json(&endpoints, "endpoints", "apache")
	i := slices.IndexFunc(endpoints, func(e api.Endpoint) bool { return strings.HasSuffix(e.URI, "/mediawiki") })
	if i < 0 {
		t.Fatalf("the wiki is not among %v", endpoints)
	}
	wiki := endpoints[i].URI
	writer := visit(t, wiki)
	token := writer.login()
	write := func(page, text string) error {
		_, err := writer.ask("action", "edit", "title", page, "text", text, "token", token)
		return err
	}
	long := strings.TrimSpace(strings.Repeat("Ünïcode & <tags> 'quoted'.\n", 4000)) // above 100 kB
	if err := write("Long", long); err != nil {
		t.Fatal(err)
	}
	if got := visit(t, wiki).text("Long"); got != long {
		t.Errorf("%d bytes were written, and read is %.100q", len(long), got)
	}
	overHTTPS(t, h, long)
	resp, err := visit(t, wiki).Get(wiki)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if asked, _ := url.Parse(wiki); resp.StatusCode != http.StatusOK || resp.Request.URL.Host != asked.Host || resp.Request.URL.Query().Get("title") != "Main_Page" {
		t.Errorf("%s leads to %s, %s", wiki, resp.Request.URL, resp.Status)
	}

	home := strings.TrimSuffix(wiki, "/mediawiki") + "/"
	pid := h.do("exec", "apache/web", "--", "pgrep", "-o", "apache2")
	begun = time.Now()
	h.do("set", "apache", "web:apache:sites:home:pages:/", "Another text.", "-y")
	t.Logf("reconfigured in %.1f s", time.Since(begun).Seconds())
	if got := get(t, home); got != "Another text." {
		t.Errorf("beside the wiki: %q", got)
	}
	if now := h.do("exec", "apache/web", "--", "pgrep", "-o", "apache2"); now != pid {
		t.Errorf("Apache was process %s, is %s", pid, now)
	}
	if err := write("After", "a change of another site"); err != nil {
		t.Error(err)
	}

	for _, k := range []struct{ what, machine, script string }{
		{"Apache", "apache/web", "kill -9 $(pgrep -o apache2)"},
		{"mariadbd", "apache/data", "kill -9 $(pgrep -x mariadbd)"},
		{"the web machine's daemon", "apache/web", "kill -9 $(pgrep -f 'daemon run --machine')"},
	} {
		last := "written before the end of " + k.what
		if err := write("Last", last); err != nil {
			t.Fatal(err)
		}
		h.try("exec", k.machine, "--", "sh", "-c", k.script) // it may take the answer along
		begun := time.Now()
		eventually(t, time.Minute, "an edit after the end of "+k.what, func() bool { return write("After", last) == nil })
		t.Logf("after the end of %s an edit is taken within %.1f s", k.what, time.Since(begun).Seconds())
		if got := fmt.Sprint(visit(t, wiki).text("Last")); got != last {
			t.Errorf("after the end of %s the last edit is %s", k.what, got)
		}
	}

	id := h.id()
	h.do("down", "apache", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
