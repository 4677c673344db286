package real

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/api"
)

// TestUP7SetScaleHistoryAndRollback leads a system through its revisions as a
// user does, each command by a daemon of its own making.
func TestUP7SetScaleHistoryAndRollback(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	file := h.write("shop", `#include "part.sf"
		sfConfig extends {
			size 1;
			web extends VM { sfCopies (2*size); site extends Page { port 8081; } }
			spare extends VM { sfCopies 0; p extends Process { command [| "sleep", "infinity" |]; } }
			one extends VM { f extends File { path "/srv/note"; source "note.txt"; mode "0600"; } }
		}`)
	if err := os.WriteFile(filepath.Join(h.dir, "descriptions", "part.sf"), []byte(`Page extends Website { pages extends DATA { "/" IPROPERTY greeting; } }`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "descriptions", "note.txt"), []byte("shipped"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.do("up", file, "-y", "-D", `greeting="hello"`)
	// What it was made from is gone; the daemon has it.
	for _, name := range []string{"part.sf", "note.txt", "shop.sf"} {
		_ = os.Remove(filepath.Join(h.dir, "descriptions", name))
	}
	first := h.do("get", "shop", "web1:id")

	if out, status := h.try("scale", "shop", "web", "3", "-y"); status != 1 || !strings.Contains(out, "sfCopies of web is computed from size") || !strings.Contains(out, "aloft set shop size N") {
		t.Errorf("scale of what is computed: exit %d\n%s", status, out)
	}
	if out := h.do("set", "shop", "size", "2", "-y"); strings.Contains(out, "one:f") && !strings.Contains(out, "COMPONENT") {
		t.Errorf("more was done than had to be:\n%s", out)
	}
	if got := h.machines("shop"); got != "one web1 web2 web3 web4" {
		t.Errorf("after set size 2 there are %s", got)
	}
	h.do("scale", "shop", "spare", "1", "-y")
	if got := h.machines("shop"); got != "one spare1 web1 web2 web3 web4" {
		t.Errorf("after scale spare 1 there are %s", got)
	}
	h.do("set", "shop:web:site:port", "8082", "-y")
	if page := get(t, strings.TrimSpace(h.do("get", "shop", "web4:site:uri"))); page != "hello" {
		t.Errorf("the page is %q", page)
	}
	for _, c := range []struct{ path, says string }{
		{"siez", "did you mean size?"}, {"web1:site:port", "web1 is a copy of web"}, {"web:sit:port", "did you mean site?"}, {"web:site:prt", "did you mean port?"},
	} {
		if out, status := h.try("set", "shop", c.path, "1", "-y"); status != 1 || !strings.Contains(out, c.says) {
			t.Errorf("set %s: exit %d, without %q\n%s", c.path, status, c.says, out)
		}
	}
	h.do("rollback", "shop", "1", "-y")
	if got := h.machines("shop"); got != "one web1 web2" {
		t.Errorf("after the rollback there are %s", got)
	}
	if now := h.do("get", "shop", "web1:id"); now != first {
		t.Error("a machine was replaced that nothing has changed")
	}
	if port := strings.TrimSpace(h.do("get", "shop", "web1:site:port")); port != "8081" {
		t.Errorf("the port is %s", port)
	}
	h.do("set", "shop", "size", "2", "-y") // of the text that the rollback brought back
	h.do("rollback", "shop", "-y")

	var list []api.Revision
	h.json(&list, "history", "shop")
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprintf("%d %s %s %v", r.Revision, r.State, r.Cause, r.Current))
		if !strings.HasPrefix(r.By, "uid:") {
			t.Errorf("revision %d is by %q", r.Revision, r.By)
		}
	}
	want := []string{
		"1 running up false", "2 running set size false", "3 running scale spare false", "4 running set web:site:port false",
		"5 running rollback to 1 false", "6 running set size false", "7 running rollback to 5 true",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("history:\n%s", strings.Join(got, "\n"))
	}
}

// machines returns the names of a system's machines, in order.
func (h *home) machines(system string) string {
	h.t.Helper()
	var names []string
	for _, m := range h.status(system).Machines {
		names = append(names, m.Path)
	}
	return strings.Join(names, " ")
}
