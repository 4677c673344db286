package mariadb

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// rights are those that can be had on a database.
var rights = []string{
	"ALTER", "ALTER ROUTINE", "CREATE", "CREATE ROUTINE", "CREATE TEMPORARY TABLES", "CREATE VIEW", "DELETE", "DELETE HISTORY", "DROP",
	"EVENT", "EXECUTE", "INDEX", "INSERT", "LOCK TABLES", "REFERENCES", "SELECT", "SHOW VIEW", "TRIGGER", "UPDATE",
}

// rightsOn are rights, sorted, by the database they are on, as pattern writes
// it.
type rightsOn map[string][]string

const grantRemedy = `write it as "ALL on shop" or "SELECT, INSERT on shop"`

// grantText is "rights on database". No right has the word on in it, so the
// first one ends them; a database may.
var grantText = regexp.MustCompile(`^ *([A-Za-z, ]*?) +[oO][nN] +([^ ].*)$`)

// parseGrant reads "rights on database".
func parseGrant(text string) (database string, list []string, err error) {
	m := grantText.FindStringSubmatch(text)
	if m == nil {
		return "", nil, fmt.Errorf("%.200q is not rights on a database", text)
	}
	database = m[2]
	if err := checkDatabase(database); err != nil {
		return "", nil, err
	}
	if database == "*" || strings.HasSuffix(database, ".*") {
		return "", nil, fmt.Errorf("%.200q is not the name of one database", database)
	}
	for word := range strings.SplitSeq(m[1], ",") {
		word = strings.ToUpper(strings.Join(strings.Fields(word), " "))
		switch {
		case word == "ALL" || word == "ALL PRIVILEGES":
			list = append(list, rights...)
		case slices.Contains(rights, word):
			list = append(list, word)
		default:
			return "", nil, fmt.Errorf("%.80q is not a right on a database", word)
		}
	}
	slices.Sort(list)
	return database, slices.Compact(list), nil
}

func parseGrants(texts []string) (rightsOn, error) {
	all := rightsOn{}
	for _, text := range texts {
		database, list, err := parseGrant(text)
		if err != nil {
			return nil, err
		}
		at := pattern(database)
		list = append(list, all[at]...)
		slices.Sort(list)
		all[at] = slices.Compact(list)
	}
	return all, nil
}

// pattern writes the name of a database where the server takes a pattern.
func pattern(database string) string {
	return name(strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(database))
}

// changes are the statements that give a user what is missing of the rights
// that it is to have, and then take from it what it has beyond them.
func (has rightsOn) changes(user string, wanted rightsOn) (statements []string) {
	for _, at := range slices.Sorted(maps.Keys(wanted)) {
		if missing := without(wanted[at], has[at]); len(missing) > 0 {
			statements = append(statements, "GRANT "+strings.Join(missing, ", ")+" ON "+at+".* TO "+account(user))
		}
	}
	for _, at := range slices.Sorted(maps.Keys(has)) {
		if surplus := without(has[at], wanted[at]); len(surplus) > 0 {
			statements = append(statements, "REVOKE "+strings.Join(surplus, ", ")+" ON "+at+".* FROM "+account(user))
		}
	}
	return statements
}

func without(list, less []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(less, s) })
}

// grant gives a user these rights and no others.
func (db *session) grant(ctx context.Context, user string, wanted rightsOn) error {
	// Rights on the server, on tables, columns and routines, and the right to
	// hand rights on: none of them is for a description to give.
	const others = `SELECT
		(SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = g AND (PRIVILEGE_TYPE <> 'USAGE' OR IS_GRANTABLE = 'YES')) +
		(SELECT COUNT(*) FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = g AND IS_GRANTABLE = 'YES') +
		(SELECT COUNT(*) FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = g) +
		(SELECT COUNT(*) FROM information_schema.COLUMN_PRIVILEGES WHERE GRANTEE = g) +
		(SELECT COUNT(*) FROM mysql.procs_priv WHERE User = u AND Host = '%')
		FROM (SELECT CONCAT('''', ?, '''@''%''') AS g, ? AS u) AS who`
	if err := db.withoutRoles(ctx, user); err != nil {
		return err
	}
	surplus, err := db.text(ctx, others, user, user)
	if err != nil {
		return err
	}
	if surplus != "0" {
		if err := db.do(ctx, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM "+account(user)); err != nil {
			return err
		}
	}
	has, err := db.granted(ctx, user)
	if err != nil {
		return err
	}
	return db.do(ctx, has.changes(user, wanted)...)
}

// withoutRoles takes from a user what it may do by way of roles. REVOKE does that
// only for who may hand a role on, and not even root may do so with all of them.
func (db *session) withoutRoles(ctx context.Context, user string) error {
	const with = `SELECT
		(SELECT COUNT(*) FROM mysql.roles_mapping WHERE User = u AND Host = '%') +
		(SELECT COUNT(*) FROM mysql.global_priv WHERE User = u AND Host = '%' AND COALESCE(JSON_VALUE(Priv, '$.default_role'), '') <> '')
		FROM (SELECT ? AS u) AS who`
	n, err := db.text(ctx, with, user)
	if err != nil || n == "0" {
		return err
	}
	return db.do(ctx,
		"SET DEFAULT ROLE NONE FOR "+account(user),
		"DELETE FROM mysql.roles_mapping WHERE User = "+literal(user)+" AND Host = '%'",
		"FLUSH PRIVILEGES",
	)
}

// granted returns the rights of a user on databases.
func (db *session) granted(ctx context.Context, user string) (rightsOn, error) {
	rows, err := db.QueryContext(ctx, "SELECT TABLE_SCHEMA, PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = CONCAT('''', ?, '''@''%''') ORDER BY 1, 2", user)
	if err != nil {
		return nil, db.to.explain(err)
	}
	defer rows.Close()
	has := rightsOn{}
	for rows.Next() {
		var at, right string
		if err := rows.Scan(&at, &right); err != nil {
			return nil, db.to.explain(err)
		}
		if right != "USAGE" {
			has[name(at)] = append(has[name(at)], right)
		}
	}
	return has, db.to.explain(rows.Err())
}
