package mediawiki

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/internal/host"
)

// program is where the distribution's package puts MediaWiki.
const program = "/usr/share/mediawiki"

// entries are the pages of MediaWiki that browsers ask for. No other of its
// programs can be reached.
var entries = []string{"api", "img_auth", "index", "load", "opensearch_desc", "rest", "thumb"}

// jars are what speaks FastCGI in a servlet container, from Jetty.
var jars = []string{"fcgi-client", "fcgi-server", "proxy", "client", "http", "io", "util"}

// entry is a page that runs MediaWiki's own of that name. It lies where nothing
// else does, so that the server of pages finds what it may run, and no more.
func entry(name string) []byte {
	return fmt.Appendf(nil, "<?php\n# Written by aloft.\nrequire '%s/%s.php';\n", program, name)
}

// makeWeb makes the folder that is served: the entries, and under Tomcat the
// application that passes them on.
func (w wiki) makeWeb(ctx context.Context) error {
	if err := os.MkdirAll(w.web(), 0o755); err != nil {
		return err
	}
	for _, name := range entries {
		if err := write(filepath.Join(w.web(), name+".php"), entry(name), 0o644); err != nil {
			return err
		}
	}
	if w.at.kind != tomcat {
		return nil
	}
	inf := filepath.Join(w.web(), "WEB-INF")
	if err := os.MkdirAll(inf, 0o755); err != nil {
		return err
	}
	text, err := w.webXML()
	if err != nil {
		return err
	}
	if err := write(filepath.Join(inf, "web.xml"), text, 0o644); err != nil {
		return err
	}
	if err := write(filepath.Join(inf, "rewrite.config"), []byte("RewriteRule ^/?$ /index.php [R=302,L]\n"), 0o644); err != nil {
		return err
	}
	return giveLibraries(ctx, filepath.Join(inf, "lib"), filepath.Join(w.folder(), "jetty"))
}

// libraries is where what passes requests on is, for all wikis of the machine.
// It stays, as the packages do that it is made of.
const libraries = "/var/lib/aloft-fastcgi"

// giveLibraries puts Jetty's libraries, which are of the time before Tomcat 10,
// where the application finds them, with the names that Tomcat 10 has.
func giveLibraries(ctx context.Context, lib, work string) error {
	if _, err := os.Stat(lib); err == nil {
		return nil // it got its name when it was whole
	}
	if err := convert(ctx, libraries, work); err != nil {
		return err
	}
	next := lib + ".new"
	if err := errors.Join(os.RemoveAll(next), os.MkdirAll(next, 0o755)); err != nil {
		return err
	}
	for _, jar := range jars {
		if err := os.Link(filepath.Join(libraries, jar+".jar"), filepath.Join(next, jar+".jar")); err != nil {
			return err
		}
	}
	return os.Rename(next, lib)
}

// convert makes the folder of the libraries, unless it is there. Several may be
// at it at a time, each in a folder of its own; the first that has it whole
// gives it its name.
func convert(ctx context.Context, to, work string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	defer os.RemoveAll(work)
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	from, made := filepath.Join(work, "from"), filepath.Join(work, "made")
	for _, dir := range []string{from, made} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, jar := range jars {
		b, err := os.ReadFile(filepath.Join("/usr/share/java", "jetty9-"+jar+".jar"))
		if err != nil {
			return err
		}
		if err := host.WriteFile(filepath.Join(from, jar+".jar"), b, 0o644); err != nil {
			return err
		}
	}
	if err := host.Command(ctx, "javax2jakarta", from, made); err != nil {
		return err
	}
	if err := os.Rename(made, to); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// The elements of web.xml, as far as they are written.
type (
	webApp struct {
		XMLName xml.Name   `xml:"https://jakarta.ee/xml/ns/jakartaee web-app"`
		Version string     `xml:"version,attr"`
		Servlet servletXML `xml:"servlet"`
		Mapping mappingXML `xml:"servlet-mapping"`
	}
	servletXML struct {
		Name   string     `xml:"servlet-name"`
		Class  string     `xml:"servlet-class"`
		Params []paramXML `xml:"init-param"`
		Load   int        `xml:"load-on-startup"`
		Async  bool       `xml:"async-supported"`
	}
	paramXML struct {
		Name  string `xml:"param-name"`
		Value string `xml:"param-value"`
	}
	mappingXML struct {
		Name     string   `xml:"servlet-name"`
		Patterns []string `xml:"url-pattern"`
	}
)

// answerTime is how long PHP may take over one request.
const answerTime = 5 * time.Minute

// webXML is the application that passes requests for the entries on to PHP.
func (w wiki) webXML() ([]byte, error) {
	ms := strconv.FormatInt(answerTime.Milliseconds(), 10)
	app := webApp{
		Version: "6.0",
		Servlet: servletXML{
			Name: "php", Class: "org.eclipse.jetty.fcgi.server.proxy.FastCGIProxyServlet", Load: 1, Async: true,
			Params: []paramXML{
				{"proxyTo", "http://127.0.0.1:" + strconv.Itoa(w.phpPort) + w.path},
				{"scriptRoot", w.root()},
				{"scriptPattern", `(\Q` + w.path + `\E/[a-z_]+\.php)(/.*)?`},
				{"preserveHost", "true"},
				{"maxThreads", "32"},
				// PHP has a process for each: more would wait for one that is kept open.
				{"maxConnections", strconv.Itoa(phpProcesses)},
				{"timeout", ms},
				{"idleTimeout", ms},
			},
		},
		Mapping: mappingXML{Name: "php", Patterns: []string{"*.php"}},
	}
	for _, name := range entries { // with more behind it
		app.Mapping.Patterns = append(app.Mapping.Patterns, "/"+name+".php/*")
	}
	b, err := xml.MarshalIndent(app, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

// The descriptor of that application: beside its own folder it serves what of
// MediaWiki is no program.
type (
	contextXML struct {
		XMLName xml.Name    `xml:"Context"`
		Valve   []classXML  `xml:"Valve"`
		Sets    []folderXML `xml:"Resources>PostResources"`
	}
	classXML struct {
		Class string `xml:"className,attr"`
	}
	folderXML struct {
		Class string `xml:"className,attr"`
		Base  string `xml:"base,attr"`
		Mount string `xml:"webAppMount,attr"`
	}
)

// static are the folders that are served as they are, by their path.
func (w wiki) static() [][2]string {
	return [][2]string{
		{"/images", w.images()},
		{"/resources", filepath.Join(program, "resources")},
		{"/skins", filepath.Join(program, "skins")},
	}
}

func (w wiki) descriptor() ([]byte, error) {
	c := contextXML{Valve: []classXML{{"org.apache.catalina.valves.rewrite.RewriteValve"}}}
	for _, s := range w.static() {
		c.Sets = append(c.Sets, folderXML{"org.apache.catalina.webresources.DirResourceSet", s[1], s[0]})
	}
	return xml.Marshal(c)
}

// phpValues are settings of PHP for the wiki, in any server.
var phpValues = [][2]string{
	{"memory_limit", "256M"},
	{"upload_max_filesize", "100M"},
	{"post_max_size", "110M"},
	{"max_execution_time", strconv.Itoa(int(answerTime.Seconds()))},
}

// phpProcesses is how many requests PHP works on at a time.
const phpProcesses = 8

// phpConfig is the configuration of the wiki's own PHP server. All words in it
// are ours.
func (w wiki) phpConfig() []byte {
	lines := []string{
		"; Written by aloft; changes are overwritten.",
		"[global]", "error_log = /proc/self/fd/2", "daemonize = no", "process_control_timeout = 5s",
		"[wiki]", "user = " + account, "group = " + account,
		"listen = 127.0.0.1:" + strconv.Itoa(w.phpPort), "listen.allowed_clients = 127.0.0.1",
		// Not ondemand: of two connections that come at the same time while one
		// process is free, the second waits until another comes, for connections
		// are kept open. And processes go on: with its last request one would
		// close a connection that the next request may be on already.
		"pm = dynamic", "pm.max_children = " + strconv.Itoa(phpProcesses), "pm.start_servers = 2", "pm.min_spare_servers = 2", "pm.max_spare_servers = 4",
		"catch_workers_output = yes", "decorate_workers_output = no", "security.limit_extensions = .php",
		"env[MW_CONFIG_FILE] = " + w.localSettings(), "env[MW_INSTALL_PATH] = " + program,
		"php_admin_flag[display_errors] = off", "php_admin_flag[log_errors] = on", "php_admin_flag[expose_php] = off",
	}
	for _, v := range phpValues {
		lines = append(lines, fmt.Sprintf("php_admin_value[%s] = %s", v[0], v[1]))
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// phpServer returns the program of the PHP server, whose name has its version.
func phpServer() (string, error) {
	found, err := filepath.Glob("/usr/sbin/php-fpm[0-9]*")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("there is no /usr/sbin/php-fpm: %w", os.ErrNotExist)
	}
	slices.Sort(found)
	return found[len(found)-1], nil
}
