// Package mariadb manages MariaDB components, database servers from the
// distribution's package, run by host.Processes in the foreground, and what is
// in them: Database, DatabaseUser and SQLScript components. What is said to
// servers is SQL, over their socket or the network. It starts no goroutine.
package mariadb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages MariaDB components.
type Manager struct {
	component.Keep
	processes *host.Processes
	packages  *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose servers are installed by pk and watched by p.
func New(p *host.Processes, pk *host.Packages) *Manager {
	return &Manager{processes: p, packages: pk}
}

// Class describes MariaDB.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:    "MariaDB",
	Aliases: []string{"Mysql"},
	Site:    component.SiteMachine,
	Schema:  catalog.Schema("MariaDB"),
	Attributes: []component.Attribute{
		{Name: "dataDir", Fixed: true},
		{Name: "rootPassword", Secret: true},
		{Name: "password", Secret: true},
		{Name: "replicaOf", Use: component.UseStart, Whole: true},
	},
	Outputs: []component.Output{
		{Name: "host", Kind: value.KindString, Doc: "address that clients reach it by"},
		{Name: "port", Kind: value.KindInteger, Doc: "TCP port"},
		{Name: "socket", Kind: value.KindString, Doc: "socket that clients on its machine reach it by"},
		{Name: "role", Kind: value.KindString, Doc: "primary, or replica"},
		{Name: "dataDir", Kind: value.KindString, Doc: "folder of its data, also where none was given"},
	},
	Reconfigures: true,
	Isolation:    true,
	KeepsData:    true,
	Spares:       true,
	StartTimeout: 30 * time.Minute, // for what has to be recovered, upgraded or copied
	Check:        check,
}

// reserved are the accounts that a server has for itself.
var reserved = []string{"root", "mysql", "mariadb.sys", "PUBLIC"}

func checkUser(user string) error {
	if slices.Contains(reserved, user) || strings.HasPrefix(user, ownPrefix) {
		return fmt.Errorf("user %s is the server's own", user)
	}
	return checkName(user, userLimit)
}

// ownPrefix begins the names of accounts that components make for themselves.
const ownPrefix = "aloft-"

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := slices.Concat(host.CheckPorts(attrs, m, "port"), host.CheckNoSecret(attrs, "settings"))
	problem := func(attr, expected, found string, err error) {
		problems = append(problems, component.Problem{
			Attr: attr, Expected: expected, Found: found, Message: err.Error(), Remedy: "give " + expected,
		})
	}
	text := func(attr string) (string, bool) {
		v, _ := attrs.Get(attr)
		s, ok := v.(value.String)
		return string(s), ok
	}
	if s, ok := text("bind"); ok {
		if _, err := addresses(s); err != nil {
			problem("bind", "IP addresses with blanks between them", s, err)
		}
	}
	if s, ok := text("dataDir"); ok && s != "" {
		if err := checkFolder(s); err != nil {
			problem("dataDir", "a path from /", s, err)
		}
	}
	if s, ok := text("user"); ok && s != "" {
		if err := checkUser(s); err != nil {
			problem("user", "another name", s, err)
		}
		if v, given := attrs.Get("password"); !given || v.Kind() == value.KindNull {
			problem("password", "a password for user "+s, "none", fmt.Errorf("user %s has no password", s))
		}
	}
	v, _ := attrs.Get("settings")
	if table, ok := v.(*value.Component); ok {
		for a := range table.All() {
			if a.Value.Kind() == value.KindReference {
				continue
			}
			if _, err := readSettings(value.NewComponent(true, a)); err != nil {
				problem("settings", "settings of the server, by name", a.Name, err)
			}
		}
	}
	return problems
}

func checkFolder(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("%q is not the whole path of a folder", path)
	}
	return nil
}

func addresses(bind string) ([]string, error) {
	var found []string
	for f := range strings.FieldsSeq(bind) {
		a, err := netip.ParseAddr(f)
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("bind: %q is not an IP address", f)
		}
		found = append(found, a.String())
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("bind: no address in %q", bind)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// settings is what the attributes say, with the places it goes to.
type settings struct {
	name         string
	host         string // clients reach it by
	port         int
	bind         []string
	dataDir      string
	socket       string
	rootPassword string
	user         string // "": none
	password     string
	settings     []option
	stopTime     time.Duration
	id           uint32  // among servers that replicate each other
	follows      bool    // it is a replica
	primary      *source // of a replica; nil before start
}

func (s settings) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }
func (s settings) config() string  { return filepath.Join("/etc/mysql", s.name+".cnf") }

// runFolder is where sockets are.
const runFolder = "/run/mysqld"

// socketOf returns the socket of a server. Names of sockets are short.
func socketOf(service string) string {
	return filepath.Join(runFolder, "aloft"+service[strings.LastIndexByte(service, '-'):]+".sock")
}

func read(c *component.Call, attrs *value.Component) (settings, error) {
	v := class.Values(attrs)
	s := settings{
		name: host.ServiceName(c), host: c.Machine.Address, port: v.Int("port"), dataDir: v.Text("dataDir"),
		rootPassword: v.Text("rootPassword"), user: v.Text("user"), password: v.Text("password"),
		stopTime: stopTime(attrs),
	}
	s.socket = socketOf(s.name)
	bind, table := v.Text("bind"), v.Table("settings")
	if err := v.Err(); err != nil {
		return s, err
	}
	var err error
	if s.bind, err = addresses(bind); err != nil {
		return s, err
	}
	if !slices.Contains(s.bind, s.host) && !slices.Contains(s.bind, "0.0.0.0") && !slices.Contains(s.bind, "::") {
		s.host = s.bind[0]
	}
	if s.settings, err = readSettings(table); err != nil {
		return s, fmt.Errorf("attribute settings: %w", err)
	}
	if s.dataDir == "" {
		s.dataDir = filepath.Join("/var/lib", s.name)
	}
	if err := checkFolder(s.dataDir); err != nil {
		return s, fmt.Errorf("attribute dataDir: %w", err)
	}
	if s.user != "" {
		if err := checkUser(s.user); err != nil {
			return s, fmt.Errorf("attribute user: %w", err)
		}
		if s.password == "" {
			return s, fmt.Errorf("attribute password: user %s has none", s.user)
		}
	}
	if s.rootPassword == "" {
		return s, errors.New("attribute rootPassword: it is empty")
	}
	if s.follows, s.primary, err = replicaOf(c, attrs); err != nil {
		return s, err
	}
	s.id = serverID(s.name, 0)
	if r, err := readStage(s.dataDir); err == nil && r.ServerID != 0 {
		s.id = r.ServerID
	}
	return s, nil
}

const systemUser = "mysql" // made by the package

// place writes the configuration, unless the server would refuse it; then the
// former one is still in place.
func (s settings) place(ctx context.Context) error {
	u, err := host.LookupUser(systemUser)
	if err != nil {
		return err
	}
	// It is gone after each boot.
	if err := os.MkdirAll(runFolder, 0o755); err != nil {
		return err
	}
	if err := os.Lchown(runFolder, u.UID, u.GID); err != nil {
		return err
	}
	text := s.file()
	if old, err := os.ReadFile(s.config()); err == nil && string(old) == text {
		return nil
	}
	next := s.config() + ".next"
	if err := host.WriteFileFor(next, []byte(text), 0o640, 0, u.GID); err != nil {
		return err
	}
	said, err := host.Output(ctx, "mariadbd", "--defaults-file="+next, "--user="+systemUser, "--help", "--verbose")
	if err := errors.Join(refusal(said, err), host.RemoveFile(next)); err != nil {
		return err
	}
	return host.WriteFileFor(s.config(), []byte(text), 0o640, 0, u.GID)
}

// refusal finds, in what a server said of its configuration, what it refuses.
func refusal(said string, err error) error {
	if err == nil {
		return nil
	}
	var wrong []string
	for line := range strings.Lines(said) {
		if _, what, ok := strings.Cut(strings.TrimSpace(line), "[ERROR] "); ok {
			wrong = append(wrong, strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(what, "Buffered error: "), "/usr/sbin/"), "mariadbd: "))
		}
	}
	if len(wrong) == 0 {
		return fmt.Errorf("the server refuses its configuration: %w", err)
	}
	return &component.Failure{
		Err:    fmt.Errorf("the server refuses its configuration: %s", strings.Join(wrong, "; ")),
		Output: wrong[:min(len(wrong), 10)], Remedy: "correct settings",
	}
}

// stopTime is what a server has for writing its data to disk when it is to end.
func stopTime(attrs *value.Component) time.Duration {
	return time.Duration(class.Values(attrs).Int("stopTimeout")) * time.Second
}

// spec describes the server's process.
func (s settings) spec() host.Spec {
	return host.Spec{
		Command:     []string{"mariadbd", "--defaults-file=" + s.config()},
		User:        systemUser,
		Dir:         "/",
		Ready:       host.Ready{Ports: []string{s.address()}, Timeout: class.StartTimeout},
		StopTimeout: s.stopTime,
	}
}

func (s settings) output(env component.Environment) {
	env.Output("host", value.String(s.host))
	env.Output("port", value.Integer(s.port))
	env.Output("socket", value.String(s.socket))
	env.Output("role", value.String(map[bool]string{true: "replica", false: "primary"}[s.follows]))
	env.Output("dataDir", value.String(s.dataDir))
}

// Deploy installs the server, makes its data folder and configures it.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	if err := stays(c.WorkDir); err != nil {
		return err
	}
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	w := host.Wanted{Names: []string{"mariadb-server"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	if m.processes.Alive(c.WorkDir) != nil { // else it has its data
		if err := s.prepare(ctx, c.WorkDir); err != nil {
			return err
		}
	}
	if err := s.place(ctx); err != nil {
		return err
	}
	s.output(c.Env)
	return nil
}

// Start starts the server, or adopts it, and gives it its accounts.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	if err := stays(c.WorkDir); err != nil {
		return err
	}
	s, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	return m.run(ctx, c, s)
}

func (m *Manager) run(ctx context.Context, c *component.Call, s settings) error {
	if r, err := readStage(s.dataDir); err != nil {
		return err
	} else if r.Stage == copying { // it was cut off, and what is there is of no use
		if err := m.processes.Stop(ctx, c.WorkDir, 0, s.stopTime, host.Report(c).Killed); err != nil {
			return err
		}
	}
	if m.processes.Alive(c.WorkDir) != nil {
		if err := s.prepare(ctx, c.WorkDir); err != nil {
			return err
		}
	}
	if err := s.place(ctx); err != nil {
		return err
	}
	if _, err := m.processes.Start(ctx, c.WorkDir, s.spec(), host.Report(c)); err != nil {
		return err
	}
	db, err := s.admin(ctx)
	if err != nil {
		return err
	}
	defer db.close()
	old, err := s.outdated(ctx)
	if err != nil {
		return err
	}
	if old {
		c.Env.Progress(0, "upgrading the data folder")
		if err := s.upgrade(ctx, c.WorkDir); err != nil {
			return err
		}
	}
	if s.follows {
		return s.follow(ctx, c, db)
	}
	return s.lead(ctx, db)
}
