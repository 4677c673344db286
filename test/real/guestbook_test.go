package real

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"aloft/api"
)

func TestGuestbookIsBalancedAndKeepsItsEntries(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	h.do("up", examples(t, "guestbook.sf"), "-y")
	var endpoints []api.Endpoint
	h.json(&endpoints, "endpoints", "guestbook")
	i := slices.IndexFunc(endpoints, func(e api.Endpoint) bool { return e.Path == "web:nginx" })
	if i < 0 {
		t.Fatalf("the web server is not among %v", endpoints)
	}
	uri := endpoints[i].URI
	entry := `<b>"quotes" & 'apostrophes'</b> — über alles`
	res, err := http.PostForm(uri, url.Values{"entry": {entry}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	seen := map[string]bool{}
	for range 6 {
		page := get(t, uri)
		if !strings.Contains(page, "über alles") || strings.Contains(page, "<b>") {
			t.Fatalf("the entry is not shown, or shown raw:\n%s", page)
		}
		for _, machine := range []string{"app1", "app2"} {
			if strings.Contains(page, machine) {
				seen[machine] = true
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("answered by %v only", seen)
	}
	if out := h.do("up", examples(t, "guestbook.sf"), "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}
	// A killed application is brought back, and meanwhile the other answers.
	h.try("exec", "guestbook/app1", "--", "sh", "-c", "kill -9 "+strings.TrimSpace(h.do("get", "guestbook", "app1:app:pid")))
	if page := get(t, uri); !strings.Contains(page, "über alles") {
		t.Errorf("with one application killed:\n%s", page)
	}
	id := h.id()
	h.do("down", "guestbook", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
