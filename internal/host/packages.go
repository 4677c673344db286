package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/component"
)

// Packages installs and removes packages of the machine's distribution, one
// operation at a time. It knows apt.
type Packages struct {
	log  *slog.Logger
	slot chan struct{} // held by the one operation under way

	claims sync.Mutex // held while claimsFile is read and written
}

// NewPackages returns an installer. Only one may be used on a machine.
func NewPackages(log *slog.Logger) *Packages {
	return &Packages{log: log, slot: make(chan struct{}, 1)}
}

// Wanted is what a component wants installed.
type Wanted struct {
	Names   []string
	Version string // of all of them; "": any
	Refresh *bool  // read the package lists anew; nil: if older than a day
	Proxy   string // "http://host:port", or ""
	// WorkDir keeps the record of what was installed for the component.
	WorkDir string
}

// installedFile is the record of the packages that came for a component: those
// it wants and those they brought along. It is written before the change, so
// that after a crash nothing that came is forgotten.
const installedFile = "packages.json"

type installRecord struct {
	Names []string `json:"names"` // wanted when it was written
	New   []string `json:"new"`   // not there before
}

func readInstallRecord(workDir string) (installRecord, error) {
	var r installRecord
	path := filepath.Join(workDir, installedFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return installRecord{}, fmt.Errorf("record of packages %s: %w", path, err)
	}
	return r, nil
}

func (r installRecord) write(workDir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeAtomic(filepath.Join(workDir, installedFile), b, 0o600, -1, -1)
}

// A package's name, and a version of it. Names ending in "-" would mean
// removal to apt; patterns and suite names have no place in a description.
var (
	packageName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+](:[a-z0-9-]+)?$`)
	packageVersion = regexp.MustCompile(`^[0-9][0-9A-Za-z.+:~-]*$`)
)

// Check returns an error if a name, the version or the proxy is not one.
func (w Wanted) Check() error {
	if len(w.Names) == 0 {
		return errors.New("no package is named")
	}
	for _, n := range w.Names {
		if !packageName.MatchString(n) {
			return fmt.Errorf("%q is not the name of a package", n)
		}
	}
	if w.Version != "" && !packageVersion.MatchString(w.Version) {
		return fmt.Errorf("%q is not the version of a package", w.Version)
	}
	if u, err := url.Parse(w.Proxy); w.Proxy != "" && (err != nil || u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/") {
		return fmt.Errorf("%q is not a proxy: want http://host:port", w.Proxy)
	}
	return nil
}

// Install brings what is missing, and takes away what an earlier Install with
// the same work folder brought and nobody wants any more.
func (p *Packages) Install(ctx context.Context, w Wanted, env component.Environment) error {
	if err := w.Check(); err != nil {
		return err
	}
	rec, err := readInstallRecord(w.WorkDir)
	if err != nil {
		return err
	}
	// What is there, and who wants it, stays so until this operation has ended.
	release, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	claimed, err := p.claim(w.WorkDir, w.Names)
	if err != nil {
		return err
	}
	have, err := installed(ctx)
	if err != nil {
		return err
	}
	dropped := slices.DeleteFunc(slices.Clone(rec.Names), func(n string) bool {
		return slices.Contains(w.Names, n) || !slices.Contains(rec.New, n) || slices.Contains(claimed, n)
	})
	if len(have.missing(w)) == 0 && len(dropped) == 0 {
		rec.Names = w.Names
		return rec.write(w.WorkDir)
	}
	if err := mayBegin(ctx); err != nil {
		return err
	}
	a := apt{proxy: w.Proxy, log: p.log, env: env}
	if missing := have.missing(w); len(missing) > 0 {
		if err := a.install(ctx, w, missing, &rec); err != nil {
			return err
		}
	}
	if len(dropped) > 0 {
		if err := a.drop(ctx, dropped, without(rec.New, claimed)); err != nil {
			return err
		}
	}
	rec.Names = w.Names
	return rec.write(w.WorkDir)
}

// Remove takes away what Install brought for workDir, and only that; what
// other packages need by now stays.
func (p *Packages) Remove(ctx context.Context, workDir string, env component.Environment) error {
	rec, err := readInstallRecord(workDir)
	if err != nil {
		return err
	}
	release, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	claimed, err := p.claim(workDir, nil)
	if err != nil {
		return err
	}
	if len(rec.New) > 0 {
		if err := mayBegin(ctx); err != nil {
			return err
		}
		a := apt{log: p.log, env: env}
		// First: of a removal that was cut off some of ours may be half there, and
		// others, as man-db, have yet to take notice.
		if err := a.repair(ctx); err != nil {
			return err
		}
		have, err := installed(ctx)
		if err != nil {
			return err
		}
		ours := slices.DeleteFunc(without(rec.New, claimed), func(n string) bool { return have.version[n] == "" })
		if len(ours) > 0 {
			if err := a.drop(ctx, ours, ours); err != nil {
				return err
			}
		}
	}
	return RemoveFile(filepath.Join(workDir, installedFile))
}

// without returns the names that are not in claimed.
func without(names, claimed []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(claimed, n) })
}

// Installed returns nil if all that w names is installed.
func (p *Packages) Installed(ctx context.Context, w Wanted) error {
	have, err := installed(ctx)
	if err != nil {
		return err
	}
	if missing := have.missing(w); len(missing) > 0 {
		return fmt.Errorf("not installed: %s", strings.Join(missing, ", "))
	}
	return nil
}

// take waits for the one slot.
func (p *Packages) take(ctx context.Context) (release func(), err error) {
	select {
	case p.slot <- struct{}{}:
		return func() { <-p.slot }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another installation: %w", ctx.Err())
	}
}

// mayBegin sees to it that an installer can begin: that we may, and that none of a
// daemon that died is at work still. The caller holds the slot.
func mayBegin(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return &component.Failure{
			Err:    errors.New("only root can install packages"),
			Remedy: "run the daemon as root, which gives each machine a root file system of its own",
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	return family{mark: installerMark()}.kill(ctx)
}

// installerMark is in the environment of the installers of this root file
// system, and of no other's.
func installerMark() string {
	root, _ := os.Readlink("/proc/self/ns/mnt") // "" only without /proc, where no process is found
	return "ALOFT_INSTALLER=" + root
}

// inventory is what dpkg says is installed.
type inventory struct {
	version  map[string]string // by name and by name:architecture
	provided map[string]bool   // virtual packages
}

func installed(ctx context.Context) (inventory, error) {
	inv := inventory{version: map[string]string{}, provided: map[string]bool{}}
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W",
		"-f", "${db:Status-Status}\t${Package}\t${Architecture}\t${Version}\t${Provides}\n").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return inv, &component.Failure{
			Err:    errors.New("this machine has no dpkg: only distributions of the Debian family are supported"),
			Remedy: "use a template of a Debian or Ubuntu system",
		}
	}
	if err != nil {
		return inv, fmt.Errorf("ask dpkg what is installed: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 5 || f[0] != "installed" {
			continue
		}
		inv.version[f[1]], inv.version[f[1]+":"+f[2]] = f[3], f[3]
		for virtual := range strings.SplitSeq(f[4], ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(virtual), " ")
			inv.provided[name] = true
		}
	}
	return inv, nil
}

// missing lists the names of w that are not installed as wanted.
func (inv inventory) missing(w Wanted) []string {
	var missing []string
	for _, n := range w.Names {
		v, ok := inv.version[n]
		if !ok && w.Version == "" && inv.provided[n] || ok && (w.Version == "" || v == w.Version) {
			continue
		}
		missing = append(missing, n)
	}
	return missing
}

// Where apt keeps its lists, and the mark of the last time they were read.
const (
	aptLists = "/var/lib/apt/lists"
	aptStamp = "/var/lib/apt/periodic/update-success-stamp"
	listsAge = 24 * time.Hour
)

// listsState tells whether there are package lists, and when they were read.
func listsState() (any bool, read time.Time) {
	files, _ := filepath.Glob(aptLists + "/*_Packages*")
	for _, f := range append(files, aptStamp) {
		if st, err := os.Stat(f); err == nil && st.ModTime().After(read) {
			read = st.ModTime()
		}
	}
	return len(files) > 0, read
}
