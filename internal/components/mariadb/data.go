package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// dataFile is what is noted in a data folder of what it is: it stays with the
// data, which outlive the component.
const dataFile = "aloft.json"

// stage is how far a data folder has come, and whose data it holds.
type stage string

const (
	initialising stage = "initialising" // what is in it is of no use
	fresh        stage = "fresh"        // system tables, and no server has used them
	primary      stage = "primary"      // data of its own
	copying      stage = "copying"      // of a replica, and not whole
	replica      stage = "replica"      // copied from a primary that it follows
)

// dataRecord is the content of dataFile.
type dataRecord struct {
	Stage   stage  `json:"stage"`
	Primary string `json:"primary,omitempty"` // host:port of the server that was copied
	// How a replica logs in there, and its number where another server has the
	// one that it would have.
	Account  string `json:"account,omitempty"`
	Password string `json:"password,omitempty"`
	ServerID uint32 `json:"serverId,omitempty"`
}

// readStage returns what is noted in a data folder. A folder of somebody
// else's has no note; its data are its own.
func readStage(folder string) (dataRecord, error) {
	r := dataRecord{Stage: primary}
	found, err := host.ReadRecord(folder, dataFile, &r)
	if err != nil {
		return r, err
	}
	switch r.Stage {
	case initialising, fresh, primary, copying, replica:
		return r, nil
	}
	return r, fmt.Errorf("record %s: %q is no stage (there is one: %t)", filepath.Join(folder, dataFile), r.Stage, found)
}

// version is that of a server, or of the one that a data folder belongs to:
// between 10.11.4 and 10.11.6 nothing has to be done.
type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) older(than version) bool {
	return v.major < than.major || v.major == than.major && v.minor < than.minor
}

var versionText = regexp.MustCompile(`([0-9]{1,3})\.([0-9]{1,3})\.[0-9]+-MariaDB`)

func parseVersion(text string) (version, bool) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return version{}, false
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return version{major, minor}, true
}

// installedVersion asks the server's program.
func installedVersion(ctx context.Context) (version, error) {
	said, err := host.Output(ctx, "mariadbd", "--no-defaults", "--version")
	if err != nil {
		return version{}, err
	}
	v, ok := parseVersion(said)
	if !ok {
		return v, fmt.Errorf("mariadbd --version says %q, which names no version", said)
	}
	return v, nil
}

// upgradeFiles are where servers note which version a data folder is of.
var upgradeFiles = []string{"mariadb_upgrade_info", "mysql_upgrade_info"}

// folderVersion returns the version that a data folder with data is of.
func folderVersion(folder string) (version, error) {
	for _, name := range upgradeFiles {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return version{}, err
		}
		if v, ok := parseVersion(string(b)); ok {
			return v, nil
		}
		return version{}, foreign(folder, fmt.Sprintf("its file %s says %.40q, which is no version of MariaDB", name, b))
	}
	return version{}, foreign(folder, "it does not say which version of MariaDB it is of")
}

func foreign(folder, why string) error {
	return &component.Failure{
		Err:    fmt.Errorf("data folder %s cannot be used: %s", folder, why),
		Remedy: "choose another dataDir, or bring the data into a new one with a dump of the server that wrote them",
	}
}

// checkVersion refuses the data of a version that the server does not know, and
// reports whether the data have to be brought up to the server's.
func checkVersion(folder string, data, server version) (upgrade bool, err error) {
	if server.older(data) {
		return false, &component.Failure{
			Err:    fmt.Errorf("data folder %s is of MariaDB %s, and the machine has %s, which cannot read it", folder, data, server),
			Remedy: fmt.Sprintf("give the machine MariaDB %s or later, or choose another dataDir", data),
		}
	}
	return data.older(server), nil
}

// initTime bounds the making of a data folder.
const initTime = 3 * time.Minute

// prepare makes the data folder, if there is none, and checks what is in one
// that is there.
func (s settings) prepare(ctx context.Context, workDir string) error {
	u, err := host.LookupUser(systemUser)
	if err != nil {
		return err
	}
	empty, err := s.claim(u)
	if err != nil {
		return err
	}
	if !empty {
		r, err := readStage(s.dataDir)
		if err != nil {
			return err
		}
		if r.Stage != initialising && r.Stage != copying {
			return s.usable(ctx, u)
		}
		// Nobody has seen what is in it: it was not whole yet.
		if err := clearFolder(s.dataDir); err != nil {
			return err
		}
	}
	if err := host.WriteRecord(workDir, madeFile, madeRecord{Folder: s.dataDir}); err != nil {
		return err
	}
	if err := host.WriteRecord(s.dataDir, dataFile, dataRecord{Stage: initialising}); err != nil {
		return err
	}
	task := host.Task{
		Name: "mariadb-install-db",
		Command: []string{
			"mariadb-install-db", "--no-defaults", "--datadir=" + s.dataDir, "--user=" + systemUser, "--tmpdir=/tmp",
			"--skip-test-db", "--auth-root-authentication-method=socket",
		},
		Timeout: initTime,
	}
	if _, err := task.Run(ctx, workDir); err != nil {
		return err
	}
	return host.WriteRecord(s.dataDir, dataFile, dataRecord{Stage: fresh})
}

// claim makes the folder where there is none, and reports whether there is
// nothing in it.
func (s settings) claim(u host.User) (empty bool, err error) {
	if err := os.MkdirAll(filepath.Dir(s.dataDir), 0o755); err != nil {
		return false, err
	}
	if err := os.Mkdir(s.dataDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	info, err := os.Lstat(s.dataDir)
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, foreign(s.dataDir, "it is no folder")
	}
	entries, err := os.ReadDir(s.dataDir)
	if err != nil {
		return false, err
	}
	if len(entries) == 1 && entries[0].Name() == "lost+found" {
		entries = nil // a volume's own
	}
	if len(entries) > 0 {
		return false, nil
	}
	return true, errors.Join(os.Lchown(s.dataDir, u.UID, u.GID), os.Chmod(s.dataDir, 0o700))
}

// usable checks a folder that holds data.
func (s settings) usable(ctx context.Context, u host.User) error {
	if info, err := os.Lstat(filepath.Join(s.dataDir, "mysql")); err != nil || !info.IsDir() {
		return foreign(s.dataDir, "there are files in it, and no database")
	}
	info, err := os.Lstat(s.dataDir)
	if err != nil {
		return err
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != u.UID {
		return &component.Failure{
			Err:    fmt.Errorf("data folder %s belongs to user %d, and the server runs as %s (%d)", s.dataDir, st.Uid, u.Name, u.UID),
			Remedy: fmt.Sprintf("give it to that user: chown -R %s: %s", u.Name, s.dataDir),
		}
	}
	_, err = s.outdated(ctx)
	return err
}

// outdated reports whether the data have to be brought up to the server's
// version, and refuses those that it cannot read.
func (s settings) outdated(ctx context.Context) (bool, error) {
	data, err := folderVersion(s.dataDir)
	if err != nil {
		return false, err
	}
	server, err := installedVersion(ctx)
	if err != nil {
		return false, err
	}
	return checkVersion(s.dataDir, data, server)
}

// upgrade brings the system tables of the running server up to its version.
func (s settings) upgrade(ctx context.Context, workDir string) error {
	task := host.Task{
		Name:    "mariadb-upgrade",
		Command: []string{"mariadb-upgrade", "--no-defaults", "--socket=" + s.socket, "--user=root"},
		Timeout: upgradeTime,
	}
	_, err := task.Run(ctx, workDir)
	return err
}

// upgradeTime bounds the upgrade of a data folder.
const upgradeTime = 20 * time.Minute

// clearFolder deletes what is in a folder.
func clearFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	// What says that the rest is of no use goes last.
	for _, e := range entries {
		if e.Name() != dataFile {
			if err := os.RemoveAll(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return host.RemoveFile(filepath.Join(folder, dataFile))
}

// madeFile notes in the work folder which data folder this component has made.
const madeFile = "data.json"

type madeRecord struct {
	Folder string `json:"folder"`
}

// removeData deletes the data folder that this component has made, or, if it is
// to be kept, one that has never been whole. One that was there before stays.
func removeData(workDir string, keep bool) error {
	var made madeRecord
	if found, err := host.ReadRecord(workDir, madeFile, &made); err != nil || !found || !filepath.IsAbs(made.Folder) {
		return err
	}
	if _, err := os.Lstat(made.Folder); errors.Is(err, fs.ErrNotExist) {
		return host.RemoveFile(filepath.Join(workDir, madeFile))
	}
	r, err := readStage(made.Folder)
	if err != nil {
		return err
	}
	if keep && r.Stage != initialising && r.Stage != copying {
		return nil
	}
	if err := clearFolder(made.Folder); err != nil {
		return err
	}
	// A volume is mounted there; it is empty now.
	if err := os.Remove(made.Folder); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EBUSY) {
		return err
	}
	return host.RemoveFile(filepath.Join(workDir, madeFile))
}
