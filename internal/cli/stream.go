package cli

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"aloft/api"

	"github.com/spf13/cobra"
)

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:               "events [SYSTEM [PATH]]",
		Short:             "Show what happened, and with -f what happens",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			seq, err := cl.Events(c.Context(), api.EventQuery{System: t.system, Path: t.below(), Follow: follow})
			if err != nil {
				return a.notRunning(err)
			}
			none := "There are no events."
			if follow {
				none = ""
			}
			return show(a, seq, none, eventLine, func(e api.Event) string { return e.Cursor })
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens from now")
	a.outputFlag(c)
	return c
}

// below is the target's path for a query: "" for all of a system.
func (t target) below() string {
	if t.path == "ROOT" {
		return ""
	}
	return t.path
}

// eventLine is an event for people.
func eventLine(e api.Event, wide bool) string {
	words := []string{e.Time.Local().Format("2006-01-02 15:04:05.000")}
	if e.System != "" {
		words = append(words, e.System)
	}
	switch {
	case e.Kind == api.EventMachine && e.Machine != "":
		words = append(words, "machine", e.Machine)
	case e.Kind == api.EventPlan:
		words = append(words, "plan of revision", number(e.Revision))
	case e.Path != "":
		words = append(words, e.Path)
	}
	words = append(words, eventText(e))
	if e.Machine != "" && e.Kind != api.EventMachine {
		words = append(words, "on "+e.Machine)
	}
	if wide && e.Step != "" {
		words = append(words, "(step "+e.Step+")")
	}
	return strings.Join(words, " ")
}

// eventText is what happened, without to whom and where.
func eventText(e api.Event) string {
	text := e.State
	switch e.Kind {
	case api.EventProgress:
		if e.Fraction > 0 {
			return strings.TrimSpace(fmt.Sprintf("%3.0f %% %s", e.Fraction*100, e.Reason))
		}
		return e.Reason
	case api.EventRestart:
		text = "restarted"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (a *app) logsCommand() *cobra.Command {
	var q api.LogQuery
	c := &cobra.Command{
		Use:               "logs SYSTEM [PATH]",
		Short:             "Show what components write",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			cl, err := a.connect()
			if err != nil {
				return err
			}
			q.System, q.Path = t.system, t.below()
			seq, err := cl.Logs(c.Context(), q)
			if err != nil {
				return a.notRunning(err)
			}
			none := "Nothing was written."
			if q.Follow {
				none = ""
			}
			return show(a, seq, none, logLine, func(l api.LogLine) string { return l.Path })
		},
	}
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what is written from now")
	c.Flags().IntVarP(&q.Lines, "lines", "n", 0, "at most so many `lines` of the past per component")
	a.outputFlag(c)
	return c
}

func logLine(l api.LogLine, wide bool) string {
	if wide {
		return fmt.Sprintf("%s %s %s | %s", l.Time.Local().Format("2006-01-02 15:04:05.000"), l.Machine, l.Path, l.Text)
	}
	return l.Path + " | " + l.Text
}

// show prints the items of a stream as they come, one a line: for json an
// object, for yaml a document.
func show[T any](a *app, seq iter.Seq2[T, error], none string, line func(item T, wide bool) string, name func(T) string) error {
	any := false
	for item, err := range seq {
		if err != nil {
			return a.notRunning(err)
		}
		any = true
		switch a.format {
		case "json":
			text, err := json.Marshal(item)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Stdout, "%s\n", text)
		case "yaml":
			fmt.Fprintln(a.Stdout, "---")
			if err := a.yaml(item); err != nil {
				return err
			}
		case "name":
			fmt.Fprintln(a.Stdout, name(item))
		default:
			fmt.Fprintln(a.Stdout, line(item, a.format == "wide"))
		}
	}
	if !any && none != "" && (a.format == "table" || a.format == "wide") {
		fmt.Fprintln(a.Stdout, none)
	}
	return nil
}
