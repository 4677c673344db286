package mariadb

import (
	"context"
	"database/sql"
	"errors"

	"aloft/internal/host"
)

// What is recorded of a script.
const (
	stateDone   = "done"
	statePartly = "partly" // it has not ended, and some of what it did stays
)

// where names the table of records.
func (s scripts) where() string { return name(s.database) + "." + name(s.table) }

// makeTable makes the table of records.
func (s scripts) makeTable() string {
	return "CREATE TABLE IF NOT EXISTS " + s.where() + ` (
		name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
		digest CHAR(71) CHARACTER SET ascii NOT NULL,
		state VARCHAR(10) CHARACTER SET ascii NOT NULL,
		error TEXT CHARACTER SET utf8mb4,
		changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
	) ENGINE=InnoDB ROW_FORMAT=DYNAMIC`
}

// recordColumns are those of makeTable.
const recordColumns = "name,digest,state,error,changed"

// recorded is what the table says of a script; no state: nothing.
type recorded struct{ digest, state, err string }

func (s scripts) recorded(ctx context.Context, db *session, file string) (r recorded, err error) {
	err = db.QueryRowContext(ctx, "SELECT digest, state, COALESCE(error, '') FROM "+s.where()+" WHERE name = ?", file).Scan(&r.digest, &r.state, &r.err)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	return r, db.to.explain(err)
}

// note records what became of a script.
func (s scripts) note(ctx context.Context, db *session, f host.Shipped, state, why string) error {
	const what = " (name, digest, state, error) VALUES (?, ?, ?, NULLIF(?, '')) ON DUPLICATE KEY UPDATE digest = VALUES(digest), state = VALUES(state), error = VALUES(error)"
	_, err := db.ExecContext(ctx, "INSERT INTO "+s.where()+what, f.Path, f.Digest, state, why)
	return db.to.explain(err)
}

// forget returns the statements that take away what is recorded, and the table
// with the last of it.
func (s scripts) forget(ctx context.Context, db *session) ([]string, error) {
	const columns = "SELECT GROUP_CONCAT(COLUMN_NAME ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?"
	has, err := db.text(ctx, columns, s.database, s.table)
	if err != nil || has != recordColumns {
		return nil, err // there is none, or it is somebody else's
	}
	if err := s.lock(ctx, db, lookTime); err != nil {
		return nil, err
	}
	for _, f := range s.files {
		if _, err := db.ExecContext(ctx, "DELETE FROM "+s.where()+" WHERE name = ?", f.Path); err != nil {
			return nil, db.to.explain(err)
		}
	}
	left, err := db.text(ctx, "SELECT COUNT(*) FROM "+s.where())
	if err != nil || left != "0" {
		return nil, err
	}
	return []string{"DROP TABLE IF EXISTS " + s.where()}, nil
}

// back undoes the transaction of a script that failed. What it did to tables
// that have none is kept by the server, which says so only now.
func (s scripts) back(ctx context.Context, db *session, f host.Shipped) error {
	if err := db.do(ctx, "ROLLBACK"); err != nil {
		return nil // the session is lost, and its transaction with it
	}
	warnings, err := db.text(ctx, "SELECT @@warning_count")
	if err != nil || warnings == "0" {
		return err
	}
	if err := db.do(ctx, "UNLOCK TABLES", "SET NAMES utf8mb4"); err != nil {
		return err
	}
	if err := s.note(ctx, db, f, statePartly, ""); err != nil {
		return err
	}
	return db.do(ctx, "COMMIT")
}

// questions is how many statements the server has had from this session, with
// this one: it finds out by itself where a statement of a script ends.
func (db *session) questions(ctx context.Context) (n int, err error) {
	var variable string
	err = db.QueryRowContext(ctx, "SHOW SESSION STATUS LIKE 'Questions'").Scan(&variable, &n)
	return n, db.to.explain(err)
}
