package mariadb

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Scripts manages SQLScript components. What they do is done when they start: a
// server only serves from its own start on.
type Scripts struct{ component.Keep }

var _ component.Manager = Scripts{}

// Class describes SQLScript.
func (Scripts) Class() component.Class { return scriptClass }

var scriptClass = component.Class{
	Name:   "SQLScript",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("SQLScript"),
	Attributes: []component.Attribute{
		{Name: "database", Use: component.UseStart, Whole: true},
		{Name: "files", Source: true},
		{Name: "table", Fixed: true},
	},
	Reconfigures:  true,
	KeepsData:     true,
	DataElsewhere: true,
	Disposable:    true,             // what scripts did stays in any case
	StartTimeout:  30 * time.Minute, // they may move much
	Check: func(attrs *value.Component, _ component.Target) (problems []component.Problem) {
		problems = append(problems, checkText(attrs, "table", checkTable, "choose a name of at most 64 characters")...)
		v, _ := attrs.Get("files")
		if files, ok := v.(value.Vector); ok {
			if _, err := readFiles(files); err != nil {
				problems = append(problems, component.Problem{Attr: "files", Expected: "files of different names", Found: "others", Message: err.Error(), Remedy: "name each script once; its name is what is noted of it"})
			}
		}
		return problems
	},
}

func checkTable(text string) error { return checkName(text, nameLimit) }

// scripts is what the attributes say.
type scripts struct {
	server          server
	database, table string
	files           []host.Shipped
}

// fileLimit is how long the name of a script may be.
const fileLimit = 255

// readFiles reads the files that were sent along.
func readFiles(files value.Vector) ([]host.Shipped, error) {
	var all []host.Shipped
	seen := map[string]bool{}
	for i, e := range files {
		c, ok := e.(*value.Component)
		if !ok {
			if _, named := e.(value.String); named {
				continue // it has not been sent yet
			}
			return nil, fmt.Errorf("attribute files: element %d is a %s, want the name of a file", i+1, e.Kind())
		}
		if _, folder := c.Get("files"); folder {
			return nil, fmt.Errorf("attribute files: element %d is a folder, want the name of a file", i+1)
		}
		f, err := host.ReadShipped(c)
		if err != nil {
			return nil, fmt.Errorf("attribute files: %w", err)
		}
		f.Path = path.Base(f.Path)
		if seen[f.Path] {
			return nil, fmt.Errorf("attribute files: two are called %q", f.Path)
		}
		if n := utf8.RuneCountInString(f.Path); n > fileLimit || !utf8.ValidString(f.Path) {
			return nil, fmt.Errorf("attribute files: %.300q is no name of up to %d characters", f.Path, fileLimit)
		}
		seen[f.Path] = true
		all = append(all, f)
	}
	return all, nil
}

func readScripts(ctx context.Context, c *component.Call, attrs *value.Component) (scripts, error) {
	v := scriptClass.Values(attrs)
	s := scripts{table: v.Text("table")}
	if err := errors.Join(v.Err(), checkTable(s.table)); err != nil {
		return s, err
	}
	list, _ := attrs.Get("files")
	files, ok := list.(value.Vector)
	if !ok {
		return s, errors.New("attribute files: want a vector of files")
	}
	var err error
	if s.files, err = readFiles(files); err != nil {
		return s, err
	}
	if len(s.files) != len(files) {
		return s, errors.New("attribute files: some were not sent along")
	}
	in, err := componentOf(ctx, c, attrs, "database")
	if err != nil {
		return s, err
	}
	of := databaseClass.Values(in)
	s.database = of.Text("name")
	if err := errors.Join(of.Err(), checkDatabase(s.database)); err != nil {
		return s, &component.Failure{Err: fmt.Errorf("attribute database: what it refers to: %w", err), Remedy: "refer to a Database, such as LAZY vmA:shop"}
	}
	if s.server, err = serverOf(ctx, c, in, "server"); err != nil {
		return s, fmt.Errorf("attribute database: %w", err)
	}
	return s, nil
}

// Start runs the scripts that are not recorded as done, in their order.
func (Scripts) Start(ctx context.Context, c *component.Call) error {
	s, err := readScripts(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	db, err := s.server.writer(ctx, s.database, false)
	if err != nil {
		return err
	}
	defer db.close()
	if err := db.do(ctx, s.makeTable()); err != nil {
		return err
	}
	for i, f := range s.files {
		c.Env.Progress(float64(i)/float64(len(s.files)), f.Path)
		r, err := s.recorded(ctx, db, f.Path)
		if err == nil && r.state == stateDone && r.digest == f.Digest {
			continue
		}
		if err == nil {
			err = s.once(ctx, c, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Reconfigure runs new scripts.
func (m Scripts) Reconfigure(ctx context.Context, c *component.Call) error { return m.Start(ctx, c) }

// once runs one script, unless it is recorded as done.
func (s scripts) once(ctx context.Context, c *component.Call, f host.Shipped) error {
	// A connection of its own: a script may leave its session in any state.
	db, err := s.server.await(ctx, s.database, true)
	if err != nil {
		return err
	}
	defer db.close()
	if err := s.lock(ctx, db, lockTime); err != nil {
		return err
	}
	id, err := db.text(ctx, "SELECT CONNECTION_ID()")
	if err != nil {
		return err
	}
	r, err := s.recorded(ctx, db, f.Path)
	if err != nil {
		return err
	}
	switch {
	case r.state == stateDone && r.digest == f.Digest:
		return nil
	case r.state == stateDone:
		return &component.Failure{
			Err:    fmt.Errorf("script %s has been run in database %s already, and was changed since", f.Path, s.database),
			Remedy: "give it back the content that was run (" + r.digest + "), and put what is new into another file",
		}
	case r.state == statePartly && r.digest == f.Digest:
		return &component.Failure{
			Err:    fmt.Errorf("script %s was begun in database %s and did not end, and the server has kept some of what it did%s", f.Path, s.database, said(r.err)),
			Remedy: s.again(f),
		}
	}
	text, err := f.Fetch(ctx, c.Env)
	if err != nil {
		return err
	}
	number, err := s.carryOut(ctx, db, f, strings.TrimPrefix(string(text), "\ufeff"))
	if err == nil {
		return nil
	}
	db.close() // with its lock
	return s.failed(ctx, f, id, number, err)
}

func said(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// again is what to do about a script that was not run to its end.
func (s scripts) again(f host.Shipped) string {
	return fmt.Sprintf("have it do nothing twice (IF NOT EXISTS, REPLACE), then run up again; or take back by hand what it did, and what is recorded of it: DELETE FROM %s WHERE name = %s", name(s.table), literal(f.Path))
}

// lockTime is how long a script waits for another one to end.
const lockTime = time.Minute

// lockName is an expression for the name of the lock.
func (s scripts) lockName() string {
	return "CONCAT('aloft-', SHA1(" + literal(s.database+"\x00"+s.table) + "))"
}

// lock keeps others from running scripts of the table. What a daemon that died
// has begun may be under way still: the server notices late that nobody listens.
func (s scripts) lock(ctx context.Context, db *session, limit time.Duration) error {
	got, err := db.text(ctx, "SELECT GET_LOCK("+s.lockName()+", ?)", limit.Seconds())
	if err == nil && got != "1" {
		err = &component.Failure{
			Err:    fmt.Errorf("%s: another script of database %s is under way", s.server.address(), s.database),
			Remedy: "wait until it has ended, or end its connection on the server (SHOW PROCESSLIST, KILL)",
		}
	}
	return err
}

// carryOut runs a script and records it as done, in one transaction. If the
// server ends that before, as it does at a change of tables, what was recorded
// first stays: that the script has done some of its work. It returns the number
// of the statement that failed, 0 if that is not known.
func (s scripts) carryOut(ctx context.Context, db *session, f host.Shipped, text string) (number int, err error) {
	if err := db.do(ctx, "START TRANSACTION"); err != nil {
		return 0, err
	}
	if err := s.note(ctx, db, f, statePartly, ""); err != nil {
		return 0, err
	}
	before, err := db.questions(ctx)
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(text) != "" {
		if _, err := db.ExecContext(ctx, text); err != nil {
			after, countErr := db.questions(ctx)
			if countErr == nil {
				number = after - before - 1
			}
			return number, errors.Join(db.to.explain(err), s.back(ctx, db, f))
		}
	}
	// What a script may have left: tables that are locked, names in other codes.
	if err := db.do(ctx, "UNLOCK TABLES", "SET NAMES utf8mb4"); err != nil {
		return 0, err
	}
	if err := s.note(ctx, db, f, stateDone, ""); err != nil {
		return 0, err
	}
	return 0, db.do(ctx, "COMMIT")
}

// failed says what became of a script that was not run to its end.
func (s scripts) failed(ctx context.Context, f host.Shipped, session string, number int, err error) error {
	text := fmt.Sprintf("script %s was cut off", f.Path)
	if number > 0 {
		text = fmt.Sprintf("script %s failed at its statement %d", f.Path, number)
	}
	remedy := "correct it, then run up again"
	looking, cancel := host.Outlive(ctx, lookTime)
	defer cancel()
	kept, lookErr := s.kept(looking, f, session, err)
	switch {
	case lookErr != nil:
		text += "; whether the server has kept some of what it did is not known yet"
		remedy = "see that the server runs, then run up again"
	case kept:
		text += "; the server has kept some of what it did before, as it cannot take back changes of tables"
		remedy = s.again(f)
	default:
		text += ", and nothing of it was kept"
	}
	var answer *mysql.MySQLError
	switch {
	case errors.Is(err, mysql.ErrPktTooLarge):
		remedy = remedies[packetTooLarge]
	case errors.As(err, &answer) && strings.Contains(strings.ToUpper(answer.Message), "DELIMITER"):
		remedy = "leave out the lines with DELIMITER: they are for the command line client, and the server needs none"
	case answer != nil && remedies[answer.Number] != "" && !kept:
		remedy = remedies[answer.Number]
	}
	return &component.Failure{Err: fmt.Errorf("%s: %w", text, err), Remedy: remedy}
}

// lookTime bounds finding out what became of a script whose operation was
// cancelled.
const lookTime = 3 * time.Second

// kept reports whether the server has kept some of what a script did that
// failed, and notes why it failed where it has. The session of the script may
// have work under way that nobody waits for any more: it is ended.
func (s scripts) kept(ctx context.Context, f host.Shipped, session string, why error) (bool, error) {
	db, err := s.server.open(ctx, s.database, false)
	if err != nil {
		return false, err
	}
	defer db.close()
	// Mostly it has ended, and a server that was restarted has given its number to
	// somebody else, who does not hold the lock.
	holder, err := db.text(ctx, "SELECT IS_USED_LOCK("+s.lockName()+")")
	if err != nil {
		return false, err
	}
	if id, err := strconv.ParseUint(session, 10, 64); err == nil && holder == session {
		_ = db.do(ctx, fmt.Sprintf("KILL %d", id))
	}
	if err := s.lock(ctx, db, lookTime); err != nil {
		return false, err
	}
	r, err := s.recorded(ctx, db, f.Path)
	if err != nil || r.state != statePartly || r.digest != f.Digest {
		return false, err
	}
	return true, s.note(ctx, db, f, statePartly, why.Error())
}

// Terminate leaves what scripts did, and what is recorded of them unless that is
// not to stay.
func (Scripts) Terminate(ctx context.Context, c *component.Call) error {
	v := scriptClass.Values(c.Attrs)
	if c.Returns || v.Bool("keepOnTerminate") || v.Err() != nil {
		return nil
	}
	in, err := componentOf(ctx, c, c.Attrs, "database")
	if err != nil {
		return ctx.Err() // it is not there any more, and the record was in it
	}
	s, err := readScripts(ctx, c, c.Attrs)
	if err != nil {
		return nil // it could never be started
	}
	return take(ctx, c, in, "server", "table "+s.table+" in database "+s.database, func(ctx context.Context, db *session) ([]string, error) {
		return s.forget(ctx, db)
	})
}

// Ping asks whether all scripts are recorded as done. If not, they are not run
// unasked: somebody may be about to restore the database.
func (Scripts) Ping(ctx context.Context, c *component.Call) error {
	s, err := readScripts(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	db, err := s.server.open(ctx, "", false)
	if err != nil {
		return elsewhere(err)
	}
	defer db.close()
	for _, f := range s.files {
		r, err := s.recorded(ctx, db, f.Path)
		var answer *mysql.MySQLError
		switch {
		case errors.As(err, &answer) && (answer.Number == noSuchTable || answer.Number == unknownDatabase):
			return fmt.Errorf("%w: %w", err, component.ErrOnlyAsked)
		case err != nil:
			return elsewhere(err)
		case r.state != stateDone || r.digest != f.Digest:
			return fmt.Errorf("script %s is not recorded as done in table %s of database %s: %w", f.Path, s.table, s.database, component.ErrOnlyAsked)
		}
	}
	return nil
}
