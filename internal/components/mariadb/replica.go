package mariadb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/value"
)

// source is the server that a replica copies and follows.
type source struct {
	host     string
	port     int
	password string // of its root
}

func (p source) String() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

func (p source) access() access {
	return access{network: "tcp", address: p.String(), user: "root", password: p.password}
}

// replicaOf reads the attribute of that name: whether the server is a replica,
// and of whom, which is not known before start. One that is to be a replica of
// itself is the primary of a set of copies that are all described alike.
func replicaOf(c *component.Call, attrs *value.Component) (follows bool, p *source, err error) {
	v, _ := attrs.Get("replicaOf")
	switch v := v.(type) {
	case nil, value.Null:
		return false, nil, nil
	case *value.Reference:
		var names []string
		for _, part := range v.Parts {
			if part.Kind != value.PartRoot {
				names = append(names, part.Name)
			}
		}
		return value.PathOf(names...) != c.Path, nil, nil
	case *value.Component:
		of := class.Values(v)
		p = &source{port: of.Int("port"), password: of.Text("rootPassword")}
		h, _ := v.Get("host")
		name, ok := h.(value.String)
		if !ok || of.Err() != nil || p.password == "" {
			return true, nil, errors.Join(errors.New("attribute replicaOf: the component it names is no MariaDB with a host, a port and a rootPassword"), of.Err())
		}
		p.host = string(name)
		return true, p, nil
	}
	return false, nil, fmt.Errorf("attribute replicaOf: it is a %s, and no component", v.Kind())
}

// occupied refuses to make a replica of a server that has data of its own.
func (s settings) occupied() error {
	return &component.Failure{
		Err:    fmt.Errorf("data folder %s has data of its own, and a replica has those of its primary alone", s.dataDir),
		Remedy: "choose another dataDir, or take the component out of the description and put it in again with another name",
	}
}

// lead makes a primary of a server, with its accounts: of one that has nothing
// yet, and of one that was a replica, when it has applied all that its primary
// had sent. That it is one is noted last: until then it can be a replica again.
func (s settings) lead(ctx context.Context, db *session) error {
	r, err := readStage(s.dataDir)
	if err == nil && r.Stage == fresh {
		err = host.WriteRecord(s.dataDir, dataFile, dataRecord{Stage: primary})
	}
	if err != nil || r.Stage != replica {
		return errors.Join(err, db.accounts(ctx, s))
	}
	if err := db.drain(ctx); err != nil {
		return err
	}
	if err := db.do(ctx, "STOP SLAVE"); err != nil {
		return err
	}
	if err := db.accounts(ctx, s); err != nil {
		return err
	}
	if err := db.do(ctx, "RESET SLAVE ALL", "SET GLOBAL read_only = OFF"); err != nil {
		return err
	}
	return host.WriteRecord(s.dataDir, dataFile, dataRecord{Stage: primary, ServerID: r.ServerID})
}

// promotable has a running replica apply what it has got, before a restart,
// which throws away what is not applied.
func (s settings) promotable(ctx context.Context) error {
	db, err := s.admin(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	return db.drain(ctx)
}

// drain has a replica apply all that it has got of its primary, which may be
// gone, and get nothing more. If that fails it goes on as a replica.
func (db *session) drain(ctx context.Context) error {
	// It goes on getting for as long as this may take or fail: a server throws
	// away what is not applied when either thread is started while both are stopped.
	if err := db.applied(ctx, reachTime); err != nil {
		return err
	}
	if err := db.do(ctx, "STOP SLAVE IO_THREAD"); err != nil {
		return err
	}
	err := db.applied(ctx, reachTime)
	if err == nil {
		return nil
	}
	back, cancel := host.Outlive(ctx, backTime)
	defer cancel()
	again, openErr := db.to.open(back, "", false) // the context of db may have ended
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	defer again.close()
	if state, stateErr := again.replication(back); stateErr != nil || state["Slave_SQL_Running"] != "Yes" {
		return errors.Join(err, stateErr)
	}
	return errors.Join(err, again.do(back, "START SLAVE IO_THREAD"))
}

// applied waits until a replica has applied what it has got by now. One that
// somebody has reset is not waited for: that is decided.
func (db *session) applied(ctx context.Context, limit time.Duration) error {
	state, err := db.replication(ctx)
	if err != nil || state == nil {
		return err
	}
	position := state["Gtid_IO_Pos"]
	for end := time.Now().Add(limit); ; {
		got, err := db.text(ctx, "SELECT MASTER_GTID_WAIT(?, 1)", position)
		if err != nil || got == "0" {
			return err
		}
		if state, err = db.replication(ctx); err != nil {
			return err
		}
		why := ""
		switch {
		case state["Slave_SQL_Running"] != "Yes":
			why = state["Last_SQL_Error"]
			if why == "" {
				why = "it was stopped"
			}
		case time.Now().After(end):
			why = "it has not come to its end within " + limit.String()
		default:
			continue
		}
		return &component.Failure{
			Err:    fmt.Errorf("the replica has got changes up to %s and not applied all of them: %s", position, why),
			Remedy: "have it apply them (START SLAVE SQL_THREAD on the server, see its log), and update again; or do without them: STOP SLAVE and RESET SLAVE ALL on the server, and update again",
		}
	}
}

// Times of a replica.
const (
	reachTime = 10 * time.Minute // to apply what it has changed meanwhile
	awayTime  = 10 * time.Second // that a primary may be away when its replica starts
	// for a primary that is there to send what follows the place where the replica is
	acceptTime = 30 * time.Second
)

// follow makes a running server a replica, with a copy of its primary's data if
// it has none yet, and waits until it has caught up. One that has its copy
// already does not wait for a primary that is away: it serves what it has.
func (s settings) follow(ctx context.Context, c *component.Call, db *session) error {
	if s.primary == nil {
		return errors.New("attribute replicaOf: it is not known yet")
	}
	r, err := readStage(s.dataDir)
	if err != nil {
		return err
	}
	if r.Stage != fresh && r.Stage != replica {
		return s.occupied()
	}
	patience := answerTime
	if r.Stage == replica {
		patience = awayTime
	}
	p, err := s.primary.access().await(ctx, patience, "", false)
	switch {
	case err != nil && r.Stage == replica && ctx.Err() == nil && away(err):
		c.Env.Log().Warn("the primary is away: the replica serves what it has, and follows when it is back", "primary", s.primary.String(), "error", err)
		return db.followAt(ctx, *s.primary, r)
	case err != nil:
		return err
	}
	defer p.close()
	if err := p.leads(ctx); err != nil {
		return err
	}
	if r.Stage == fresh {
		if r, err = s.copy(ctx, c, db, p); err != nil {
			return fmt.Errorf("copy %s: %w", s.primary, err)
		}
	}
	if err := p.login(ctx, r.Account, hashed(r.Password), "GRANT REPLICATION SLAVE ON *.* TO "+account(r.Account)); err != nil {
		return err
	}
	if err := db.followAt(ctx, *s.primary, r); err != nil {
		return err
	}
	if err := db.accepted(ctx, acceptTime); err != nil {
		return err
	}
	position, err := p.text(ctx, "SELECT @@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return err
	}
	c.Env.Progress(0.9, "catching up with "+s.primary.String())
	return db.reach(ctx, position, reachTime)
}

// leads refuses a server as a primary that is a replica itself: the account that
// a replica has there would be a change that its own primary does not know of.
func (db *session) leads(ctx context.Context) error {
	readOnly, err := db.isCopy(ctx)
	if err != nil {
		return err
	}
	state, err := db.replication(ctx)
	if err != nil {
		return err
	}
	if readOnly || state != nil {
		return &component.Failure{
			Err:    fmt.Errorf("attribute replicaOf: %s is a replica itself, or takes no changes", db.to),
			Remedy: remedies[readOnlyServer],
		}
	}
	return nil
}

// away reports whether a server was not reached, rather than have answered no.
func away(err error) bool {
	var unreachable *net.OpError
	return errors.As(err, &unreachable) || errors.Is(err, context.DeadlineExceeded)
}

// followAt has a server follow p from where it is.
func (db *session) followAt(ctx context.Context, p source, r dataRecord) error {
	state, err := db.replication(ctx)
	if err != nil {
		return err
	}
	same := state != nil && state["Master_Host"] == p.host && state["Master_Port"] == strconv.Itoa(p.port) && state["Master_User"] == r.Account &&
		state["Last_IO_Errno"] != strconv.Itoa(loginRefused)
	if same && broken(state) == nil {
		return nil
	}
	return db.do(
		ctx, "STOP SLAVE",
		"CHANGE MASTER TO MASTER_HOST = "+literal(p.host)+", MASTER_PORT = "+strconv.Itoa(p.port)+", MASTER_USER = "+literal(r.Account)+
			", MASTER_PASSWORD = "+literal(r.Password)+", MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos",
		"START SLAVE",
	)
}

// accepted waits until the primary sends what follows the place where the
// replica is: one of which it has no data does not know that place.
func (db *session) accepted(ctx context.Context, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		state, err := db.replication(ctx)
		if err == nil {
			err = broken(state)
		}
		// It names its log when it has found the place; CHANGE MASTER forgets that.
		if err != nil || state["Slave_IO_Running"] == "Yes" && state["Master_Log_File"] != "" {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the replica gets nothing from %s:%s: %s, %s", state["Master_Host"], state["Master_Port"], state["Slave_IO_State"], state["Last_IO_Error"])
		}
		if err := host.Sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// reach waits until a replica has applied what leads to a position of its
// primary's.
func (db *session) reach(ctx context.Context, position string, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		got, err := db.text(ctx, "SELECT MASTER_GTID_WAIT(?, 1)", position)
		if err != nil {
			return err
		}
		if got == "0" {
			return nil
		}
		if err := db.following(ctx); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the replica is not at %s, where its primary was %s ago", position, limit)
		}
	}
}

// replication returns what SHOW SLAVE STATUS says, by column; nil of a server
// that follows nobody.
func (db *session) replication(ctx context.Context) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, "SHOW SLAVE STATUS")
	if err != nil {
		return nil, db.to.explain(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil || !rows.Next() {
		return nil, errors.Join(err, rows.Err())
	}
	texts := make([]*string, len(columns))
	into := make([]any, len(columns))
	for i := range texts {
		into[i] = &texts[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	state := map[string]string{}
	for i, text := range texts {
		if text != nil {
			state[columns[i]] = *text
		}
	}
	return state, rows.Err()
}

// following returns why a server does not follow its primary. That the primary
// is away is no reason: it follows when that is back.
func (db *session) following(ctx context.Context) error {
	state, err := db.replication(ctx)
	if err != nil {
		return err
	}
	return broken(state)
}

// broken says what is wrong with a replica that does not follow its primary and
// will not by itself.
func broken(state map[string]string) error {
	failure := func(what, why string) error {
		if why == "" {
			why = "it was stopped"
		}
		return &component.Failure{
			Err:    fmt.Errorf("the replica does not %s: %s", what, why),
			Remedy: "see its log; if its data are no longer those of its primary, end it (aloft scale, or take it out of the description) and have a new one made",
		}
	}
	switch {
	case state == nil:
		return failure("follow anybody", "somebody has reset it")
	case state["Slave_SQL_Running"] != "Yes":
		return failure("apply what its primary sends", state["Last_SQL_Error"])
	case state["Slave_IO_Running"] == "No" || state["Last_IO_Errno"] == strconv.Itoa(loginRefused):
		return failure("get what its primary changes", state["Last_IO_Error"])
	}
	return nil
}

// signOffTime bounds the farewell of a replica: its primary may be away, or end
// at the same time.
const signOffTime = 2 * time.Second

// signOff deletes the account that a replica has on its primary, if that is
// there. Nobody else knows its password.
func signOff(ctx context.Context, c *component.Call) {
	s, err := read(c, c.Attrs)
	if err != nil || s.primary == nil {
		return
	}
	r, err := readStage(s.dataDir)
	if err != nil || r.Account == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, signOffTime)
	defer cancel()
	p, err := s.primary.access().open(ctx, "", false)
	if err == nil {
		err = p.do(ctx, "DROP USER IF EXISTS "+account(r.Account))
		p.close()
	}
	if err != nil {
		c.Env.Log().Info("the account of the replica stays on its primary, which does not answer", "account", r.Account, "error", err)
	}
}
