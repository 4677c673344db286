package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"aloft/internal/sdl/convert"
	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/format"
	"aloft/internal/sdl/resolve"

	"github.com/spf13/cobra"
)

// composeForm is the form of a Docker Compose file, which can be read only.
const composeForm convert.Form = "compose"

// conversion is one run of convert.
type conversion struct {
	*app
	from, to, out, diag string
	environment         []string
	allEnvironment      bool
}

func (a *app) convertCommand() *cobra.Command {
	v := conversion{app: a}
	c := &cobra.Command{
		Use:   "convert FILE [--to sf|json|yaml] [-o OUT]",
		Short: "Change a description's form: the language, JSON, YAML; read Docker Compose",
		Long: `Change the form of a description. The language, JSON and YAML hold the same:
nothing is resolved, and nothing is lost, comments included. "-" is standard
input.

The form of FILE is that of its suffix, or of --from. A YAML file that has
services is taken for a Docker Compose file: each service becomes a machine.
What is not carried over is told as warnings, and in a comment at the top of the
result. Variables in it see only what -E and --env give; of files, only those
in its folder are read.

The result goes to standard output, or to the file that -o names.`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"sf", "json", "yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error { return v.run(args[0]) },
	}
	fl := c.Flags()
	fl.StringVar(&v.from, "from", "", "form of FILE: sf, json, yaml, compose (default by its name)")
	fl.StringVar(&v.to, "to", "", "form of the result: sf, json, yaml (default by the name of OUT, else sf)")
	fl.StringVarP(&v.out, "output", "o", "", "`file` to write, or to write anew")
	fl.StringArrayVarP(&v.environment, "variable", "E", nil, "`NAME=VALUE`: a variable of a Compose file; may repeat")
	fl.BoolVar(&v.allEnvironment, "env", false, "let a Compose file see the environment")
	fl.StringVar(&v.diag, "diag", "text", "form of the diagnostics: text, json, sarif")
	_ = c.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"sf", "json", "yaml", "compose"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"sf", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("diag", cobra.FixedCompletions([]string{"text", "json", "sarif"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (v *conversion) run(file string) error {
	if !slices.Contains([]string{"text", "json", "sarif"}, v.diag) {
		return fail("one of text, json, sarif", "unknown form of diagnostics %q", v.diag)
	}
	to, err := v.target()
	if err != nil {
		return err
	}
	name, src, err := v.read(file)
	if err != nil {
		return err
	}
	from, err := v.source(file, src)
	if err != nil {
		return err
	}
	var list diag.List
	var doc *convert.Doc
	if from == composeForm {
		doc, err = v.compose(file, name, src, &list)
		if err != nil {
			return err
		}
	} else {
		doc = convert.Read(from, name, src, &list)
	}
	if err := v.tellAll(&list, name, src); err != nil {
		return err
	}
	if list.Errors() > 0 {
		return exitStatus(exitError)
	}
	text := doc.Write(to)
	if to == convert.SF {
		usual, mistakes := format.Source(name, text)
		if mistakes.Errors() > 0 {
			return fmt.Errorf("the result of converting %s is no description: %s", name, mistakes.All()[0].Message)
		}
		text = usual
	}
	return v.write(text)
}

// formOf returns the form that a file's name tells, or "".
func formOf(file string) convert.Form {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".sf":
		return convert.SF
	case ".json":
		return convert.JSON
	case ".yaml", ".yml":
		return convert.YAML
	default:
		return ""
	}
}

// target returns the form of the result.
func (v *conversion) target() (convert.Form, error) {
	switch to := convert.Form(v.to); to {
	case convert.SF, convert.JSON, convert.YAML:
		return to, nil
	case "":
		if to = formOf(v.out); to != "" {
			return to, nil
		}
		return convert.SF, nil
	default:
		return "", fail("one of sf, json, yaml", "unknown form of the result %q", v.to)
	}
}

// source returns the form of what is read.
func (v *conversion) source(file string, src []byte) (convert.Form, error) {
	from := convert.Form(v.from)
	switch from {
	case convert.SF, convert.JSON, convert.YAML, composeForm:
		return from, nil
	case "":
	default:
		return "", fail("one of sf, json, yaml, compose", "unknown form of the source %q", v.from)
	}
	from = formOf(file)
	switch {
	case from == "":
		return "", fail("say it with --from sf, json, yaml or compose", "the form of %s is not known", file)
	case from == convert.YAML && convert.IsCompose(src):
		return composeForm, nil
	}
	return from, nil
}

func (v *conversion) read(file string) (name string, src []byte, err error) {
	if file == "-" {
		src, err = io.ReadAll(io.LimitReader(v.Stdin, convert.MaxText+1))
		if err != nil {
			return "", nil, fmt.Errorf("standard input: %w", err)
		}
		return standardInput, src, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, bare(err))
	}
	defer f.Close()
	src, err = io.ReadAll(io.LimitReader(f, convert.MaxText+1))
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, bare(err))
	}
	return filepath.ToSlash(file), src, nil
}

// compose converts a Compose file. Of one from standard input, the folder is
// the working directory.
func (v *conversion) compose(file, name string, src []byte, list *diag.List) (*convert.Doc, error) {
	env, err := pairs("-E", v.environment)
	if err != nil {
		return nil, err
	}
	if v.allEnvironment {
		for _, e := range os.Environ() {
			key, text, _ := strings.Cut(e, "=")
			if _, given := env[key]; !given {
				env[key] = text
			}
		}
	}
	dir := "."
	if file != "-" {
		dir = filepath.Dir(file)
	}
	folder, closeFolder, err := resolve.OpenFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, bare(err))
	}
	defer closeFolder()
	opts := convert.ComposeOptions{Environment: env, Folder: folder.FS}
	if beside := v.beside(folder.Dir); beside != "." {
		opts.Beside = beside
	}
	return convert.Compose(name, src, opts, list), nil
}

// beside is the path from the folder of the result to dir: files are named
// from there.
func (v *conversion) beside(dir string) string {
	if v.out == "" {
		return "." // printed: meant to lie beside the Compose file
	}
	from, err := filepath.Abs(filepath.Dir(v.out))
	if err != nil {
		return filepath.ToSlash(dir)
	}
	path, err := filepath.Rel(from, dir)
	if err != nil {
		return filepath.ToSlash(dir)
	}
	return filepath.ToSlash(path)
}

// tellAll prints diagnostics; the text of the file is at hand.
func (v *conversion) tellAll(list *diag.List, name string, src []byte) error {
	if v.diag != "text" {
		return v.printDiagnostics(list, v.diag)
	}
	return diag.WriteText(v.Stderr, list, func(file string) ([]byte, bool) { return src, file == name })
}

func (v *conversion) write(text []byte) error {
	if v.out == "" {
		_, err := v.Stdout.Write(text)
		return err
	}
	err := rewrite(v.out, text)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.WriteFile(v.out, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.out, bare(err))
	}
	return nil
}
