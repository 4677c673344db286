package cli

import (
	"fmt"
	"time"

	"aloft/api"

	"github.com/spf13/cobra"
)

// userCommand builds the commands on who may call a cluster over the network.
func (a *app) userCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "user", Short: "Say who may call the cluster over the network", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.listUsers(c) },
	}
	a.outputFlag(c)
	list := &cobra.Command{
		Use: "list", Short: "List the users", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.listUsers(c) },
	}
	a.outputFlag(list)
	var role, out string
	add := &cobra.Command{
		Use:   "add NAME",
		Short: "Let somebody in, with a role, and write the file of credentials",
		Long: `Let somebody call the cluster over the network: a viewer reads, an operator also
changes. The file that is written holds a private key; whoever has it is that
user. 'aloft context add' takes it. Certificates live a day and are renewed by
the commands that use them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if r := api.Role(role); r != api.RoleViewer && r != api.RoleOperator {
				return fail("--role viewer or --role operator", "role %q is not known", role)
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			access, err := cl.NewAccess(c.Context(), args[0], api.Role(role))
			if err != nil {
				return a.notRunning(err)
			}
			if out == "" {
				out = args[0] + ".aloft"
			}
			if err := writeAccess(out, access); err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s is %s of cluster %s; the credentials are in %s, valid until %s.\n",
				args[0], map[api.Role]string{api.RoleViewer: "a viewer", api.RoleOperator: "an operator"}[api.Role(role)], access.Cluster, out, access.Expires().Local().Format("2006-01-02 15:04:05"))
			if len(access.Managers) == 0 {
				fmt.Fprintln(a.Stderr, "aloft: this cluster listens at no address yet; 'aloft cluster init --listen ADDRESS:PORT' gives it one")
			}
			return nil
		},
	}
	add.Flags().StringVar(&role, "role", "", "viewer or operator")
	add.Flags().StringVar(&out, "out", "", "file to write (default NAME.aloft)")
	_ = add.MarkFlagRequired("role")
	rm := &cobra.Command{
		Use: "rm NAME", Short: "Refuse a user from now on", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			if _, err := cl.RemoveUser(c.Context(), args[0]); err != nil {
				return a.notRunning(err)
			}
			fmt.Fprintf(a.Stdout, "%s may call no more.\n", args[0])
			return nil
		},
	}
	c.AddCommand(list, add, rm)
	return c
}

func (a *app) listUsers(c *cobra.Command) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	users, err := cl.Users(c.Context())
	if err != nil {
		return a.notRunning(err)
	}
	ans := answer{value: users, table: table{head: []string{"NAME", "ROLE", "BY", "EXPIRES"}}, empty: "There are no users: 'aloft user add NAME --role viewer' adds one."}
	for _, u := range users {
		ans.names = append(ans.names, u.Name)
		ans.table.rows = append(ans.table.rows, []string{u.Name, string(u.Role), orDash(u.By), u.Expires.Format(time.RFC3339)})
	}
	return a.print(ans)
}
