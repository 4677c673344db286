package mariadb

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"aloft/component"
	"aloft/internal/host"
	"aloft/value"
)

// patience is how long a component waits for its server, which may be about to
// be started or restarted, on this machine or on another.
const patience = 20 * time.Second

// server is what an attribute refers to: a MariaDB, or what a data component
// says of one elsewhere.
type server struct {
	// id is that of the component, which may come to have another address; of
	// one elsewhere its address.
	id       string
	host     string
	port     int
	socket   string // of one that is on this machine
	password string // root's
}

// readServer reads an attribute that refers to a server: how it is reached from
// the machine of c.
func readServer(c *component.Call, attr string, v *value.Component) (server, error) {
	of := class.Values(v)
	text := func(name string) string {
		v, _ := v.Get(name)
		s, _ := v.(value.String)
		return string(s)
	}
	s := server{host: text("host"), port: of.Int("port"), password: of.Text("rootPassword")}
	if s.host == "" {
		return s, &component.Failure{
			Err:    fmt.Errorf("attribute %s: what it refers to has no host", attr),
			Remedy: "refer to a MariaDB, such as LAZY vmA:db",
		}
	}
	if err := of.Err(); err != nil {
		return s, fmt.Errorf("attribute %s: what it refers to: %w", attr, err)
	}
	s.id = s.address()
	if socket := text("socket"); socket != "" {
		s.id = socket
		loopback := false
		if a, err := netip.ParseAddr(s.host); err == nil {
			loopback = a.IsLoopback() // nobody reaches it from elsewhere
		}
		if loopback || s.host == c.Machine.Address {
			s.socket = socket
		}
	}
	return s, nil
}

// serverOf returns the server that an attribute of a component leads to. One
// that was cut off while it started still holds the reference itself.
func serverOf(ctx context.Context, c *component.Call, attrs *value.Component, attr string) (server, error) {
	found, err := componentOf(ctx, c, attrs, attr)
	if err != nil {
		return server{}, err
	}
	return readServer(c, attr, found)
}

// componentOf returns the component that an attribute leads to.
func componentOf(ctx context.Context, c *component.Call, attrs *value.Component, attr string) (*value.Component, error) {
	v, _ := attrs.Get(attr)
	if ref, ok := v.(*value.Reference); ok {
		ctx, cancel := context.WithTimeout(ctx, connectTime)
		defer cancel()
		var err error
		if v, err = c.Env.Read(ctx, ref); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", attr, err)
		}
	}
	found, ok := v.(*value.Component)
	if !ok {
		return nil, fmt.Errorf("attribute %s: what it refers to is not there", attr)
	}
	return found, nil
}

func (s server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// as is the way to the server, over the network.
func (s server) as(user, password string) access {
	return access{network: "tcp", address: s.address(), user: user, password: password}
}

// open connects to the server as its administrator, who needs no password on the
// server's own machine.
func (s server) open(ctx context.Context, database string, script bool) (*session, error) {
	if s.socket == "" {
		return s.as("root", s.password).open(ctx, database, script)
	}
	a := access{network: "unix", address: s.socket, user: "root"}
	db, err := a.open(ctx, database, script)
	if refusedLogin(err) {
		a.password = s.password
		return a.open(ctx, database, script)
	}
	return db, err
}

// await is open, tried again for as long as there is no server.
func (s server) await(ctx context.Context, database string, script bool) (*session, error) {
	return await(ctx, patience, func(ctx context.Context) (*session, error) { return s.open(ctx, database, script) })
}

// writer is await for a component that is about to make something: a server
// whose data are another's is refused. What is written there is lost, or ends
// the copying.
func (s server) writer(ctx context.Context, database string, script bool) (*session, error) {
	db, err := s.await(ctx, database, script)
	if err != nil {
		return nil, err
	}
	is, err := db.isCopy(ctx)
	if is {
		err = &component.Failure{
			Err:    fmt.Errorf("%s only has a copy of the data of another one", db.to),
			Remedy: remedies[readOnlyServer],
		}
	}
	if err != nil {
		db.close()
		return nil, err
	}
	return db, nil
}

// isCopy reports whether the data of a server are another's.
func (db *session) isCopy(ctx context.Context) (bool, error) {
	readOnly, err := db.text(ctx, "SELECT @@GLOBAL.read_only")
	return err == nil && readOnly != "0" && readOnly != "OFF", err
}

// isThatOf reports whether a session is with the same server as another one,
// whatever they reached it by: the lock of one is seen by the other.
func (db *session) isThatOf(ctx context.Context, other *session) (bool, error) {
	lock := ownPrefix + rand.Text()
	if got, err := db.text(ctx, "SELECT GET_LOCK(?, 0)", lock); err != nil || got != "1" {
		return false, errors.Join(err, fmt.Errorf("lock %s: %q", lock, got))
	}
	holder, err := other.text(ctx, "SELECT IS_USED_LOCK(?)", lock)
	if err != nil {
		return false, err
	}
	return holder != "", db.do(ctx, "DO RELEASE_LOCK("+literal(lock)+")")
}

// refusedLogin reports whether a server does not take a user's password, or has
// no such user.
func refusedLogin(err error) bool {
	var said *mysql.MySQLError
	return errors.As(err, &said) && (said.Number == loginRefused || said.Number == accountLocked || said.Number == passwordExpired)
}

// blocked reports whether a server takes no logins from this machine any more.
func blocked(err error) bool {
	var said *mysql.MySQLError
	return errors.As(err, &said) && said.Number == hostBlocked
}

// gone reports whether a server cannot be reached, is about to end, or has ended
// in the middle of a statement.
func gone(err error) bool {
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		return said.Number == serverEnds || said.Number == connectionKilled
	}
	var unreachable *net.OpError
	if errors.As(err, &unreachable) {
		return true
	}
	for _, e := range []error{errSilent, os.ErrNotExist, mysql.ErrInvalidConn, driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// elsewhere marks the error of a ping that ending this component would not mend:
// what fails is its server.
func elsewhere(err error) error {
	return fmt.Errorf("%w: %w", err, component.ErrNoEnd)
}

// insideFile notes what a component has made in a server, before it is made: it
// is to take that away at its end.
const insideFile = "inside.json"

type insideRecord struct {
	Name   string `json:"name"`
	Server string `json:"server"` // its id
}

func readInside(workDir string) (r insideRecord, found bool, err error) {
	found, err = host.ReadRecord(workDir, insideFile, &r)
	return r, found, err
}

// take takes away what a component has made in a server. One that cannot be
// reached has ended as well, with its data or without, and one whose password
// was changed is somebody else's: then what is left is said in the component's
// log, and its end goes on.
func take(ctx context.Context, c *component.Call, attrs *value.Component, attr, what string, statements func(context.Context, *session) ([]string, error)) error {
	left := func(at string, err error) {
		c.Env.Log().Warn("what was made in a server stays there: it cannot be reached, or lets nobody in", "left", what, "server", at, "error", err)
	}
	found, err := componentOf(ctx, c, attrs, attr)
	if err != nil {
		left("of attribute "+attr, err)
		return ctx.Err()
	}
	s, err := readServer(c, attr, found)
	if err != nil {
		return err
	}
	for again := true; ; again = false {
		db, err := s.open(ctx, "", false)
		shut := refusedLogin(err) || blocked(err)
		if err == nil {
			var list []string
			if list, err = statements(ctx, db); err == nil {
				err = db.do(ctx, append([]string{"SET SESSION lock_wait_timeout = 20"}, list...)...)
			}
			db.close()
			if again && gone(err) && ctx.Err() == nil {
				continue // the connection was lost, the server perhaps not
			}
		}
		if !shut && !gone(err) || ctx.Err() != nil {
			return err
		}
		left(s.address(), err)
		return nil
	}
}
