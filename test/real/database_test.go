package real

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A database with a user and its tables, asked from another machine: what is
// new in it comes with another file, what was run stays as it was, and another
// password is taken over by whoever uses it.
func TestDatabaseIsFilledOnceAndAskedFromAnotherMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	h := newHome(t)
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Dir(examples(t, "database.sf")))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "database.sf")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h.do("up", file, "-y")
	if got := strings.TrimSpace(h.do("get", "database", "desk:report:books")); got != "3" {
		t.Errorf("the other machine has read %q", got)
	}
	ask := func(query string) string {
		t.Helper()
		return strings.TrimSpace(h.do("exec", "database/desk", "--", "mariadb", "--defaults-file=/etc/library/client.cnf", "--skip-column-names", "-e", query))
	}
	if out, status := h.try("exec", "database/desk", "--", "mariadb", "--defaults-file=/etc/library/client.cnf", "-e", "DELETE FROM library.book"); status == 0 || !strings.Contains(out, "denied") {
		t.Errorf("who may only look may delete: %d\n%s", status, out)
	}
	if out := h.do("exec", "database/desk", "--", "sh", "-c", "su -s /bin/sh nobody -c 'cat /etc/library/client.cnf' || echo refused"); !strings.Contains(out, "refused") {
		t.Errorf("everybody can read the password:\n%s", out)
	}
	if out := h.do("up", file, "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}

	// A third file is run, and the others are not. One that was run and is
	// changed is refused, and nothing of it is done.
	write("database/003-more.sql", "INSERT INTO book (title, year) VALUES ('Opticks', 1704)")
	write("database.sf", strings.Replace(string(text), `"database/002-books.sql"`, `"database/002-books.sql", "database/003-more.sql"`, 1))
	h.do("up", file, "-y")
	if got := ask("SELECT COUNT(*), MAX(year) FROM library.book"); got != "4\t1704" {
		t.Errorf("after a third file: %q", got)
	}
	write("database/002-books.sql", "DELETE FROM book")
	out, status := h.try("up", file, "-y")
	for _, want := range []string{"store:tables", "script 002-books.sql has been run in database library already, and was changed since", "put what is new into another file"} {
		if status != 1 || !strings.Contains(out, want) {
			t.Errorf("up gave %d, and not %q:\n%s", status, want, out)
		}
	}
	if got := ask("SELECT COUNT(*) FROM library.book"); got != "4" {
		t.Errorf("after a file that was changed: %q", got)
	}
	write("database/002-books.sql", "INSERT INTO book (title, year) VALUES ('Elements', -300);\nINSERT INTO book (title, year) VALUES ('Almagest', 150), ('Canon of Medicine', 1025);\n")
	h.do("up", file, "-y")

	// Another password, of the user and of the administrator.
	h.set("library-reader", "another password")
	h.set("library-root", "yet another one")
	h.do("up", file, "-y")
	if got := ask("SELECT COUNT(*) FROM library.book"); got != "4" {
		t.Errorf("with another password: %q", got)
	}
	if out := h.do("up", file, "-y"); !strings.Contains(out, "no changes") {
		t.Errorf("up again said\n%s", out)
	}

	id := h.id()
	h.do("down", "database", "-y")
	for _, thing := range left(t, id) {
		if !strings.Contains(thing, "daemon run") {
			t.Errorf("left behind: %s", thing)
		}
	}
}
