package mariadb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// copyTime bounds each half of a copy: to write what the primary has to a file,
// and to load it.
const copyTime = 30 * time.Minute

// copyAttempts is how often a copy is begun anew because accounts were changed
// while it was made.
const copyAttempts = 3

// copy copies all data and accounts of the primary p, which goes on meanwhile,
// as they were at one instant, and notes that they are there.
func (s settings) copy(ctx context.Context, c *component.Call, db, p *session) (dataRecord, error) {
	r := dataRecord{
		Stage: copying, Primary: s.primary.String(), Account: ownPrefix + "replica-" + strings.ToLower(rand.Text()[:12]), Password: rand.Text(),
	}
	var err error
	if r.ServerID, err = p.freeID(ctx, s.name); err != nil {
		return r, err
	}
	if err := host.WriteRecord(s.dataDir, dataFile, r); err != nil {
		return r, err
	}
	if r.ServerID != s.id {
		s.id = r.ServerID
		if err := errors.Join(s.place(ctx), db.do(ctx, fmt.Sprintf("SET GLOBAL server_id = %d", s.id))); err != nil {
			return r, err
		}
	}
	dump := filepath.Join(s.dataDir, "aloft-copy.sql")
	accounts, err := s.dump(ctx, c, p, dump)
	if err != nil {
		return r, err
	}
	c.Env.Progress(0.5, "loading the data of "+s.primary.String())
	// What is loaded is no change of this server's own, which would be in the way
	// of its primary's.
	if err := db.do(ctx, "STOP SLAVE", "RESET SLAVE ALL", "RESET MASTER", "SET GLOBAL gtid_slave_pos = ''", "SET SESSION sql_log_bin = OFF"); err != nil {
		return r, err
	}
	load := host.Task{
		Name: "mariadb",
		Command: []string{
			"mariadb", "--no-defaults", "--socket=" + s.socket, "--user=root", "--binary-mode", "--max-allowed-packet=1G",
			"--init-command=SET SESSION sql_log_bin = OFF, SESSION foreign_key_checks = OFF",
		},
		From:    dump,
		Timeout: copyTime,
	}
	if _, err := load.Run(ctx, c.WorkDir); err != nil {
		return r, err
	}
	if err := db.do(ctx, accounts...); err != nil {
		return r, err
	}
	if err := db.do(ctx, "SET SESSION sql_log_bin = ON"); err != nil {
		return r, err
	}
	if err := host.RemoveFile(dump); err != nil {
		return r, err
	}
	r.Stage = replica
	return r, host.WriteRecord(s.dataDir, dataFile, r)
}

// together returns the option by which a dump has all tables as they are at one
// instant: a transaction does it, unless there are tables that have none. Those
// who write wait then until it has been written.
func (db *session) together(ctx context.Context) (string, error) {
	n, err := db.text(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND COALESCE(ENGINE, '') <> 'InnoDB' AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')")
	if n == "0" {
		return "--single-transaction", err
	}
	return "--lock-all-tables", err
}

// dump writes the databases of the primary to a file, and returns the statements
// that make its accounts. Accounts are in no snapshot, so they are looked at
// before and after.
func (s settings) dump(ctx context.Context, c *component.Call, p *session, file string) ([]string, error) {
	for range copyAttempts {
		before, err := p.copyAccounts(ctx)
		if err != nil {
			return nil, err
		}
		c.Env.Progress(0.1, "copying the data of "+s.primary.String())
		together, err := p.together(ctx)
		if err != nil {
			return nil, err
		}
		task := host.Task{
			Name: "mariadb-dump",
			Command: []string{
				"mariadb-dump", "--defaults-extra-file=/dev/stdin", "--all-databases", "--ignore-database=mysql", "--ignore-database=sys",
				together, "--gtid", "--master-data=1", "--quick", "--routines", "--events", "--triggers", "--hex-blob",
				"--max-allowed-packet=1G", "--result-file=" + file,
			},
			Stdin: []byte("[client]\nprotocol=tcp\nhost=" + quoted(s.primary.host) + "\nport=" + strconv.Itoa(s.primary.port) +
				"\nuser=root\npassword=" + quoted(s.primary.password) + "\n"),
			Timeout: copyTime,
		}
		if _, err := task.Run(ctx, c.WorkDir); err != nil {
			return nil, err
		}
		after, err := p.copyAccounts(ctx)
		if err != nil {
			return nil, err
		}
		if slices.Equal(before, after) {
			return after, os.Chmod(file, 0o600)
		}
	}
	return nil, errors.New("its accounts were changed each time while it was copied")
}

// copyAccounts returns the statements that make the accounts of a server on
// another one, but for those that each server has for itself.
func (db *session) copyAccounts(ctx context.Context) ([]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT User, Host, JSON_VALUE(Priv, '$.is_role') = 1 FROM mysql.global_priv
		WHERE User NOT IN ('mariadb.sys', 'mysql', 'PUBLIC', '') AND NOT (User = 'root' AND Host <> '%') ORDER BY User, Host`)
	if err != nil {
		return nil, db.to.explain(err)
	}
	defer rows.Close()
	var makes, grants []string
	type who struct {
		name string
		role bool
	}
	var all []who
	for rows.Next() {
		var user, from string
		var role *bool
		if err := rows.Scan(&user, &from, &role); err != nil {
			return nil, err
		}
		if role != nil && *role {
			all = append(all, who{name(user), true})
		} else {
			all = append(all, who{literal(user) + "@" + literal(from), false})
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, w := range all {
		if w.role {
			makes = append(makes, "CREATE OR REPLACE ROLE "+w.name)
		}
	}
	for _, w := range all {
		if !w.role {
			said, err := db.texts(ctx, "SHOW CREATE USER "+w.name)
			if err != nil {
				return nil, err
			}
			for _, text := range said {
				makes = append(makes, strings.Replace(text, "CREATE USER ", "CREATE OR REPLACE USER ", 1))
			}
		}
		said, err := db.texts(ctx, "SHOW GRANTS FOR "+w.name)
		if err != nil {
			return nil, err
		}
		grants = append(grants, said...)
	}
	return slices.Concat(makes, grants), nil
}

// texts asks for the first column of all rows.
func (db *session) texts(ctx context.Context, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, db.to.explain(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(sql.RawBytes)
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, string(*into[0].(*sql.RawBytes)))
	}
	return all, rows.Err()
}

// freeID returns the number of a server that is to be a replica of this one: the
// first of its own that neither this one nor another replica has.
func (db *session) freeID(ctx context.Context, service string) (uint32, error) {
	taken, err := db.texts(ctx, "SHOW SLAVE HOSTS")
	if err != nil {
		return 0, err
	}
	own, err := db.text(ctx, "SELECT @@GLOBAL.server_id")
	if err != nil {
		return 0, err
	}
	taken = append(taken, own)
	for n := 0; ; n++ {
		if id := serverID(service, n); !slices.Contains(taken, strconv.FormatUint(uint64(id), 10)) {
			return id, nil
		}
	}
}
