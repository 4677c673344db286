package mariadb_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/mariadb"
	"aloft/internal/host"
	"aloft/value"
)

// inside is a server, and what there is to know of it.
type inside struct {
	*testing.T
	s    *server
	port value.Integer
}

func (in *inside) root(query string) string {
	in.Helper()
	return mustAsk(in, in.port, "root", nasty, query)
}

// as is what a component says that refers to the server: with its socket as on
// the server's machine, else as from another one.
func (in *inside) as(local bool, more ...any) *value.Component {
	out := in.s.call.Env.(*componenttest.Env).Outputs()
	a := attrs("sfClass", value.String("MariaDB"), "host", out["host"], "port", in.port, "rootPassword", value.String(nasty))
	if local {
		a.Set(value.Attr{Name: "socket", Value: out["socket"]})
	}
	for i := 0; i < len(more); i += 2 {
		a.Set(value.Attr{Name: more[i].(string), Value: more[i+1].(value.Value)})
	}
	return a
}

func always(m component.Manager) componenttest.Factory {
	return func(testing.TB) (component.Manager, func()) { return m, func() {} }
}

func texts(list ...string) value.Vector {
	v := value.Vector{}
	for _, s := range list {
		v = append(v, value.String(s))
	}
	return v
}

// What is in a server: databases, users and scripts, through their whole lives.
// The server stays between the suites, as it would on another machine.
func TestWhatIsInAServer(t *testing.T) {
	if !componenttest.OwnRoot(t) {
		return
	}
	m, end := daemon(t)
	defer end()
	in := &inside{T: t, port: componenttest.FreePort(t)}
	in.s = serve(t, m, "a:db", attrs("port", in.port, "bind", value.String("127.0.0.1"), "rootPassword", value.String(nasty), "user", value.String("app"), "password", value.String("pw-of-app")))
	in.s.run()
	for name, test := range map[string]func(*inside){
		"databases": databases, "databases of others": databasesOfOthers, "another server": movedToAnotherServer,
		"root without password": rootIsLetInOnItsMachine, "cut off on the way back": wayBackIsCutOff, "users": users, "users of others": usersOfOthers, "users that are kept": usersThatAreKept,
		"script suite": scriptSuite, "scripts": scripts, "scripts cut off": scriptsCutOff, "errors": errorsSayWhatToDo, "secrets": noSecretIsSeen,
	} {
		t.Run(name, func(t *testing.T) {
			each := *in
			each.T = t
			test(&each)
		})
	}
	t.Run("the end of the server", func(t *testing.T) {
		each := *in
		each.T = t
		endOfTheServer(&each)
	})
	in.s.end()
}

const odd = "it's_a `50%` \\ base"

func databases(in *inside) {
	database := func(local bool, charset string, keep bool) *value.Component {
		return attrs("server", in.as(local), "name", value.String(odd), "charset", value.String(charset), "keepOnTerminate", value.Bool(keep))
	}
	check := func(t testing.TB, c *component.Call) {
		if got := in.root("SELECT GROUP_CONCAT(DEFAULT_CHARACTER_SET_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'it%'"); got != get(c.Attrs, "charset") {
			t.Errorf("character set %q, want %s", got, get(c.Attrs, "charset"))
		}
	}
	gone := func(t testing.TB, _ *component.Call) {
		if got := in.root("SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"); got != "" {
			t.Errorf("left: %s", got)
		}
	}
	componenttest.Run(in.T, always(mariadb.Databases{}), componenttest.Case{
		Name: "socket", Machine: here,
		Attrs:   database(true, "utf8mb4", false),
		Changes: []*value.Component{database(true, "latin1", false), database(true, "latin1", true), database(true, "utf8mb4", false)},
		Check:   check,
		Break:   func(testing.TB, *component.Call) { in.root("DROP DATABASE `it's_a ``50%`` \\ base`") },
		Gone:    gone,
	})
	// From another machine only the way to the server differs.
	s := serve(in.T, mariadb.Databases{}, "a:base", database(false, "latin1", false))
	s.run()
	if err := s.m.Ping(in.Context(), s.call); err != nil {
		in.Error(err)
	}
	check(in.T, s.call)
	s.end()
	gone(in.T, s.call)
}

// What was there already, and what is to stay, stays; what only has the name of
// what was made does too.
func databasesOfOthers(in *inside) {
	life := func(name string, keep, returns bool, meanwhile func()) (there bool) {
		s := serve(in.T, mariadb.Databases{}, "a:base", attrs("server", in.as(true), "name", value.String(name), "keepOnTerminate", value.Bool(keep)))
		s.run()
		meanwhile()
		s.call.Returns = returns
		s.end()
		return in.root("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '"+name+"'") == "1"
	}
	nothing := func() {}
	in.root("CREATE DATABASE earlier CHARACTER SET latin1")
	if !life("earlier", false, false, nothing) {
		in.Error("a database that was there before is gone")
	}
	if !life("mine", true, false, nothing) || !life("mine", false, true, nothing) || life("mine", false, false, nothing) {
		in.Error("a database is not kept while it is to be, or kept when it is not")
	}
	if !life("mine", false, false, func() { in.root("DROP DATABASE mine"); in.root("CREATE DATABASE mine") }) {
		in.Error("somebody else's database of the same name is gone")
	}
	in.root("CREATE TABLE earlier.schema_version (name VARCHAR(255), digest CHAR(71))")
	s := serve(in.T, mariadb.Scripts{}, "a:scripts", attrs("database", attrs("name", value.String("earlier"), "server", in.as(true)), "files", value.Vector{}, "keepOnTerminate", value.Bool(false)))
	s.run()
	s.end()
	if in.root("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'earlier'") != "1" {
		in.Error("somebody else's table of the name of the records is gone")
	}
	in.root("DROP DATABASE earlier")
	in.root("DROP DATABASE mine")
}

// freshServer is another server of m, which is not deployed yet.
func freshServer(in *inside, m component.Manager) *inside {
	other := &inside{T: in.T, port: componenttest.FreePort(in.T)}
	other.s = serve(in.T, m, "a:db2", attrs("port", other.port, "bind", value.String("127.0.0.1"), "rootPassword", value.String(nasty), "keepOnTerminate", value.Bool(false)))
	return other
}

const clerk = `cl"e'rk` + "`"

func users(in *inside) {
	in.root("CREATE DATABASE a_b")
	in.root("CREATE DATABASE axb")
	in.root("CREATE DATABASE `it's_a ``50%`` \\ base`")
	in.root("CREATE TABLE a_b.there (n INT)")
	defer in.root("DROP DATABASE a_b")
	defer in.root("DROP DATABASE axb")
	defer in.root("DROP DATABASE `it's_a ``50%`` \\ base`")
	user := func(password string, grants ...string) *value.Component {
		return attrs("server", in.as(false), "name", value.String(clerk), "password", value.String(password), "grants", texts(grants...))
	}
	accounts := in.root("SELECT COUNT(*) FROM mysql.global_priv")
	componenttest.Run(in.T, always(mariadb.Users{}), componenttest.Case{
		Name: "suite", Machine: here, Trusted: []string{"server"}, // as with databases
		Attrs:   user("one"),
		Changes: []*value.Component{user("one", "ALL on a_b", "DROP on a_b"), user(nasty, "select, Insert on a_b", "all on "+odd), user(nasty)},
		Check: func(t testing.TB, c *component.Call) {
			v, _ := c.Attrs.Get("grants")
			may := func(query string) string {
				_, err := ask(in.port, clerk, get(c.Attrs, "password"), query)
				return fmt.Sprint(err == nil)
			}
			got := strings.Join([]string{
				may("SELECT 1"), may("CREATE TABLE a_b.t (n INT)"), may("CREATE TABLE axb.t (n INT)"), may("SELECT COUNT(*) FROM a_b.there"),
				may("CREATE TABLE `it's_a ``50%`` \\ base`.t (n INT)"), may("SELECT COUNT(*) FROM mysql.global_priv"),
			}, " ")
			want := []string{"true false false false false false", "true true false true false false", "true false false true true false"}[len(v.(value.Vector))]
			if len(v.(value.Vector)) == 2 && strings.HasPrefix(string(v.(value.Vector)[0].(value.String)), "ALL") {
				want = "true true false true false false"
			}
			if got != want {
				t.Errorf("with %s it may log in, make tables, elsewhere, look, in an odd one, at passwords: %s, want %s", value.Source(v), got, want)
			}
			if n := in.root(`SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'cl"e''rk` + "`'"); n != "1" {
				t.Errorf("there are %s of it", n)
			}
			in.root("DROP TABLE IF EXISTS a_b.t")
			in.root("DROP TABLE IF EXISTS `it's_a ``50%`` \\ base`.t")
		},
		Break: func(testing.TB, *component.Call) { in.root("DROP USER `cl\"e'rk``` @'%'") },
		Gone: func(t testing.TB, _ *component.Call) {
			if got := in.root("SELECT COUNT(*) FROM mysql.global_priv"); got != accounts {
				t.Errorf("%s accounts, before there were %s: %s", got, accounts, in.root("SELECT GROUP_CONCAT(User) FROM mysql.global_priv"))
			}
		},
	})
}

// One that is kept may log in until somebody else drops it: the next one finds it,
// and so leaves it, too.
func usersThatAreKept(in *inside) {
	defer in.root("DROP USER kept@'%'")
	for _, keep := range []bool{true, false} {
		s := serve(in.T, mariadb.Users{}, "a:user", attrs("server", in.as(true), "name", value.String("kept"), "password", value.String("pw-of-kept"), "keepOnTerminate", value.Bool(keep)))
		s.run()
		s.end()
		if _, err := ask(in.port, "kept", "pw-of-kept", "SELECT 1"); err != nil {
			in.Errorf("kept %t: %v", keep, err)
		}
	}
}

// One that was there before is taken over, with all that it was allowed, and
// stays; one that somebody has locked is let in again.
func usersOfOthers(in *inside) {
	in.root("CREATE DATABASE shop")
	in.root("CREATE TABLE shop.t (n INT)")
	defer in.root("DROP DATABASE shop")
	in.root("CREATE USER old@'%' IDENTIFIED BY 'x'")
	for _, grant := range []string{"PROCESS ON *.*", "ALL ON mysql.*", "SELECT (n) ON shop.t", "UPDATE ON shop.t"} {
		in.root("GRANT " + grant + " TO old@'%' WITH GRANT OPTION")
	}
	for _, text := range []string{"CREATE ROLE `b``oss`", "GRANT ALL ON *.* TO `b``oss`", "GRANT `b``oss` TO old@'%' WITH ADMIN OPTION", "SET DEFAULT ROLE `b``oss` FOR old@'%'"} {
		in.root(text)
	}
	defer in.root("DROP ROLE `b``oss`")
	s := serve(in.T, mariadb.Users{}, "a:user", attrs("server", in.as(true), "name", value.String("old"), "password", value.String("pw-of-old"), "grants", texts("SELECT on shop")))
	s.run()
	if got := in.root("SELECT COUNT(*) FROM mysql.roles_mapping WHERE User = 'old'"); got != "0" {
		in.Errorf("it has roles: %s", got)
	}
	if got, err := ask(in.port, "old", "pw-of-old", "SELECT CURRENT_ROLE()"); got != "" || err != nil {
		in.Errorf("it has role %s: %v", got, err)
	}
	granted := func() string {
		return in.root("SELECT GROUP_CONCAT(TABLE_SCHEMA, PRIVILEGE_TYPE, IS_GRANTABLE) FROM (SELECT * FROM information_schema.SCHEMA_PRIVILEGES UNION SELECT GRANTEE, TABLE_CATALOG, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.TABLE_PRIVILEGES UNION SELECT GRANTEE, '', '*', PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES) AS p WHERE GRANTEE = '''old''@''%'''")
	}
	if got := granted(); got != "shopSELECTNO,*USAGENO" {
		in.Errorf("it is allowed %s", got)
	}
	in.root("ALTER USER old@'%' ACCOUNT LOCK")
	if err := s.m.Ping(in.Context(), s.call); err == nil {
		in.Error("ping says that all is well with a user who cannot log in")
	}
	s.run()
	if err := s.m.Ping(in.Context(), s.call); err != nil {
		in.Errorf("locked, and started again: %v", err)
	}
	// A change that is refused half-way leaves it as it was.
	in.root("SET GLOBAL read_only = ON")
	err := s.change(attrs("server", in.as(true), "name", value.String("old"), "password", value.String("another"), "grants", texts("ALL on shop")))
	wantFailure(in.T, err, "only has a copy of the data", "replica of")
	in.root("SET GLOBAL read_only = OFF")
	if err := s.m.Ping(in.Context(), s.call); err != nil || granted() != "shopSELECTNO,*USAGENO" {
		in.Errorf("after a change that was refused: %v, it is allowed %s", err, granted())
	}
	s.end()
	if got := in.root("SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'old'"); got != "1" {
		in.Error("a user that was there before is gone")
	}
	in.root("DROP USER old@'%'")
}

func errorsSayWhatToDo(in *inside) {
	wrong := in.as(false, "rootPassword", value.String("not-this-one"))
	for _, c := range []struct {
		m             component.Manager
		attrs         *value.Component
		cause, remedy string
	}{
		{mariadb.Databases{}, attrs("server", wrong, "name", value.String("x")), "refuses the login", "see that the password is the one of the server's description"},
		{mariadb.Users{}, attrs("server", wrong, "name", value.String("x"), "password", value.String("y")), "as root refuses the login", "see that the password"},
		{mariadb.Users{}, attrs("server", in.as(true, "user", value.String("x")), "name", value.String("x"), "password", value.String("y")), "user x is made by the server itself", "choose another name"},
		{mariadb.Databases{}, attrs("server", in.as(true), "name", value.String("x"), "charset", value.String("utf9")), "Unknown character set: 'utf9'", "SHOW CHARACTER SET"},
		{mariadb.Databases{}, attrs("server", attrs("name", value.String("x")), "name", value.String("x")), "what it refers to has no host", "refer to a MariaDB"},
		{mariadb.Scripts{}, attrs("database", attrs("name", value.String("nowhere"), "server", in.as(true)), "files", value.Vector{}), "Unknown database 'nowhere'", "make it with a Database"},
	} {
		s := serve(in.T, c.m, "a:it", c.attrs)
		wantFailure(in.T, s.m.Start(in.Context(), s.call), c.cause, c.remedy)
		s.end()
	}
}

// noSecretIsSeen: the password of a user is in no argument, environment, log or
// file but the server's own, which has it hashed.
func noSecretIsSeen(in *inside) {
	const password = "pw-that-nobody-sees"
	in.root("SET GLOBAL general_log = ON")
	defer in.root("SET GLOBAL general_log = OFF")
	s := serve(in.T, mariadb.Users{}, "a:user", attrs("server", in.as(true), "name", value.String("quiet"), "password", value.String(password), "grants", texts("ALL on shop")))
	s.run()
	if err := s.m.Ping(in.Context(), s.call); err != nil {
		in.Error(err)
	}
	data := in.root("SELECT @@datadir")
	seen := 0
	for _, pattern := range []string{data + "binlog*", data + "*.log", data + "mysql/global_priv*", s.call.WorkDir + "/*", in.s.call.WorkDir + "/*", "/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err == nil && strings.Contains(string(b), password) {
				in.Errorf("the password is in %s", file)
			}
			if strings.Contains(string(b), "quiet") {
				seen++
			}
		}
	}
	if seen < 3 {
		in.Errorf("only %d files speak of the user", seen)
	}
	s.end()
}

// A server that hangs, and one that has ended: nothing that is in it ends for
// that, and what ends does so soon.
func endOfTheServer(in *inside) {
	in.root("CREATE DATABASE shop")
	env := componenttest.NewEnv(in.T, mariadb.Scripts{}.Class())
	all := map[string]*server{
		"database": serve(in.T, mariadb.Databases{}, "a:base", attrs("server", in.as(false), "name", value.String("base"), "keepOnTerminate", value.Bool(false))),
		"user":     serve(in.T, mariadb.Users{}, "a:user", attrs("server", in.as(false), "name", value.String("somebody"), "password", value.String("pw"))),
		"scripts": serve(in.T, mariadb.Scripts{}, "a:scripts", attrs("database", attrs("name", value.String("shop"), "server", in.as(false)), "keepOnTerminate", value.Bool(false),
			"files", value.Vector{shipped(env, "1.sql", "DO 1")})),
	}
	all["scripts"].call.Env = env
	for _, s := range all {
		s.run()
	}
	signal := func(n syscall.Signal) {
		if err := host.NewProcesses(slog.New(slog.DiscardHandler)).Signal(in.s.call.WorkDir, n); err != nil {
			in.Error(err)
		}
	}
	pings := func(how, says string) {
		for name, s := range all {
			begun := time.Now()
			err := s.m.Ping(in.Context(), s.call)
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), component.ErrNoEnd.Error()) {
				in.Errorf("%s of a server that %s: %v", name, how, err)
			}
			if d := time.Since(begun); d > 15*time.Second {
				in.Errorf("%s of a server that %s: after %s", name, how, d)
			}
		}
	}
	signal(syscall.SIGSTOP)
	pings("hangs", "has not answered within")
	signal(syscall.SIGCONT)
	for name, s := range all {
		if err := s.m.Ping(in.Context(), s.call); err != nil {
			in.Errorf("%s of a server that goes on: %v", name, err)
		}
	}
	// Who is not let in any more can end, and says what it leaves.
	s := serve(in.T, mariadb.Databases{}, "a:shut", attrs("server", in.as(false), "name", value.String("shut"), "keepOnTerminate", value.Bool(false)))
	s.run()
	s.call.Attrs = attrs("server", in.as(false, "rootPassword", value.String("not-this-one")), "name", value.String("shut"), "keepOnTerminate", value.Bool(false))
	s.end()
	if in.root("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shut'") != "1" {
		in.Error("a database went with a password that is wrong")
	}
	in.root("DROP DATABASE shut")

	in.s.end()
	pings("has ended", "cannot be reached")
	for name, s := range all {
		begun := time.Now()
		s.end()
		if d := time.Since(begun); d > 15*time.Second {
			in.Errorf("%s took %s to end without its server", name, d)
		}
	}
	// Its data were kept, and what was in it with them.
	in.s.run()
	if got := in.root("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('shop', 'base')"); got != "2" {
		in.Errorf("%s databases are still there, want 2", got)
	}
}
