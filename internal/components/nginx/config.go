package nginx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/value"
)

// renderer writes a server's configuration. Every word from a description is
// checked against what may stand in its place, and quoted: nginx would read
// variables and directives out of anything else.
type renderer struct {
	server    *server
	tree      host.Tree
	b         bytes.Buffer
	upstreams bytes.Buffer
	ports     map[int]bool
	groups    int
}

// The words of a site or a location. Exactly one of kinds says what is served.
var (
	kinds     = []string{"upstreams", "root", "pages", "redirect"}
	siteWords = append([]string{"serverName", "listen", "locations", "upstreamPort", "balance"}, kinds...)
	placeWord = append([]string{"upstreamPort", "balance"}, kinds...)
)

var (
	nameWord  = regexp.MustCompile(`^(_|[A-Za-z0-9*.-]+)$`)
	hostWord  = regexp.MustCompile(`^[A-Za-z0-9_.-]+$|^\[[0-9A-Fa-f:.]+\]$`)
	pathWord  = regexp.MustCompile(`^/[A-Za-z0-9._~!&()*+,=:@%/-]*$`)
	rootWord  = regexp.MustCompile(`^[^\x00-\x1f$"'\\{};]+$`)
	urlWord   = regexp.MustCompile(`^https?://[A-Za-z0-9._~!&()*+,=:@%/?#\[\]-]+$`)
	balancing = map[string]string{"roundrobin": "", "leastconn": "least_conn;", "iphash": "ip_hash;"}
)

// checkPlace finds, while planning, what is wrong with a site or a location.
func checkPlace(name string, c *value.Component, site bool) []component.Problem {
	var problems []component.Problem
	words := placeWord
	if site {
		words = siteWords
	}
	var given []string
	for a := range c.All() {
		if !slices.Contains(words, a.Name) {
			problems = append(problems, component.Problem{
				Expected: strings.Join(words, ", "), Found: a.Name,
				Message: fmt.Sprintf("%s: %s has no meaning there", name, a.Name), Remedy: "see aloft/nginx.sf",
			})
		}
		if slices.Contains(kinds, a.Name) {
			given = append(given, a.Name)
		}
	}
	v, _ := c.Get("locations")
	locations, ok := v.(*value.Component)
	if len(given) > 1 || len(given) == 0 && !(ok && site) {
		problems = append(problems, component.Problem{
			Expected: "one of " + strings.Join(kinds, ", "), Found: strings.Join(given, ", "),
			Message: fmt.Sprintf("%s serves one thing", name), Remedy: "give exactly one of " + strings.Join(kinds, ", "),
		})
	}
	if ok && site {
		for a := range locations.All() {
			if l, ok := a.Value.(*value.Component); ok {
				problems = append(problems, checkPlace(name+" "+a.Name, l, false)...)
			}
		}
	}
	return problems
}

func (r *renderer) render(workers string, sites *value.Component) error {
	r.ports = map[int]bool{}
	var servers bytes.Buffer
	for a := range sites.All() {
		site, ok := a.Value.(*value.Component)
		if !ok {
			return fmt.Errorf("site %s: want a component, found a %s", a.Name, a.Value.Kind())
		}
		if err := r.site(&servers, site); err != nil {
			return fmt.Errorf("site %s: %w", a.Name, err)
		}
	}
	if len(r.ports) == 0 { // it answers, if only that there is nothing
		r.ports[r.server.port] = true
		fmt.Fprintf(&servers, "  server {\n    listen %d;\n    return 404;\n  }\n", r.server.port)
	}
	fmt.Fprintf(&r.b, "# Written by aloft; changes are overwritten.\n")
	fmt.Fprintf(&r.b, "user www-data;\nworker_processes %s;\npid /run/%s.pid;\nerror_log stderr warn;\n", workers, r.server.name)
	r.b.WriteString("events { worker_connections 1024; }\nhttp {\n" +
		"  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n" +
		"  sendfile on;\n  server_tokens off;\n  access_log /dev/stdout;\n")
	r.b.Write(r.upstreams.Bytes())
	r.b.Write(servers.Bytes())
	r.b.WriteString("}\n")
	return nil
}

func (r *renderer) site(b *bytes.Buffer, c *value.Component) error {
	port, err := number(c, "listen", r.server.port)
	if err != nil {
		return err
	}
	r.ports[port] = true
	fmt.Fprintf(b, "  server {\n    listen %d;\n", port)
	names, err := text(c, "serverName")
	if err != nil {
		return err
	}
	for n := range strings.FieldsSeq(names) {
		if !nameWord.MatchString(n) {
			return fmt.Errorf("serverName: %q is not a host name", n)
		}
	}
	if names != "" {
		fmt.Fprintf(b, "    server_name %s;\n", strings.Join(strings.Fields(names), " "))
	}
	if v, ok := c.Get("locations"); ok {
		locations, ok := v.(*value.Component)
		if !ok {
			return fmt.Errorf("locations: want a component, found a %s", v.Kind())
		}
		for a := range locations.All() {
			l, ok := a.Value.(*value.Component)
			if !ok {
				return fmt.Errorf("location %s: want a component, found a %s", a.Name, a.Value.Kind())
			}
			if err := r.place(b, a.Name, l); err != nil {
				return fmt.Errorf("location %s: %w", a.Name, err)
			}
		}
	}
	if slices.ContainsFunc(kinds, func(k string) bool { _, ok := c.Get(k); return ok }) {
		if err := r.place(b, "/", c); err != nil {
			return err
		}
	}
	b.WriteString("  }\n")
	return nil
}

// place writes what is served below prefix.
func (r *renderer) place(b *bytes.Buffer, prefix string, c *value.Component) error {
	if !pathWord.MatchString(prefix) {
		return fmt.Errorf("%q is not the path of a URL", prefix)
	}
	if v, ok := c.Get("upstreams"); ok {
		group, err := r.upstream(c, v)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "    location %q {\n      proxy_pass http://%s;\n", prefix, group)
		b.WriteString("      proxy_set_header Host $host;\n" +
			"      proxy_set_header X-Real-IP $remote_addr;\n" +
			"      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n" +
			"      proxy_set_header X-Forwarded-Proto $scheme;\n" +
			"      proxy_connect_timeout 2s;\n      proxy_next_upstream error timeout;\n    }\n")
		return nil
	}
	if v, ok := c.Get("pages"); ok {
		pages, ok := v.(*value.Component)
		if !ok {
			return fmt.Errorf("pages: want a component, found a %s", v.Kind())
		}
		return r.pages(b, prefix, pages)
	}
	if _, ok := c.Get("root"); ok {
		root, err := text(c, "root")
		if err != nil {
			return err
		}
		if root, err = r.tree.Path(root); err != nil {
			return err
		}
		if !rootWord.MatchString(root) {
			return fmt.Errorf("root: nginx cannot serve %q", root)
		}
		how := "root"
		if prefix != "/" {
			how, root = "alias", strings.TrimSuffix(root, "/")
			if strings.HasSuffix(prefix, "/") {
				root += "/"
			}
		}
		fmt.Fprintf(b, "    location %q {\n      %s \"%s\";\n      index index.html;\n    }\n", prefix, how, root)
		return nil
	}
	to, err := text(c, "redirect")
	if err != nil {
		return err
	}
	if !urlWord.MatchString(to) {
		return fmt.Errorf("redirect: %q is not a URL", to)
	}
	fmt.Fprintf(b, "    location %q {\n      return 302 \"%s\";\n    }\n", prefix, to)
	return nil
}

// upstream writes a group of upstreams and returns its name.
func (r *renderer) upstream(c *value.Component, v value.Value) (string, error) {
	port, err := number(c, "upstreamPort", 80)
	if err != nil {
		return "", err
	}
	balance, err := text(c, "balance")
	if err != nil {
		return "", err
	}
	how, ok := balancing[balance]
	if !ok && balance != "" {
		return "", fmt.Errorf("balance: %q is not roundrobin, leastconn or iphash", balance)
	}
	all, ok := v.(value.Vector)
	if !ok {
		return "", fmt.Errorf("upstreams: want a vector, found a %s", v.Kind())
	}
	if len(all) == 0 {
		return "", fmt.Errorf("upstreams: the vector is empty")
	}
	name := fmt.Sprintf("group%d", r.groups)
	r.groups++
	fmt.Fprintf(&r.upstreams, "  upstream %s {\n", name)
	if how != "" {
		fmt.Fprintf(&r.upstreams, "    %s\n", how)
	}
	for _, e := range all {
		s, ok := e.(value.String)
		if !ok {
			return "", fmt.Errorf("upstreams: want addresses, found a %s", e.Kind())
		}
		address, err := upstreamAddress(string(s), port)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&r.upstreams, "    server %s max_fails=1 fail_timeout=10s;\n", address)
	}
	r.upstreams.WriteString("  }\n")
	return name, nil
}

// upstreamAddress reads "host", "host:port" or an IPv6 address.
func upstreamAddress(s string, port int) (string, error) {
	h, p := s, strconv.Itoa(port)
	if ip := net.ParseIP(s); ip != nil && ip.To4() == nil {
		h = "[" + s + "]"
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		h, p = s[:i], s[i+1:]
	}
	n, err := strconv.Atoi(p)
	if err != nil || n < 1 || n > 65535 || !hostWord.MatchString(h) {
		return "", fmt.Errorf("upstreams: %q is not host or host:port", s)
	}
	return h + ":" + strconv.Itoa(n), nil
}

// pages keeps each text as a file named by its content.
func (r *renderer) pages(b *bytes.Buffer, prefix string, pages *value.Component) error {
	for a := range pages.All() {
		body, err := component.Text(a.Value)
		if err != nil {
			return fmt.Errorf("page %q: %w", a.Name, err)
		}
		at := path.Join(prefix, path.Clean("/"+a.Name))
		if !pathWord.MatchString(at) {
			return fmt.Errorf("page %q: not the path of a URL", a.Name)
		}
		sum := sha256.Sum256([]byte(body))
		// The file's name carries the extension by which nginx knows the type.
		ext := path.Ext(at)
		if ext == "" {
			if ext = ".txt"; strings.HasPrefix(strings.TrimSpace(body), "<") {
				ext = ".html"
			}
		}
		name := hex.EncodeToString(sum[:]) + ext
		r.server.pages[name] = []byte(body)
		fmt.Fprintf(b, "    location = %q {\n      root \"%s\";\n      try_files /%s =404;\n    }\n", at, r.server.folder(), name)
	}
	return nil
}

func text(c *value.Component, name string) (string, error) {
	v, ok := c.Get(name)
	if !ok {
		return "", nil
	}
	s, ok := v.(value.String)
	if !ok {
		return "", fmt.Errorf("%s: want a string, found a %s", name, v.Kind())
	}
	return string(s), nil
}

func number(c *value.Component, name string, otherwise int) (int, error) {
	v, ok := c.Get(name)
	if !ok {
		return otherwise, nil
	}
	n, ok := v.(value.Integer)
	if !ok || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%s: want a port, found %v", name, v)
	}
	return int(n), nil
}
