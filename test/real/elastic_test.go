package real

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aloft/api"
)

// traffic asks for a page at most 20 times a second until it is stopped, as four
// people do, and reports every request that fails.
type traffic struct {
	clients sync.WaitGroup
	stop    func()
	asked   atomic.Int64
}

func ask(t *testing.T, uri, want string) *traffic {
	stopped := make(chan struct{})
	tr := &traffic{stop: sync.OnceFunc(func() { close(stopped) })}
	t.Cleanup(func() { tr.end() })
	for range 4 {
		tr.clients.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			c := http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stopped:
					return
				case <-tick.C:
				}
				n, begun := tr.asked.Add(1), time.Now()
				resp, err := c.Get(uri)
				if err != nil {
					t.Errorf("request %d at %s: %v", n, begun.Format(time.StampMilli), err)
					continue
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(b), want) {
					t.Errorf("request %d at %s: %s, %v\n%.300s", n, begun.Format(time.StampMilli), resp.Status, err, b)
				}
			}
		})
	}
	return tr
}

// end stops the requests, and returns how many there were.
func (tr *traffic) end() int64 {
	tr.stop()
	tr.clients.Wait()
	return tr.asked.Load()
}

// The wiki that grows by one number: 1 database and 2 web machines become 2 and
// 4, and 1 and 2 again, and all web machines are updated one after the other,
// while people read, and none of their requests fails. What is written through
// one machine is read through another, and a replica that has caught up goes
// without leave (RT-05, UP8, UP9).
func TestRT05WikiGrowsAndShrinksWithoutAFailedRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	timed := func(what string, args ...string) {
		t.Helper()
		begun := time.Now()
		h.do(args...)
		t.Logf("%s took %.1f s", what, time.Since(begun).Seconds())
	}
	file := examples(t, "wiki/elastic.sf")
	timed("up", "up", file, "--name", "wiki-elastic", "-y")
	var endpoints []api.Endpoint
	h.json(&endpoints, "endpoints", "wiki-elastic")
	wikis := 0
	for _, e := range endpoints {
		if strings.HasSuffix(e.URI, "/mediawiki") {
			wikis++
		}
	}
	if wikis != 2 {
		t.Errorf("%d of the endpoints are the wiki's, want 2: %v", wikis, endpoints)
	}
	front := strings.TrimSuffix(strings.TrimSpace(h.do("get", "wiki-elastic", "front:balancer:uri")), "/") + "/mediawiki"
	through := func(machine string) string { return "http://" + h.address("wiki-elastic", machine) + "/mediawiki" }

	// Whoever answers knows who has logged in.
	writer := visit(t, front)
	token := writer.login()
	write := func(v visitor, page, text, token string) {
		t.Helper()
		if answer, err := v.ask("action", "edit", "title", page, "text", text, "token", token); err != nil || fmt.Sprint(answer["edit"]) == "" {
			t.Fatalf("an edit through %s: %v, %v", v.uri, answer, err)
		}
	}
	for i := range 4 {
		write(writer, "Front", fmt.Sprint("edit ", i), token)
	}

	people := ask(t, front+"/index.php?title=Front", "edit 3")
	timed("growing", "set", "wiki-elastic", "dbs", "2", "-y")
	if role := strings.TrimSpace(h.do("get", "wiki-elastic", "db2:mysql:role")); role != "replica" {
		t.Errorf("db2 is a %q", role)
	}
	first := visit(t, through("web1"))
	write(first, "Page", "written through web1", first.login())
	if got := visit(t, through("web3")).text("Page"); got != "written through web1" {
		t.Errorf("through web3 is read %v", got)
	}
	const count = "SELECT COUNT(*) FROM mediawiki.revision"
	counted := func(machine string) string {
		return strings.TrimSpace(h.do("exec", "wiki-elastic/"+machine, "--", "sh", "-c", "mariadb -N -S /run/mysqld/aloft-*.sock -e '"+count+"'"))
	}
	eventually(t, 10*time.Second, "what the primary has, on the replica", func() bool { return counted("db2") == counted("db1") })
	timed("shrinking", "set", "wiki-elastic", "dbs", "1", "-y")
	if got := h.machines("wiki-elastic"); got != "db1 front web1 web2" {
		t.Errorf("machines %s", got)
	}
	t.Logf("%d requests while it grew and shrank", people.end())

	people = ask(t, front+"/index.php?title=Front", "edit 3")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid := func(machine string) string {
		return h.do("exec", "wiki-elastic/"+machine, "--", "pgrep", "-u", "tomcat", "java")
	}
	before := [2]string{pid("web1"), pid("web2")}
	timed("rolling update", "up", h.write("wiki-elastic", strings.Replace(string(text), "-Xmx128m", "-Xmx144m", 1)), "-y")
	if after := [2]string{pid("web1"), pid("web2")}; after[0] == before[0] || after[1] == before[1] {
		t.Errorf("the servlet containers were processes %v, and are %v", before, after)
	}
	if n := people.end(); n < 20 {
		t.Errorf("only %d requests were sent meanwhile", n)
	}
	if got := visit(t, front).text("Page"); got != "written through web1" {
		t.Errorf("at the end is read %v", got)
	}

	id := h.id()
	h.do("down", "wiki-elastic", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
