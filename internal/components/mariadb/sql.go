package mariadb

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is what mysql_native_password is made of
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"aloft/component"
	"aloft/internal/host"
)

// access is how a server is reached: over its socket, as the user that this
// process runs as, or over the network with a password.
type access struct {
	network, address string // "unix" and a path, or "tcp" and host:port
	user, password   string
}

func (a access) String() string {
	if a.network == "unix" {
		return "the database server at " + a.address
	}
	return "the database server at " + a.address + " as " + a.user
}

// session is one connection to a server. The statements of an operation share
// it: they rely on each other's settings.
type session struct {
	*sql.Conn
	pool *sql.DB
	to   access
}

// connectTime bounds one attempt to connect: a server that hangs accepts a
// connection and says nothing.
const connectTime = 5 * time.Second

// errSilent is what connectTime ends.
var errSilent = fmt.Errorf("it has not answered within %s", connectTime)

// sessionMode is that of every session, so that literals are read as literal
// writes them whatever the server's settings say.
const sessionMode = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION"

// open connects to the server and makes database its default one if it is
// named. The session takes several statements at once if script is set.
func (a access) open(ctx context.Context, database string, script bool) (*session, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = a.network, a.address, a.user, a.password, database
	cfg.MultiStatements = script
	cfg.Timeout = connectTime
	cfg.Logger = &mysql.NopLogger{} // what is worth knowing is in the errors
	cfg.Params = map[string]string{"sql_mode": literal(sessionMode), "lock_wait_timeout": "60"}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a, err)
	}
	pool := sql.OpenDB(connector)
	limited, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := pool.Conn(limited)
	if err != nil {
		pool.Close()
		if limited.Err() != nil && ctx.Err() == nil {
			err = errSilent
		}
		return nil, a.explain(err)
	}
	return &session{Conn: conn, pool: pool, to: a}, nil
}

// await is open, tried again for as long as there is no server: it may be about
// to start, or to be restarted.
func (a access) await(ctx context.Context, patience time.Duration, database string, script bool) (*session, error) {
	return await(ctx, patience, func(ctx context.Context) (*session, error) { return a.open(ctx, database, script) })
}

// await tries open again and again, until there is a server.
func await(ctx context.Context, patience time.Duration, open func(context.Context) (*session, error)) (*session, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s, err := open(waiting)
		if err == nil {
			return s, nil
		}
		var refused *mysql.MySQLError
		if errors.As(err, &refused) || host.Sleep(waiting, 100*time.Millisecond) != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
	}
}

func (s *session) close() { _ = errors.Join(s.Conn.Close(), s.pool.Close()) }

// do carries out statements one after the other.
func (s *session) do(ctx context.Context, statements ...string) error {
	for _, text := range statements {
		if _, err := s.ExecContext(ctx, text); err != nil {
			return s.to.explain(err)
		}
	}
	return nil
}

// text asks for one value; "" is NULL, or no row at all.
func (s *session) text(ctx context.Context, query string, args ...any) (string, error) {
	var found sql.NullString
	err := s.QueryRowContext(ctx, query, args...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", s.to.explain(err)
	}
	return found.String, nil
}

// Numbers of errors that say what to do.
const (
	tooManyConnections = 1040
	databaseDenied     = 1044
	loginRefused       = 1045
	unknownDatabase    = 1049
	serverEnds         = 1053
	unknownCharset     = 1115
	hostBlocked        = 1129
	noSuchTable        = 1146
	packetTooLarge     = 1153
	lockWait           = 1205
	readOnlyServer     = 1290
	passwordExpired    = 1862
	connectionKilled   = 1927
	accountLocked      = 4151
)

var remedies = map[uint16]string{
	tooManyConnections: "raise max_connections in the settings of the server, or have its clients use fewer connections",
	databaseDenied:     "give the user rights on that database",
	loginRefused:       "see that the password is the one of the server's description, and that nobody changed it on the server",
	unknownDatabase:    "make it with a Database, and refer to that",
	unknownCharset:     `name one that the server has, such as "utf8mb4": SHOW CHARACTER SET lists them`,
	hostBlocked:        "a client has failed to log in too often; the statement FLUSH HOSTS on the server lets it in again",
	packetTooLarge:     "raise max_allowed_packet in the settings of the server, or divide the script",
	lockWait:           "something else has a lock on it: SHOW FULL PROCESSLIST on the server tells what; wait until it has ended, or end it with KILL",
	readOnlyServer:     "refer to the server that it is a replica of",
}

// explain says which server an error came from, and what to do about it.
func (a access) explain(err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", a, err)
	var said *mysql.MySQLError
	var unreachable *net.OpError
	switch {
	case errors.As(err, &said) && said.Number == loginRefused:
		return &component.Failure{Err: fmt.Errorf("%s refuses the login: %w", a, err), Remedy: remedies[loginRefused]}
	case said != nil && remedies[said.Number] != "":
		return &component.Failure{Err: wrapped, Remedy: remedies[said.Number]}
	case errors.As(err, &unreachable):
		return &component.Failure{Err: fmt.Errorf("%s cannot be reached: %w", a, err), Remedy: "see that it runs, and which address it listens on (bind)"}
	}
	return wrapped
}

// literal writes text as a string of SQL, in sessions with sessionMode.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", `\0`).Replace(text) + "'"
}

// name writes text as the name of something, in every mode of SQL.
func name(text string) string { return "`" + strings.ReplaceAll(text, "`", "``") + "`" }

// account writes the account of a user who may come from anywhere.
func account(user string) string { return literal(user) + "@'%'" }

// checkName refuses what cannot be the name of a database, a table or a user.
func checkName(text string, limit int) error {
	switch {
	case text == "" || utf8.RuneCountInString(text) > limit:
		return fmt.Errorf("%.80q is not a name of 1 to %d characters", text, limit)
	case strings.HasSuffix(text, " "):
		return fmt.Errorf("%q ends with a blank", text)
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f || r > 0xffff || r == utf8.RuneError {
			return fmt.Errorf("%q has the character %U, which names cannot have", text, r)
		}
	}
	return nil
}

// nameLimit is how long the names of databases and tables may be, userLimit
// those of users.
const (
	nameLimit = 64
	userLimit = 80
)

// hashed is what a server keeps of a password, and takes in its place: what is
// sent this way stands in no log of the server's in clear.
func hashed(password string) string {
	if password == "" {
		return ""
	}
	once := sha1.Sum([]byte(password))
	twice := sha1.Sum(once[:])
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}
