package mediawiki

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/host/catalina"
	"aloft/value"
)

// What is written beside a wiki, and is the same for each.
var (
	//go:embed LocalSettings.php
	localSettings []byte
	//go:embed prepare.php
	prepareProgram []byte
	//go:embed admin.php
	adminProgram []byte
)

// account is who PHP runs as, from the distribution.
const account = "www-data"

// databaseName is that of a wiki's database on its server.
const databaseName = "mediawiki"

// wiki is what the attributes say of one wiki, and the places it goes to.
type wiki struct {
	name      string
	path      string // "/mediawiki"
	siteName  string
	admin     string
	adminPass string
	version   string // wanted, or ""
	at        container
	phpPort   int // of its own PHP server; 0 under Apache
	db        database
	workDir   string
}

// database is how the wiki reaches its database.
type database struct {
	host, user, password string
	port                 int
}

func (w wiki) folder() string        { return filepath.Join("/var/lib", w.name) }
func (w wiki) root() string          { return filepath.Join(w.folder(), "web") } // what the server of pages has as /
func (w wiki) web() string           { return filepath.Join(w.root(), w.path) }
func (w wiki) images() string        { return filepath.Join(w.folder(), "images") }
func (w wiki) deleted() string       { return filepath.Join(w.folder(), "deleted") }
func (w wiki) config() string        { return filepath.Join(w.folder(), "config") }
func (w wiki) localSettings() string { return filepath.Join(w.config(), "LocalSettings.php") }
func (w wiki) phpFile() string       { return filepath.Join(w.config(), "php-fpm.conf") }
func (w wiki) uri() string           { return strings.TrimSuffix(w.at.uri, "/") + w.path }

// wrong says what is wrong with an attribute that is a text, and "" of one that
// is right.
func wrong(name, text string) (expected string) {
	control := strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text)
	switch name {
	case "siteName":
		if control || strings.TrimSpace(text) == "" || len(text) > 200 {
			return "a name of one line"
		}
	case "adminUser":
		if control || strings.TrimSpace(text) == "" || len(text) > 200 || strings.ContainsAny(text, "#<>[]|{}/@:_=\"\\") {
			return `the name of a user of the wiki, without any of #<>[]|{}/@:_="\`
		}
	case "adminPassword":
		if utf8.RuneCountInString(text) < 10 || control || len(text) > 4000 {
			return "a password of 10 characters or more, on one line"
		}
	case "path":
		if text == "" || catalina.CheckPath(text) != nil {
			return `a path such as "/mediawiki"`
		}
	case "version":
		if !versionForm.MatchString(text) {
			return `a version such as "1.39"`
		}
	}
	return ""
}

var versionForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*$`)

// read reads the attributes; the database only if asked, since before start
// there may be none.
func read(ctx context.Context, c *component.Call, attrs *value.Component, all bool) (wiki, error) {
	v := class.Values(attrs)
	w := wiki{
		name: host.ServiceName(c), workDir: c.WorkDir,
		path: v.Text("path"), siteName: v.Text("siteName"), admin: v.Text("adminUser"), adminPass: v.Text("adminPassword"), version: v.Text("version"),
	}
	if err := v.Err(); err != nil {
		return w, err
	}
	for name, text := range map[string]string{"path": w.path, "siteName": w.siteName, "adminUser": w.admin, "adminPassword": w.adminPass} {
		if expected := wrong(name, text); expected != "" {
			return w, fmt.Errorf("attribute %s: it is not %s", name, expected)
		}
	}
	if w.version != "" && wrong("version", w.version) != "" {
		return w, fmt.Errorf("attribute version: %q is not %s", w.version, wrong("version", w.version))
	}
	var err error
	if w.at, err = findContainer(ctx, c, attrs); err != nil {
		return w, err
	}
	if all {
		if w.db, err = readDatabase(v.Table("db")); err != nil {
			return w, fmt.Errorf("attribute db: %w", err)
		}
	}
	return w, v.Err()
}

// readDatabase reads the component that the database is.
func readDatabase(c *value.Component) (database, error) {
	text := func(name string) string {
		v, _ := c.Get(name)
		s, _ := v.(value.String)
		return string(s)
	}
	d := database{host: text("host"), user: text("user"), password: text("password")}
	if p, _ := c.Get("port"); p != nil {
		n, ok := p.(value.Integer)
		if !ok || n < 1 || n > 65535 {
			return d, fmt.Errorf("its port is %v", p)
		}
		d.port = int(n)
	}
	if d.user == "" {
		d.user, d.password = "root", text("rootPassword")
	}
	switch {
	case d.host == "" || d.port == 0:
		return d, errors.New("the component it names has no host and port: it is no database server")
	case d.password == "":
		return d, &component.Failure{
			Err:    fmt.Errorf("its user %s has no password", d.user),
			Remedy: `give the database a password, as: password extends DATA Secret { name "wiki-db"; }`,
		}
	case strings.ContainsFunc(d.host+d.user, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return d, errors.New("its host and user are no names")
	}
	return d, nil
}

// key is a key of the wiki that all its web machines have, since they have the
// database's password; from it nobody learns that.
func (d database) key(purpose string) string {
	mac := hmac.New(sha256.New, []byte(d.password))
	mac.Write([]byte("aloft mediawiki " + purpose + " " + databaseName))
	return hex.EncodeToString(mac.Sum(nil))
}

// settings is settings.json: MediaWiki's settings by name, without wg.
func (w wiki) settings() ([]byte, error) {
	return json.MarshalIndent(map[string]any{
		"Sitename":         w.siteName,
		"MetaNamespace":    "Project",
		"ScriptPath":       w.path,
		"Server":           w.server(),
		"DBserver":         net.JoinHostPort(w.db.host, strconv.Itoa(w.db.port)),
		"DBname":           databaseName,
		"DBuser":           w.db.user,
		"DBpassword":       w.db.password,
		"SecretKey":        w.db.key("secret"),
		"UpgradeKey":       w.db.key("upgrade")[:16],
		"UploadDirectory":  w.images(),
		"DeletedDirectory": w.deleted(),
		"TmpDirectory":     filepath.Join(w.folder(), "tmp"),
		"CacheDirectory":   filepath.Join(w.folder(), "cache"),
	}, "", "  ")
}

// server is what MediaWiki's own programs take for the wiki's address.
func (w wiki) server() string { return strings.TrimSuffix(w.at.uri, "/") }

// makeFolders makes what PHP writes to, and what it alone reads.
func (w wiki) makeFolders() error {
	u, err := host.LookupUser(account)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.folder(), 0o755); err != nil {
		return err
	}
	// images is read by the server of pages; the rest is nobody else's.
	for dir, mode := range map[string]os.FileMode{"images": 0o755, "deleted": 0o700, "tmp": 0o700, "cache": 0o700, "scratch": 0o700} {
		path := filepath.Join(w.folder(), dir)
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
		if err := os.Lchown(path, u.UID, u.GID); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(w.config(), 0o750); err != nil {
		return err
	}
	if err := os.Lchown(w.config(), 0, u.GID); err != nil {
		return err
	}
	return errors.Join(
		write(w.localSettings(), localSettings, 0o644),
		write(filepath.Join(w.config(), "prepare.php"), prepareProgram, 0o644),
		write(filepath.Join(w.config(), "admin.php"), adminProgram, 0o644),
	)
}

// place writes the settings. They are read with each request.
func (w wiki) place() error {
	u, err := host.LookupUser(account)
	if err != nil {
		return err
	}
	b, err := w.settings()
	if err != nil {
		return err
	}
	file := filepath.Join(w.config(), "settings.json")
	if old, err := os.ReadFile(file); err == nil && string(old) == string(b) {
		return nil
	}
	return host.WriteFileFor(file, b, 0o640, 0, u.GID)
}

// write writes a file, unless it is so already.
func write(path string, content []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(content) {
		return nil
	}
	return host.WriteFile(path, content, mode)
}

var versionLine = regexp.MustCompile(`define\(\s*'MW_VERSION',\s*'([0-9]+\.[0-9][0-9A-Za-z.-]*)'`)

// installedVersion reads which MediaWiki the package brought, and checks that it
// is the one that is wanted.
func installedVersion(wanted string) (string, error) {
	b, err := os.ReadFile(filepath.Join(program, "includes", "Defines.php"))
	if err != nil {
		return "", err
	}
	m := versionLine.FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("%s does not say its version", program)
	}
	have := string(m[1])
	if wanted != "" && have != wanted && !strings.HasPrefix(have, wanted+".") {
		return "", &component.Failure{
			Err:    fmt.Errorf("this machine's package sources have MediaWiki %s, not %s", have, wanted),
			Remedy: "leave out version, or add a source that has it (Repository)",
		}
	}
	return have, nil
}
