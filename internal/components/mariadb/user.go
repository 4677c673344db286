package mariadb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Users manages DatabaseUser components. What they do is done when they start: a
// server only serves from its own start on.
type Users struct{ component.Keep }

var _ component.Manager = Users{}

// Class describes DatabaseUser.
func (Users) Class() component.Class { return userClass }

var userClass = component.Class{
	Name:   "DatabaseUser",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("DatabaseUser"),
	Attributes: []component.Attribute{
		{Name: "server", Use: component.UseStart, Whole: true},
		{Name: "name", Fixed: true},
		{Name: "password", Secret: true},
	},
	Reconfigures: true,
	Check: func(attrs *value.Component, _ component.Target) (problems []component.Problem) {
		problems = append(problems, checkText(attrs, "name", checkUser, "choose a name of at most 80 characters that is not one of the server's own users")...)
		v, _ := attrs.Get("password")
		if v == value.String("") {
			problems = append(problems, component.Problem{Attr: "password", Expected: "a password", Found: "none", Message: "the password is empty", Remedy: "give a password, or a Secret"})
		}
		v, _ = attrs.Get("grants")
		all, _ := v.(value.Vector)
		for _, e := range all {
			if text, ok := e.(value.String); ok {
				if _, _, err := parseGrant(string(text)); err != nil {
					problems = append(problems, component.Problem{Attr: "grants", Expected: "rights on database", Found: string(text), Message: err.Error(), Remedy: grantRemedy})
				}
			}
		}
		return problems
	},
}

// user is what the attributes say.
type user struct {
	server         server
	name, password string
	grants         rightsOn
}

func readUser(ctx context.Context, c *component.Call, attrs *value.Component) (user, error) {
	v := userClass.Values(attrs)
	u := user{name: v.Text("name"), password: v.Text("password")}
	grants := v.Texts("grants")
	if err := errors.Join(v.Err(), checkUser(u.name)); err != nil {
		return u, err
	}
	if u.password == "" {
		return u, errors.New("attribute password: it is empty")
	}
	var err error
	if u.grants, err = parseGrants(grants); err != nil {
		return u, &component.Failure{Err: fmt.Errorf("attribute grants: %w", err), Remedy: grantRemedy}
	}
	found, err := componentOf(ctx, c, attrs, "server")
	if err != nil {
		return u, err
	}
	if of, _ := found.Get("user"); of == value.String(u.name) {
		return u, &component.Failure{
			Err:    fmt.Errorf("user %s is made by the server itself, which names it as its user", u.name),
			Remedy: "choose another name",
		}
	}
	u.server, err = readServer(c, "server", found)
	return u, err
}

// Start makes the user, or gives one that is there this password and these
// rights.
func (Users) Start(ctx context.Context, c *component.Call) error {
	u, err := readUser(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	return u.make(ctx, c)
}

func (u user) make(ctx context.Context, c *component.Call) error {
	db, err := u.server.writer(ctx, "", false)
	if err != nil {
		return err
	}
	defer db.close()
	there, err := db.text(ctx, "SELECT COUNT(*) FROM mysql.global_priv WHERE User = ? AND Host = '%'", u.name)
	if err != nil {
		return err
	}
	if there == "0" {
		if err := host.WriteRecord(c.WorkDir, insideFile, insideRecord{Name: u.name, Server: u.server.id}); err != nil {
			return err
		}
		if err := db.do(ctx, "CREATE USER IF NOT EXISTS "+account(u.name)+" ACCOUNT LOCK"); err != nil {
			return err
		}
	}
	if err := db.grant(ctx, u.name, u.grants); err != nil {
		return err
	}
	return db.login(ctx, u.name, hashed(u.password), "DO 0")
}

// Reconfigure gives the user the password and the rights. In another server it
// makes it anew, and then ends the one in the former.
func (m Users) Reconfigure(ctx context.Context, c *component.Call) error {
	u, err := readUser(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	former, _, err := readInside(c.WorkDir)
	if err != nil {
		return err
	}
	away := moved(c)
	if err := u.make(ctx, c); err != nil {
		if old, oldErr := readUser(ctx, c, c.Old); oldErr == nil && !away {
			back, cancel := host.Outlive(ctx, backTime)
			defer cancel()
			if backErr := old.make(back, c); backErr != nil {
				err = errors.Join(err, fmt.Errorf("back to what it was: %w", backErr))
			}
		}
		return err
	}
	if !away {
		return nil
	}
	return u.leave(ctx, c, former)
}

// leave drops the user in the server that it was in before. If that is the one
// that it is in now, at another address, it is noted as made there.
func (u user) leave(ctx context.Context, c *component.Call, former insideRecord) error {
	if checkUser(former.Name) != nil {
		return nil // none was made
	}
	return take(ctx, c, c.Old, "server", "user "+former.Name, func(ctx context.Context, db *session) ([]string, error) {
		old, err := serverOf(ctx, c, c.Old, "server")
		if err != nil || old.id != former.Server {
			return nil, err // there was one of its name already
		}
		now, err := u.server.open(ctx, "", false)
		if err != nil {
			return nil, err
		}
		defer now.close()
		one, err := now.isThatOf(ctx, db)
		if err != nil {
			return nil, err
		}
		if one {
			return nil, host.WriteRecord(c.WorkDir, insideFile, insideRecord{Name: former.Name, Server: u.server.id})
		}
		if follows, err := db.isCopy(ctx); err != nil || follows {
			return nil, err // of the one that it is in now, perhaps
		}
		return []string{"DROP USER IF EXISTS " + account(former.Name)}, nil
	})
}

// Terminate drops a user that was made, unless it is to stay.
func (m Users) Terminate(ctx context.Context, c *component.Call) error {
	made, found, err := readInside(c.WorkDir)
	if err != nil || !found {
		return err
	}
	if !userClass.Values(c.Attrs).Bool("keepOnTerminate") {
		if err := m.drop(ctx, c, made); err != nil {
			return err
		}
	}
	return host.RemoveFile(filepath.Join(c.WorkDir, insideFile))
}

func (Users) drop(ctx context.Context, c *component.Call, made insideRecord) error {
	if checkUser(made.Name) != nil {
		return nil
	}
	return take(ctx, c, c.Attrs, "server", "user "+made.Name, func(context.Context, *session) ([]string, error) {
		if s, err := serverOf(ctx, c, c.Attrs, "server"); err != nil || s.id != made.Server {
			return nil, err // there was one of its name already
		}
		return []string{"DROP USER IF EXISTS " + account(made.Name)}, nil
	})
}

// Ping logs in as the user, from where its programs come.
func (Users) Ping(ctx context.Context, c *component.Call) error {
	u, err := readUser(ctx, c, c.Attrs)
	if err != nil {
		return err
	}
	db, err := u.server.as(u.name, u.password).open(ctx, "", false)
	if err == nil {
		db.close()
		return nil
	}
	if refusedLogin(err) {
		return err
	}
	return elsewhere(err)
}
