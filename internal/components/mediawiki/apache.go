package mediawiki

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// directives are what an Apache is told of the wiki. All words in them are ours,
// and a path that has been checked.
func (w wiki) directives() string {
	var b strings.Builder
	path := regexp.QuoteMeta(w.path)
	fmt.Fprintf(&b, "RewriteRule \"^%s/?$\" \"%s/index.php\" [R=302,L]\n", path, w.path)
	var names []string
	for _, s := range w.static() {
		names = append(names, strings.TrimPrefix(s[0], "/"))
	}
	// What lies there is shown, and never a program.
	fmt.Fprintf(&b, "RewriteRule \"^%s/(?:%s)/.*\\.(?:php[0-9]?|phtml|phar|phps|inc)(?:/|$)\" \"-\" [R=404,NC,L]\n", path, strings.Join(names, "|"))
	fmt.Fprintf(&b, "RewriteRule \"^%s/\" \"-\" [L]\nProxyPass \"%s\" \"!\"\n", path, w.path)
	for _, s := range w.static() {
		fmt.Fprintf(&b, "Alias \"%s%s\" \"%s\"\n", w.path, s[0], s[1])
	}
	fmt.Fprintf(&b, "Alias \"%s\" \"%s\"\n", w.path, w.web())
	for _, dir := range []string{w.images(), filepath.Join(program, "resources"), filepath.Join(program, "skins")} {
		fmt.Fprintf(&b, "<Directory \"%s\">\n  DirectoryIndex disabled\n  php_admin_flag engine off\n  Header set X-Content-Type-Options nosniff\n</Directory>\n", dir)
	}
	fmt.Fprintf(&b, "<Directory \"%s\">\n  DirectoryIndex disabled\n  SetEnv MW_CONFIG_FILE \"%s\"\n  SetEnv MW_INSTALL_PATH \"%s\"\n", w.web(), w.localSettings(), program)
	for _, v := range phpValues {
		fmt.Fprintf(&b, "  php_admin_value %s %s\n", v[0], v[1])
	}
	b.WriteString("  php_admin_flag display_errors off\n  php_admin_flag log_errors on\n</Directory>\n")
	return b.String()
}
