package cli

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"aloft/api"

	"github.com/spf13/cobra"
)

func (a *app) eventsCommand() *cobra.Command {
	var follow, why bool
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
			if why {
				return a.why(c.Context(), t)
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
			return show(a, seq, none, eventLine, func(e api.Event) string { return fmt.Sprintf("%s/%d", e.Origin, e.Sequence) })
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens from now")
	c.Flags().BoolVar(&why, "why", false, "tell what made the component at PATH what it is now")
	c.MarkFlagsMutuallyExclusive("follow", "why")
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
	case api.EventKilled:
		text = "killed"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (a *app) logsCommand() *cobra.Command {
	var q api.LogQuery
	var since string
	c := &cobra.Command{
		Use:               "logs SYSTEM [PATH]",
		Short:             "Show what components write, in the order of time",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeSystem,
		RunE: func(c *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			if q.Since, err = parseSince(since, time.Now()); err != nil {
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
	c.Flags().StringVar(&since, "since", "", "nothing from before this `time`: 10m for ten minutes ago, or 2026-01-31T15:04:05Z")
	c.Flags().IntVarP(&q.Lines, "lines", "n", 0, "at most so many `lines` of the past per component")
	a.outputFlag(c)
	a.machineAddress(c)
	return c
}

// parseSince reads a time, or how long before now it was; "" is the zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fail("say how long ago, as 10m, or when, as 2026-01-31T15:04:05Z", "--since %q is no time", s)
	}
	return t, nil
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
