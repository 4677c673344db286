package mariadb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aloft/internal/host"
)

func TestGrantsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"ALL on shop":                         "`shop`: " + strings.Join(rights, ","),
		"all privileges ON shop":              "`shop`: " + strings.Join(rights, ","),
		"SELECT, insert,Select on my_shop":    "`my\\_shop`: INSERT,SELECT",
		" create  temporary tables on a on b": "`a on b`: CREATE TEMPORARY TABLES",
		"DROP on it's `100%` \\":              "`it's ``100\\%`` \\\\`: DROP",
		"DROP on x.* TO root@'%' --":          "`x.* TO root@'\\%' --`: DROP",
	} {
		database, list, err := parseGrant(text)
		if got := pattern(database) + ": " + strings.Join(list, ","); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "on", "on shop", "SELECT", "SELECT on", "SELECT on ", "SELECT shop", "SELECT on mysql", "select on SYS", "SELECT on *", "ALL on *.*", "ALL on shop.*", "ALL on shop ",
		"SUPER on shop", "GRANT OPTION on shop", "SELECT,, INSERT on shop", ", on shop", "SELECT; DROP on shop", "SELECT (a) on shop", "SELECT ON\nshop", "SELECT on a\x00b", "ſELECT on shop", "SELECT\ton shop",
		"ALL on " + strings.Repeat("x", 65),
	} {
		if database, list, err := parseGrant(text); err == nil {
			t.Errorf("%q is taken as %q on %q", text, list, database)
		}
	}
}

// FuzzGrant: what is taken is rights that there are, on one database, and is
// read again from how it is written; the statements for it are these rights on
// that name.
func FuzzGrant(f *testing.F) {
	for _, s := range []string{"ALL on shop", "SELECT, INSERT on a on b", "DROP on `; DROP", "x on y", "select on İ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		database, list, err := parseGrant(text)
		if err != nil {
			return
		}
		if len(list) == 0 || len(without(list, rights)) > 0 || checkDatabase(database) != nil {
			t.Errorf("%q: %q on %q", text, list, database)
		}
		again, same, err := parseGrant(strings.Join(list, ", ") + " on " + database)
		if err != nil || again != database || !slices.Equal(same, list) {
			t.Errorf("%q: %q on %q, read again %q on %q, %v", text, list, database, same, again, err)
		}
		wanted := rightsOn{pattern(database): list}
		statements := rightsOn{}.changes("u", wanted)
		if len(statements) != 1 || statements[0] != "GRANT "+strings.Join(list, ", ")+" ON "+pattern(database)+".* TO 'u'@'%'" {
			t.Errorf("%q: %q", text, statements)
		}
		if more := wanted.changes("u", wanted); len(more) != 0 {
			t.Errorf("%q: of what it has, %q", text, more)
		}
	})
}

func TestOnlyTheDifferenceOfRightsIsSaid(t *testing.T) {
	has := rightsOn{"`a`": {"DROP", "SELECT"}, "`gone`": {"SELECT"}}
	got := has.changes("u", rightsOn{"`a`": {"INSERT", "SELECT"}, "`new`": {"SELECT"}})
	want := []string{
		"GRANT INSERT ON `a`.* TO 'u'@'%'", "GRANT SELECT ON `new`.* TO 'u'@'%'",
		"REVOKE DROP ON `a`.* FROM 'u'@'%'", "REVOKE SELECT ON `gone`.* FROM 'u'@'%'",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// FuzzInsideRecord: a record that somebody has damaged is refused, or names what
// a component may make.
func FuzzInsideRecord(f *testing.F) {
	f.Add([]byte(`{"name":"shop","server":"/run/mysqld/x.sock"}`))
	f.Add([]byte(`{"name":"root"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, insideFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, found, err := readInside(dir)
		if err != nil {
			return
		}
		if err := host.WriteRecord(dir, insideFile, r); err != nil {
			t.Fatal(err)
		}
		if again, _, err := readInside(dir); err != nil || !found || again != r {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}
