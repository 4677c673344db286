package real

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Copies of a site come and go behind a balancer while requests come, and are
// replaced while as many serve, and no request fails (RT-05, UP8).
func TestRT05CopiesComeAndGoBehindABalancerWithoutAFailedRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	h.do("up", examples(t, "balanced.sf"), "-y")
	uri := strings.TrimSpace(h.do("get", "balanced", "front:balancer:uri"))
	text, err := os.ReadFile(examples(t, "balanced.sf"))
	if err != nil {
		t.Fatal(err)
	}
	// answering asks until so many copies have answered, and a few times more: who
	// else asks takes its share of the turns.
	answering := func(copies int) map[string]bool {
		seen := map[string]bool{}
		for asked := 0; asked < 12 || asked < 500 && len(seen) < copies; asked++ {
			seen[get(t, uri)] = true
		}
		return seen
	}
	if seen := answering(2); len(seen) != 2 {
		t.Errorf("two copies, and answers by %v", seen)
	}

	var client sync.WaitGroup
	stop := make(chan struct{})
	var asked int
	client.Go(func() { // at most 20 requests a second
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		c := http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
		defer c.CloseIdleConnections()
		for ; ; asked++ {
			<-tick.C
			select {
			case <-stop:
				return
			default:
			}
			resp, err := c.Get(uri)
			if err != nil {
				t.Errorf("request %d: %v", asked, err)
				continue
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(b), "web") {
				t.Errorf("request %d: %s, %.200q, %v", asked, resp.Status, b, err)
			}
		}
	})
	pid := h.do("exec", "balanced/front", "--", "pgrep", "-o", "haproxy")
	for _, copies := range []string{"4", "1", "2"} {
		h.do("up", h.write("balanced", strings.Replace(string(text), "sfCopies 2", "sfCopies "+copies, 1)), "-y")
		if seen := answering(int(copies[0] - '0')); len(seen) != int(copies[0]-'0') {
			t.Errorf("%s copies, and answers by %v", copies, seen)
		}
	}
	const machines = "front web1 web2"
	was := h.status("balanced").Machines
	larger := h.write("balanced", strings.Replace(string(text), "sfCopies 2", "memory 700; sfMaxUnavailable 0; sfMaxSurge 1; sfCopies 2", 1))
	if plan, status := h.try("plan", larger); status != 2 || !strings.Contains(plan, "web3:site") || !strings.Contains(plan, "only while others of its set are updated") {
		t.Errorf("the plan does not show the further copy:\n%s", plan)
	}
	h.do("up", larger, "-y")
	if got := h.machines("balanced"); got != machines {
		t.Errorf("machines %s, want %s", got, machines)
	}
	for i, m := range h.status("balanced").Machines {
		if replaced := m.Path != "front"; (m.ID != was[i].ID) != replaced {
			t.Errorf("machine %s was %s, is %s", m.Path, was[i].ID, m.ID)
		}
	}
	if seen := answering(2); len(seen) != 2 {
		t.Errorf("two copies that were replaced, and answers by %v", seen)
	}
	close(stop)
	client.Wait()
	if asked == 0 {
		t.Error("no request was sent meanwhile")
	}
	if now := h.do("exec", "balanced/front", "--", "pgrep", "-o", "haproxy"); now != pid {
		t.Errorf("the balancer was process %s, is %s", pid, now)
	}
	id := h.id()
	h.do("down", "balanced", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
