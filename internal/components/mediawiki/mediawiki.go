// Package mediawiki manages MediaWiki components: wikis in a server of pages of
// the same machine, with MediaWiki from the distribution's package. An Apache
// serves it directly; in a Tomcat an application passes all requests on to a PHP
// server of the wiki's own, run by host.Processes. It starts no goroutine.
package mediawiki

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/catalina"
	"aloft/internal/host/httpd"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages MediaWiki components.
type Manager struct {
	component.Keep
	processes *host.Processes
	packages  *host.Packages
}

var _ component.Manager = (*Manager)(nil)

// New returns a manager whose wikis are installed by pk, and their PHP servers
// watched by p.
func New(p *host.Processes, pk *host.Packages) *Manager {
	return &Manager{processes: p, packages: pk}
}

// Class describes MediaWiki.
func (*Manager) Class() component.Class { return class }

var class = component.Class{
	Name:   "MediaWiki",
	Site:   component.SiteMachine,
	Schema: catalog.Schema("MediaWiki"),
	Attributes: []component.Attribute{
		{Name: "container", Fixed: true, Whole: true},
		{Name: "db", Use: component.UseStart, Whole: true},
		{Name: "adminPassword", Secret: true},
		{Name: "path", Fixed: true},
		{Name: "version", Fixed: true},
	},
	Outputs:      []component.Output{{Name: "uri", Kind: value.KindString, Doc: "where the wiki is"}},
	Reconfigures: true,
	Isolation:    true,
	KeptIsData:   true,
	StartTimeout: 10 * time.Minute, // its tables are made
	Check:        check,
}

func check(attrs *value.Component, _ component.Target) (problems []component.Problem) {
	for _, name := range []string{"siteName", "adminUser", "adminPassword", "path", "version"} {
		v, _ := attrs.Get(name)
		s, ok := v.(value.String)
		if !ok {
			continue
		}
		if expected := wrong(name, string(s)); expected != "" {
			p := component.Problem{
				Attr: name, Expected: expected, Found: string(s),
				Message: fmt.Sprintf("%s is not %s", name, expected), Remedy: "give " + expected,
			}
			if name == "adminPassword" {
				p.Found = "another text"
			}
			problems = append(problems, p)
		}
	}
	return problems
}

// placedFile notes what is placed in which container, before it is.
const placedFile = "placed.json"

type placed struct {
	Kind    kind   `json:"kind,omitempty"` // of the container; Tomcat if not said
	Home    string `json:"home"`
	URI     string `json:"uri"`
	Path    string `json:"path"`
	PHPPort int    `json:"phpPort"` // of the wiki's own PHP server; 0 under Apache
}

// placed is where the wiki is to be, but for a port of its own.
func (w wiki) placed() placed {
	return placed{Kind: w.at.kind, Home: w.at.home, URI: w.at.uri, Path: w.path}
}

func (p placed) app(c *component.Call, text string) httpd.App {
	return httpd.App{
		Server: httpd.Server{Home: p.Home, URI: p.URI},
		Path:   p.Path, Owner: host.ServiceName(c), Text: text,
	}
}

func (p placed) version(c *component.Call, log string) catalina.Version {
	return catalina.Version{
		Tomcat: catalina.Tomcat{Home: p.Home, URI: p.URI, Log: log},
		Path:   p.Path, Owner: host.ServiceName(c), Serial: 1,
	}
}

// Ports of PHP servers, on the machine's loopback address: below those that
// connections are given, so that none of these is in the way after a restart.
const (
	phpPorts     = 9100
	phpPortCount = 900
)

// remember returns what is noted of the wiki's place, after it has noted what
// is not yet.
func (w wiki) remember() (placed, error) {
	var p placed
	if _, err := host.ReadRecord(w.workDir, placedFile, &p); err != nil {
		return p, err
	}
	if p.PHPPort < 0 || p.PHPPort > 65535 {
		return p, fmt.Errorf("record %s: %d is no port", filepath.Join(w.workDir, placedFile), p.PHPPort)
	}
	next := w.placed()
	next.PHPPort = p.PHPPort
	if w.at.kind == apache {
		next.PHPPort = 0
	} else if next.PHPPort == 0 {
		sum := fnv.New32a()
		io.WriteString(sum, w.name)
		for n := range phpPortCount {
			port := phpPorts + int((sum.Sum32()+uint32(n))%phpPortCount)
			if _, taken := host.HolderOf("127.0.0.1", port); !taken {
				next.PHPPort = port
				break
			}
		}
		if next.PHPPort == 0 {
			return p, errors.New("no port is free for its PHP server")
		}
	}
	if next == p {
		return p, nil
	}
	return next, host.WriteRecord(w.workDir, placedFile, next)
}

// Deploy installs MediaWiki and places it in its container, where it is not
// there yet for those who ask.
func (m *Manager) Deploy(ctx context.Context, c *component.Call) error {
	w, err := read(ctx, c, c.Attrs, false)
	if err != nil {
		return err
	}
	wanted := host.Wanted{Names: []string{"mediawiki", "php-mysql", "php-cli"}, Proxy: c.Machine.Proxy, WorkDir: c.WorkDir}
	if w.at.kind == tomcat {
		wanted.Names = append(wanted.Names, "php-fpm", "libjetty9-java", "libjetty9-extra-java", "tomcat-jakartaee-migration")
	}
	if err := m.packages.Install(ctx, wanted, c.Env); err != nil {
		return err
	}
	if _, err := installedVersion(w.version); err != nil {
		return err
	}
	if err := w.make(ctx, c); err != nil {
		return err
	}
	c.Env.Output("uri", value.String(w.uri()))
	return nil
}

// make makes the wiki's files and places it in its container, if that is a
// Tomcat. An Apache has it when it is started.
func (w *wiki) make(ctx context.Context, c *component.Call) error {
	p, err := w.remember()
	if err != nil {
		return err
	}
	if w.at.kind == apache {
		if err := p.app(c, "").Rival(); err != nil {
			return err
		}
		if err := w.makeFolders(); err != nil {
			return err
		}
		return w.makeWeb(ctx)
	}
	w.phpPort = p.PHPPort
	version := p.version(c, w.at.log)
	if err := version.Rival(); err != nil {
		return err
	}
	if err := w.makeFolders(); err != nil {
		return err
	}
	if err := w.makeWeb(ctx); err != nil {
		return err
	}
	if err := write(w.phpFile(), w.phpConfig(), 0o644); err != nil {
		return err
	}
	own, err := w.descriptor()
	if err != nil {
		return err
	}
	return version.Place(catalina.Context{DocBase: w.web(), Drain: 5 * time.Second, Own: own})
}

func (w wiki) spec(server string) host.Spec {
	return host.Spec{
		Command:     []string{server, "--nodaemonize", "--fpm-config", w.phpFile()},
		Dir:         "/",
		Env:         map[string]string{"ALOFT_CONFIGURATION": host.Digest(w.phpConfig())},
		StopSignal:  syscall.SIGQUIT, // requests that are under way end
		StopTimeout: 10 * time.Second,
		Ready:       host.Ready{Ports: []string{fmt.Sprintf("127.0.0.1:%d", w.phpPort)}, Timeout: 30 * time.Second},
	}
}

// Start makes the wiki's tables where there are none, starts its PHP server,
// and waits for the main page.
func (m *Manager) Start(ctx context.Context, c *component.Call) error {
	w, err := read(ctx, c, c.Attrs, true)
	if err != nil {
		return err
	}
	if err := w.make(ctx, c); err != nil {
		return err
	}
	if err := w.place(); err != nil {
		return err
	}
	if err := w.prepare(ctx, false); err != nil {
		return err
	}
	return m.serve(ctx, c, w)
}

// serve has the container serve the wiki, and waits for the main page.
func (m *Manager) serve(ctx context.Context, c *component.Call, w wiki) error {
	p, err := w.remember()
	if err != nil {
		return err
	}
	up, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	if w.at.kind == apache {
		app := p.app(c, w.directives())
		if err := app.Place(up); err != nil {
			return err
		}
		if err := app.Await(up); err != nil {
			return err
		}
	} else if err := m.servePHP(up, c, w, p); err != nil {
		return err
	}
	for {
		err := w.ask(up)
		if err == nil {
			return nil
		}
		if host.Sleep(up, 200*time.Millisecond) != nil {
			return &component.Failure{Err: fmt.Errorf("the wiki's main page: %w", err), Output: host.Tail(c.WorkDir)}
		}
	}
}

// servePHP starts the wiki's own PHP server, or adopts it, and waits until its
// Tomcat has the wiki.
func (m *Manager) servePHP(ctx context.Context, c *component.Call, w wiki, p placed) error {
	server, err := phpServer()
	if err != nil {
		return err
	}
	if _, err := m.processes.Start(ctx, c.WorkDir, w.spec(server), host.Report(c)); err != nil {
		return err
	}
	return p.version(c, w.at.log).Await(ctx, 0)
}

// upTime is how long the container may take to serve the wiki.
const upTime = 3 * time.Minute

// order is what the programs beside the wiki are told.
type order struct {
	Host          string `json:"host"`
	Port          int    `json:"port"`
	User          string `json:"user"`
	Password      string `json:"password"`
	Database      string `json:"database"`
	Program       string `json:"program"`
	Version       string `json:"version"`
	Config        string `json:"config"`
	Scratch       string `json:"scratch"`
	Path          string `json:"path"`
	Server        string `json:"server"`
	SiteName      string `json:"siteName"`
	AdminUser     string `json:"adminUser"`
	AdminPassword string `json:"adminPassword"`
	Change        bool   `json:"change"` // the administrator's password
}

// prepare sees to it that there are tables, and the administrator.
func (w wiki) prepare(ctx context.Context, change bool) error {
	version, err := installedVersion(w.version)
	if err != nil {
		return err
	}
	b, err := json.Marshal(order{
		Host: w.db.host, Port: w.db.port, User: w.db.user, Password: w.db.password, Database: databaseName,
		Program: program, Version: version, Config: w.localSettings(), Scratch: filepath.Join(w.folder(), "scratch"),
		Path: w.path, Server: w.server(), SiteName: w.siteName, AdminUser: w.admin, AdminPassword: w.adminPass, Change: change,
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"prepare", "admin"} {
		task := host.Task{
			Name:    name + ".php",
			Command: []string{"runuser", "-u", account, "--", "php", filepath.Join(w.config(), name+".php")},
			Dir:     "/",
			Env:     map[string]string{"ALOFT_MEDIAWIKI": program, "MW_CONFIG_FILE": w.localSettings(), "MW_INSTALL_PATH": program, "HOME": filepath.Join(w.folder(), "scratch")},
			Stdin:   b,
			Timeout: prepareTime,
		}
		if _, err := task.Run(ctx, w.workDir); err != nil {
			return fmt.Errorf("prepare the wiki's database: %w", err)
		}
	}
	return nil
}

const prepareTime = 5 * time.Minute

// ask returns nil if the wiki's main page is served.
func (w wiki) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.uri(), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", resp.Request.URL, resp.Status)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 8<<20))
	return err
}

// Reconfigure writes the settings anew, with which the next request is
// answered.
func (m *Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	old, err := read(ctx, c, c.Old, true)
	if err != nil {
		return err
	}
	next, err := read(ctx, c, c.Attrs, true)
	if err != nil {
		return err
	}
	err = m.switchTo(ctx, c, next, next.admin != old.admin || next.adminPass != old.adminPass)
	if err == nil {
		c.Env.Output("uri", value.String(next.uri()))
		return nil
	}
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Second)
	defer cancel()
	if backErr := errors.Join(old.make(back, c), old.place()); backErr != nil {
		return fmt.Errorf("%w (and not back to what it was: %w)", err, backErr)
	}
	return err
}

func (m *Manager) switchTo(ctx context.Context, c *component.Call, w wiki, change bool) error {
	if err := w.make(ctx, c); err != nil {
		return err
	}
	if err := w.place(); err != nil {
		return err
	}
	if err := w.prepare(ctx, change); err != nil {
		return err
	}
	return m.serve(ctx, c, w)
}

// Terminate takes the wiki out of its container, stops its PHP server and
// deletes its files, and, unless that is to stay, what was uploaded to this
// machine. The database is not the wiki's, and stays.
func (m *Manager) Terminate(ctx context.Context, c *component.Call) error {
	var p placed
	found, err := host.ReadRecord(c.WorkDir, placedFile, &p)
	if err != nil {
		return err
	}
	switch {
	case found && p.Kind == apache:
		err = p.app(c, "").Remove(ctx)
	case found:
		err = p.version(c, "").Remove(ctx)
	}
	if err != nil {
		return err
	}
	if err := m.processes.Stop(ctx, c.WorkDir, syscall.SIGQUIT, 10*time.Second, host.KilledOf(c)); err != nil {
		return err
	}
	if err := host.EndTasks(ctx, c.WorkDir); err != nil {
		return err
	}
	if err := (wiki{name: host.ServiceName(c)}).clear(c.Returns || class.Values(c.Attrs).Bool("keepOnTerminate")); err != nil {
		return err
	}
	return errors.Join(
		host.RemoveFile(filepath.Join(c.WorkDir, placedFile)),
		host.RemoveOutput(filepath.Join(c.WorkDir, host.OutputFile)),
	)
}

// clear deletes the wiki's files on this machine, but for what was uploaded if
// that is kept for the next one.
func (w wiki) clear(kept bool) error {
	if !kept {
		return os.RemoveAll(w.folder())
	}
	entries, err := os.ReadDir(w.folder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if path := filepath.Join(w.folder(), e.Name()); path != w.images() && path != w.deleted() {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// Ping asks for the main page, and an Apache whether it has the wiki.
func (m *Manager) Ping(ctx context.Context, c *component.Call) error {
	w, err := read(ctx, c, c.Attrs, false)
	if err != nil {
		return err
	}
	if w.at.kind == tomcat {
		if err := m.processes.Ping(c.WorkDir); err != nil {
			return err
		}
	}
	if w.at.kind == apache { // asked first: the page may take all the time there is
		if err := w.placed().app(c, w.directives()).Up(ctx); errors.Is(err, httpd.ErrNotTakenUp) {
			return err // its start places it again
		}
	}
	if err := w.ask(ctx); err != nil {
		// What serves it has a ping of its own: what fails is its database, its container, or too many
		// visitors, and to end it would mend none of these.
		return fmt.Errorf("%w: %w", err, component.ErrNoEnd)
	}
	return nil
}
