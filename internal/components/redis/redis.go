// Package redis manages Redis components: servers of the in-memory store, from
// the distribution's package, run by host.Processes in the foreground. It
// starts no goroutine.
package redis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Redis components.
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

// Class describes Redis.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "Redis",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("Redis"),
	Attributes: []component.Attribute{
		{Name: "password", Secret: true},
		{Name: "replicaOf", Use: component.UseStart, Whole: true},
	},
	Outputs: []component.Output{
		{Name: "host", Kind: value.KindString, Doc: "address that clients reach it by"},
		{Name: "port", Kind: value.KindInteger, Doc: "TCP port"},
		{Name: "uri", Kind: value.KindString, Doc: "redis://host:port"},
		{Name: "dataDir", Kind: value.KindString, Doc: "folder of its data"},
	},
	Reconfigures: true,
	Isolation:    true,
	KeptIsData:   true,
	Check:        check,
}

var memorySize = regexp.MustCompile(`(?i)^[0-9]{1,15}([kmg]?b|[kmg])?$`)

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPorts(attrs, m, "port")
	problem := func(attr, expected, found string) {
		problems = append(problems, component.Problem{
			Attr: attr, Expected: expected, Found: found, Message: fmt.Sprintf("%q is not %s", found, expected), Remedy: "give " + expected,
		})
	}
	if v, _ := attrs.Get("bind"); v != nil {
		if s, ok := v.(value.String); ok {
			if _, err := addresses(string(s)); err != nil {
				problem("bind", "IP addresses with blanks between them", string(s))
			}
		}
	}
	if v, _ := attrs.Get("maxMemory"); v != nil {
		if s, ok := v.(value.String); ok && !memorySize.MatchString(string(s)) {
			problem("maxMemory", `a size, as "256mb"`, string(s))
		}
	}
	return problems
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
	return found, nil
}

// settings is what the attributes say, with the places it goes to.
type settings struct {
	name       string
	host       string // clients reach it by
	port       int
	bind       []string
	password   string
	maxMemory  string
	appendOnly bool
	stopTime   time.Duration
	master     *master
}

// stopTime is what a server has for writing its data to disk when it is to end.
func stopTime(attrs *value.Component) time.Duration {
	return time.Duration(class.Values(attrs).Int("stopTimeout")) * time.Second
}

// master is the server that a replica copies.
type master struct {
	host, password string
	port           int
}

func (s settings) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }
func (s settings) config() string  { return filepath.Join("/etc/redis", s.name+".conf") }
func (s settings) data() string    { return filepath.Join("/var/lib/redis", s.name) }

// read reads the attributes; replicaOf only if asked, since before start there
// may be nothing to copy.
func read(c *component.Call, attrs *value.Component, all bool) (settings, error) {
	v := class.Values(attrs)
	s := settings{
		name: host.ServiceName(c), host: c.Machine.Address, port: v.Int("port"),
		password: v.Text("password"), maxMemory: v.Text("maxMemory"), appendOnly: v.Bool("appendOnly"), stopTime: stopTime(attrs),
	}
	bind := v.Text("bind")
	if err := v.Err(); err != nil {
		return s, err
	}
	if s.maxMemory == "" {
		s.maxMemory = "0"
	} else if !memorySize.MatchString(s.maxMemory) {
		return s, fmt.Errorf("attribute maxMemory: %q is not a size", s.maxMemory)
	}
	if bind == "" {
		bind = c.Machine.Address + " 127.0.0.1"
	}
	var err error
	if s.bind, err = addresses(bind); err != nil {
		return s, err
	}
	slices.Sort(s.bind)
	s.bind = slices.Compact(s.bind)
	if !slices.Contains(s.bind, s.host) && !slices.Contains(s.bind, "0.0.0.0") && !slices.Contains(s.bind, "::") {
		s.host = s.bind[0]
	}
	if all && v.Has("replicaOf") {
		if s.master, err = readMaster(v.Table("replicaOf")); err != nil {
			return s, err
		}
	}
	return s, v.Err()
}

func readMaster(c *value.Component) (*master, error) {
	of := class.Values(c)
	m := &master{port: of.Int("port"), password: of.Text("password")}
	h, _ := c.Get("host")
	name, ok := h.(value.String)
	if !ok {
		return nil, fmt.Errorf("attribute replicaOf: the component it names has no host: it is no running Redis")
	}
	m.host = string(name)
	return m, of.Err()
}

// file is the server's configuration.
func (s settings) file() string {
	var b strings.Builder
	line := func(words ...string) {
		b.WriteString(words[0])
		for _, w := range words[1:] {
			b.WriteString(" " + quote(w))
		}
		b.WriteString("\n")
	}
	line("daemonize", "no")
	line("supervised", "no")
	line("logfile", "")
	line("dir", s.data())
	line("port", strconv.Itoa(s.port))
	line(append([]string{"bind"}, s.bind...)...)
	line("protected-mode", "no") // bind says who reaches it
	line("save", "3600", "1", "300", "100", "60", "10000")
	for _, kv := range s.dynamic() {
		if kv[1] != "" {
			line(kv[0], kv[1])
		}
	}
	if s.master != nil {
		line("replicaof", s.master.host, strconv.Itoa(s.master.port))
	}
	return b.String()
}

// dynamic are the settings that a running server takes over.
func (s settings) dynamic() [][2]string {
	onOff := map[bool]string{true: "yes", false: "no"}
	masterPassword := ""
	if s.master != nil {
		masterPassword = s.master.password
	}
	return [][2]string{
		{"appendonly", onOff[s.appendOnly]},
		{"maxmemory", s.maxMemory},
		{"masterauth", masterPassword},
		{"requirepass", s.password},
	}
}

// quote writes a word as Redis reads it, whatever it holds.
func quote(word string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(word) {
		switch ch := word[i]; {
		case ch == '"' || ch == '\\':
			b.WriteString(`\` + string(ch))
		case ch < ' ' || ch >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, ch)
		default:
			b.WriteByte(ch)
		}
	}
	b.WriteByte('"')
	return b.String()
}

const account = "redis" // made by the package

// place writes the configuration and makes the data folder.
func (s settings) place() error {
	u, err := host.LookupUser(account)
	if err != nil {
		return err
	}
	if err := host.GiveFolder(s.data(), u); err != nil {
		return err
	}
	if old, err := os.ReadFile(s.config()); err == nil && string(old) == s.file() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.config()), 0o755); err != nil {
		return err
	}
	return host.WriteFileFor(s.config(), []byte(s.file()), 0o640, 0, u.GID)
}

// prepared describes the server's process. What only a restart changes stands
// in its environment, so that another value means another process.
func (s settings) prepared() host.Prepared {
	return host.Prepared{Prepare: s.place, Spec: host.Spec{
		Command:     []string{"redis-server", s.config()},
		User:        account,
		Dir:         s.data(),
		Env:         map[string]string{"ALOFT_LISTEN": fmt.Sprint(s.bind, s.port)},
		Ready:       host.Ready{Ports: []string{s.address()}, Timeout: time.Minute},
		StopTimeout: s.stopTime,
	}}
}

func (s settings) output(env component.Environment) {
	env.Output("host", value.String(s.host))
	env.Output("port", value.Integer(s.port))
	env.Output("uri", value.String("redis://"+s.address()))
	env.Output("dataDir", value.String(s.data()))
}

// Deploy installs Redis and configures the server.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs, false)
	if err != nil {
		return err
	}
	w := host.Wanted{Names: []string{"redis-server"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	if err := s.takesUp(); err != nil {
		return err
	}
	if err := s.place(); err != nil {
		return err
	}
	s.output(c.Env)
	return nil
}

// takesUp returns an error if there are data that the server would not read, and
// then write over: with appendOnly it looks for what it has appended, and, if
// that was never so, begins empty.
func (s settings) takesUp() error {
	if !s.appendOnly {
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.data(), "dump.rdb")); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	_, err := os.Stat(filepath.Join(s.data(), "appendonlydir"))
	if errors.Is(err, fs.ErrNotExist) {
		return &component.Failure{
			Err:    fmt.Errorf("the data in %s were kept without appendOnly, and would not be read with it", s.data()),
			Remedy: "deploy it with appendOnly false, and change that while it runs",
		}
	}
	return err
}

// Start starts the server, or adopts it, and waits until it answers.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	s, err := read(c, c.Attrs, true)
	if err != nil {
		return err
	}
	p := s.prepared()
	if err := p.Prepare(); err != nil {
		return err
	}
	if _, err := m.processes.Start(ctx, c.WorkDir, p.Spec, host.Report(c)); err != nil {
		return err
	}
	return s.loaded(ctx)
}

// Reconfigure changes what a running server can change, and restarts it for
// the rest.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(c, c.Old, true)
	if err != nil {
		return err
	}
	next, err := read(c, c.Attrs, true)
	if err != nil {
		return err
	}
	if old.port == next.port && slices.Equal(old.bind, next.bind) {
		err = m.adjust(ctx, old, next)
	} else {
		_, err = m.processes.Replace(ctx, c.WorkDir, old.prepared(), next.prepared(), host.Report(c))
		if err == nil {
			err = next.loaded(ctx)
		}
	}
	if err == nil {
		next.output(c.Env)
	}
	return err
}

// adjust tells the running server, then writes what it would read at its next
// start. On error the server is told the old settings again.
func (m *Manager) adjust(ctx context.Context, old, next settings) error {
	conn, err := dial(ctx, next, old.password, next.password)
	if err != nil {
		return err
	}
	defer conn.close()
	if err := conn.set(old, next); err != nil {
		if backErr := conn.set(next, old); backErr != nil {
			return fmt.Errorf("%w (and not back to what it was: %w)", err, backErr)
		}
		return err
	}
	return next.place()
}

// Terminate stops the server and deletes its configuration and data, unless these
// are to stay. The package stays: others may have come to use it, and a machine
// goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, 0, stopTime(c.Attrs), host.KilledOf(c)); err != nil {
		return err
	}
	s := settings{name: host.ServiceName(c)}
	if !c.Returns && !class.Values(c.Attrs).Bool("keepOnTerminate") {
		if err := os.RemoveAll(s.data()); err != nil {
			return err
		}
	}
	if err := host.RemoveFile(s.config()); err != nil {
		return err
	}
	return host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile))
}

// Ping asks the server.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	s, err := read(c, c.Attrs, false)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, s, s.password)
	if err != nil {
		return err
	}
	defer conn.close()
	return conn.expect("PONG", "PING")
}
