package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"aloft/component"
)

// apt runs apt-get for one component.
type apt struct {
	proxy string
	log   *slog.Logger
	env   component.Environment
}

// lockTime is how long another package manager may hold dpkg's lock.
const lockTime = 5 * time.Minute

// aptQuick are the options of every run, simulated ones too. The caches of
// what the lists say are files of apt's own that some images switch off; with
// them a run takes a tenth of the time.
var aptQuick = []string{
	"-q", "-o", "APT::Install-Recommends=false",
	"-o", "Dir::Cache::pkgcache=pkgcache.bin", "-o", "Dir::Cache::srcpkgcache=srcpkgcache.bin",
}

func (a apt) options() []string {
	opts := []string{
		"-y",
		"-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
		"-o", "Dpkg::Options::=--force-unsafe-io",
		"-o", "Dpkg::Use-Pty=false",
		"-o", fmt.Sprintf("DPkg::Lock::Timeout=%d", int(lockTime.Seconds())),
		"-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20",
		"-o", "APT::Update::Error-Mode=any",
		"-o", "APT::Sandbox::User=root", // the sandbox user cannot enter work folders
		"-o", "APT::Status-Fd=3",
	}
	if a.proxy != "" {
		opts = append(opts, "-o", "Acquire::http::Proxy="+a.proxy, "-o", "Acquire::https::Proxy="+a.proxy)
	}
	return append(opts, aptQuick...)
}

// install brings the packages called missing, and notes in rec, before it
// does, what comes with them.
func (a apt) install(ctx context.Context, w Wanted, missing []string, rec *installRecord) error {
	any, read := listsState()
	fresh := false
	if w.Refresh != nil && *w.Refresh || w.Refresh == nil && (!any || time.Since(read) > listsAge) {
		if err := a.update(ctx); err != nil {
			if !any || ctx.Err() != nil {
				return err
			}
			a.log.Warn("package lists not refreshed, going on with the old ones", "error", err)
		}
		fresh = true
	}
	if err := a.repair(ctx); err != nil {
		return err
	}
	err := a.tryInstall(ctx, w, missing, rec)
	if err == nil || fresh || ctx.Err() != nil || w.Refresh != nil && !*w.Refresh {
		return err
	}
	// Old lists name packages that have moved on since.
	if a.update(ctx) != nil {
		return err
	}
	return a.tryInstall(ctx, w, missing, rec)
}

func (a apt) tryInstall(ctx context.Context, w Wanted, missing []string, rec *installRecord) error {
	args := []string{"install"}
	if w.Version != "" {
		args = append(args, "--allow-downgrades")
	}
	args = append(args, "--")
	for _, n := range missing {
		if w.Version != "" {
			n += "=" + w.Version
		}
		args = append(args, n)
	}
	coming, _, err := a.simulate(ctx, args)
	if err != nil {
		return err
	}
	rec.Names = append(rec.Names, missing...)
	for _, n := range coming {
		if !slices.Contains(rec.New, n) {
			rec.New = append(rec.New, n)
		}
	}
	if err := rec.write(w.WorkDir); err != nil {
		return err
	}
	allow, err := forbidServices()
	if err != nil {
		return err
	}
	defer allow()
	a.env.Progress(0, "installing "+strings.Join(missing, ", "))
	return a.run(ctx, args...)
}

// drop removes packages and what only they needed, none but those in ours.
func (a apt) drop(ctx context.Context, names, ours []string) error {
	if err := a.repair(ctx); err != nil {
		return err
	}
	outside := func(n string) bool { return !slices.Contains(ours, n) }
	args := append([]string{"purge", "--auto-remove", "--"}, names...)
	_, going, err := a.simulate(ctx, args)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(going, outside) {
		// Somebody else has come to need some of them, or had left something
		// for apt to clear away: take only what goes alone.
		var alone []string
		for _, n := range names {
			if _, going, err := a.simulate(ctx, []string{"purge", "--", n}); err == nil && !slices.ContainsFunc(going, outside) {
				alone = append(alone, n)
			}
		}
		if len(alone) == 0 {
			return nil
		}
		args = append([]string{"purge", "--"}, alone...)
	}
	a.env.Progress(0, "removing "+strings.Join(names, ", "))
	return a.run(ctx, args...)
}

// repair completes what an installer that was cut off has left half done.
func (a apt) repair(ctx context.Context) error {
	left, err := os.ReadDir("/var/lib/dpkg/updates")
	if err != nil || len(left) == 0 {
		half, err := exec.CommandContext(ctx, "dpkg", "--audit").Output()
		if err != nil || len(bytes.TrimSpace(half)) == 0 {
			return nil
		}
	}
	a.log.Info("completing an installation that was cut off")
	if err := a.command(ctx, "dpkg", "--force-confdef", "--force-confold", "--configure", "-a"); err != nil {
		return err
	}
	return a.run(ctx, "install", "--fix-broken")
}

func (a apt) update(ctx context.Context) error {
	a.env.Progress(0, "reading package lists")
	if err := a.run(ctx, "update"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(aptStamp), 0o755); err != nil {
		return explain(err)
	}
	return WriteFile(aptStamp, nil, 0o644)
}

// simulate returns the packages that would come and those that would go.
func (a apt) simulate(ctx context.Context, args []string) (coming, going []string, err error) {
	cmd := exec.CommandContext(ctx, "apt-get", append(append([]string{"-s"}, aptQuick...), args...)...)
	cmd.Env = aptEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, nil, aptFailure(ctx, err, string(out))
	}
	coming, going = parseSimulation(string(out))
	return coming, going, nil
}

// simulated matches "Inst name [old] (new …)", "Remv name [old]", "Purg …".
var simulated = regexp.MustCompile(`(?m)^(Inst|Remv|Purg) ([^ ]+) (\[)?`)

func parseSimulation(out string) (coming, going []string) {
	for _, m := range simulated.FindAllStringSubmatch(out, -1) {
		name, _, _ := strings.Cut(m[2], ":")
		switch {
		case m[1] != "Inst":
			going = append(going, name)
		case m[3] == "": // not an upgrade
			coming = append(coming, name)
		}
	}
	return coming, going
}

func aptEnv() []string {
	return []string{
		"PATH=" + DefaultPath, "HOME=/root", "LC_ALL=C", "TERM=dumb",
		"DEBIAN_FRONTEND=noninteractive", "DEBIAN_PRIORITY=critical",
		"APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_SUSPEND=1", "UCF_FORCE_CONFFOLD=1",
		installerMark(),
	}
}

// run runs apt-get and passes its progress on.
func (a apt) run(ctx context.Context, args ...string) error {
	return a.command(ctx, "apt-get", append(a.options(), args...)...)
}

// command runs an installer in a session of its own, which ends with ctx.
func (a apt) command(ctx context.Context, name string, args ...string) error {
	status, feed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer status.Close()
	var out lastOutput
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = aptEnv(), &out, &out
	cmd.ExtraFiles = []*os.File{feed}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	err = cmd.Start()
	feed.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		a.follow(status)
	}()
	err = cmd.Wait()
	if ctx.Err() != nil { // maintainer scripts that did not heed the signal
		err = errors.Join(err, (family{session: cmd.Process.Pid}).kill(context.WithoutCancel(ctx)))
	}
	status.Close()
	<-told
	if err != nil {
		return aptFailure(ctx, err, string(out.b))
	}
	return nil
}

// follow passes on apt's status lines, "pmstatus:PACKAGE:PERCENT:TEXT".
func (a apt) follow(r io.Reader) {
	for sc := bufio.NewScanner(r); sc.Scan(); {
		f := strings.SplitN(sc.Text(), ":", 4)
		if len(f) == 4 && (f[0] == "pmstatus" || f[0] == "dlstatus") {
			if percent, err := strconv.ParseFloat(f[2], 64); err == nil && !math.IsNaN(percent) && f[3] != "" {
				a.env.Progress(min(max(percent/100, 0), 1), f[3])
			}
		}
	}
}

// lastOutput keeps the end of what is written to it.
type lastOutput struct{ b []byte }

func (o *lastOutput) Write(p []byte) (int, error) {
	o.b = append(o.b, p...)
	if len(o.b) > 64<<10 {
		o.b = slices.Clone(o.b[len(o.b)-32<<10:])
	}
	return len(p), nil
}

// aptTroubles are what apt's output tells of the cause, most telling first.
var aptTroubles = []struct {
	sign   *regexp.Regexp
	what   string // %s is the sign's first group
	remedy string
	err    error
}{
	{regexp.MustCompile(`No space left on device|[Yy]ou don't have enough free space`), "the disk is full", "free space on the machine or give it a larger disk, then run up again", syscall.ENOSPC},
	{regexp.MustCompile(`Unable to locate package (\S+)`), "package %s is in none of the machine's package sources", "check its spelling, or add the source that has it", nil},
	{regexp.MustCompile(`Package '?([^' \n]+)'? has no installation candidate`), "package %s is in none of the machine's package sources", "check its spelling, or add the source that has it", nil},
	{regexp.MustCompile(`Version '([^']+)' for '[^']+' was not found`), "version %s is in none of the machine's package sources", "leave out version, or name one that the sources have", nil},
	{regexp.MustCompile(`Could not get lock (\S+)|Unable to acquire the dpkg frontend lock|was locked by another process`), "another package manager is at work on the machine", "wait until it is done, then run up again", nil},
	{regexp.MustCompile(`Could not resolve '([^']+)'|Temporary failure resolving '([^']+)'`), "the package source %s cannot be reached: its name does not resolve", "check the machine's network, or set proxy", nil},
	{regexp.MustCompile(`(?:Could not connect to|Unable to connect to|Cannot initiate the connection to|Connection timed out)\s*(\S*)`), "the package source %s cannot be reached", "check the machine's network, or set proxy", nil},
	{regexp.MustCompile(`Failed to fetch (\S+)`), "%s cannot be fetched", "check the package source and the machine's network, then run up again", nil},
}

// aptFailure says what went wrong in apt's own words.
func aptFailure(ctx context.Context, err error, out string) error {
	f := &component.Failure{Err: fmt.Errorf("the installer failed: %w", err)}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(out, "\uFFFD")), "\n")
	f.Output = lines[max(0, len(lines)-tailLines):]
	if ctx.Err() != nil {
		f.Err = fmt.Errorf("the installer was cut off: %w", ctx.Err())
		return f
	}
	for _, t := range aptTroubles {
		m := t.sign.FindStringSubmatch(out)
		if m == nil {
			continue
		}
		what := t.what
		if strings.Contains(what, "%s") {
			what = fmt.Sprintf(what, strings.TrimRight(strings.Join(m[1:], ""), ":,."))
		}
		f.Err, f.Remedy = errors.New(what), t.remedy
		if t.err != nil {
			f.Err = fmt.Errorf("%s: %w", what, t.err)
		}
		return f
	}
	return f
}

// policyFile is asked by Debian's packages before they start a service.
const policyFile = "/usr/sbin/policy-rc.d"

const policyText = "#!/bin/sh\n# Made by aloft for the time of an installation: no service starts by itself.\nexit 101\n"

// forbidServices keeps packages from starting services while they are
// installed, and returns what ends that. A machine's own policy is left alone.
func forbidServices() (allow func(), err error) {
	old, err := os.ReadFile(policyFile)
	if err == nil && string(old) != policyText {
		return func() {}, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, explain(err)
	}
	if err := WriteFile(policyFile, []byte(policyText), 0o755); err != nil {
		return nil, err
	}
	return func() { _ = RemoveFile(policyFile) }, nil
}
