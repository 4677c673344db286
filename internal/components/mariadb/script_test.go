package mariadb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/mariadb"
	"aloft/value"
)

// shipped is what stands for a script that was sent along.
func shipped(env *componenttest.Env, name, text string) *value.Component {
	c := attrs("path", value.String("sql/"+name), "digest", value.String(env.Ship([]byte(text))))
	c.Data = true
	return c
}

func scriptSuite(in *inside) {
	contents := []string{"INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", "UPDATE t SET n = n + 10;\n-- that is all\n", "SELECT 1; INSERT INTO t VALUES (SLEEP(0.05))"}
	sources := make([][]byte, len(contents))
	files := make(value.Vector, len(contents))
	for i, text := range contents {
		sources[i] = []byte(text)
		c := attrs("path", value.String(fmt.Sprintf("%d.sql", i)), "digest", value.String(componenttest.Digest(sources[i])))
		c.Data = true
		files[i] = c
	}
	with := func(n int) *value.Component {
		return attrs("database", attrs("name", value.String("shop"), "server", in.as(n%2 == 0)), "files", files[:n],
			"table", value.String("it`s 'done'"), "keepOnTerminate", value.Bool(false))
	}
	want := map[int]string{1: "1,2", 2: "11,12", 3: "0,11,12"}
	componenttest.Run(in.T, always(mariadb.Scripts{}), componenttest.Case{
		Name: "suite", Machine: here, Sources: sources,
		Attrs: with(1), Changes: []*value.Component{with(2), with(3)},
		Prepare: func(testing.TB, *component.Call) {
			in.root("DROP DATABASE IF EXISTS shop")
			in.root("CREATE DATABASE shop")
			in.root("CREATE TABLE shop.t (n INT)")
		},
		Check: func(t testing.TB, c *component.Call) {
			v, _ := c.Attrs.Get("files")
			n := len(v.(value.Vector))
			if got := in.root("SELECT GROUP_CONCAT(n ORDER BY n) FROM shop.t"); got != want[n] {
				t.Errorf("%d scripts gave %s, want %s", n, got, want[n])
			}
			if got := in.root("SELECT COUNT(*) FROM shop.`it``s 'done'` WHERE state = 'done'"); got != fmt.Sprint(n) {
				t.Errorf("%s are recorded, want %d", got, n)
			}
		},
		Break: func(testing.TB, *component.Call) { in.root("DELETE FROM shop.`it``s 'done'`") },
		Gone: func(t testing.TB, _ *component.Call) {
			if got := in.root("SELECT GROUP_CONCAT(TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'"); got != "t" {
				t.Errorf("the tables left are %s, want t", got)
			}
		},
	})
	in.root("DROP DATABASE shop")
}

// scripting is a component that runs scripts, and what it is given.
type scripting struct {
	*inside
	s *server
}

func script(in *inside, database string) *scripting {
	in.root("CREATE DATABASE " + database)
	in.Cleanup(func() { in.root("DROP DATABASE " + database) })
	return &scripting{in, serve(in.T, mariadb.Scripts{}, "a:scripts", nil)}
}

// given is what the component says with these names and contents of scripts.
func (s *scripting) given(database string, pairs ...string) *value.Component {
	env := s.s.call.Env.(*componenttest.Env)
	files := value.Vector{}
	for i := 0; i < len(pairs); i += 2 {
		files = append(files, shipped(env, pairs[i], pairs[i+1]))
	}
	return attrs("database", attrs("sfClass", value.String("Database"), "server", s.as(true), "name", value.String(database)), "files", files)
}

// Scripts are run once, as a whole or told of.
func scripts(in *inside) {
	const base = "shop`s"
	s := script(in, "`shop``s`")
	env := s.s.call.Env.(*componenttest.Env)
	state := func(file string) string {
		in.Helper()
		return in.root("SELECT COALESCE(MAX(CONCAT(state, ' ', digest)), '') FROM `shop``s`.schema_version WHERE name = '" + file + "'")
	}
	rows := func() string { in.Helper(); return in.root("SELECT GROUP_CONCAT(n ORDER BY n) FROM `shop``s`.t") }
	one := []string{"1 'tablés`.sql", "\ufeffCREATE TABLE t (n INT PRIMARY KEY);\nCREATE PROCEDURE twice() BEGIN INSERT INTO t VALUES (100); SELECT 1; END;\nINSERT INTO t VALUES (1), (2);\n-- the end; really\n"}
	s.s.call.Attrs = s.given(base, one...)
	s.s.run()
	s.s.run()
	if got := state("1 ''tablés`.sql"); got != "done "+env.Ship([]byte(one[1])) || rows() != "1,2" {
		in.Errorf("recorded %q, rows %q", got, rows())
	}

	// One that only changes rows fails as a whole, and may be tried again.
	two := []string{"2.sql", "INSERT INTO t VALUES (3); INSERT INTO t VALUES (1); INSERT INTO t VALUES (4)"}
	for range 2 {
		err := s.s.change(s.given(base, append(one, two...)...))
		wantFailure(in.T, err, "script 2.sql failed at its statement 2, and nothing of it was kept", "correct it")
		if got := state("2.sql"); got != "" || rows() != "1,2" {
			in.Errorf("recorded %q, rows %q", got, rows())
		}
	}
	// Corrected, it is run, and so is what follows it, whatever that does to its
	// session.
	three := append(one, "2.sql", "INSERT INTO t VALUES (3)", "é.sql", "CALL twice(); SET autocommit = 0; SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'; SET NAMES latin1; LOCK TABLES t WRITE; INSERT INTO t VALUES (5)", "4.sql", "", "5.sql", "-- only words")
	if err := s.s.change(s.given(base, three...)); err != nil {
		in.Error(err)
	}
	if got := in.root("SELECT GROUP_CONCAT(CONCAT(name, ' ', state) ORDER BY name) FROM `shop``s`.schema_version"); got != "1 'tablés`.sql done,2.sql done,4.sql done,5.sql done,é.sql done" || rows() != "1,2,3,5,100" {
		in.Errorf("recorded %q, rows %q", got, rows())
	}

	// One that changes tables says that some of what it did was kept. As it is,
	// it is not run again; changed, or forgotten, it is.
	for _, half := range []string{
		"CREATE TABLE u (n INT); INSERT INTO t VALUES (6); INSERT INTO nowhere VALUES (1)",
		"INSERT INTO t VALUES (7); CREATE OR REPLACE TABLE u (n INT); START TRANSACTION; INSERT INTO nowhere VALUES (1)",
		"CREATE OR REPLACE TABLE v (n INT) ENGINE=MyISAM; COMMIT; START TRANSACTION; INSERT INTO v VALUES (1); INSERT INTO nowhere VALUES (1)",
	} {
		err := s.s.change(s.given(base, append(three, "6.sql", half)...))
		wantFailure(in.T, err, fmt.Sprintf("script 6.sql failed at its statement %d; the server has kept some", strings.Count(half, ";")+1), "DELETE FROM `schema_version` WHERE name = '6.sql'")
		wantFailure(in.T, s.s.change(s.given(base, append(three, "6.sql", half)...)), "nowhere' doesn't exist", "IF NOT EXISTS")
		if got := state("6.sql"); got != "partly "+env.Ship([]byte(half)) {
			in.Errorf("recorded %q", got)
		}
	}
	if got := rows(); got != "1,2,3,5,6,7,100" {
		in.Errorf("rows %q", got)
	}
	// A table without transactions keeps its rows, which only the way back shows.
	err := s.s.change(s.given(base, append(three, "7.sql", "INSERT INTO v VALUES (2); INSERT INTO nowhere VALUES (1)")...))
	wantFailure(in.T, err, "script 7.sql failed at its statement 2; the server has kept some", "IF NOT EXISTS")
	err = s.s.change(s.given(base, append(three, "6.sql", "DELIMITER //\nSELECT 1//")...))
	wantFailure(in.T, err, "failed at its statement 1", "leave out the lines with DELIMITER")
	in.root("DELETE FROM `shop``s`.schema_version WHERE state = 'partly'")

	// What was run cannot be changed.
	wantFailure(in.T, s.s.change(s.given(base, append([]string{one[0], one[1] + " "}, three[2:]...)...)), "has been run in database shop`s already, and was changed since", "put what is new into another file")

	// Two of one name, and a server with only a copy.
	wantFailure(in.T, s.s.change(s.given(base, append(three, "2.sql", "DO 1")...)), `two are called "2.sql"`, "")
	in.root("SET GLOBAL read_only = ON")
	wantFailure(in.T, s.s.change(s.given(base, append(three, "8.sql", "SELECT 1")...)), "only has a copy of the data", "replica of")
	in.root("SET GLOBAL read_only = OFF")
	if err := s.s.m.Ping(in.Context(), s.s.call); err != nil {
		in.Error(err)
	}
	s.s.end()
	if in.root("SELECT COUNT(*) FROM `shop``s`.schema_version") != "5" || rows() == "" {
		in.Error("the end of the component took what was to stay")
	}
}

// A script whose operation is cancelled ends in the server as well, and is run
// again where nothing of it was kept.
func scriptsCutOff(in *inside) {
	s := script(in, "shop")
	in.root("CREATE TABLE shop.t (n INT)")
	rows := func() string { return in.root("SELECT COUNT(*) FROM shop.t") }
	once := func(text string) error {
		s.s.call.Attrs = s.given("shop", "1.sql", text)
		ctx, cancel := context.WithCancel(in.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.s.m.Start(ctx, s.s.call) }()
		for deadline := time.Now().Add(time.Minute); in.root("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'") == "0"; {
			if time.Now().After(deadline) {
				in.Error("the script does not run")
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		begun := time.Now()
		err := <-done
		if d := time.Since(begun); d > 25*time.Second { // five are promised; the rest is for a busy machine
			in.Errorf("it went on for %s", d)
		}
		return err
	}
	// On a busy machine there may be no time to find out what became of it: then it
	// is begun anew.
	cut := func(text string, undo ...string) error {
		for range 5 {
			err := once(text)
			sleeping := in.root("SELECT COALESCE(GROUP_CONCAT(ID), '') FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'")
			if err == nil || !strings.Contains(err.Error(), "is not known yet") {
				if sleeping != "" {
					in.Error("the script goes on in the server")
				}
				return err
			}
			in.Log(err)
			if sleeping != "" {
				in.root("KILL " + sleeping)
			}
			for _, query := range undo {
				in.root(query)
			}
		}
		return nil
	}
	wantFailure(in.T, cut("INSERT INTO t VALUES (1); DO SLEEP(600); INSERT INTO t VALUES (2)"), "script 1.sql was cut off, and nothing of it was kept: ", "")
	if rows() != "0" {
		in.Errorf("%s rows", rows())
	}
	s.s.call.Attrs = s.given("shop", "1.sql", "INSERT INTO t VALUES (1)")
	s.s.run()
	if rows() != "1" {
		in.Errorf("%s rows", rows())
	}
	in.root("DELETE FROM shop.schema_version")
	const half = "INSERT INTO t VALUES (2); CREATE TABLE u (n INT); DO SLEEP(600)"
	wantFailure(in.T, cut(half, "DELETE FROM shop.schema_version", "DROP TABLE shop.u", "DELETE FROM shop.t WHERE n = 2"), "script 1.sql was cut off; the server has kept some", "IF NOT EXISTS")
	wantFailure(in.T, s.s.m.Start(in.Context(), s.s.call), "was begun in database shop and did not end", "DELETE FROM `schema_version`")
	if rows() != "2" {
		in.Errorf("%s rows", rows())
	}
}
