package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aloft/api"
	"aloft/client"

	"github.com/spf13/cobra"
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

// joinPatience is how long a manager may take to catch up with the others.
const joinPatience = 2 * time.Minute

func (a *app) clusterCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Have several managers and hosts: init, token, join, members, promote, demote, remove, leave, recover; print the certificate that its services are trusted by: ca",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.members(c.Context()) },
	}
	a.outputFlag(c)
	members := &cobra.Command{
		Use:   "members",
		Short: "List the members",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.members(c.Context()) },
	}
	a.outputFlag(members)
	c.AddCommand(a.initCommand(), a.tokenCommand(), a.joinCommand(), members,
		a.changeCommand("promote MEMBER", "Make a host a manager", (*client.Client).Promote, "is a manager now"),
		a.changeCommand("demote MEMBER", "Make a manager a host", (*client.Client).Demote, "is a host now"),
		a.removeCommand(),
		a.leaveCommand(), a.recoverCommand(), a.issuerCommand(),
	)
	return c
}

// memberFlags gives c the flags that say what the home's daemon is to be.
func memberFlags(c *cobra.Command, o *MemberOptions) {
	c.Flags().StringSliceVar(&o.Roles, "role", nil, "manage, host, or manage,host")
	c.Flags().StringVar(&o.Listen, "listen", "", "ADDRESS:PORT that other daemons reach this one by, the next port too if it manages (default: the address that leads to them, and 7400)")
	c.Flags().StringVar(&o.Name, "name", "", "name of the member (default: the host's)")
}

func (a *app) initCommand() *cobra.Command {
	var o MemberOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this home the first member of a cluster; its systems and machines go on",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := a.become(c.Context(), o)
			if err != nil {
				return err
			}
			if st.Members > 1 {
				fmt.Fprintf(a.Stdout, "%s is a member of a cluster of %d already: %s at %s (pid %d).\n", st.Name, st.Members, strings.Join(st.Roles, ", "), st.Address, st.PID)
				return nil
			}
			fmt.Fprintf(a.Stdout, "%s is the first member of a cluster: %s at %s (pid %d).\n", st.Name, strings.Join(st.Roles, ", "), st.Address, st.PID)
			fmt.Fprintf(a.Stdout, "Others join with a token: aloft cluster token --role manage\n")
			return nil
		},
	}
	memberFlags(c, &o)
	return c
}

func (a *app) joinCommand() *cobra.Command {
	var o MemberOptions
	c := &cobra.Command{
		Use:   "join ADDRESS --token TOKEN",
		Short: "Make this home a member of the cluster that has a manager at ADDRESS",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if o.Token == "" {
				return fail("a manager makes one: aloft cluster token --role manage", "a token is needed to join: give --token")
			}
			o.Address = args[0]
			st, err := a.become(c.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s has joined the cluster: %s at %s (pid %d).\n", st.Name, strings.Join(st.Roles, ", "), st.Address, st.PID)
			return a.warnOfMembers(c.Context(), st)
		},
	}
	memberFlags(c, &o)
	c.Flags().StringVar(&o.Token, "token", "", "what 'aloft cluster token' printed")
	return c
}

// warnOfMembers says what is to be said of the cluster after a manager joined.
func (a *app) warnOfMembers(ctx context.Context, st *api.DaemonStatus) error {
	if !slices.Contains(st.Roles, api.RoleManage) {
		return nil
	}
	cluster, err := a.client.Cluster(ctx)
	if err != nil {
		return nil //nolint:nilerr // it joined; what could be said of it is no matter
	}
	a.warn(cluster.Warnings)
	return nil
}

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(a.Stderr, "aloft: warning: "+w)
	}
}

// become makes the home's daemon what o says, and returns when it serves.
func (a *app) become(ctx context.Context, o MemberOptions) (*api.DaemonStatus, error) {
	if a.PrepareMember == nil {
		return nil, errors.New("this program holds no daemon")
	}
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	o.Home, o.Build = home, a.build().Version
	unlock, err := a.lockHome(ctx, home)
	if err != nil {
		return nil, err
	}
	defer unlock()
	cl, err := a.connectOwn()
	if err != nil {
		return nil, err
	}
	stop := func() (*api.StopResult, error) {
		res, err := cl.StopDaemon(ctx)
		if err == nil {
			err = a.gone(ctx, cl, res)
		}
		if errors.Is(err, client.ErrNoDaemon) {
			return nil, nil
		}
		return res, err
	}
	var stopped *api.StopResult
	undo, err := a.PrepareMember(ctx, o, func() error {
		stopped, err = stop()
		return err
	})
	if err == nil {
		var st *api.DaemonStatus
		if st, err = a.serving(ctx, home); err == nil {
			return st, nil
		}
		if _, e := stop(); e != nil {
			return nil, errors.Join(err, e)
		}
	}
	if undo != nil {
		err = errors.Join(err, undo())
	}
	if stopped != nil {
		if _, e := a.startDaemon(ctx, home); e != nil {
			err = errors.Join(err, fmt.Errorf("start the daemon again: %w", e))
		}
	}
	return nil, err
}

// serving starts the home's daemon, unless it runs, and returns when it does
// what its roles say.
func (a *app) serving(ctx context.Context, home string) (*api.DaemonStatus, error) {
	st, err := a.client.Daemon(ctx)
	switch {
	case errors.Is(err, client.ErrNoDaemon):
		st, err = a.startDaemon(ctx, home)
	case errors.Is(err, client.ErrEnded):
		st, err = a.awake(ctx, home)
	}
	late := time.After(joinPatience)
	for {
		switch {
		case err != nil:
			return nil, err
		case st.State == api.DaemonReady:
			return st, nil
		case st.State == api.DaemonRefused:
			return nil, errors.New(st.Reason)
		case st.State == api.DaemonRemoved:
			return nil, fail("'aloft cluster leave' makes its home fit to join again", "this daemon was removed from its cluster")
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-late:
			return nil, fail("its log is daemon.log in the state folder; the same command goes on where this one ended",
				"the daemon (pid %d) is not ready after %s: %s", st.PID, joinPatience, st.Reason)
		case <-time.After(5 * startPause):
		}
		st, err = a.awake(ctx, home)
	}
}

// awake asks the daemon what it is, which may begin anew as what it has become:
// then nobody answers for a moment.
func (a *app) awake(ctx context.Context, home string) (st *api.DaemonStatus, err error) {
	for range 100 {
		if st, err = a.client.Daemon(ctx); !errors.Is(err, client.ErrNoDaemon) && !errors.Is(err, client.ErrEnded) {
			return st, err
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-time.After(2 * startPause):
		}
	}
	logName := filepath.Join(home, "daemon.log")
	return nil, fail("all of it is in "+logName, "the daemon has ended%s", tail(logName, 0))
}

func (a *app) tokenCommand() *cobra.Command {
	var role string
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "token --role ROLE",
		Short: "Make a token with which one daemon may join",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if role != api.RoleManage && role != api.RoleHost {
				return fail("--role manage or --role host; who joins to manage may be a host too", "say what the daemon that joins may be")
			}
			if ttl < time.Second {
				return fail("as --ttl 1h or --ttl 30m", "a token for %s is of no use", ttl)
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			t, err := cl.NewToken(c.Context(), api.TokenRequest{Role: role, TTL: int64(ttl / time.Second)})
			if err != nil {
				return a.notRunning(err)
			}
			if a.format != "table" && a.format != "wide" {
				return a.print(answer{value: t, names: []string{t.Token}})
			}
			fmt.Fprintf(a.Stdout, "With this, one daemon can join until %s:\n\n  aloft join %s --role %s --token %s\n\nWhoever has it can join in its place: keep it as a password.\n",
				t.Expires.Local().Format("2006-01-02 15:04:05"), t.Address, t.Role, t.Token)
			return nil
		},
	}
	c.Flags().StringVar(&role, "role", "", "what it may be: manage or host; who joins to manage may be a host too")
	c.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it can be used, a week (168h) at most")
	a.outputFlag(c)
	return c
}

func (a *app) issuerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate of the cluster's issuer, which clients of its services trust",
		Long: `Print the certificate, PEM, of the issuer of Certificate components. A client
that trusts it believes the services of this cluster to be who they say:

  aloft cluster ca > services.pem
  curl --cacert services.pem https://wiki.example.org/

It says nothing about daemons, machines and users: these have another one.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			issuer, err := cl.Issuer(c.Context())
			if err != nil {
				return a.notRunning(err)
			}
			if a.format != "table" && a.format != "wide" {
				return a.print(answer{value: issuer, names: []string{issuer.Digest}})
			}
			fmt.Fprint(a.Stdout, issuer.Certificate)
			return nil
		},
	}
	a.outputFlag(c)
	return c
}

func (a *app) members(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	cluster, err := cl.Cluster(ctx)
	if err != nil {
		return a.notRunning(err)
	}
	t := table{head: []string{"NAME", "ROLES", "ADDRESS", "STATE", "STORE", "VERSION"}, state: 3}
	wide := table{head: append(slices.Clone(t.head), "PID", "ID"), state: 3}
	var names []string
	for _, m := range cluster.Members {
		name := m.Name
		row := []string{name, strings.Join(m.Roles, ","), orDash(m.Address), m.State, orDash(m.Store), orDash(m.Version)}
		t.rows = append(t.rows, row)
		wide.rows = append(wide.rows, append(slices.Clone(row), number(int64(m.PID)), m.ID))
		names = append(names, name)
	}
	if err := a.print(answer{value: cluster.Members, names: names, table: t, wide: wide, empty: "The cluster has no members."}); err != nil {
		return err
	}
	if a.format == "table" || a.format == "wide" {
		if !cluster.Quorum {
			a.warn([]string{"no majority of the managers is in reach: nothing can be changed"})
		}
		a.warn(cluster.Warnings)
	}
	return nil
}

// changeCommand is a command that changes one member.
func (a *app) changeCommand(use, short string, change func(*client.Client, context.Context, string) (*api.MemberChange, error), now string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			m, err := change(cl, c.Context(), args[0])
			if err != nil {
				return a.notRunning(err)
			}
			fmt.Fprintf(a.Stdout, "%s %s.\n", m.Member.Name, now)
			a.warn(m.Warnings)
			return nil
		},
	}
}

func (a *app) removeCommand() *cobra.Command {
	var force bool
	c := a.changeCommand("remove MEMBER", "Remove a member for good, running or not", func(cl *client.Client, ctx context.Context, name string) (*api.MemberChange, error) {
		return cl.RemoveMember(ctx, name, force)
	}, "is no member any more")
	c.Flags().BoolVar(&force, "force", false, "also a host that there are machines on: they are lost")
	return c
}

func (a *app) leaveCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "leave",
		Short: "Leave the cluster: remove this member, end its daemon, and make the home fit to join again",
		Long: `Leave the cluster: remove this member, end its daemon, and delete from the home
what belonged to the cluster, so that it can join again or be used alone.

It is refused while machines are made here, and where the cluster cannot be
told. With --force the cluster is not asked, and the machines that were made
here are destroyed: for a member that was removed, or whose cluster is gone for
ever.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.leave(c.Context(), force) },
	}
	c.Flags().BoolVar(&force, "force", false, "do not ask the cluster, and destroy the machines that were made here")
	return c
}

func (a *app) leave(ctx context.Context, force bool) error {
	if a.LeaveCluster == nil {
		return errors.New("this program holds no daemon")
	}
	home, err := a.home()
	if err != nil {
		return err
	}
	unlock, err := a.lockHome(ctx, home)
	if err != nil {
		return err
	}
	defer unlock()
	own, err := a.connectOwn()
	if err != nil {
		return err
	}
	st, err := own.Daemon(ctx)
	if errors.Is(err, client.ErrNoDaemon) {
		st, err = a.startDaemon(ctx, home) // who it is, and whether it may go, it knows best
	}
	if err != nil {
		return err
	}
	if st.Machines > 0 && slices.Contains(st.Roles, api.RoleHost) && !force {
		return fail("end their systems first: aloft systems; or --force", "%s made here", count(st.Machines, "machine")+are(st.Machines))
	}
	if st.State != api.DaemonRemoved && st.Members > 1 && !force {
		if !slices.Contains(st.Roles, api.RoleManage) {
			return fail("on a manager: aloft cluster remove "+st.Name+"; then this command again", "the cluster has this host as a member")
		}
		if _, err := own.RemoveMember(ctx, st.ID, false); err != nil {
			return err
		}
	}
	if err := a.stopOwn(ctx, own); err != nil {
		return err
	}
	destroyed, err := a.LeaveCluster(ctx, home, force)
	if err != nil {
		return err
	}
	if destroyed > 0 {
		fmt.Fprintf(a.Stdout, "Destroyed %s that %s made here.\n", count(destroyed, "machine"), wasWere(destroyed))
	}
	fmt.Fprintf(a.Stdout, "%s has left the cluster; %s can join again.\n", st.Name, home)
	return nil
}

// stopOwn ends the home's daemon, if it runs, and returns when it has ended.
func (a *app) stopOwn(ctx context.Context, own *client.Client) error {
	res, err := own.StopDaemon(ctx)
	if err == nil {
		err = a.gone(ctx, own, res)
	}
	if errors.Is(err, client.ErrNoDaemon) {
		return nil
	}
	return err
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func are(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}
