package mariadb_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aloft/component/componenttest"
	"aloft/internal/host"
	"aloft/value"
)

// eventually waits for what takes a moment.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute: " + what)
		}
	}
}

func (s *server) kill() {
	s.t.Helper()
	if err := host.NewProcesses(slog.New(slog.DiscardHandler)).Signal(s.call.WorkDir, syscall.SIGKILL); err != nil {
		s.t.Error(err)
	}
}

// here asks a server over its socket, as its administrator.
func (s *server) here(query string) string {
	s.t.Helper()
	socket := s.call.Env.(*componenttest.Env).Outputs()["socket"].(value.String)
	db, err := sql.Open("mysql", "root@unix("+string(socket)+")/")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	var got sql.NullString
	if strings.HasPrefix(query, "SELECT") {
		err = db.QueryRow(query).Scan(&got)
	} else {
		_, err = db.Exec(query)
	}
	if err != nil {
		s.t.Errorf("%s: %v", query, err)
	}
	return got.String
}

// received returns how far a replica has got what its primary sends.
func (s *server) received() (position string) {
	s.t.Helper()
	socket := s.call.Env.(*componenttest.Env).Outputs()["socket"].(value.String)
	db, err := sql.Open("mysql", "root@unix("+string(socket)+")/")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(s.t.Context(), "SHOW SLAVE STATUS")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	into := make([]any, len(columns))
	for i, name := range columns {
		if into[i] = new(sql.RawBytes); name == "Gtid_IO_Pos" {
			into[i] = &position
		}
	}
	if !rows.Next() || err != nil || rows.Scan(into...) != nil || rows.Err() != nil {
		s.t.Error("it is no replica")
	}
	return position
}

// lock takes a lock of a server's, over its socket, until release is called.
func (s *server) lock(statement string) (release func()) {
	s.t.Helper()
	socket := s.call.Env.(*componenttest.Env).Outputs()["socket"].(value.String)
	db, err := sql.Open("mysql", "root@unix("+string(socket)+")/")
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := db.Conn(s.t.Context())
	if err == nil {
		_, err = conn.ExecContext(s.t.Context(), statement)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
	return sync.OnceFunc(func() { conn.Close(); db.Close() })
}

// waits waits until a statement waits on a server for what another one has.
func (s *server) waits(where string) {
	s.t.Helper()
	socket := s.call.Env.(*componenttest.Env).Outputs()["socket"].(value.String)
	db, err := sql.Open("mysql", "root@unix("+string(socket)+")/")
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	eventually(s.t, where, func() bool {
		// It fails where another server starts, which clears the folder for
		// temporary tables that they share.
		n := 0
		return db.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE "+where).Scan(&n) == nil && n > 0
	})
}

// writer counts in a table of a server until it is told to stop.
type writer struct {
	acknowledged, tried int
	stop                chan struct{}
	sync.WaitGroup
}

func write(t *testing.T, port value.Value, from int) *writer {
	w := &writer{stop: make(chan struct{}), tried: from, acknowledged: from}
	w.Go(func() {
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			if _, err := ask(port, "joey", nasty, fmt.Sprintf("INSERT IGNORE INTO d.t VALUES (%d)", w.tried+1)); err == nil {
				w.acknowledged = w.tried + 1
				w.tried++
			}
		}
	})
	return w
}

func (w *writer) end() int {
	close(w.stop)
	w.Wait()
	return w.acknowledged
}

// A replica of a server that has data and is written to: it has all of them, and
// is there again after either was killed, led elsewhere, or made a server of its
// own.
func TestReplicaHasWhatItsPrimaryHasAcknowledged(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	first, second, moved := componenttest.FreePort(t), componenttest.FreePort(t), componenttest.FreePort(t)
	const root = `r"oot\ '$(x)` + "`"
	base := func(port value.Value, more ...any) *value.Component {
		return attrs(append([]any{"port", port, "bind", value.String("127.0.0.1"), "rootPassword", value.String(root), "user", value.String("joey"), "password", value.String(nasty)}, more...)...)
	}
	p := serve(t, m, "db1:mysql", base(first, "replicaOf", &value.Reference{Lazy: true, Parts: []value.Part{
		{Kind: value.PartRoot}, {Kind: value.PartHere, Name: "db1"}, {Kind: value.PartHere, Name: "mysql"},
	}}))
	p.run() // of itself: the primary
	for _, text := range []string{
		"CREATE DATABASE `o``dd; DROP`", "CREATE TABLE `o``dd; DROP`.t (b LONGBLOB)", `INSERT INTO ` + "`o``dd; DROP`" + `.t VALUES ('a\0\r\n\Zb''\\')`,
		"CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY)", "CREATE VIEW d.v AS SELECT COUNT(*) AS c FROM d.t",
		"CREATE PROCEDURE d.p() SELECT 1", "CREATE TABLE d.log (n INT)", "CREATE TRIGGER d.tr AFTER INSERT ON d.t FOR EACH ROW INSERT INTO d.log VALUES (NEW.n)",
		"CREATE USER `o'dd`@`127.0.0.1` IDENTIFIED BY 'x'", "GRANT EXECUTE ON PROCEDURE d.p TO `o'dd`@`127.0.0.1`",
		"CREATE ROLE reader", "GRANT SELECT ON d.* TO reader", "GRANT reader TO `o'dd`@`127.0.0.1`",
	} {
		mustAsk(t, first, "root", root, text)
	}
	of := func(s *server) value.Value {
		c := value.NewComponent(false)
		for a := range s.call.Attrs.All() {
			c.Set(a)
		}
		for name, v := range s.call.Env.(*componenttest.Env).Outputs() {
			c.Set(value.Attr{Name: name, Value: v})
		}
		return c
	}
	w := write(t, first, 0)
	events := value.NewComponent(true, value.Attr{Name: "event_scheduler", Value: value.Bool(true)})
	r := serve(t, m, "db2:mysql", base(second, "replicaOf", of(p), "settings", events))
	if err := m.Deploy(t.Context(), r.call); err != nil {
		t.Fatal(err)
	}
	// A copy that is cut off is begun anew. While it is made, nobody sees the
	// password.
	unseen := func() {
		t.Helper()
		for _, pattern := range []string{"/etc/mysql/*", "/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", r.call.WorkDir + "/*", p.call.WorkDir + "/*"} {
			files, _ := filepath.Glob(pattern)
			for _, file := range files {
				if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), root) {
					t.Errorf("the password is in %s", file)
				}
			}
		}
	}
	release := p.lock("LOCK TABLES d.log WRITE")
	cut, cancel := context.WithCancel(t.Context())
	begun := make(chan error, 1)
	go func() { begun <- m.Start(cut, r.call) }()
	p.waits("USER = 'root' AND STATE LIKE 'Waiting for table%'") // mariadb-dump
	unseen()
	cancel()
	if err := <-begun; err == nil {
		t.Error("a copy that was cut off is whole")
	}
	release()
	if err := m.Start(t.Context(), r.call); err != nil {
		t.Fatal(err)
	}
	same := func(query string) {
		t.Helper()
		if got, want := mustAsk(t, second, "root", root, query), mustAsk(t, first, "root", root, query); got != want || want == "" {
			t.Errorf("%s: %q, on the primary %q", query, got, want)
		}
	}
	caught := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint("row ", n, " on the replica"), func() bool {
			got, err := ask(second, "joey", nasty, fmt.Sprintf("SELECT COUNT(*) FROM d.t WHERE n <= %d", n))
			return err == nil && got == fmt.Sprint(n)
		})
	}
	n := w.end()
	caught(n)
	t.Logf("%d rows were written meanwhile", n)
	for _, query := range []string{
		"SELECT b FROM `o``dd; DROP`.t", "SELECT c FROM d.v", "SELECT COUNT(*) FROM d.log", "SELECT COUNT(*) FROM mysql.proc WHERE db = 'd'",
		"SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'd'",
		"SELECT GROUP_CONCAT(User, Host, JSON_VALUE(Priv, '$.authentication_string'), JSON_VALUE(Priv, '$.access') ORDER BY User, Host) FROM mysql.global_priv WHERE User NOT LIKE 'aloft-%' AND Host <> 'localhost'",
		"SELECT COUNT(*) FROM mysql.procs_priv", "SELECT COUNT(*) FROM mysql.roles_mapping WHERE Host <> 'localhost'", // who makes a role has it
	} {
		same(query)
	}
	if _, err := ask(second, "joey", nasty, "INSERT INTO d.t VALUES (-1)"); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a replica takes changes: %v", err)
	}
	if a, b := p.here("SELECT @@server_id"), r.here("SELECT @@server_id"); a == b {
		t.Errorf("both have number %s", a)
	}
	unseen()
	if got := r.here("SELECT @@event_scheduler"); got != "OFF" {
		t.Errorf("the events of the primary are carried out once more: %s", got)
	}
	if r.call.Env.(*componenttest.Env).Outputs()["role"] != value.String("replica") || p.call.Env.(*componenttest.Env).Outputs()["role"] != value.String("primary") {
		t.Error("which is the replica is not said")
	}

	// Either is killed while it is written.
	for _, victim := range []*server{p, r} {
		w := write(t, first, n)
		time.Sleep(300 * time.Millisecond)
		victim.kill()
		eventually(t, "rows after kill -9", func() bool {
			got, err := ask(first, "joey", nasty, fmt.Sprintf("SELECT COUNT(*) FROM d.t WHERE n > %d", n))
			return err == nil && got != "0"
		})
		time.Sleep(500 * time.Millisecond)
		n = w.end()
		caught(n)
		eventually(t, "a ping", func() bool { return m.Ping(t.Context(), r.call) == nil })
		same("SELECT COUNT(*) FROM d.t")
	}

	// UP9: a replica may go without leave if its primary confirms that it has all.
	spare := func(s *server, want string) {
		t.Helper()
		call := *s.call
		call.Spare = true
		if err := m.Ping(t.Context(), &call); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("whether %s may go: %v, want %q", s.call.Path, err, want)
		}
	}
	spare(p, "it is no replica")
	w = write(t, first, n)
	spare(r, "")
	n = w.end()
	caught(n)
	r.here("STOP SLAVE")
	spare(r, "does not apply what its primary sends: it was stopped")
	call := *r.call
	call.Spare = true
	if err := m.Terminate(t.Context(), &call); err == nil || r.here("SELECT 1") != "1" {
		t.Errorf("it has ended all the same: %v", err)
	}
	r.here("START SLAVE")

	// A primary that is away is no failure, nor that it is elsewhere afterwards.
	p.call.Returns = true
	p.end()
	time.Sleep(time.Second)
	spare(r, "its primary cannot confirm that it has the data")
	if err := m.Ping(t.Context(), r.call); err != nil {
		t.Errorf("the primary is away: %v", err)
	}
	if err := m.Start(t.Context(), r.call); err != nil {
		t.Errorf("started while the primary is away: %v", err)
	}
	p.call.Returns = false
	p.call.Attrs = base(moved)
	p.run()
	if err := r.change(base(second, "replicaOf", of(p))); err != nil {
		t.Fatal(err)
	}
	first = moved
	mustAsk(t, first, "joey", nasty, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", n+1))
	n++
	caught(n)

	// One that cannot go on says so.
	r.here("SET STATEMENT sql_log_bin = 0 FOR DELETE FROM d.t WHERE n = 1")
	mustAsk(t, first, "joey", nasty, "DELETE FROM d.t WHERE n = 1")
	eventually(t, "a failing ping", func() bool { return m.Ping(t.Context(), r.call) != nil })
	wantFailure(t, m.Ping(t.Context(), r.call), "does not apply what its primary sends", "have a new one made")
	r.here("SET GLOBAL sql_slave_skip_counter = 0") // the row comes back, and the primary's change with it
	r.here("SET STATEMENT sql_log_bin = 0 FOR INSERT INTO d.t VALUES (1)")
	if err := m.Start(t.Context(), r.call); err != nil {
		t.Fatal(err)
	}

	// What has data of its own is no replica's.
	wantFailure(t, p.change(base(first, "replicaOf", of(r))), "has data of its own", "choose another dataDir")

	// One that has been written to by hand is not what its primary has.
	spare(r, "")
	r.here("CREATE DATABASE by_hand")
	spare(r, "it has changes that its primary at 127.0.0.1")

	// A replica has no replicas.
	third := componenttest.FreePort(t)
	s := serve(t, m, "db3:mysql", base(third, "keepOnTerminate", value.Bool(false), "replicaOf", of(r)))
	if err := m.Deploy(t.Context(), s.call); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, m.Start(t.Context(), s.call), "is a replica itself", "refer to the server that it is a replica of")

	// A server of its own again, with all that it has got, when its primary is
	// gone: not before it has applied that.
	r.here("SET GLOBAL gtid_strict_mode = OFF") // or what was done by hand is in the way
	r.here("STOP SLAVE SQL_THREAD")
	for range 3 {
		n++
		mustAsk(t, first, "joey", nasty, fmt.Sprintf("INSERT INTO d.t VALUES (%d)", n))
	}
	eventually(t, "the last row received", func() bool { return r.received() == p.here("SELECT @@gtid_binlog_pos") })
	p.call.Returns = true
	p.end()
	wantFailure(t, r.change(base(second, "settings", events)), "not applied all of them: it was stopped", "START SLAVE SQL_THREAD")
	release = r.lock("LOCK TABLES d.t READ")
	r.here("START SLAVE SQL_THREAD")
	r.waits("COMMAND = 'Slave_SQL' AND STATE LIKE 'Waiting for table%'")
	time.AfterFunc(2*time.Second, release)
	if err := r.change(base(second, "settings", events)); err != nil {
		t.Fatal(err)
	}
	if got := r.here("SELECT @@event_scheduler"); got != "ON" {
		t.Errorf("its own events are not carried out: %s", got)
	}
	p.call.Returns = false
	p.run()
	mustAsk(t, second, "joey", nasty, "INSERT INTO d.t VALUES (-1)")
	if got := mustAsk(t, second, "root", root, "SELECT COUNT(*) FROM d.t"); got != fmt.Sprint(n) { // without row 1, and with -1
		t.Errorf("it has %s rows, not the %d that it had got as a replica, and one", got, n-1)
	}
	if got := r.call.Env.(*componenttest.Env).Outputs()["role"]; got != value.String("primary") {
		t.Errorf("it says to be a %v", got)
	}

	// One that is made anew, while a table is written that knows no transactions,
	// and goes with its primary's word.
	mustAsk(t, first, "root", root, "ALTER TABLE d.t ENGINE = MyISAM")
	w = write(t, first, n)
	s.call.Attrs = base(third, "keepOnTerminate", value.Bool(false), "replicaOf", of(p))
	s.run()
	n = w.end()
	second, r, s = third, s, r
	eventually(t, "the last row", func() bool { return r.here("SELECT MAX(n) FROM d.t") == fmt.Sprint(n) })
	same("SELECT COUNT(*) FROM d.t")

	// It does not follow one that has other data, and goes on as it was.
	if err := r.change(base(third, "keepOnTerminate", value.Bool(false), "replicaOf", of(s))); err == nil || !strings.Contains(err.Error(), "does not get what its primary changes") {
		t.Errorf("it is led to a server that has other data: %v", err)
	}
	s.end()
	spare(r, "")
	const accounts = "SELECT COUNT(*) FROM mysql.global_priv WHERE User LIKE 'aloft-%'"
	before := mustAsk(t, first, "root", root, accounts)
	r.call.Spare = true
	r.end()
	if after := mustAsk(t, first, "root", root, accounts); after >= before {
		t.Errorf("%s accounts of replicas, and %s before", after, before)
	}
	p.end()
}
