package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/spf13/cobra"

	"aloft/api"
)

// RestoreOptions says what a home is made of.
type RestoreOptions struct {
	Home   string    // state folder, absolute; empty, or not there
	From   io.Reader // the backup
	Listen string    // ADDRESS:PORT of the daemon; "": as before
	Epoch  int64     // the least that the epoch is to be; it is raised in any case
}

// Restored is what a home was made of.
type Restored struct {
	Cluster, Name string // of the cluster, and the member's
	Listen        string // "": it listens for no other
	Made          time.Time
	Epoch         int64    // that it has now
	GivenUp       []string // names of the managers that are none any more
}

// Recovered is what became of a cluster whose majority was lost.
type Recovered struct {
	Epoch   int64
	GivenUp []string // names of the managers that are none any more
}

func (a *app) backupCommand() *cobra.Command {
	var out string
	var recipients []string
	c := &cobra.Command{
		Use:   "backup",
		Short: "Write everything that a manager is restored from to a file",
		Long: `Write to a file all that a manager is restored from: the state of all systems at
one instant, the content that they need, and the keys of the cluster. The disks
of machines are not in it.

Whoever has the file can rule the cluster: it is as secret as the manager's own
disk. With --recipient it is encrypted for who has the age key to that.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.backup(c.Context(), out, recipients) },
	}
	c.Flags().StringVar(&out, "out", "", "`FILE` to write; - is the standard output (default aloft-DATE.backup)")
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "encrypt for this age recipient, age1...; may be given several times")
	return c
}

func (a *app) backup(ctx context.Context, out string, recipients []string) error {
	to := make([]age.Recipient, 0, len(recipients))
	for _, text := range recipients {
		r, err := age.ParseX25519Recipient(text)
		if err != nil {
			return fail("'age-keygen' makes a key, and shows its recipient", "recipient %q: want one of age, age1...", text)
		}
		to = append(to, r)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		if len(to) == 0 {
			return a.notRunning(cl.Backup(ctx, w))
		}
		sealed, err := age.Encrypt(w, to...)
		if err != nil {
			return err
		}
		return errors.Join(a.notRunning(cl.Backup(ctx, sealed)), sealed.Close())
	}
	if out == "-" {
		if terminal(a.Stdout) {
			return fail("give --out FILE", "a backup is not for a terminal")
		}
		return write(a.Stdout)
	}
	if out == "" {
		out = "aloft-" + time.Now().Format("20060102-150405") + ".backup"
	}
	size, err := writeBeside(out, write)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s: %d bytes.\n", out, size)
	if len(to) == 0 {
		fmt.Fprintln(a.Stderr, "aloft: the cluster's keys are in it: keep it as you keep a password, or encrypt it with --recipient")
	}
	return nil
}

// writeBeside replaces a file whole, mode 0600, once write has succeeded.
func writeBeside(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_, _ = f.Close(), os.Remove(f.Name()) // err says what matters
			err = orFull(filepath.Dir(path), err)
		}
	}()
	if err := write(f); err != nil {
		return 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, err
	}
	return size, f.Close()
}

func (a *app) restoreCommand() *cobra.Command {
	var o RestoreOptions
	var key string
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a new home out of a backup, and go on managing from there",
		Long: `Make a new home out of a backup, and start its daemon. It is the only manager of
its cluster, manages the machines of the hosts that joined it, and has a higher
epoch: hosts and machines refuse what the managers of before still order.

FILE - is the standard input. Nothing is changed unless the backup is whole.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.restore(c.Context(), args[0], key, o) },
	}
	c.Flags().StringVar(&o.Listen, "listen", "", "ADDRESS:PORT that other daemons reach this one by (default: as before)")
	c.Flags().Int64Var(&o.Epoch, "epoch", 0, "the least that the epoch is to be, where another was restored since the backup")
	c.Flags().StringVar(&key, "identity", "", "`FILE` with the age key of an encrypted backup")
	return c
}

func (a *app) restore(ctx context.Context, path, key string, o RestoreOptions) (err error) {
	if a.Restore == nil {
		return errors.New("this program holds no daemon")
	}
	if o.Home, err = a.home(); err != nil {
		return err
	}
	file := a.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		file = f
	}
	if o.From, err = opened(file, key); err != nil {
		return err
	}
	r, err := a.Restore(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s is %s as of %s, in epoch %d.\n", o.Home, r.Name, r.Made.Local().Format("2006-01-02 15:04:05"), r.Epoch)
	a.tellGivenUp(r.GivenUp)
	unlock, err := a.lockHome(ctx, o.Home)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := a.connectOwn(); err != nil {
		return err
	}
	st, err := a.serving(ctx, o.Home)
	if err != nil {
		return fmt.Errorf("the home is restored, but its daemon did not start: %w", err)
	}
	where := ""
	if st.Address != "" {
		where = " at " + st.Address
	}
	fmt.Fprintf(a.Stdout, "Its daemon manages the cluster%s (pid %d).\n", where, st.PID)
	return nil
}

// opened returns what reads a backup, encrypted or not.
func opened(file io.Reader, key string) (io.Reader, error) {
	const intro, armored = "age-encryption.org/", armor.Header
	in := bufio.NewReader(file)
	head, _ := in.Peek(len(armored))
	var sealed io.Reader = in
	switch {
	case strings.HasPrefix(string(head), armored):
		sealed = armor.NewReader(in)
	case strings.HasPrefix(string(head), intro):
	default:
		return in, nil
	}
	if key == "" {
		return nil, fail("give the file with the age key: --identity FILE", "the backup is encrypted")
	}
	f, err := os.Open(key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	r, err := age.Decrypt(sealed, keys...)
	if err != nil {
		return nil, fmt.Errorf("open the backup with %s: %w", key, err)
	}
	return r, nil
}

func (a *app) tellGivenUp(names []string) {
	if len(names) > 0 {
		fmt.Fprintf(a.Stdout, "Given up: %s. The cluster refuses them; 'aloft cluster leave --force' in their homes makes them fit to join again.\n", strings.Join(names, ", "))
	}
}

func (a *app) recoverCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "recover",
		Short: "Go on with this manager alone, when the majority is lost for ever",
		Long: `Make the manager of this home the only one of its cluster, with what it has of
the state. It is for when the majority of the managers is lost for ever: what only
they had is lost, and they are refused should they come back, until they have left
and joined anew. The epoch is raised, so that machines refuse what they order.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.recover(c.Context(), yes) },
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) recover(ctx context.Context, yes bool) error {
	if a.Recover == nil {
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
	cl, err := a.connectOwn()
	if err != nil {
		return err
	}
	lost := "the other managers, who cannot be told while the daemon does not run"
	cluster, err := cl.Cluster(ctx)
	switch {
	case err == nil && cluster.Quorum:
		return fail("'aloft cluster remove MEMBER' removes one that is lost", "a majority of the managers is in reach: there is nothing to recover from")
	case err == nil:
		var names []string
		for _, m := range cluster.Members {
			if !m.Self && isManager(m) {
				names = append(names, m.Name)
			}
		}
		lost = strings.Join(names, ", ")
	}
	fmt.Fprintf(a.Stderr, "This gives up %s: they are no managers any more, and what only they had of the state is lost.\n"+
		"Make sure that none of them runs: wherever they still rule, two would rule.\n", lost)
	if err := a.confirm(ctx, "cluster recover", "Go on with this manager alone?", yes); err != nil {
		return err
	}
	if err := a.stopOwn(ctx, cl); err != nil {
		return err
	}
	r, err := a.Recover(ctx, home)
	if err != nil {
		return err
	}
	st, err := a.serving(ctx, home)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "%s manages the cluster alone, in epoch %d (pid %d).\n", st.Name, r.Epoch, st.PID)
	a.tellGivenUp(r.GivenUp)
	return nil
}

func isManager(m api.Member) bool {
	return slices.Contains(m.Roles, api.RoleManage)
}
