package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"aloft/api"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxSecret bounds what is read of a secret's content; the daemon says the same
// of one that is longer.
const maxSecret = 64<<10 + 1

func (a *app) secretCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "secret",
		Short: "Keep passwords and keys that descriptions refer to by name: set, list, rm",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.secrets(c.Context()) },
	}
	a.outputFlag(c)
	list := &cobra.Command{
		Use:   "list",
		Short: "List the secrets, without their contents",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.secrets(c.Context()) },
	}
	a.outputFlag(list)
	c.AddCommand(list, a.setSecretCommand(), a.removeSecretCommand())
	return c
}

func (a *app) setSecretCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Give a secret its content, read from standard input or a file",
		Long:  "Give a secret its content. It is asked for on a terminal, without showing it; else read from standard input, where one line end at its end does not count, or with --file, as it is. It is never an argument: those are seen by every user of this host.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			content, err := a.secretContent(args[0], file)
			if err != nil {
				return err
			}
			cl, err := a.ensureDaemon(c.Context())
			if err != nil {
				return err
			}
			s, err := cl.SetSecret(c.Context(), args[0], content)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "Secret %s is set (version %d).\n", s.Name, s.Version)
			for _, name := range s.Systems {
				fmt.Fprintf(a.Stdout, "System %s takes it over with its next 'aloft up'.\n", name)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "read the content from this file, as it is")
	return c
}

// secretContent reads the content of a secret from wherever it is given.
func (a *app) secretContent(name, file string) ([]byte, error) {
	read := func(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxSecret)) }
	var content []byte
	var err error
	in, isFile := a.Stdin.(*os.File)
	switch {
	case file != "":
		var f *os.File
		if f, err = os.Open(file); err == nil {
			defer f.Close()
			content, err = read(f)
		}
		return content, err
	case isFile && terminal(a.Stdin):
		fmt.Fprintf(a.Stderr, "Content of %s (not shown): ", name)
		content, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.Stderr)
	default:
		if content, err = read(a.Stdin); err == nil {
			content = []byte(strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the content of secret %s: %w", name, err)
	}
	if len(content) == 0 {
		return nil, fail("type it, pipe it in, or give --file", "secret %s: there is no content", name)
	}
	return content, nil
}

func (a *app) removeSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Remove a secret that no system refers to",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			s, err := cl.RemoveSecret(c.Context(), args[0])
			if err != nil {
				return a.notRunning(err)
			}
			fmt.Fprintf(a.Stdout, "Secret %s is removed.\n", s.Name)
			return nil
		},
	}
}

func (a *app) secrets(ctx context.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	list, err := cl.Secrets(ctx)
	if err != nil {
		return a.notRunning(err)
	}
	t := table{head: []string{"NAME", "VERSION", "CHANGED", "BY", "SYSTEMS"}}
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
		t.rows = append(t.rows, []string{s.Name, number(s.Version), s.Changed.Local().Format(time.DateTime), orDash(s.By), orDash(strings.Join(s.Systems, ","))})
	}
	return a.print(answer{value: list, names: names, table: t, empty: "There are no secrets."})
}

// why tells what made a component what it is now.
func (a *app) why(ctx context.Context, t target) error {
	if t.system == "" {
		return errors.New("--why needs a system, and the path of a component in it")
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	w, err := cl.Why(ctx, t.system, t.below())
	if err != nil {
		return a.notRunning(err)
	}
	if a.format != "table" && a.format != "wide" {
		return a.print(answer{value: w})
	}
	if w.State != "" {
		fmt.Fprintf(a.Stdout, "%s of %s is %s\n", w.Path, w.System, w.State)
	}
	if len(w.Causes) == 0 {
		fmt.Fprintln(a.Stdout, "Nothing is known of how it came to that.")
	}
	a.showCauses(w)
	return nil
}

// showCauses prints what led to what, a line each.
func (a *app) showCauses(w *api.Why) {
	for i, c := range w.Causes {
		because := "because"
		if i == 0 {
			because = "      "
		}
		fmt.Fprintf(a.Stdout, "  %s %s %s\n", c.Time.Local().Format("2006-01-02 15:04:05.000"), because, causeText(c))
	}
}

func causeText(c api.Cause) string {
	if c.Path == "" {
		return c.Text
	}
	return c.Path + " " + c.Text
}
