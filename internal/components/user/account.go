package user

import (
	"context"
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

// The machine's own accounts, which its tools change.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// account is what the machine knows of one.
type account struct {
	name     string
	UID, GID int
	Home     string   `json:"home"`
	Shell    string   `json:"shell"`
	Groups   []string `json:"groups"` // beside its first one
}

func (a account) in(group string) bool { return slices.Contains(a.Groups, group) }

// rows returns the fields of the lines of an account file.
func rows(file string, fields int) ([][]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all [][]string
	for line := range strings.Lines(string(b)) {
		if row := strings.Split(strings.TrimRight(line, "\n"), ":"); len(row) == fields {
			all = append(all, row)
		}
	}
	return all, nil
}

// find returns the machine's account called name; false if there is none.
func find(name string) (a account, there bool, err error) {
	users, err := rows(passwdFile, 7)
	if err != nil {
		return a, false, err
	}
	i := slices.IndexFunc(users, func(row []string) bool { return row[0] == name })
	if i < 0 {
		return a, false, nil
	}
	row := users[i]
	a = account{name: name, Home: row[5], Shell: row[6]}
	var err1, err2 error
	a.UID, err1 = strconv.Atoi(row[2])
	a.GID, err2 = strconv.Atoi(row[3])
	groups, err := rows(groupFile, 4)
	if err := errors.Join(err, err1, err2); err != nil {
		return a, false, fmt.Errorf("account of %s: %w", name, err)
	}
	for _, g := range groups {
		if slices.Contains(strings.Split(g[3], ","), name) {
			a.Groups = append(a.Groups, g[0])
		}
	}
	slices.Sort(a.Groups)
	return a, true, nil
}

func groupExists(name string) (bool, error) {
	groups, err := rows(groupFile, 4)
	return slices.ContainsFunc(groups, func(row []string) bool { return row[0] == name }), err
}

// checkGroups says which groups are not there; the tools say it less well.
func (w wanted) checkGroups() error {
	for _, g := range w.groups {
		if ok, err := groupExists(g); err != nil {
			return err
		} else if !ok {
			return &component.Failure{Err: fmt.Errorf("group %s does not exist on this machine", g), Remedy: "name an existing group, or have a package create it first"}
		}
	}
	return nil
}

func (w wanted) create(ctx context.Context) error {
	if err := w.checkGroups(); err != nil {
		return err
	}
	command := []string{"useradd", "--shell", w.shell}
	if w.uid != 0 {
		command = append(command, "--uid", strconv.Itoa(w.uid))
	}
	if w.home != "" {
		command = append(command, "--home-dir", w.home)
	}
	if w.system {
		command = append(command, "--system")
	}
	if w.home != "" || !w.system || len(w.keys) > 0 {
		command = append(command, "--create-home")
	}
	if there, err := groupExists(w.name); err != nil {
		return err
	} else if there {
		command = append(command, "--no-user-group", "--gid", w.name)
	} else {
		command = append(command, "--user-group")
	}
	if len(w.groups) > 0 {
		command = append(command, "--groups", strings.Join(w.groups, ","))
	}
	return host.ChangeAccounts(ctx, append(command, "--", w.name)...)
}

// adjust changes an account that is there. Groups that it had before the
// component came stay.
func (w wanted) adjust(ctx context.Context, now account, before *record) error {
	if w.uid != 0 && w.uid != now.UID {
		return &component.Failure{
			Err:    fmt.Errorf("user %s is there already, with the number %d, want %d", w.name, now.UID, w.uid),
			Remedy: "leave out uid, or choose another name",
		}
	}
	if err := w.checkGroups(); err != nil {
		return err
	}
	groups := slices.Clone(w.groups)
	if before.Existed {
		groups = append(groups, before.Account.Groups...)
	}
	slices.Sort(groups)
	if w.home == "" {
		w.home = now.Home
	}
	return w.modify(ctx, now, slices.Compact(groups))
}

func (w wanted) modify(ctx context.Context, now account, groups []string) error {
	command := []string{"usermod"}
	if w.shell != now.Shell {
		command = append(command, "--shell", w.shell)
	}
	if w.home != now.Home {
		command = append(command, "--home", w.home)
	}
	if !slices.Equal(groups, now.Groups) {
		command = append(command, "--groups", strings.Join(groups, ","))
	}
	if len(command) == 1 {
		return nil
	}
	return host.ChangeAccounts(ctx, append(command, "--", w.name)...)
}

// leaveTime is how long a user's last processes may take to end: components that
// run as it may be ending at this moment.
const leaveTime = 30 * time.Second

// remove deletes an account, and not its home.
func remove(ctx context.Context, a account) error {
	patience, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	for {
		err := host.ChangeAccounts(ctx, "userdel", "--", a.name)
		if err == nil {
			return nil
		}
		if strings.Contains(err.Error(), "currently used by process") && host.Sleep(patience, usedPause) == nil {
			continue
		}
		output, _ := component.Detail(err)
		return &component.Failure{Err: err, Output: output, Remedy: "end what still runs as " + a.name + ", then try again"}
	}
}

// usedPause is between attempts to delete an account that something runs as.
const usedPause = 200 * time.Millisecond

// record is what was there before.
type record struct {
	Name    string  `json:"name"`
	Existed bool    `json:"existed"`
	Account account `json:"account"`
}

const recordFile = "user.json"

func readRecord(workDir string) (*record, error) {
	var r record
	if found, err := host.ReadRecord(workDir, recordFile, &r); !found {
		return nil, err
	}
	return &r, nil
}

func (r *record) write(workDir string) error { return host.WriteRecord(workDir, recordFile, r) }

// block is the component's lines among the keys that may log in.
func block(c *component.Call, a account) host.Block {
	return host.Block{
		Path: filepath.Join(a.Home, ".ssh", "authorized_keys"), WorkDir: c.WorkDir, Name: host.ServiceName(c),
		Owned: host.Owned{Owner: a.name, Group: strconv.Itoa(a.GID), Mode: 0o600},
	}
}

func putKeys(c *component.Call, a account, keys []string) error {
	if len(keys) == 0 {
		return host.RemoveBlock(c.WorkDir, host.ServiceName(c))
	}
	folder := filepath.Join(a.Home, ".ssh")
	if info, err := os.Lstat(folder); err == nil && !info.IsDir() {
		return &component.Failure{Err: fmt.Errorf("%s is not a folder", folder), Remedy: "remove it: it may lead elsewhere"}
	}
	return block(c, a).Put(keys)
}
