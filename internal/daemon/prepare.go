package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/internal/durable"
	"aloft/internal/identity"
	"aloft/internal/member"
)

// MemberOptions is what a home's daemon is to be in a cluster.
type MemberOptions struct {
	Home   string   // state folder, absolute
	Name   string   // "" leaves it to the cluster
	Roles  []string // manage, host; nil: those of the token, or both of one that founds
	Listen string   // ADDRESS:PORT; "" chooses

	// Address is that of a member to join at, and Token what lets the daemon
	// in. Without them it founds a cluster, or keeps the one it has.
	Address, Token string

	Build string // version of the program
}

// PrepareMember makes a home what its daemon is to be in a cluster. It changes
// nothing where it returns an error and no undo. Once nothing can be refused
// any more it calls stop, which ends a daemon that runs. undo takes back what
// was changed.
func PrepareMember(ctx context.Context, o MemberOptions, stop func() error) (undo func() error, err error) {
	was, err := readSettings(o.Home)
	if err != nil {
		return nil, err
	}
	roles := o.Roles
	if roles != nil {
		if roles, err = member.ParseRoles(strings.Join(roles, ",")); err != nil {
			return nil, err
		}
	}
	if o.Name != "" {
		if err := member.CheckName(o.Name); err != nil {
			return nil, err
		}
	}
	if o.Address != "" {
		return prepareJoin(ctx, o, roles, was, stop)
	}
	return prepareFirst(o, roles, was, stop)
}

// prepareJoin has a cluster let the home's daemon in, so that a refusal is told
// before anything is changed. The daemon goes on with the join.
func prepareJoin(ctx context.Context, o MemberOptions, roles []string, was settings, stop func() error) (undo func() error, err error) {
	token, err := identity.ParseToken(o.Token)
	if err != nil {
		return nil, advise("a manager makes one: aloft cluster token --role manage", "%v", err)
	}
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		return nil, advise("as aloft join 192.0.2.1:7400", "address to join at %q: want a host and a port", o.Address)
	}
	if was.Joined == digest(o.Token) {
		return nil, nil // the command is given again, and the join is through
	}
	if err := mayJoin(o.Home, was); err != nil {
		return nil, err
	}
	listen, err := listenAt(o.Listen, o.Address)
	if err != nil {
		return nil, err
	}
	if was.Join != nil && was.Join.Token == token.String() {
		if same := was.Join.Address == o.Address && was.Listen == listen; same {
			return nil, nil // it was cut, and its daemon goes on where
		}
		if was.Join.Enrolled || enrolledWith(o.Home, was.Join.Token) {
			return goOnAt(o, was, stop)
		}
	}
	tries := [][]string{roles}
	if roles == nil { // what the token is for, only the cluster knows
		tries = [][]string{{member.Manage, member.Host}, {member.Host}}
	}
	if was.Join == nil || was.Listen != listen { // else our own daemon may hold it
		if err := checkFree(listen, tries[0]); err != nil {
			return nil, err
		}
	}
	h, err := openIDs(o.Home)
	if err != nil {
		return nil, err
	}
	for _, roles := range tries {
		is := settings{Name: o.Name, Roles: roles, Listen: listen, Orphans: was.Orphans, Join: &joining{Address: o.Address, Token: token.String()}}
		j := joiner{h.dir, h.machine, is, slog.New(slog.DiscardHandler)}
		name, _, failed := j.ask(ctx, filepath.Join(h.dir, nextIdentity), o.Build)
		if failed == nil {
			is.Name = name
			return changeSettings(o.Home, is, stop)
		}
		if err = failed; status.Code(err) != codes.PermissionDenied {
			break
		}
	}
	if refusal, ok := errors.AsType[*identity.Refusal](err); ok {
		return nil, advise("a manager makes a token: aloft cluster token --role manage", "%v", refusal)
	}
	if status.Code(err) == codes.PermissionDenied {
		return nil, errors.New(status.Convert(err).Message())
	}
	return nil, advise("is a manager listening there? 'aloft cluster members' on one tells its address", "join at %s: %v", o.Address, err)
}

// goOnAt has a join that was cut after the cluster had let the daemon in go on
// at another manager.
func goOnAt(o MemberOptions, was settings, stop func() error) (undo func() error, err error) {
	if o.Listen != "" && o.Listen != was.Listen {
		return nil, advise("give the same --listen, or begin anew: aloft cluster leave --force", "this join was begun with --listen %s", was.Listen)
	}
	goes := *was.Join
	goes.Address = o.Address
	was.Join = &goes
	return changeSettings(o.Home, was, stop)
}

// mayJoin refuses a home that has systems or a cluster.
func mayJoin(home string, was settings) error {
	const remedy = "use another home (--home), or make this one fit to join: aloft cluster leave"
	switch {
	case was.Join != nil:
		return nil // a join that was cut; whether it is of this cluster, its keys tell
	case was.Listen != "":
		return advise(remedy, "the home %s is a member of a cluster already: %s at %s", home, strings.Join(was.Roles, ", "), was.Listen)
	case present(filepath.Join(home, "identity")) || present(filepath.Join(home, "store")):
		return advise(remedy, "the home %s has been used: it has a cluster and systems of its own", home)
	}
	return nil
}

// prepareFirst makes a home the first member of a cluster.
func prepareFirst(o MemberOptions, roles []string, was settings, stop func() error) (undo func() error, err error) {
	if roles == nil {
		roles = alone().Roles
	}
	if !slices.Contains(roles, member.Manage) {
		return nil, advise("--role manage, or --role manage,host", "the first member of a cluster has to manage it")
	}
	if was.Listen != "" || was.Join != nil {
		same := was.Join == nil && (o.Listen == "" || o.Listen == was.Listen) && (o.Name == "" || o.Name == was.Name) && (o.Roles == nil || slices.Equal(roles, was.Roles))
		if same {
			return nil, nil // said again: it is so
		}
		return nil, advise("'aloft cluster members' lists it; leave it with 'aloft cluster leave', or use another home (--home)",
			"the home %s is in a cluster already, as %s at %s", o.Home, strings.Join(was.Roles, ", "), was.Listen)
	}
	if held, err := os.ReadDir(filepath.Join(o.Home, "machines")); err == nil && len(held) > 0 && !slices.Contains(roles, member.Host) {
		return nil, advise("--role manage,host, or end their systems first", "machines are made here: the home %s has to be a host", o.Home)
	}
	listen, err := listenAt(o.Listen, "")
	if err != nil {
		return nil, err
	}
	if err := checkFree(listen, roles); err != nil {
		return nil, err
	}
	return changeSettings(o.Home, settings{Name: o.Name, Roles: roles, Listen: listen, Orphans: was.Orphans}, stop)
}

// changeSettings writes the settings of a home whose daemon stop ends.
func changeSettings(home string, s settings, stop func() error) (undo func() error, err error) {
	path := filepath.Join(home, settingsFile)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	had := err == nil
	if err := stop(); err != nil {
		return nil, fmt.Errorf("end the daemon that runs: %w", err)
	}
	undo = func() error {
		if had {
			return durable.WriteFile(path, old)
		}
		return os.Remove(path)
	}
	return undo, s.write(home)
}
