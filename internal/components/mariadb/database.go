package mariadb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Databases manages Database components. What they do is done when they start: a
// server only serves from its own start on.
type Databases struct{ component.Keep }

var _ component.Manager = Databases{}

// Class describes Database.
func (Databases) Class() component.Class { return databaseClass }

var databaseClass = component.Class{
	Name:   "Database",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Database"),
	Attributes: []component.Attribute{
		{Name: "server", Use: component.UseStart, Whole: true},
		{Name: "name", Fixed: true},
	},
	Reconfigures:  true,
	KeepsData:     true,
	DataElsewhere: true,
	Check: func(attrs *value.Component, _ component.Target) (problems []component.Problem) {
		problems = append(problems, checkText(attrs, "name", checkDatabase, "choose a name of at most 64 characters that is not one of the server's own databases")...)
		return append(problems, checkText(attrs, "charset", checkCharset, remedies[unknownCharset])...)
	},
}

// checkText finds what is wrong with an attribute that is a text.
func checkText(attrs *value.Component, attr string, wrong func(string) error, remedy string) []component.Problem {
	v, _ := attrs.Get(attr)
	text, ok := v.(value.String)
	if !ok {
		return nil
	}
	err := wrong(string(text))
	if err == nil {
		return nil
	}
	return []component.Problem{{Attr: attr, Expected: "another one", Found: string(text), Message: err.Error(), Remedy: remedy}}
}

// ownDatabases are the server's.
var ownDatabases = []string{"mysql", "information_schema", "performance_schema", "sys"}

func checkDatabase(text string) error {
	if slices.Contains(ownDatabases, strings.ToLower(text)) {
		return fmt.Errorf("database %s is the server's own", text)
	}
	return checkName(text, nameLimit)
}

var charsetName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func checkCharset(text string) error {
	if !charsetName.MatchString(text) {
		return fmt.Errorf("%.80q is not the name of a character set", text)
	}
	return nil
}

// database is what the attributes say.
type database struct {
	server        server
	name, charset string
}

func readDatabase(ctx context.Context, c *component.Call, attrs *value.Component) (database, error) {
	v := databaseClass.Values(attrs)
	d := database{name: v.Text("name"), charset: v.Text("charset")}
	if err := errors.Join(v.Err(), checkDatabase(d.name), checkCharset(d.charset)); err != nil {
		return d, err
	}
	var err error
	d.server, err = serverOf(ctx, c, attrs, "server")
	return d, err
}

// mark is what a database says of itself that was made for a component. It is
// with the database, and so of the folder of data that this is in: what is of
// the same name in another one is somebody else's.
func mark(c *component.Call) string { return "made by aloft for " + host.ServiceName(c) }

// state is what a server says of a database; no charset: there is none.
type state struct{ charset, comment string }

func (db *session) database(ctx context.Context, name string) (s state, err error) {
	const of = " FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?"
	if s.charset, err = db.text(ctx, "SELECT DEFAULT_CHARACTER_SET_NAME"+of, name); err != nil || s.charset == "" {
		return s, err
	}
	s.comment, err = db.text(ctx, "SELECT SCHEMA_COMMENT"+of, name)
	return s, err
}

// Start makes the database, if it is missing, and gives it its character set.
func (Databases) Start(ctx context.Context, c *component.Call) error {
	d, err := readDatabase(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	db, err := d.server.writer(ctx, "", false)
	if err != nil {
		return err
	}
	defer db.close()
	s, err := db.database(ctx, d.name)
	if err != nil {
		return err
	}
	if err := host.WriteRecord(c.WorkDir, insideFile, insideRecord{Name: d.name, Server: d.server.id}); err != nil {
		return err
	}
	switch s.charset {
	case d.charset:
		return nil
	case "":
		return db.do(ctx, "CREATE DATABASE IF NOT EXISTS "+name(d.name)+" CHARACTER SET "+d.charset+" COMMENT "+literal(mark(c)))
	}
	return db.do(ctx, "ALTER DATABASE "+name(d.name)+" CHARACTER SET "+d.charset)
}

// Reconfigure gives the database another character set, for tables that are made
// from then on. In another server it makes it anew. The former one stays, with
// its data: nobody has given leave for those.
func (m Databases) Reconfigure(ctx context.Context, c *component.Call) error {
	if err := m.Start(ctx, c); err != nil || !moved(c) {
		return err
	}
	// Two addresses may be of one server; then there is but one database.
	if old, err := readDatabase(ctx, c, c.Old); err == nil {
		c.Env.Log().Warn("the database has another address: if that is another server, the former one stays where it was, with its data", "database", old.name, "left", old.server.address())
	}
	return nil
}

// moved reports whether a component is to be in another server than before, or
// in the same one at another address.
func moved(c *component.Call) bool {
	of := func(attrs *value.Component) string {
		v, _ := attrs.Get("server")
		if at, ok := v.(*value.Component); ok {
			if s, err := readServer(c, "server", at); err == nil {
				return s.id
			}
		}
		return ""
	}
	was, is := of(c.Old), of(c.Attrs)
	return was != "" && is != "" && was != is
}

// Terminate drops a database that was made for the component, unless it is to
// stay.
func (m Databases) Terminate(ctx context.Context, c *component.Call) error {
	if _, found, err := readInside(c.WorkDir); err != nil || !found {
		return err
	}
	if err := m.drop(ctx, c); err != nil {
		return err
	}
	return host.RemoveFile(filepath.Join(c.WorkDir, insideFile))
}

func (Databases) drop(ctx context.Context, c *component.Call) error {
	v := databaseClass.Values(c.Attrs)
	of := v.Text("name")
	if c.Returns || v.Bool("keepOnTerminate") || v.Err() != nil || checkDatabase(of) != nil {
		return nil // the last two: it was never made
	}
	return take(ctx, c, c.Attrs, "server", "database "+of, func(ctx context.Context, db *session) ([]string, error) {
		s, err := db.database(ctx, of)
		if err != nil || s.comment != mark(c) {
			return nil, err
		}
		return []string{"DROP DATABASE IF EXISTS " + name(of)}, nil
	})
}

// Ping asks for the database.
func (Databases) Ping(ctx context.Context, c *component.Call) error {
	d, err := readDatabase(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	db, err := d.server.open(ctx, "", false)
	if err != nil {
		return elsewhere(err)
	}
	defer db.close()
	s, err := db.database(ctx, d.name)
	switch {
	case err != nil:
		return elsewhere(err)
	case s.charset == "":
		return fmt.Errorf("database %s is not in %s any more", d.name, d.server.address())
	}
	return nil
}
