package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/client"

	"github.com/spf13/cobra"
)

// contextForm is what a context may be called: it names a file.
var contextForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`) })

// contextCommand builds the commands on contexts: clusters by name, each with
// the credentials that an operator of it has given. A context is a file in the
// user's configuration folder; the file "current" has the name of the one that
// is used.
func (a *app) contextCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "context",
		Short: "Choose among several clusters",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return a.listContexts() },
	}
	a.outputFlag(c)
	list := &cobra.Command{
		Use: "list", Short: "List the contexts", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.listContexts() },
	}
	a.outputFlag(list)
	add := &cobra.Command{
		Use: "add NAME FILE", Short: "Add a cluster, by a file that 'aloft user add' wrote", Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return a.addContext(args[0], args[1]) },
	}
	use := &cobra.Command{
		Use: "use NAME", Short: "Make commands go to a cluster; - for the home's daemon again", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.useContext(args[0]) },
	}
	show := &cobra.Command{
		Use: "show [NAME]", Short: "Say what a context leads to", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := a.contextName()
			if len(args) > 0 {
				name = args[0]
			}
			return a.showContext(name)
		},
	}
	a.outputFlag(show)
	rm := &cobra.Command{
		Use: "rm NAME", Short: "Forget a context", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := a.contextFile(args[0])
			if err == nil {
				err = os.Remove(path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return a.noContext(args[0])
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "Context %s is forgotten; its user stays one of the cluster until 'aloft user rm' there.\n", args[0])
			if a.contextName() == args[0] {
				return a.useContext("-")
			}
			return nil
		},
	}
	c.AddCommand(list, add, use, show, rm)
	return c
}

// contextName returns the chosen context, "" for the home's daemon: --context,
// unless --home says otherwise $ALOFT_CONTEXT, unless $ALOFT_HOME says otherwise
// the one that "context use" named.
func (a *app) contextName() string {
	switch {
	case a.contextFlag != "":
		return a.contextFlag
	case a.homeFlag != "":
		return ""
	case a.Getenv("ALOFT_CONTEXT") != "":
		return a.Getenv("ALOFT_CONTEXT")
	case a.Getenv("ALOFT_HOME") != "":
		return ""
	}
	dir, err := a.contexts()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(dir, "current"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// contexts returns the folder of the contexts.
func (a *app) contexts() (string, error) {
	if dir := a.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "aloft", "contexts"), nil
	}
	if user := a.Getenv("HOME"); user != "" {
		return filepath.Join(user, ".config", "aloft", "contexts"), nil
	}
	return "", fail("set HOME or XDG_CONFIG_HOME", "no folder for contexts")
}

func (a *app) contextFile(name string) (string, error) {
	if !contextForm().MatchString(name) {
		return "", fail("want a-z, 0-9, dot, underscore, hyphen, at most 63", "context name %q is not one", name)
	}
	dir, err := a.contexts()
	return filepath.Join(dir, name+".json"), err
}

func (a *app) noContext(name string) error {
	return fail("'aloft context list' lists them, 'aloft context add' adds one", "there is no context %s", name)
}

// chosen reads the chosen context; nil if there is none.
func (a *app) chosen() (*client.Access, error) {
	name := a.contextName()
	if name == "" {
		return nil, nil
	}
	access, err := a.readContext(name)
	if err != nil {
		return nil, err
	}
	if left := time.Until(access.Expires()); left <= 0 {
		return nil, fail("an operator gives a new one: aloft user add "+orDash(access.Name)+" --role "+orDash(access.Role), "the certificate of context %s expired at %s", name, access.Expires().Format(time.RFC3339))
	}
	return access, nil
}

func (a *app) readContext(name string) (*client.Access, error) {
	path, err := a.contextFile(name)
	if err != nil {
		return nil, err
	}
	access, err := readAccess(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, a.noContext(name)
	}
	return access, err
}

func readAccess(path string) (*client.Access, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var access client.Access
	if err := json.Unmarshal(text, &access); err != nil || access.Cluster == "" || len(access.Managers) == 0 || access.Expires().IsZero() {
		return nil, fail("it is what 'aloft user add NAME --out FILE' writes", "%s is no file of credentials", path)
	}
	return &access, nil
}

// writeAccess writes credentials whole or not at all, for their owner alone.
func writeAccess(path string, access *client.Access) error {
	text, err := json.MarshalIndent(access, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".aloft-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it may be gone
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}

func (a *app) addContext(name, file string) error {
	path, err := a.contextFile(name)
	if err != nil {
		return err
	}
	access, err := readAccess(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("folder of the contexts: %w", err)
	}
	if err := writeAccess(path, access); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "Context %s leads to cluster %s, as %s (%s), until %s. Commands go there with: aloft context use %s\n",
		name, access.Cluster, orDash(access.Name), orDash(access.Role), access.Expires().Local().Format(time.DateTime), name)
	return nil
}

func (a *app) useContext(name string) error {
	dir, err := a.contexts()
	if err != nil {
		return err
	}
	current := filepath.Join(dir, "current")
	if name == "-" {
		if err := os.Remove(current); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		fmt.Fprintln(a.Stdout, "Commands go to the home's daemon.")
		return nil
	}
	access, err := a.readContext(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(current, []byte(name+"\n"), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "Commands go to context %s: cluster %s, as %s (%s).\n", name, access.Cluster, orDash(access.Name), orDash(access.Role))
	return nil
}

// contextLine is a context as it is shown: without the key.
type contextLine struct {
	Name     string    `json:"name"`
	Current  bool      `json:"current"`
	User     string    `json:"user"`
	Role     string    `json:"role"`
	Cluster  string    `json:"cluster"`
	Managers []string  `json:"managers"`
	Expires  time.Time `json:"expires"`
}

func (a *app) contextLine(name string) (*contextLine, error) {
	access, err := a.readContext(name)
	if err != nil {
		return nil, err
	}
	return &contextLine{name, name == a.contextName(), access.Name, access.Role, access.Cluster, access.Managers, access.Expires()}, nil
}

func (a *app) listContexts() error {
	dir, err := a.contexts()
	if err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	list := []*contextLine{}
	ans := answer{table: table{head: []string{"NAME", "CURRENT", "USER", "ROLE", "CLUSTER", "MANAGERS"}}, empty: "There are no contexts: 'aloft context add NAME FILE' adds one."}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		line, err := a.contextLine(name)
		if err != nil {
			return err
		}
		list = append(list, line)
		ans.names = append(ans.names, name)
		mark := "-"
		if line.Current {
			mark = "yes"
		}
		ans.table.rows = append(ans.table.rows, []string{name, mark, line.User, line.Role, line.Cluster, strings.Join(line.Managers, " ")})
	}
	ans.value = list
	return a.print(ans)
}

func (a *app) showContext(name string) error {
	if name == "" {
		return fail("'aloft context use NAME' chooses one", "no context is chosen: commands go to the home's daemon")
	}
	line, err := a.contextLine(name)
	if err != nil {
		return err
	}
	if a.format != "table" && a.format != "wide" {
		return a.print(answer{value: line, names: []string{name}})
	}
	for _, r := range [][2]string{
		{"name", name},
		{"user", line.User},
		{"role", line.Role},
		{"cluster", line.Cluster},
		{"managers", strings.Join(line.Managers, " ")},
		{"expires", line.Expires.Local().Format("2006-01-02 15:04:05")},
	} {
		fmt.Fprintf(a.Stdout, "%-9s %s\n", r[0], orDash(r[1]))
	}
	return nil
}

// renewContext gets a new certificate for the chosen context once two thirds
// of its life are over. It is only worth a warning when that fails: the old one
// still holds.
func (a *app) renewContext(ctx context.Context) {
	name := a.contextName()
	if name == "" || a.client == nil {
		return
	}
	access, err := a.readContext(name)
	if err != nil || !access.Ageing(time.Now()) {
		return
	}
	path, err := a.contextFile(name)
	if err == nil {
		var cred *client.Access
		if cred, err = a.client.RenewAccess(ctx, access); err == nil {
			err = writeAccess(path, cred)
		}
	}
	if err != nil && api.KindOf(err) != api.KindUnavailable {
		fmt.Fprintf(a.Stderr, "aloft: the certificate of context %s was not renewed: %v\n", name, err)
	}
}
