package apache

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"aloft/component"
	"aloft/internal/host/httpd"
	"aloft/internal/host/sites"
)

// form is what Apache knows of sites, and how it is said.
var (
	form      = sites.Form{Balances: []string{"roundrobin", "leastconn"}, Library: "aloft/apache.sf"}
	balancing = map[string]string{"": "byrequests", "roundrobin": "byrequests", "leastconn": "bybusyness"}
)

// base are the modules that every server has. Of Debian's configuration for
// them nothing is used.
var base = []string{
	"authz_core", "alias", "dir", "mime", "env", "headers", "rewrite", "setenvif", "socache_shmcb",
	"proxy", "proxy_http", "slotmem_shm", "proxy_balancer", "lbmethod_byrequests", "lbmethod_bybusyness",
}

const (
	moduleFolder = "/usr/lib/apache2/modules"
	moduleTexts  = "/etc/apache2/mods-available"
)

var moduleWord = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// wrongModule says what is wrong with the name of a module that is wanted, and
// what to do about it.
func wrongModule(name string) (what, remedy string) {
	switch {
	case !moduleWord.MatchString(name):
		return fmt.Sprintf("%q is not the name of a module", name), `give it as a2enmod knows it, such as "deflate"`
	case strings.HasPrefix(name, "mpm_"):
		return "how it works on requests at the same time is not chosen by a module", "leave it out: with PHP it has processes, else threads"
	case strings.HasPrefix(name, "php"):
		return "PHP is not one of the modules", "say php true"
	}
	return "", ""
}

// moduleLines writes the directives that load the modules, with those that
// modules wanted by name need, and with Debian's configuration for these. What is
// open is said before: so what such a configuration closes is closed in all sites.
func (s server) moduleLines(b *bytes.Buffer) error {
	loaded := map[string]bool{}
	load := func(name string) {
		if !loaded[name] {
			loaded[name] = true
			fmt.Fprintf(b, "LoadModule %s_module %s/mod_%s.so\n", name, moduleFolder, name)
		}
	}
	if s.php {
		load("mpm_prefork")
	} else {
		load("mpm_event")
	}
	for _, name := range base {
		load(name)
	}
	if s.cert != nil {
		load("ssl")
	}
	if s.php {
		found, err := filepath.Glob(filepath.Join(moduleFolder, "libphp*.so"))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("there is no %s/libphp*.so: %w", moduleFolder, os.ErrNotExist)
		}
		fmt.Fprintf(b, "LoadModule php_module %s\n", slices.Max(found))
	}
	b.WriteString("<Location \"/\">\n  Require all granted\n</Location>\n")
	var want func(name string) error
	want = func(name string) error {
		if loaded[name] {
			return nil
		}
		loaded[name] = true
		path := filepath.Join(moduleTexts, name+".load")
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return &component.Failure{
				Err:    fmt.Errorf("attribute modules: this machine has no module %s of Apache", name),
				Remedy: "see its name in " + moduleTexts + ", or install its package (Package)",
			}
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if needs, ok := strings.CutPrefix(line, "# Depends:"); ok {
				for other := range strings.FieldsSeq(needs) {
					if !moduleWord.MatchString(other) {
						return fmt.Errorf("%s needs %q, which is not the name of a module", path, other)
					}
					if err := want(other); err != nil {
						return err
					}
				}
			}
		}
		fmt.Fprintf(b, "Include %s\n", path)
		config := filepath.Join(moduleTexts, name+".conf")
		if _, err := os.Stat(config); err == nil {
			fmt.Fprintf(b, "Include %s\n", config)
		}
		return nil
	}
	for _, name := range s.modules {
		if err := want(name); err != nil {
			return err
		}
	}
	return nil
}

// render writes the server's configuration, and says how it is known. Words from a description are in
// quotes, and have been checked when they were read.
func (s server) render() (config []byte, mark httpd.Mark, err error) {
	var b, hosts bytes.Buffer
	run := s.at().Run()
	fmt.Fprintf(&b, "# Written by aloft; changes are overwritten.\n"+
		"Define APACHE_RUN_DIR %s\nDefine APACHE_LOCK_DIR %[1]s\nDefine APACHE_LOG_DIR %[1]s\nDefine APACHE_PID_FILE %[2]s\n"+
		"Define APACHE_RUN_USER %[3]s\nDefine APACHE_RUN_GROUP %[3]s\n"+
		"ServerRoot /etc/apache2\nDefaultRuntimeDir %[1]s\nPidFile %[2]s\n", run, s.at().PidFile(), account)
	if err := s.moduleLines(&b); err != nil {
		return nil, mark, err
	}
	fmt.Fprintf(&b, "User %s\nGroup %[1]s\n", account)
	if s.cert != nil {
		b.WriteString("SSLProtocol -all +TLSv1.2 +TLSv1.3\nSSLSessionTickets on\n")
	}
	b.WriteString("ServerName none.invalid\nServerTokens Prod\nServerSignature Off\nTraceEnable Off\n" +
		"UseCanonicalName Off\nAllowEncodedSlashes NoDecode\n" +
		"Timeout 300\nKeepAliveTimeout 5\nGracefulShutdownTimeout 8\n" +
		"ErrorLog /dev/stderr\nLogLevel warn\nCustomLog /dev/stdout \"%h %l %u %t \\\"%r\\\" %>s %O\"\n" +
		"TypesConfig /etc/mime.types\nProxyRequests Off\nProxyPreserveHost On\n" +
		"<Directory />\n  Options FollowSymLinks\n  AllowOverride None\n  Require all denied\n</Directory>\n")
	if s.php {
		b.WriteString("DirectoryIndex index.php index.html\n<FilesMatch \"\\.php$\">\n  SetHandler application/x-httpd-php\n</FilesMatch>\n")
	} else {
		b.WriteString("DirectoryIndex index.html\n")
	}
	groups := 0
	for _, port := range s.ports {
		fmt.Fprintf(&b, "Listen %d\n", port)
		at := slices.DeleteFunc(slices.Clone(s.sites), func(x sites.Site) bool { return x.Port != port })
		if len(at) == 0 { // it answers, if only that there is nothing
			at = []sites.Site{{Port: port}}
		}
		// One that answers to all names is where requests for names go that
		// nobody has: Apache takes the first.
		slices.SortStableFunc(at, func(x, y sites.Site) int { return cmp.Compare(min(1, len(x.Hosts)), min(1, len(y.Hosts))) })
		if port == s.port && s.https != 0 {
			fmt.Fprintf(&b, "Listen %d https\n", s.https)
			for _, x := range slices.Clone(at) {
				x.Port = s.https
				at = append(at, x)
			}
		}
		for _, x := range at {
			s.site(&b, &hosts, x, &groups)
		}
	}
	b.Write(hosts.Bytes())
	b.WriteString(httpd.Alive(s.port))
	mark = httpd.MarkOf(b.Bytes())
	b.WriteString(mark.Directives(s.port))
	return b.Bytes(), mark, nil
}

// site writes a site, and the groups of its upstreams to b.
func (s server) site(b, hosts *bytes.Buffer, x sites.Site, groups *int) {
	fmt.Fprintf(hosts, "<VirtualHost *:%d>\n  ServerName none.invalid\n", x.Port)
	if s.https != 0 && x.Port == s.https {
		fmt.Fprintf(hosts, "  SSLEngine on\n  SSLCertificateFile \"%s\"\n  SSLCertificateKeyFile \"%s\"\n", s.cert.CertFile, s.cert.KeyFile)
	}
	for _, name := range x.Hosts {
		if rest, ok := strings.CutPrefix(name, "."); ok {
			fmt.Fprintf(hosts, "  ServerAlias \"%s\" \"*.%[1]s\"\n", rest)
		} else {
			fmt.Fprintf(hosts, "  ServerAlias \"%s\"\n", name)
		}
	}
	root := s.empty()
	places := slices.Clone(x.Places)
	// Of several that match, the longest counts: it comes first.
	slices.SortStableFunc(places, func(p, q sites.Place) int { return cmp.Compare(len(q.Path), len(p.Path)) })
	fmt.Fprintf(hosts, "  RewriteEngine On\n")
	if x.Port == s.port || x.Port == s.https {
		fmt.Fprintf(hosts, "  IncludeOptional %s/*.conf\n", s.at().Apps())
	}
	for _, p := range places {
		for _, page := range p.Pages {
			whole := "^" + regexp.QuoteMeta(page.Path) + "$"
			fmt.Fprintf(hosts, "  RewriteRule \"%s\" \"-\" [L]\n  ProxyPassMatch \"%[1]s\" \"!\"\n  AliasMatch \"%[1]s\" \"%s\"\n",
				whole, filepath.Join(s.pages(), page.File))
		}
	}
	for _, p := range places {
		below := "^" + regexp.QuoteMeta(p.Path)
		if !strings.HasSuffix(p.Path, "/") {
			below += "(?:/|$)"
		}
		to := "-"
		flags := "L"
		if p.Redirect != "" {
			// A percent sign would begin a variable.
			to, flags = strings.ReplaceAll(p.Redirect, "%", `\%`), "R=302,NE,QSD,L"
		}
		fmt.Fprintf(hosts, "  RewriteRule \"%s\" \"%s\" [%s]\n", below, to, flags)
		if p.Upstreams == nil {
			fmt.Fprintf(hosts, "  ProxyPass \"%s\" \"!\"\n", p.Path)
			switch {
			case p.Root == "":
			case p.Path == "/":
				root = p.Root
			case strings.HasSuffix(p.Path, "/"):
				fmt.Fprintf(hosts, "  Alias \"%s\" \"%s/\"\n", p.Path, strings.TrimSuffix(p.Root, "/"))
			default:
				fmt.Fprintf(hosts, "  Alias \"%s\" \"%s\"\n", p.Path, strings.TrimSuffix(p.Root, "/"))
			}
			continue
		}
		group := fmt.Sprintf("balancer://group%d", *groups)
		*groups++
		fmt.Fprintf(b, "<Proxy \"%s\">\n", group)
		for _, address := range p.Upstreams {
			fmt.Fprintf(b, "  BalancerMember \"http://%s\" connectiontimeout=2 retry=10\n", address)
		}
		fmt.Fprintf(b, "  ProxySet lbmethod=%s\n</Proxy>\n", balancing[p.Balance])
		fmt.Fprintf(hosts, "  ProxyPass \"%s\" \"%s%[1]s\" nocanon\n", p.Path, group)
	}
	hosts.WriteString("  RequestHeader set X-Real-IP \"expr=%{REMOTE_ADDR}\"\n  RequestHeader set X-Forwarded-Proto \"expr=%{REQUEST_SCHEME}\"\n")
	fmt.Fprintf(hosts, "  DocumentRoot \"%s\"\n</VirtualHost>\n", root)
}
