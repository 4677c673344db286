package host

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"aloft/component"
)

// User is an account of the machine.
type User struct {
	Name, Home string
	UID, GID   int
	Groups     []int
}

// LookupUser finds an account by name or number. The empty name is the user
// the daemon runs as.
func LookupUser(name string) (User, error) {
	var u *user.User
	var err error
	if name == "" {
		name = strconv.Itoa(os.Getuid())
	}
	if u, err = user.Lookup(name); err != nil {
		if u, err = user.LookupId(name); err != nil {
			if id, nerr := strconv.Atoi(name); nerr == nil && id == os.Getuid() {
				return User{Name: name, Home: "/", UID: id, GID: os.Getgid()}, nil // no account, as in bare containers
			}
			return User{}, &component.Failure{
				Err:    fmt.Errorf("user %q does not exist on this machine", name),
				Remedy: "name an existing user, or have a package create it first",
			}
		}
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return User{}, fmt.Errorf("user %q: %w", name, err)
	}
	found := User{Name: u.Username, Home: u.HomeDir, UID: uid, GID: gid}
	ids, err := u.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, s := range ids {
		if id, err := strconv.Atoi(s); err == nil {
			found.Groups = append(found.Groups, id)
		}
	}
	return found, nil
}

// LookupGroup finds a group's number by name or number.
func LookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if g, err = user.LookupGroupId(name); err != nil {
			return 0, &component.Failure{
				Err:    fmt.Errorf("group %q does not exist on this machine", name),
				Remedy: "name an existing group, or have a package create it first",
			}
		}
	}
	return strconv.Atoi(g.Gid)
}

// credential returns what a process needs to run as u; nil if it does already.
func (u User) credential() (*syscall.Credential, error) {
	if u.UID == os.Getuid() && u.GID == os.Getgid() {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, &component.Failure{
			Err:    fmt.Errorf("only root can run a process as user %s; the daemon runs as uid %d", u.Name, os.Getuid()),
			Remedy: "leave out user, or run the daemon as root",
		}
	}
	c := &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	for _, g := range u.Groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c, nil
}
