package mariadb

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"aloft/component"
)

// answerTime is how long a server that has its port open may take to answer.
const answerTime = time.Minute

// admin connects to the server as its administrator, who needs no password on
// the server's machine. Data that came from elsewhere may ask for one.
func (s settings) admin(ctx context.Context) (*session, error) {
	a := access{network: "unix", address: s.socket, user: "root"}
	db, err := a.await(ctx, answerTime, "", false)
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) || refused.Number != loginRefused {
		return db, err
	}
	a.password = s.rootPassword
	db, err = a.open(ctx, "", false)
	if errors.As(err, &refused) && refused.Number == loginRefused {
		return nil, &component.Failure{Err: err, Remedy: "the data folder has brought a password of its own for root: give that as rootPassword, and change it afterwards"}
	}
	return db, err
}

// userRights are those of the user that a server is given: all there is to do
// with databases. The server's own are among them, so whoever has them can make
// accounts.
var userRights = strings.Join([]string{
	"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "INDEX", "ALTER", "REFERENCES", "CREATE TEMPORARY TABLES", "LOCK TABLES",
	"EXECUTE", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EVENT", "TRIGGER",
}, ", ")

// accounts gives the administrator the password, for those who come over the
// network, and makes the user. What is so already is left alone: each change is
// one for every replica.
func (db *session) accounts(ctx context.Context, s settings) error {
	root := hashed(s.rootPassword)
	is, err := db.password(ctx, "root", "localhost")
	if err != nil {
		return err
	}
	// Data that came from elsewhere may have this very password, and nothing that
	// lets in without it who pings.
	socket, err := db.text(ctx, "SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'root' AND Host = 'localhost' AND JSON_SEARCH(Priv, 'one', 'unix_socket') IS NOT NULL")
	if err != nil {
		return err
	}
	if is != root || socket == "0" {
		if err := db.do(ctx, "ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING "+literal(root)+" OR unix_socket"); err != nil {
			return err
		}
	}
	if err := db.login(ctx, "root", root, "GRANT ALL PRIVILEGES ON *.* TO "+account("root")+" WITH GRANT OPTION"); err != nil {
		return err
	}
	if s.user == "" {
		return nil
	}
	return db.login(ctx, s.user, hashed(s.password), "GRANT "+userRights+" ON *.* TO "+account(s.user))
}

// login makes an account for those who come over the network, or gives it
// another password. Its rights come first: nobody is ever let in without them.
func (db *session) login(ctx context.Context, user, hash, grant string) error {
	is, err := db.password(ctx, user, "%")
	if err != nil || is == hash {
		return err
	}
	return db.do(ctx,
		"CREATE USER IF NOT EXISTS "+account(user)+" ACCOUNT LOCK",
		grant,
		"ALTER USER "+account(user)+" IDENTIFIED VIA mysql_native_password USING "+literal(hash)+" ACCOUNT UNLOCK",
	)
}

// password returns what the server keeps of a password; "" where there is no
// such account, or one that is locked.
func (db *session) password(ctx context.Context, user, from string) (string, error) {
	return db.text(ctx, "SELECT IF(COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') IN ('0', 'false'), JSON_VALUE(Priv, '$.authentication_string'), '') FROM mysql.global_priv WHERE User = ? AND Host = ?", user, from)
}
