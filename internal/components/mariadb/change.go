package mariadb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// Reconfigure says what a running server can take over to it, and restarts it
// for the rest.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(c, c.Old)
	if err != nil {
		return err
	}
	next, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	err = m.change(ctx, c, old, next)
	if err == nil {
		next.output(c.Env)
	}
	return err
}

func (m *Manager) change(ctx context.Context, c *component.Call, old, next settings) error {
	if next.follows && !old.follows {
		return next.occupied()
	}
	if old.follows && !next.follows && m.processes.Alive(c.WorkDir) == nil {
		if err := old.promotable(ctx); err != nil {
			return err
		}
	}
	if next.follows != old.follows || m.processes.Alive(c.WorkDir) != nil || old.port != next.port || !slices.Equal(old.bind, next.bind) {
		return m.restart(ctx, c, old, next)
	}
	db, err := old.admin(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	forth, live, err := db.settable(ctx, old, next)
	if err != nil {
		return err
	}
	if !live {
		return m.restart(ctx, c, old, next)
	}
	if err := next.place(ctx); err != nil { // which refuses what the server does not know
		return err
	}
	err = db.do(ctx, forth...)
	if err != nil {
		err = &component.Failure{Err: err, Remedy: "correct settings"}
	} else {
		err = next.take(ctx, c, db, old)
	}
	if err != nil {
		err = errors.Join(err, m.back(ctx, db, old, next))
	}
	return err
}

// backTime bounds the way back to what was.
const backTime = 4 * time.Second

// back tells the server again what it was told before.
func (m *Manager) back(ctx context.Context, db *session, old, next settings) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backTime)
	defer cancel()
	db.close() // the context it belongs to may have ended
	db, err := old.admin(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	back, _, err := db.settable(ctx, next, old)
	if err == nil {
		err = errors.Join(db.do(ctx, back...), old.undo(ctx, db, next), old.place(ctx))
	}
	if err != nil {
		return fmt.Errorf("back to what it was: %w", err)
	}
	return nil
}

// take has a running server take over what settings do not say: its accounts, or
// of a replica, which has those of its primary, whom it follows.
func (s settings) take(ctx context.Context, c *component.Call, db *session, old settings) error {
	if s.follows {
		return s.follow(ctx, c, db)
	}
	return db.exchange(ctx, old, s)
}

// undo is take on the way back, where there is no time to wait for anything.
func (s settings) undo(ctx context.Context, db *session, tried settings) error {
	if !s.follows {
		return db.exchange(ctx, tried, s)
	}
	r, err := readStage(s.dataDir)
	if err != nil {
		return err
	}
	return db.followAt(ctx, *s.primary, r)
}

// exchange gives the server the accounts of next in place of those of old.
func (db *session) exchange(ctx context.Context, old, next settings) error {
	if err := db.accounts(ctx, next); err != nil {
		return err
	}
	if old.user != "" && old.user != next.user {
		return db.do(ctx, "DROP USER IF EXISTS "+account(old.user))
	}
	return nil
}

// restart ends the server and starts it as next says; if it does not come up,
// as old said.
func (m *Manager) restart(ctx context.Context, c *component.Call, old, next settings) error {
	if h, taken := host.HolderOf(next.host, next.port); taken && h.Pid != m.processes.Pid(c.WorkDir) {
		return host.CheckPort(next.host, next.port) // before anything is stopped
	}
	err := next.place(ctx)
	if err != nil {
		return err
	}
	if err = m.processes.Stop(ctx, c.WorkDir, 0, next.stopTime, host.Report(c).Killed); err == nil {
		err = m.resume(ctx, c, old, next)
	}
	if err == nil {
		return nil
	}
	back, cancel := host.Outlive(ctx, backTime) // who is cut off ends soon, also on the way back
	defer cancel()
	if backErr := m.resume(back, c, next, old); backErr != nil {
		err = errors.Join(err, fmt.Errorf("back to what it was: %w", backErr))
	}
	return err
}

func (m *Manager) resume(ctx context.Context, c *component.Call, old, next settings) error {
	if err := m.run(ctx, c, next); err != nil {
		return err
	}
	if next.follows {
		return nil // run has seen to it
	}
	db, err := next.admin(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	return db.exchange(ctx, old, next)
}

// settable returns the statements that bring a running server from the settings
// of old to those of next; false if some need a restart.
func (db *session) settable(ctx context.Context, old, next settings) (statements []string, live bool, err error) {
	before, after := effective(old), effective(next)
	var names []string
	for name := range before {
		names = append(names, name)
	}
	for name := range after {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		was, had := before[name]
		is, has := after[name]
		if had == has && was == is {
			continue
		}
		variable := strings.ReplaceAll(name, "-", "_")
		kind, err := db.text(ctx, "SELECT VARIABLE_TYPE FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = ? AND READ_ONLY = 'NO' AND GLOBAL_VALUE IS NOT NULL", strings.ToUpper(variable))
		if err != nil {
			return nil, false, err
		}
		if kind == "" {
			return nil, false, nil
		}
		to := "DEFAULT"
		if has {
			to = operand(kind, is)
		}
		statements = append(statements, "SET GLOBAL "+variable+" = "+to)
	}
	return statements, true, nil
}

// effective is what holds of options that a description may say, by name.
func effective(s settings) map[string]string {
	m := map[string]string{}
	for _, o := range s.said() {
		m[o.name] = o.value
	}
	return m
}

var (
	sizeText   = regexp.MustCompile(`^(-?[0-9]{1,18})([kKmMgGtTpPeE]?)$`)
	numberText = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?$`)
)

// operand writes a setting as SET takes it for a variable of a kind. Files may
// say 64M, SET may not.
func operand(kind, text string) string {
	if m := sizeText.FindStringSubmatch(text); m != nil && strings.Contains(kind, "INT") {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if shift := 10 * (strings.IndexByte("KMGTPE", strings.ToUpper(m[2] + " ")[0]) + 1); err == nil && n<<shift>>shift == n {
			return strconv.FormatInt(n<<shift, 10)
		}
	}
	if numberText.MatchString(text) && kind != "VARCHAR" && kind != "SET" {
		return text
	}
	return literal(text)
}
