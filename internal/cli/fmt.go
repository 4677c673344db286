package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/format"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
)

// standardInput is how standard input is called where a file has its name.
const standardInput = "<standard input>"

// formatting is one run of fmt.
type formatting struct {
	*app
	list, diff, write, check bool

	wrong  bool // a file could not be formatted, which has been said
	differ bool // a file is not in the usual form
}

func (a *app) fmtCommand() *cobra.Command {
	f := formatting{app: a}
	c := &cobra.Command{
		Use:   "fmt [FILE|FOLDER...]",
		Short: "Give descriptions the usual form",
		Long: `Give descriptions the usual form: indentation, blanks, semicolons. The meaning
stays, and so do comments, the order of everything and the way each value is
written. There is one form and no options about it.

Without -d, -l, -w or --check the text is printed. Without FILE, or for "-",
standard input is formatted. Of a folder, every file below it that ends with .sf
is taken, but for those in hidden folders.

A file with mistakes in it is left as it is; they are printed, and the exit
status is 1. Otherwise it is 0, but with --check 1 if a file is not in the usual
form.`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeFile,
		RunE:              func(c *cobra.Command, args []string) error { return f.run(c.Context(), args) },
	}
	fl := c.Flags()
	fl.BoolVarP(&f.diff, "diff", "d", false, "print what would change")
	fl.BoolVarP(&f.list, "list", "l", false, "print the names of the files that are not in the usual form")
	fl.BoolVarP(&f.write, "write", "w", false, "write the result to the file")
	fl.BoolVar(&f.check, "check", false, "as -l, and exit with 1 if there are any")
	return c
}

func (f *formatting) run(ctx context.Context, args []string) error {
	if f.write && f.check {
		return fail("choose one of them", "-w changes what --check only looks at")
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	for _, arg := range args {
		if err := f.argument(ctx, arg); err != nil {
			return err
		}
	}
	if f.wrong || f.check && f.differ {
		return exitStatus(exitError)
	}
	return nil
}

// argument formats what one argument names. A file that cannot be formatted
// does not keep the others from it.
func (f *formatting) argument(ctx context.Context, arg string) error {
	if arg == "-" {
		if f.write {
			return fail("name the files to write", "-w cannot write to standard input")
		}
		text, err := io.ReadAll(f.Stdin)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		return f.text(standardInput, text)
	}
	return filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			f.tellOf(path, err)
			return nil
		case d.IsDir():
			if path != arg && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		case path != arg && (filepath.Ext(path) != ".sf" || !d.Type().IsRegular()):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			f.tellOf(path, err)
			return nil
		}
		return f.text(path, text)
	})
}

// tellOf says why the file at path could not be formatted.
func (f *formatting) tellOf(path string, err error) {
	f.wrong = true
	f.tell(fmt.Errorf("%s: %w", path, bare(err)))
}

// text formats the content of a file. An error ends the run.
func (f *formatting) text(name string, text []byte) error {
	usual, list := format.Source(name, text)
	if list.Errors() > 0 {
		f.wrong = true
		return diag.WriteText(f.Stderr, &list, func(string) ([]byte, bool) { return text, true })
	}
	var out []byte
	same := bytes.Equal(usual, text)
	if !same {
		f.differ = true
		if f.list || f.check {
			out = append(out, name+"\n"...)
		}
		if f.write {
			if err := rewrite(name, usual); err != nil {
				f.tellOf(name, err)
				return nil
			}
		}
		if f.diff {
			out = append(out, diff.Diff(name+".orig", text, name, usual)...)
		}
	}
	if !f.list && !f.check && !f.write && !f.diff {
		out = usual
	}
	_, err := f.Stdout.Write(out)
	return err
}

// rewrite gives the file at path, or the one that a link there leads to, a new
// content all at once. It keeps its mode and, where that is allowed, its owner.
func rewrite(path string, text []byte) (err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	old, err := os.OpenFile(path, os.O_RDWR, 0) // a file that may not be written is not replaced either
	if err != nil {
		return err
	}
	info, err := old.Stat()
	old.Close() // nothing was written
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := keepOwner(f, info); err != nil {
		return err
	}
	if err := f.Chmod(info.Mode()); err != nil { // after chown, which clears bits of it
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// keepOwner gives f the owner that info tells of. Only root may, and a member of
// the group for that; who may not leaves a file of its own.
func keepOwner(f *os.File, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	err := f.Chown(int(st.Uid), int(st.Gid))
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
