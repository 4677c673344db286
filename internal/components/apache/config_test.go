package apache

import (
	"bytes"
	"strings"
	"testing"

	"aloft/internal/host"
	"aloft/value"
)

// Whatever stands in a description, no line of the configuration begins with a
// word of its, and none is cut off or joined to the next.
func FuzzSite(f *testing.F) {
	f.Add("/a", "/srv/www", "http://h/x", "a.example", "h:80")
	f.Add("/\"\nLoadModule x y\n", "/x\"\nUser root", "http://\"\nUser root", "a\nb", "h\"\n:1")
	f.Fuzz(func(t *testing.T, path, root, redirect, name, upstream string) {
		text := func(pairs ...any) *value.Component {
			c := value.NewComponent(true)
			for i := 0; i < len(pairs); i += 2 {
				c.Set(value.Attr{Name: pairs[i].(string), Value: pairs[i+1].(value.Value)})
			}
			return c
		}
		all, err := form.Read(text("s", text("serverName", value.String(name), "locations", text(
			path, text("root", value.String(root)),
			"/redirect", text("redirect", value.String(redirect)),
			"/upstream", text("upstreams", value.Vector{value.String(upstream)}),
			"/pages", text("pages", text(path, value.String(root))),
		))), 80, host.Tree{Folder: "/", WorkDir: "/work"})
		if err != nil {
			return
		}
		var b, hosts bytes.Buffer
		groups := 0
		server{name: "n", port: 80}.site(&b, &hosts, all[0], &groups)
		for line := range strings.Lines(b.String() + hosts.String()) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if !known[word] || strings.Count(strings.ReplaceAll(line, `\"`, ""), `"`)%2 != 0 || strings.HasSuffix(line, "\\\n") || strings.Contains(line, "${") {
				t.Errorf("a line of the configuration is %q", line)
			}
		}
	})
}

var known = map[string]bool{
	"<VirtualHost": true, "</VirtualHost>": true, "<Proxy": true, "</Proxy>": true,
	"ServerName": true, "ServerAlias": true, "DocumentRoot": true, "RewriteEngine": true, "RewriteRule": true,
	"IncludeOptional": true, "ProxyPass": true, "ProxyPassMatch": true, "ProxySet": true, "BalancerMember": true,
	"Alias": true, "AliasMatch": true, "RequestHeader": true,
}
