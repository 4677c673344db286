package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/resolve"
	"aloft/value"

	"github.com/spf13/cobra"
)

func (a *app) parseCommand() *cobra.Command {
	var f describeFlags
	c := &cobra.Command{
		Use:               "parse FILE",
		Short:             "Resolve a description and print the result",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFile,
		RunE: func(c *cobra.Command, args []string) error {
			res, err := a.parsed(c, args[0], &f)
			if err != nil {
				return err
			}
			return a.printResult(res, f.format)
		},
	}
	f.registerResult(c)
	return c
}

func (a *app) checkCommand() *cobra.Command {
	var f describeFlags
	c := &cobra.Command{
		Use:   "check FILE...|-",
		Short: "Say what is wrong with descriptions",
		Long: `Say what is wrong with descriptions. Nothing is asked of a daemon. With
--format the result of one file is printed too, as parse does.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeFile,
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("format") {
				return a.check(c.Context(), args, &f)
			}
			if len(args) > 1 {
				return fail("leave it out, or check one file at a time", "--format prints the result of one file")
			}
			res, err := a.parsed(c, args[0], &f)
			if err != nil {
				return err
			}
			return a.printResult(res, f.format)
		},
	}
	f.registerResult(c)
	return c
}

// check prints what is wrong with each of files, and fails, quietly, if that
// are errors.
func (a *app) check(ctx context.Context, files []string, f *describeFlags) error {
	var all diag.List // SARIF is one document
	errs := 0
	for _, file := range files {
		res, _, err := a.resolveQuietly(ctx, file, f)
		if _, misused := errors.AsType[remedied](err); misused || ctx.Err() != nil {
			return err
		}
		if err != nil { // what the other files are is worth knowing all the same
			a.tell(err)
			errs++
			continue
		}
		n := res.Diagnostics.Errors()
		errs += n
		if f.diag == "sarif" {
			all.Append(&res.Diagnostics)
			continue
		}
		if err := a.printDiagnostics(&res.Diagnostics, f.diag); err != nil {
			return err
		}
		switch warnings := res.Diagnostics.Warnings(); {
		case n > 0:
		case warnings > 0:
			fmt.Fprintf(a.Stdout, "%s: no errors, %s\n", file, count(warnings, "warning"))
		default:
			fmt.Fprintf(a.Stdout, "%s: no errors\n", file)
		}
	}
	if f.diag == "sarif" {
		if err := a.printDiagnostics(&all, f.diag); err != nil {
			return err
		}
	}
	if errs > 0 {
		return exitStatus(exitError)
	}
	return nil
}

// parsed resolves file and fails, quietly, if that found errors.
func (a *app) parsed(c *cobra.Command, file string, f *describeFlags) (*resolve.Result, error) {
	switch f.format {
	case "sf", "json", "typed":
	default:
		return nil, fail("one of sf, json, typed", "unknown form of the result %q", f.format)
	}
	res, err := a.resolve(c.Context(), file, f)
	if err != nil {
		return nil, err
	}
	if res.Diagnostics.Errors() > 0 {
		return nil, exitStatus(exitError)
	}
	return res, nil
}

func (a *app) printResult(res *resolve.Result, format string) error {
	tree := res.Tree
	if tree == nil && res.Description != nil {
		tree = res.Description.Root
	}
	if format == "sf" {
		text := res.Text()
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text += "\n"
		}
		_, err := io.WriteString(a.Stdout, text)
		return err
	}
	if format == "typed" {
		fmt.Fprintf(a.Stdout, "%s\n", value.TypedJSON(tree))
		return nil
	}
	var out bytes.Buffer
	if err := json.Indent(&out, value.PlainJSON(tree), "", "  "); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	fmt.Fprintln(a.Stdout, out.String())
	return nil
}
