package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"aloft/api"
	"aloft/client"

	"github.com/spf13/cobra"
)

var homeID = regexp.MustCompile(`^[0-9a-f]{8}$`)

func (a *app) doctorCommand() *cobra.Command {
	var r api.DoctorRequest
	var yes bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong on this host, and with --fix repair it",
		Long: `Look for what is wrong on this host: missing privileges and tools, and what is
left over of machines that no ledger knows. With --fix that is removed, after a
question. Things of a home that was deleted go only with --home-id.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if r.HomeID != "" && !homeID.MatchString(r.HomeID) {
				return fail("'aloft doctor' prints it beside what is left over", "%q is no id of a home: eight hexadecimal digits", r.HomeID)
			}
			if r.HomeID != "" && !r.Fix {
				return usage(c, fail("add --fix", "--home-id only says what --fix removes"))
			}
			return a.doctor(c.Context(), r, yes)
		},
	}
	c.Flags().BoolVar(&r.Fix, "fix", false, "remove what is left over")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&r.HomeID, "home-id", "", "with --fix: also things of the deleted home with this `id`")
	a.outputFlag(c)
	return c
}

// doctor looks, and with Fix asks and repairs. Only a repair starts a daemon.
func (a *app) doctor(ctx context.Context, r api.DoctorRequest, yes bool) error {
	connect := a.connectOwn
	if r.Fix {
		connect = func() (*client.Client, error) { return a.ensureDaemon(ctx) }
	}
	cl, err := connect()
	if err != nil {
		return err
	}
	report, err := cl.Doctor(ctx, api.DoctorRequest{HomeID: r.HomeID})
	if errors.Is(err, client.ErrNoDaemon) {
		home, err := a.home()
		if err != nil {
			return err
		}
		return fail("'aloft doctor --fix' starts one, which repairs what it can; 'aloft daemon start' only starts it", "no daemon is running for %s, and it is the daemon that looks", home)
	}
	if err != nil {
		return err
	}
	if r.Fix && len(report.LeftOver) > 0 {
		if !yes {
			if err := a.printReport(report); err != nil {
				return err
			}
		}
		if err := a.confirm(ctx, "doctor --fix", "Remove what is left over?", yes); err != nil {
			return err
		}
		if report, err = cl.Doctor(ctx, r); err != nil {
			return a.notRunning(err)
		}
	}
	if err := a.printReport(report); err != nil {
		return err
	}
	for _, c := range report.Checks {
		if c.State == api.CheckError {
			return exitStatus(exitError)
		}
	}
	for _, l := range report.LeftOver {
		if r.Fix && !l.Removed && (l.HomeID == report.HomeID || l.HomeID == r.HomeID) {
			return fail("the reasons stand beside them", "not everything left over could be removed")
		}
	}
	return nil
}

func (a *app) printReport(r *api.DoctorReport) error {
	ans := answer{value: r}
	for _, l := range r.LeftOver {
		ans.names = append(ans.names, l.Name)
	}
	if a.format != "table" && a.format != "wide" {
		return a.print(ans)
	}
	p := a.palette(a.Stdout)
	checks := table{head: []string{"CHECK", "RESULT", "DETAIL"}, state: 1}
	for _, c := range r.Checks {
		checks.rows = append(checks.rows, []string{c.Name, c.State, c.Detail})
		if c.Remedy != "" {
			checks.rows = append(checks.rows, []string{"", "", c.Remedy})
		}
	}
	if len(checks.rows) > 0 {
		if err := checks.write(a.Stdout, p); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout)
	}
	if len(r.LeftOver) == 0 {
		fmt.Fprintln(a.Stdout, "Nothing is left over.")
		return nil
	}
	fmt.Fprintln(a.Stdout, "Left over:")
	left := table{head: []string{"KIND", "NAME", "HOME ID", "RESULT", "REASON"}}
	for _, l := range r.LeftOver {
		result := "there"
		if l.Removed {
			result = "removed"
		}
		left.rows = append(left.rows, []string{l.Kind, l.Name, l.HomeID, result, l.Reason})
	}
	return left.write(a.Stdout, p)
}
