package real

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// trusting is a client that trusts the cluster's issuer of services, and nobody
// else. It returns what is shown and the page.
func (h *home) trusting(uri, name string) (shown *x509.Certificate, page string, err error) {
	h.t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(h.do("cluster", "ca"))) {
		h.t.Fatal("aloft cluster ca prints no certificate")
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}}
	res, err := client.Get(uri)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.TLS.PeerCertificates[0], string(body), err
}

// A page over HTTPS, for clients that trust the cluster's issuer: the certificate
// outlives the daemon of its machine, is another one when its names are others or
// its key is lost, and goes with the system.
func TestHTTPSByACertificateOfTheCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	h.do("daemon", "start")
	if out, status := h.try("cluster", "ca"); status == 0 || !strings.Contains(out, "it is made with the first Certificate component") {
		t.Errorf("before the first certificate: %d %s", status, out)
	}
	h.do("up", examples(t, "https.sf"), "-y")
	uri := strings.TrimSpace(h.do("get", "https", "web:server:httpsUri"))
	shows := func(name string) *x509.Certificate {
		t.Helper()
		cert, page, err := h.trusting(uri, name)
		if err != nil || page != "Nobody reads this on the way.\n" {
			t.Fatalf("%s as %q: %q, %v", uri, name, page, err)
		}
		return cert
	}
	first := shows("www.example.org")
	if at, err := url.Parse(uri); err != nil || first.VerifyHostname(at.Hostname()) != nil {
		t.Errorf("it does not name the machine's address: %v, %v", first.IPAddresses, err)
	}
	shows("") // by its address
	if _, _, err := h.trusting(uri, "bank.example.org"); err == nil {
		t.Error("it is taken for another")
	}
	if left := time.Until(first.NotAfter); left < 89*24*time.Hour || left > 90*24*time.Hour {
		t.Errorf("it is good for %s", left)
	}
	key := strings.TrimSpace(h.do("get", "https", "web:certificate:keyFile"))
	if got := strings.TrimSpace(h.do("exec", "https/web", "--", "stat", "-c", "%a %U", key)); got != "600 root" {
		t.Errorf("its key is %s", got)
	}
	if out := h.do("up", examples(t, "https.sf"), "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}

	h.try("exec", "https/web", "--", "sh", "-c", "kill -9 $(pgrep -f 'daemon run --machine')") // it may take the answer along
	eventually(t, time.Minute, "the machine's daemon is back", func() bool {
		_, status := h.try("exec", "https/web", "--", "true")
		return status == 0
	})
	if now := shows("www.example.org"); now.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("after a restart of the machine's daemon it has another certificate")
	}

	// Other names: another certificate, which the server takes up by itself.
	text, err := os.ReadFile(examples(t, "https.sf"))
	if err != nil {
		t.Fatal(err)
	}
	changed := h.write("https", strings.Replace(string(text), `"www.example.org", LAZY`, `"www.example.org", "eu.example.org", LAZY`, 1))
	h.do("up", changed, "-y")
	second := shows("eu.example.org")

	// A key that is lost is a drift, which the plan shows and repairs.
	key = strings.TrimSpace(h.do("get", "https", "web:certificate:keyFile"))
	h.do("exec", "https/web", "--", "rm", key)
	if out, status := h.try("plan", changed); status != 2 || !strings.Contains(out, "~ web:certificate") {
		t.Errorf("the plan does not show that the key is lost:\n%s", out)
	}
	h.do("up", changed, "-y")
	if shows("eu.example.org").SerialNumber.Cmp(second.SerialNumber) == 0 {
		t.Error("the server shows the certificate whose key is lost")
	}

	id := h.id()
	h.do("down", "https", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
