package mariadb_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/mariadb"
	"aloft/internal/host"
	"aloft/value"
)

func TestMain(m *testing.M) {
	componenttest.EnterOwnRoot()
	goleak.VerifyTestMain(m)
}

var attrs = componenttest.Attrs

var here = component.Machine{Folder: "/", Isolation: true, Address: "127.0.0.1", Hostname: "m"}

// processes are what a daemon has for the managers of its machine.
func processes() (p *host.Processes, end func()) {
	p = host.NewProcesses(slog.New(slog.DiscardHandler))
	return p, componenttest.Loop(p.Run)
}

func daemon(testing.TB) (component.Manager, func()) {
	p, end := processes()
	return mariadb.New(p, host.NewPackages(slog.New(slog.DiscardHandler))), end
}

// ask logs in over the network and returns the one value of a query.
func ask(port value.Value, user, password, query string) (string, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd = "tcp", fmt.Sprintf("127.0.0.1:%d", port), user, password
	cfg.Timeout, cfg.ReadTimeout = 10*time.Second, 30*time.Second
	cfg.Logger = &mysql.NopLogger{}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(c)
	defer db.Close()
	var got sql.NullString
	if !strings.HasPrefix(query, "SELECT") && !strings.HasPrefix(query, "SHOW") {
		_, err = db.Exec(query)
		return "", err
	}
	err = db.QueryRow(query).Scan(&got)
	return got.String, err
}

func mustAsk(t testing.TB, port value.Value, user, password, query string) string {
	t.Helper()
	got, err := ask(port, user, password, query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return got
}

const nasty = `p"w\ #'$(x)` + "\x01é;--`"

// get returns a string among attributes, or "".
func get(c *value.Component, name string) string {
	v, _ := c.Get(name)
	s, _ := v.(value.String)
	return string(s)
}

func TestSuite(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	port, other := componenttest.FreePort(t), componenttest.FreePort(t)
	base := []any{"port", port, "bind", value.String("127.0.0.1"), "rootPassword", value.String("first"), "keepOnTerminate", value.Bool(false)}
	with := func(more ...any) *value.Component { return attrs(append(append([]any{}, base...), more...)...) }
	settings := func(pairs ...any) value.Value {
		c := attrs(pairs...)
		c.Data = true
		return c
	}
	componenttest.Run(t, daemon, componenttest.Case{
		Name: "mariadb", Machine: here, Slow: true,
		Attrs: with(),
		Changes: []*value.Component{
			with("settings", settings("max_connections", value.Integer(77), "slow-query-log", value.Bool(true))),
			with("user", value.String(`jo"'e`+"`y"), "password", value.String(nasty), "settings", settings("max_connections", value.Integer(78), "innodb_ft_min_token_size", value.Integer(2))),
			attrs("port", other, "bind", value.String("127.0.0.1"), "rootPassword", value.String(nasty), "keepOnTerminate", value.Bool(false)),
		},
		Check: func(t testing.TB, c *component.Call) {
			port, _ := c.Attrs.Get("port")
			root := get(c.Attrs, "rootPassword")
			want := "151"
			if v, _ := c.Attrs.Get("settings"); v != nil {
				n, _ := v.(*value.Component).Get("max_connections")
				want = fmt.Sprint(n)
			}
			if got := mustAsk(t, port, "root", root, "SELECT @@GLOBAL.max_connections"); got != want {
				t.Errorf("max_connections %s, want %s", got, want)
			}
			if user := get(c.Attrs, "user"); user != "" {
				if got := mustAsk(t, port, user, get(c.Attrs, "password"), "SELECT CURRENT_USER()"); got != user+"@%" {
					t.Errorf("the user is %s", got)
				}
				if got := mustAsk(t, port, user, get(c.Attrs, "password"), "SELECT @@innodb_ft_min_token_size"); got != "2" {
					t.Errorf("a setting that needs a restart is %s", got)
				}
			} else if got := mustAsk(t, port, "root", root, "SELECT COUNT(*) FROM mysql.global_priv WHERE Host = '%'"); got != "1" {
				t.Errorf("%s accounts may come from anywhere, want only root", got)
			}
			if _, err := ask(port, "root", "wrong", "SELECT 1"); err == nil {
				t.Error("a wrong password is let in")
			}
			if o := c.Env.(*componenttest.Env).Outputs(); o["host"] != value.String("127.0.0.1") || o["port"] != port ||
				o["dataDir"] != value.String(mustAsk(t, port, "root", root, "SELECT TRIM(TRAILING '/' FROM @@datadir)")) {
				t.Errorf("outputs %v", o)
			}
		},
		Break: func(t testing.TB, c *component.Call) {
			componenttest.Freeze(t, host.NewProcesses(slog.New(slog.DiscardHandler)).Pid(c.WorkDir))
		},
		Gone: func(t testing.TB, _ *component.Call) {
			for _, pattern := range []string{"/etc/mysql/aloft-*", "/var/lib/aloft-suite-*", "/run/mysqld/aloft-*"} {
				if left, _ := filepath.Glob(pattern); len(left) > 0 {
					t.Errorf("left over: %s", left)
				}
			}
		},
	})
}

// server is a MariaDB that a test drives.
type server struct {
	t    *testing.T
	m    component.Manager
	call *component.Call
}

// serve prepares a component; run deploys and starts it.
func serve(t *testing.T, m component.Manager, path string, a *value.Component) *server {
	t.Helper()
	return &server{t, m, &component.Call{
		System: "s", Path: value.Path(path), Attrs: a, WorkDir: t.TempDir(), Env: componenttest.NewEnv(t, m.Class()), Machine: here,
	}}
}

func (s *server) run() {
	s.t.Helper()
	if err := s.m.Deploy(s.t.Context(), s.call); err != nil {
		s.t.Fatal(err)
	}
	if err := s.m.Start(s.t.Context(), s.call); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) change(to *value.Component) error {
	s.call.Old, s.call.Attrs = s.call.Attrs, to
	err := s.m.Reconfigure(s.t.Context(), s.call)
	if err != nil {
		s.call.Attrs = s.call.Old
	}
	return err
}

func (s *server) end() {
	s.t.Helper()
	if err := s.m.Terminate(s.t.Context(), s.call); err != nil {
		s.t.Error(err)
	}
}

func wantFailure(t *testing.T, err error, cause, remedy string) {
	t.Helper()
	_, r := component.Detail(err)
	if err == nil || !strings.Contains(err.Error(), cause) || !strings.Contains(r, remedy) {
		t.Errorf("%v\nremedy %q\nwant %q and %q", err, r, cause, remedy)
	}
}

// One server through its unhappy paths: killed, refused, in the way of another,
// with a folder of another version, and with one that it had before.
func TestServerAndItsData(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	port := componenttest.FreePort(t)
	with := func(more ...any) *value.Component {
		return attrs(append([]any{"port", port, "bind", value.String("127.0.0.1"), "rootPassword", value.String("pw-of-root"), "dataDir", value.String("/srv/db")}, more...)...)
	}
	s := serve(t, m, "a:db", with())
	s.run()

	// What is acknowledged outlives kill -9.
	mustAsk(t, port, "root", "pw-of-root", "CREATE DATABASE d")
	mustAsk(t, port, "root", "pw-of-root", "CREATE TABLE d.t (n INT PRIMARY KEY)")
	acknowledged := 0
	kill := func() {
		if err := host.NewProcesses(slog.New(slog.DiscardHandler)).Signal(s.call.WorkDir, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	for n := 1; ; n++ {
		if _, err := ask(port, "root", "pw-of-root", fmt.Sprintf("INSERT INTO d.t VALUES (%d)", n)); err != nil {
			break
		}
		if acknowledged = n; n == 1 {
			time.AfterFunc(300*time.Millisecond, kill)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := ask(port, "root", "pw-of-root", "SELECT COUNT(*) FROM d.t")
		if err == nil {
			if got != fmt.Sprint(acknowledged) && got != fmt.Sprint(acknowledged+1) || acknowledged == 0 {
				t.Errorf("%s rows, %d were acknowledged", got, acknowledged)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not back: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	restarts := s.call.Env.(*componenttest.Env).Restarts
	for deadline := time.Now().Add(time.Minute); len(restarts()) == 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond) // it answers a moment before it is known to
	}
	if len(restarts()) != 1 {
		t.Errorf("restarts: %v", restarts())
	}

	// A change that the server refuses leaves it as it was.
	pid := pidOf(t, s)
	bad := value.NewComponent(true, value.Attr{Name: "no_such_setting", Value: value.Integer(1)})
	wantFailure(t, s.change(with("settings", bad)), "unknown variable 'no-such-setting=1'", "correct settings")
	bad = value.NewComponent(true, value.Attr{Name: "max_connections", Value: value.String("abc")})
	wantFailure(t, s.change(with("settings", bad)), "max_connections", "correct settings")
	if err := m.Ping(t.Context(), s.call); err != nil || pidOf(t, s) != pid {
		t.Errorf("after changes that were refused: %v, pid %d, then %d", err, pid, pidOf(t, s))
	}

	// A port that is taken is told of, and the server goes on where it was.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := value.Integer(l.Addr().(*net.TCPAddr).Port)
	wantFailure(t, s.change(with("port", taken)), fmt.Sprintf("port %d on 127.0.0.1 is in use by", taken), "choose another port")
	l.Close()
	if got := mustAsk(t, port, "root", "pw-of-root", "SELECT COUNT(*) > 0 FROM d.t"); got != "1" {
		t.Errorf("after a port that was taken: %q", got)
	}

	// It is not seen by its password: not in its configuration, its arguments or
	// its log of changes.
	for _, pattern := range []string{"/etc/mysql/*", "/srv/db/binlog*", "/srv/db/mysql/global_priv*", s.call.WorkDir + "/*", "/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), "pw-of-root") {
				t.Errorf("the password is in %s", file)
			}
		}
	}

	// Ended, its data stay, and the next one has them.
	s.end()
	s = serve(t, m, "a:db", with())
	s.run()
	if got := mustAsk(t, port, "root", "pw-of-root", "SELECT COUNT(*) FROM d.t"); got == "0" {
		t.Error("the data are gone")
	}
	s.end()

	// Data of a later version are refused, of an earlier one brought up to date.
	info := "/srv/db/mysql_upgrade_info"
	if err := os.WriteFile(info, []byte("23.4.1-MariaDB"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = serve(t, m, "a:db", with("keepOnTerminate", value.Bool(false)))
	wantFailure(t, m.Deploy(t.Context(), s.call), "is of MariaDB 23.4", "choose another dataDir")
	s.end()
	if err := os.WriteFile(info, []byte("10.5.1-MariaDB"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = serve(t, m, "a:db", with("keepOnTerminate", value.Bool(false)))
	s.run()
	if b, _ := os.ReadFile(info); strings.HasPrefix(string(b), "10.5") {
		t.Errorf("the data were not upgraded: %s", b)
	}
	s.end() // it did not make the folder, and so leaves it

	// What is no data folder is left alone.
	if err := os.MkdirAll("/srv/other", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/srv/other/letter", []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = serve(t, m, "a:db", with("dataDir", value.String("/srv/other"), "keepOnTerminate", value.Bool(false)))
	wantFailure(t, m.Deploy(t.Context(), s.call), "there are files in it, and no database", "choose another dataDir")
	s.end()
	for _, file := range []string{"/srv/other/letter", "/srv/db/d/t.ibd"} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

// pidOf returns the pid of a server.
func pidOf(t *testing.T, s *server) int {
	t.Helper()
	return host.NewProcesses(slog.New(slog.DiscardHandler)).Pid(s.call.WorkDir)
}
