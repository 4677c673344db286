package cli

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"aloft/component"

	"github.com/spf13/cobra"
)

// EditorOptions is what "aloft lsp" was asked for.
type EditorOptions struct {
	In         io.ReadCloser // closed when the server ends
	Out        io.Writer
	Log        *slog.Logger
	Version    string             // of the build
	Alive      func(pid int) bool // reports whether a process still runs
	Classes    func() []component.Class
	LibraryDir string   // where the built-in library can be written to be shown, or ""
	Self       string   // the program that plans, deploys and terminates
	Flags      []string // what Self gets before the name of a command
}

// ErrNoShutdown is what ServeEditor returns if the editor left without saying
// goodbye.
var ErrNoShutdown = errors.New("the editor left without shutdown")

func (a *app) lspCommand() *cobra.Command {
	var stdio, verbose bool
	c := &cobra.Command{
		Use:   "lsp",
		Short: "Serve an editor: the language server",
		Long: `Serve an editor over standard input and output, by the Language Server Protocol.
Editors start it themselves; doc/editors.md says how to set them up.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			self := a.Self
			if self == "" {
				self, _ = os.Executable() // without it, the commands say that they cannot run
			}
			var flags []string
			if home, err := a.home(); err == nil { // or else the commands say what is missing
				flags = []string{"--home", home}
			}
			err := a.ServeEditor(c.Context(), EditorOptions{
				In: closable(a.Stdin), Out: a.Stdout, Version: a.Version,
				Log:   slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level})),
				Alive: alive, Classes: a.Classes, LibraryDir: a.libraryDir(), Self: self, Flags: flags,
			})
			if errors.Is(err, ErrNoShutdown) {
				return exitStatus(exitError)
			}
			return err
		},
	}
	c.Flags().BoolVar(&stdio, "stdio", true, "speak over standard input and output; there is no other way")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "say more on standard error")
	_ = c.Flags().MarkHidden("stdio") // some editors give it to every server
	return c
}

// libraryDir returns the folder in which editors read the built-in library, or
// "" if there is no place for it.
func (a *app) libraryDir() string {
	dir := a.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(dir) {
		user := a.Getenv("HOME")
		if user == "" {
			return ""
		}
		dir = filepath.Join(user, ".cache")
	}
	return filepath.Join(dir, "aloft", "library")
}

// closable makes a reader that Close interrupts, of a pipe or socket even
// while it waits.
func closable(r io.Reader) io.ReadCloser {
	f, isFile := r.(*os.File)
	if !isFile {
		if rc, closes := r.(io.ReadCloser); closes {
			return rc
		}
		return io.NopCloser(r)
	}
	info, err := f.Stat()
	fd := f.Fd()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 || syscall.SetNonblock(int(fd), true) != nil {
		return f
	}
	// Only a file that is made from a descriptor in this mode can be
	// interrupted.
	return os.NewFile(fd, f.Name())
}

// alive reports whether the process pid runs.
func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
