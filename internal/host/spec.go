package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"aloft/component"
	"aloft/internal/host/launch"
)

// Spec says how to run a process.
type Spec struct {
	Command []string // program and arguments; no shell
	User    string   // "": the daemon's
	// LowPorts lets a user other than root listen below 1024. Limits cannot be
	// given with it.
	LowPorts bool
	Dir      string // "": the work folder
	Env      map[string]string
	Output   string // "": OutputFile in the work folder
	Ready    Ready

	StopSignal  syscall.Signal // 0: SIGTERM
	StopTimeout time.Duration  // 0: 10 s

	Restart       Restart       // "": onFailure
	MaxRestarts   int           // 0: 10 within RestartWindow
	RestartWindow time.Duration // 0: 1 h

	Limits Limits
}

// Restart says what the end of a process is answered with.
type Restart string

// The restart policies.
const (
	RestartNever     Restart = "never"
	RestartOnFailure Restart = "onFailure"
	RestartAlways    Restart = "always"
)

// Limits are the resource limits of a process, in the units of setrlimit;
// a limit that is not named is the daemon's own.
type Limits map[int]uint64

// DefaultPath is where a process's program is looked for.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// markName is the variable by which the processes of a component are found
// when nothing else is known of them.
const markName = "ALOFT_PROCESS"

// complete fills in the defaults.
func (s *Spec) complete(folder string) {
	if s.Dir == "" {
		s.Dir = folder
	}
	if s.Output == "" {
		s.Output = filepath.Join(folder, OutputFile)
	}
	if s.StopSignal == 0 {
		s.StopSignal = syscall.SIGTERM
	}
	if s.StopTimeout == 0 {
		s.StopTimeout = 10 * time.Second
	}
	if s.Ready.Timeout == 0 {
		s.Ready.Timeout = time.Minute
	}
	if s.Restart == "" {
		s.Restart = RestartOnFailure
	}
	if s.MaxRestarts == 0 {
		s.MaxRestarts = 10
	}
	if s.RestartWindow == 0 {
		s.RestartWindow = time.Hour
	}
}

// digest covers what a running process cannot change.
func (s *Spec) digest() string {
	b, err := json.Marshal(struct {
		Command   []string
		User, Dir string
		Env       map[string]string
		Output    string
	}{s.Command, s.User, s.Dir, s.Env, s.Output})
	if err != nil {
		panic(err) // strings only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// family returns the marks of the processes that belong to folder.
func (s *Spec) family(folder string, session int) family {
	f := familyOf(folder)
	f.session = session
	if s.Output != filepath.Join(folder, OutputFile) {
		f.output = "" // a file of the user's choice may be shared
	}
	return f
}

func familyOf(folder string) family {
	sum := sha256.Sum256([]byte(folder))
	return family{
		mark:   markName + "=" + hex.EncodeToString(sum[:8]),
		output: filepath.Join(folder, OutputFile),
	}
}

// program is what a command becomes on this machine.
type program struct {
	path string
	user User
	cred *syscall.Credential
	caps []uintptr // rights of root that the user keeps
	env  []string
}

func (s *Spec) program(command []string) (program, error) {
	u, err := LookupUser(s.User)
	if err != nil {
		return program{}, err
	}
	l := program{user: u}
	if l.cred, err = u.credential(); err != nil {
		return program{}, err
	}
	if s.LowPorts && l.cred != nil {
		if len(s.Limits) > 0 {
			return program{}, errors.New("a process with limits cannot have ports below 1024")
		}
		l.caps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	}
	env := map[string]string{
		"PATH": DefaultPath, "HOME": u.Home, "USER": u.Name, "LOGNAME": u.Name, "LANG": "C.UTF-8", "PWD": s.Dir,
	}
	// By these a process is known to belong to its machine, whatever became of
	// its parents (they are the local driver's).
	for _, name := range []string{"ALOFT_HOST_HOME", "ALOFT_MACHINE"} {
		if v := os.Getenv(name); v != "" {
			env[name] = v
		}
	}
	maps.Copy(env, s.Env)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		l.env = append(l.env, k+"="+env[k])
	}
	l.path, err = FindProgram(command, s.Dir, env["PATH"])
	return l, err
}

func (l program) attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Credential: l.cred, AmbientCaps: l.caps}
}

// FindProgram returns the file that command[0] names: itself if it is a path
// (below dir if relative), else the first match in path.
func FindProgram(command []string, dir, path string) (string, error) {
	if len(command) == 0 || command[0] == "" {
		return "", errors.New("the command is empty")
	}
	for _, arg := range command {
		if strings.ContainsRune(arg, 0) {
			return "", fmt.Errorf("the command has a zero byte in %q", arg)
		}
	}
	name := command[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if err := executable(name); err != nil {
			return "", fmt.Errorf("program %s: %w", name, err)
		}
		return name, nil
	}
	for _, d := range filepath.SplitList(path) {
		if p := filepath.Join(d, name); filepath.IsAbs(p) && executable(p) == nil {
			return p, nil
		}
	}
	return "", &component.Failure{
		Err:    fmt.Errorf("program %s is not in %s", name, path),
		Remedy: "install it with a Package, or give its full path",
	}
}

func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return syscall.EISDIR
	case st.Mode()&0o111 == 0:
		return fs.ErrPermission
	}
	return nil
}

// limitNumbers are the limits a description can name, with their units.
var limitNumbers = map[string]struct {
	resource int
	unit     uint64
}{
	"openFiles": {unix.RLIMIT_NOFILE, 1},
	"processes": {unix.RLIMIT_NPROC, 1},
	"memory":    {unix.RLIMIT_AS, 1 << 20},
	"fileSize":  {unix.RLIMIT_FSIZE, 1 << 20},
	"core":      {unix.RLIMIT_CORE, 1 << 20},
}

// Set adds the limit a description calls name: openFiles and processes count,
// memory, fileSize and core are MiB.
func (l Limits) Set(name string, n int) error {
	known, ok := limitNumbers[name]
	if !ok || n < 0 {
		return fmt.Errorf("limit %s %d: want one of %s, not negative", name, n,
			strings.Join(slices.Sorted(maps.Keys(limitNumbers)), ", "))
	}
	l[known.resource] = uint64(n) * known.unit
	return nil
}

// limitName is what a description calls a resource.
func limitName(resource int) string {
	for name, known := range limitNumbers {
		if known.resource == resource {
			return name
		}
	}
	return fmt.Sprint("resource ", resource)
}

// refused says what to do about an error of launch.
func (l Limits) refused(err error) error {
	failed, ok := errors.AsType[*launch.Failed](err)
	if !ok || failed.Limit < 0 {
		return explain(err)
	}
	name := limitName(failed.Limit)
	unit := limitNumbers[name].unit
	return &component.Failure{
		Err:    fmt.Errorf("limit %s to %d: this machine allows at most %d: %w", name, l[failed.Limit]/unit, failed.Hard/unit, failed.Errno),
		Remedy: fmt.Sprintf("ask for %d or less, or raise the hard limit of the daemon", failed.Hard/unit),
	}
}

// change gives a running process these limits in place of old ones, or says
// why only a new process can have them: the kernel lets a process of another
// user be changed, or a hard limit be raised, only by those with a right that
// root in a container lacks; and what the limit of open files was before Go
// raised the daemon's is known only to children.
func (l Limits) change(pid int, old Limits) error {
	for name, known := range limitNumbers {
		want, given := l[known.resource]
		before, had := old[known.resource]
		switch {
		case given == had && want == before:
			continue
		case !given && known.resource == unix.RLIMIT_NOFILE:
			return fmt.Errorf("limit %s: %w", name, unix.EPERM)
		case !given:
			var own unix.Rlimit
			if err := unix.Prlimit(0, known.resource, nil, &own); err != nil {
				return err
			}
			if err := unix.Prlimit(pid, known.resource, &own, nil); err != nil && err != unix.ESRCH {
				return fmt.Errorf("limit %s: %w", name, err)
			}
		default:
			if _, err := launch.Set(pid, known.resource, want); err != nil && err != unix.ESRCH {
				return fmt.Errorf("limit %s: %w", name, err)
			}
		}
	}
	return nil
}
