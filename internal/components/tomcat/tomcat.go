// Package tomcat manages Tomcat components: servlet containers, from the
// distribution's packages, each with a CATALINA_BASE of its own and run by
// host.Processes. What a container serves is placed into it by others, by
// host/catalina. It starts no goroutine.
package tomcat

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/catalina"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages Tomcat components.
type Manager struct {
	component.Keep
	processes *host.Processes
	packages  *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose containers are installed by pk and watched by p.
func New(p *host.Processes, pk *host.Packages) *Manager {
	return &Manager{processes: p, packages: pk}
}

// Class describes Tomcat.
func (*Manager) Class() component.Class { return class }

var schema = catalog.Schema("Tomcat")

var class = component.Class{
	Name:   "Tomcat",
	Site:   component.SiteMachine,
	Schema: schema,
	Attributes: []component.Attribute{
		{Name: "version", Fixed: true},
		{Name: "certificate", Use: component.UseStart, Whole: true},
	},
	Outputs: []component.Output{
		{Name: "home", Kind: value.KindString, Doc: "its folder, as CATALINA_BASE"},
		{Name: "uri", Kind: value.KindString, Doc: "where it answers, as http://address:port/"},
		{Name: "httpsUri", Kind: value.KindString, Doc: "where it answers over HTTPS, if it does"},
		{Name: "log", Kind: value.KindString, Doc: "file with what it prints and the requests"},
	},
	Children:     true,
	Reconfigures: true,
	Isolation:    true,
	StartTimeout: startTime,
	Check:        check,
}

// A container brings up all that is in it before it opens its port. An end
// before that is noticed at once.
const (
	startTime = 5 * time.Minute
	readyTime = startTime - 10*time.Second
)

func check(attrs *value.Component, m component.Target) []component.Problem {
	problems := host.CheckPorts(attrs, m, "port", "https-port")
	given := func(name string) value.Value {
		if v, ok := attrs.Get(name); ok {
			return v
		}
		return schema.Default(name)
	}
	if _, named := attrs.Get("certificate"); named || given("https") == value.Bool(true) {
		problems = append(problems, host.CheckHTTPS(attrs, schema)...)
	}
	args, _ := given("javaArgs").(value.Vector)
	for _, e := range args {
		if arg, ok := e.(value.String); ok {
			if err := checkArg(string(arg)); err != nil {
				problems = append(problems, component.Problem{
					Attr: "javaArgs", Expected: "arguments that begin with -", Found: string(arg), Message: err.Error(), Remedy: "give each argument by itself",
				})
			}
		}
	}
	return problems
}

// checkArg refuses what the run time would take for the program to run.
func checkArg(arg string) error {
	if len(arg) < 2 || arg[0] != '-' || strings.ContainsRune(arg, 0) {
		return fmt.Errorf("%q is no argument of the Java run time: it does not begin with -", arg)
	}
	switch arg {
	case "-jar", "-m", "--module", "-cp", "-classpath", "--class-path":
		return fmt.Errorf("%s would replace the program to run", arg)
	}
	return nil
}

// account is that of the distribution's own Tomcat.
const account = "tomcat"

// accountHome is where it says to live, and what all bases are in.
const accountHome = "/var/lib/tomcat"

// container is what the attributes say, with the places it goes to.
type container struct {
	name        string
	address     string
	port, https int // https: 0 if it has none
	version     int
	javaArgs    []string
	// cert is what it shows over HTTPS; nil: one that it makes itself.
	cert *host.Certificate
}

func read(c *component.Call, attrs *value.Component) (container, error) {
	v := class.Values(attrs)
	t := container{
		name: host.ServiceName(c), address: c.Machine.Address,
		port: v.Int("port"), version: v.Int("version"), javaArgs: v.Texts("javaArgs"),
	}
	if v.Bool("https") || v.Has("certificate") {
		t.https = v.Int("https-port")
	}
	if err := v.Err(); err != nil {
		return t, err
	}
	for _, arg := range t.javaArgs {
		if err := checkArg(arg); err != nil {
			return t, fmt.Errorf("attribute javaArgs: %w", err)
		}
	}
	return t, nil
}

func (t container) base() string    { return filepath.Join(accountHome, t.name) }
func (t container) program() string { return "/usr/share/tomcat" + strconv.Itoa(t.version) }

func (t container) ports() []int {
	if t.https == 0 {
		return []int{t.port}
	}
	return []int{t.port, t.https}
}

func (t container) listening() (addresses []string) {
	for _, p := range t.ports() {
		addresses = append(addresses, net.JoinHostPort(t.address, strconv.Itoa(p)))
	}
	return addresses
}

func (t container) output(c *component.Call) {
	c.Env.Output("home", value.String(t.base()))
	c.Env.Output("uri", value.String(host.URI("http", t.address, t.port)))
	c.Env.Output("httpsUri", value.String(host.URI("https", t.address, t.https)))
	c.Env.Output("log", value.String(filepath.Join(c.WorkDir, host.OutputFile)))
}

// Deploy installs Tomcat and makes its base.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	t, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	w := host.Wanted{
		Names: []string{fmt.Sprintf("tomcat%d-common", t.version), fmt.Sprintf("libtomcat%d-java", t.version)},
		Proxy: c.Machine.Proxy, WorkDir: c.WorkDir,
	}
	if err := m.packages.Install(ctx, w, c.Env); err != nil {
		return err
	}
	u, err := host.SystemAccount(ctx, account, accountHome)
	if err != nil {
		return err
	}
	if err := t.make(u); err != nil {
		return err
	}
	t.output(c)
	return nil
}

// Start starts the container, or adopts it, and waits until it answers.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	t, p, err := prepare(c, c.Attrs)
	if err != nil {
		return err
	}
	if m.processes.Alive(c.WorkDir) != nil {
		if err := free(t.ports(), nil); err != nil {
			return err
		}
	}
	if err := p.Prepare(); err != nil {
		return err
	}
	if _, err = m.processes.Start(ctx, c.WorkDir, p.Spec, host.Report(c)); err != nil {
		return err
	}
	return t.takesUp(ctx)
}

// free returns an error if a port is taken that is not among those that the
// container itself has.
func free(ports, own []int) error {
	for _, p := range ports {
		if slices.Contains(own, p) {
			continue
		}
		if err := host.CheckPort("0.0.0.0", p); err != nil {
			return err
		}
	}
	return nil
}

// Reconfigure writes the configuration anew, and restarts the container if it
// differs.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	before, old, err := prepare(c, c.Old)
	if err != nil {
		return err
	}
	t, next, err := prepare(c, c.Attrs)
	if err != nil {
		return err
	}
	// One that was cut off may have them already; then who starts it says so.
	if pid := m.processes.Pid(c.WorkDir); pid != 0 {
		own := slices.DeleteFunc(t.ports(), func(p int) bool {
			h, taken := host.HolderOf("0.0.0.0", p)
			return !taken || h.Pid != pid
		})
		if err := free(t.ports(), append(own, before.ports()...)); err != nil {
			return err
		}
	}
	if _, err := m.processes.Replace(ctx, c.WorkDir, old, next, host.Report(c)); err != nil {
		return err
	}
	if err := t.takesUp(ctx); err != nil {
		// One that is only to show another certificate runs on: what it reads next
		// is the old one again.
		back, cancel := host.Outlive(ctx, 4*time.Second)
		defer cancel()
		backErr := old.Prepare()
		if backErr == nil {
			_, backErr = m.processes.Start(back, c.WorkDir, old.Spec, host.Report(c))
		}
		if backErr != nil {
			return fmt.Errorf("%w (and not back to what it was: %w)", err, backErr)
		}
		return err
	}
	t.output(c)
	return nil
}

// takesUp waits until the container serves as it is to.
func (t container) takesUp(ctx context.Context) error {
	if err := host.AwaitPorts(ctx, t.listening()); err != nil {
		return err
	}
	return t.shows(ctx)
}

// prepare describes the container's process. The environment has the digest of
// the configuration, so that another one means another process.
func prepare(c *component.Call, attrs *value.Component) (container, host.Prepared, error) {
	t, err := read(c, attrs)
	if err != nil {
		return t, host.Prepared{}, err
	}
	if t.cert, err = host.ReadCertificate(attrs); err != nil {
		return t, host.Prepared{}, err
	}
	config, err := t.config()
	if err != nil {
		return t, host.Prepared{}, err
	}
	command := []string{"java"}
	command = append(command, t.javaArgs...)
	command = append(command,
		"-Djava.awt.headless=true",
		"-Djava.util.logging.config.file="+filepath.Join(t.base(), "conf", "logging.properties"),
		"-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
		"-Djdk.tls.ephemeralDHKeySize=2048", "-Dorg.apache.catalina.startup.EXIT_ON_INIT_FAILURE=true",
		"-Dcatalina.base="+t.base(), "-Dcatalina.home="+t.program(), "-Djava.io.tmpdir="+filepath.Join(t.base(), "temp"),
		// What Tomcat's own start script opens to it.
		"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.io=ALL-UNNAMED",
		"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
		"--add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED",
		"-classpath", filepath.Join(t.program(), "bin", "bootstrap.jar")+":"+filepath.Join(t.program(), "bin", "tomcat-juli.jar"),
		"org.apache.catalina.startup.Bootstrap", "start",
	)
	return t, host.Prepared{
		Prepare: func() error { return t.place(config) },
		Spec: host.Spec{
			Command:     command,
			User:        account,
			LowPorts:    true,
			Dir:         t.base(),
			Env:         map[string]string{"ALOFT_CONFIGURATION": host.Digest(config)},
			Ready:       host.Ready{Ports: t.listening()[:1], Timeout: readyTime},
			StopTimeout: 30 * time.Second, // requests that are under way end
		},
	}, nil
}

// Terminate stops the container and deletes its base, or, if that is to stay, the
// keys in it, which nobody would look after. The packages stay: others may have
// come to use them, and a machine goes as a whole.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	if err := m.processes.Stop(ctx, c.WorkDir, 0, 30*time.Second, host.KilledOf(c)); err != nil {
		return err
	}
	t := container{name: host.ServiceName(c)}
	remains := t.base()
	if class.Values(c.Attrs).Bool("keepOnTerminate") {
		remains = t.tlsFolder()
	}
	if err := os.RemoveAll(remains); err != nil {
		return err
	}
	return host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile))
}

// Ping asks for a page. Any answer counts: what it serves has pings of its own.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	if err := m.processes.Ping(c.WorkDir); err != nil {
		return err
	}
	t, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	_, err = catalina.Ask(ctx, http.MethodHead, host.URI("http", t.address, t.port))
	return err
}
