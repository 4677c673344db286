package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"aloft/internal/sdl/catalog"
	"aloft/value"

	"github.com/spf13/cobra"
)

// trialFile is, in the folder of a component, what its test deploys.
const trialFile = "test.sf"

// Trial is a component that the conformance suite is to be run over.
type Trial struct {
	Class string // sfClass
	// Attrs are those it is deployed with, and then, one after the other, those
	// it is reconfigured to.
	Attrs   []*value.Component
	Sources [][]byte // what is sent along
}

func (a *app) componentTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR",
		Short: "Run the conformance suite over a component of your own",
		Long: `Run the suite that every component of aloft passes over a component of your own:
each operation twice, a new daemon between any two, operations cut off in their
midst, every change, hostile strings in every attribute, and nothing left at the
end. DIR is what 'aloft component new' made: its test.sf has the component as it
is deployed, and then as it is reconfigured to be.

Executables are run on this very host, each time in a work folder of their own
(ALOFT_WORK_DIR), with an empty folder for the machine's (ALOFT_MACHINE_FOLDER).

Of a Go package the tests are run, which takes the go command.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			packaged, err := filepath.Glob(filepath.Join(args[0], "*_test.go"))
			if err != nil {
				return err
			}
			if len(packaged) > 0 {
				return a.goTest(c.Context(), args[0])
			}
			return a.try(c.Context(), args[0])
		},
	}
}

// goTest runs the tests of a Go package.
func (a *app) goTest(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", ".")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, a.Stdout, a.Stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fail("install Go, or run the suite where it is", "%s is a Go package, and there is no go command here", dir)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return exitStatus(exitError)
	}
	return err
}

// try runs the suite over a component of executables.
func (a *app) try(ctx context.Context, dir string) error {
	if a.TestComponent == nil {
		return errors.New("this build has no suite")
	}
	file := filepath.Join(dir, trialFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return fail("'aloft component new' writes one to begin with: a sfConfig with the component as it is deployed, and then as it is reconfigured to be", "there is no %s", file)
	}
	var flags describeFlags
	flags.diag = "text"
	res, _, err := a.resolveQuietly(ctx, file, &flags)
	if err != nil {
		return err
	}
	if err := a.printDiagnostics(&res.Diagnostics, flags.diag); err != nil {
		return err
	}
	if res.Description == nil {
		return exitStatus(exitError)
	}
	s := shipment{class: a.Class, dir: dir}
	root := s.ship(ctx, res.Description.Root)
	if err := a.printDiagnostics(&s.diags, flags.diag); err != nil {
		return err
	}
	if s.diags.Errors() > 0 {
		return exitStatus(exitError)
	}
	var trial Trial
	for attr := range root.All() {
		one, ok := attr.Value.(*value.Component)
		if !ok || one.Data {
			continue
		}
		class, _ := one.Get("sfClass")
		name, _ := class.(value.String)
		switch {
		case !catalog.IsScripts(string(name)):
			return fail(`its sfClass has to be "script:DIR"`, "%s, %s: it is no component of executables", file, attr.Name)
		case trial.Class != "" && trial.Class != string(name):
			return fail("one test.sf is for one component", "%s, %s: its class is %s, that of the first is %s", file, attr.Name, name, trial.Class)
		}
		trial.Class = string(name)
		trial.Attrs = append(trial.Attrs, one)
	}
	if len(trial.Attrs) == 0 {
		return fail("its sfConfig has to have one", "%s has no component", file)
	}
	for _, source := range s.list {
		text, err := os.ReadFile(s.files[source.Digest])
		if err != nil {
			return fmt.Errorf("read what is sent along: %w", err)
		}
		trial.Sources = append(trial.Sources, text)
	}
	a.TestComponent(trial)
	return nil
}
