package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/api"
)

// A saved plan is carried out as it was shown, from anywhere, or refused.
func TestUP6SavedPlanIsAppliedExactlyOrRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	h.do("daemon", "start")
	text := `sfConfig extends { n 1; m extends VM { site extends Website { pages extends DATA { "/" "PAGE"; } } } }`
	file, saved := h.write("shop", text), filepath.Join(h.dir, "plan")
	plan := func(text string) {
		t.Helper()
		h.write("shop", text)
		if out, status := h.try("plan", file, "--out", saved); status != 2 || !strings.Contains(out, "m:site") {
			t.Errorf("plan: exit %d\n%s", status, out)
		}
	}
	plan(text)
	if info, err := os.Stat(saved); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the saved plan: %v, %v", info, err)
	}
	_ = os.Remove(file)
	h.do("daemon", "stop")
	h.do("up", saved, "-y") // of another daemon, without the description
	if page := get(t, strings.TrimSpace(h.do("get", "shop", "m:site:uri"))); page != "PAGE" {
		t.Errorf("the page is %q", page)
	}
	if out, status := h.try("up", saved, "-y"); status != 1 || !strings.Contains(out, "stale") || !strings.Contains(out, "at revision 1, the plan was made for 0") {
		t.Errorf("the plan again: exit %d\n%s", status, out)
	}
	plan(strings.Replace(text, "PAGE", "new", 1))
	h.do("set", "shop", "n", "2", "-y")
	if out, status := h.try("up", saved, "-y"); status != 1 || !strings.Contains(out, "stale") {
		t.Errorf("a plan from before a change: exit %d\n%s", status, out)
	}
	plan(strings.Replace(text, "PAGE", "new", 1))
	h.do("up", saved, "-y")
	if page := get(t, strings.TrimSpace(h.do("get", "shop", "m:site:uri"))); page != "new" {
		t.Errorf("the page is %q", page)
	}
	if out, status := h.try("up", saved, "-y", "--name", "other"); status != 1 || !strings.Contains(out, "--name") {
		t.Errorf("a flag that a saved plan does not take: exit %d\n%s", status, out)
	}
	if err := os.WriteFile(saved, []byte(`{"form": "aloft plan", "version": 2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := h.try("up", saved, "-y"); status != 1 || !strings.Contains(out, "newer version") {
		t.Errorf("a plan of a newer version: exit %d\n%s", status, out)
	}
}

// A failed update under sfOnFailure "undo" is gone when up ends, which tells
// both, and fails.
func TestUP4FailedUpdateIsUndoneBeforeUpEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	text := `sfConfig extends { sfOnFailure "undo"; m extends VM { site extends Website { pages extends DATA { "/" "PAGE"; } } /*more*/ } }`
	file := h.write("shop", text)
	h.do("up", file, "-y")
	h.write("shop", strings.NewReplacer("PAGE", "new", "/*more*/", `bad extends Process { command [| "sh", "-c", "echo the disk is on fire >&2; exit 3" |]; restart "never"; }`).Replace(text))
	out, status := h.try("up", file, "-y")
	if status != 1 {
		t.Errorf("exit %d", status)
	}
	for _, want := range []string{"m:bad", "the disk is on fire", "revision 2 of shop failed and was undone: it is again as it was before"} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	if page := get(t, strings.TrimSpace(h.do("get", "shop", "m:site:uri"))); page != "PAGE" {
		t.Errorf("the page is %q", page)
	}
	var list []api.Revision
	h.json(&list, "history", "shop")
	if len(list) != 3 || list[1].State != api.RevisionDegraded || list[2].State != api.RevisionRunning || list[2].Cause != "undo of 2" || !list[2].Current {
		t.Errorf("history: %+v", list)
	}
	// Of a new system nothing is left.
	bad := h.write("other", `sfConfig extends { sfOnFailure "undo"; m extends VM { bad extends Process { command [| "false" |]; restart "never"; } } }`)
	if out, status := h.try("up", bad, "-y"); status != 1 || !strings.Contains(out, "undone") {
		t.Errorf("exit %d\n%s", status, out)
	}
	if out := h.do("systems", "-o", "name"); strings.TrimSpace(out) != "shop" {
		t.Errorf("systems: %s", out)
	}
}

// Data is shown with its place and size, and goes with leave alone.
func TestUP9PlanShowsDataAndUpRefusesToDestroyIt(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	text := `sfConfig extends { a extends VM; db extends VM { p extends Process { command [| "sleep", "infinity" |]; dataDir "/var/data"; } } }`
	file := h.write("shop", text)
	h.do("up", file, "-y")
	h.do("exec", "shop/db", "--", "sh", "-c", "mkdir -p /var/data && head -c 2000000 /dev/zero > /var/data/rows")
	h.write("shop", `sfConfig extends { a extends VM; }`)
	out, _ := h.try("plan", file)
	for _, want := range []string{"! data db:p", "/var/data on shop/db", "2.0 MB"} {
		if !strings.Contains(out, want) {
			t.Errorf("plan does not say %q:\n%s", want, out)
		}
	}
	for _, args := range [][]string{{"up", file, "-y"}, {"up", file, "-y", "--allow-data-loss", "a"}} {
		if out, status := h.try(args...); status != 1 || !strings.Contains(out, "--allow-data-loss db:p") {
			t.Errorf("%v: exit %d\n%s", args, status, out)
		}
	}
	if rows := h.do("exec", "shop/db", "--", "ls", "/var/data"); strings.TrimSpace(rows) != "rows" {
		t.Errorf("the data is %q", rows)
	}
	h.do("up", file, "-y", "--allow-data-loss", "db:p")
	if got := h.machines("shop"); got != "a" {
		t.Errorf("machines %s", got)
	}
}
