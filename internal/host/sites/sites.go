// Package sites reads what descriptions say of the sites of a web server, for
// the managers of those. Every word is checked against what may stand in its
// place in a server's configuration: none of it can become a directive, a
// variable or a pattern there. It starts no goroutine.
package sites

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/value"
)

// Form is what one kind of server knows of sites.
type Form struct {
	Balances []string // ways of choosing among upstreams
	Library  string   // file that describes them, for who wrote something else
}

// Site is one site of a server.
type Site struct {
	Name   string   // of its attribute
	Hosts  []string // names it answers to, in which * and a leading dot stand for others; none: to all
	Port   int      // of its own, or that of the server
	Places []Place  // its locations as given, then what it has at "/"
}

// Place is what is served below a path. One of Upstreams, Root, Pages and
// Redirect is set.
type Place struct {
	Path      string
	Upstreams []string // as "host:port"
	Balance   string   // of the upstreams, or ""
	Root      string   // an absolute path
	Pages     []Page
	Redirect  string // a URL
}

// Page is a text that is served at one path.
type Page struct {
	Path    string
	File    string // named by its content, with the extension by which servers know the type
	Content []byte
}

// The words of a site or a location. Exactly one of kinds says what is served.
var (
	kinds      = []string{"upstreams", "root", "pages", "redirect"}
	placeWords = append([]string{"upstreamPort", "balance"}, kinds...)
	siteWords  = append([]string{"serverName", "listen", "locations"}, placeWords...)
)

var (
	nameWord = regexp.MustCompile(`^(_|[A-Za-z0-9*.-]+)$`)
	hostWord = regexp.MustCompile(`^[A-Za-z0-9_.-]+$|^\[[0-9A-Fa-f:.]+\]$`)
	pathWord = regexp.MustCompile(`^/[A-Za-z0-9._~!&()*+,=:@%/-]*$`)
	rootWord = regexp.MustCompile(`^[^\x00-\x1f$"'\\{};]+$`)
	urlWord  = regexp.MustCompile(`^https?://[A-Za-z0-9._~!&()*+,=:@%/?#\[\]-]+$`)
)

// Check finds, while planning, what is wrong with the sites among the
// attributes of a server.
func (f Form) Check(attrs *value.Component) (problems []component.Problem) {
	v, _ := attrs.Get("sites")
	all, ok := v.(*value.Component)
	if !ok {
		return nil
	}
	for a := range all.All() {
		if c, ok := a.Value.(*value.Component); ok {
			for _, p := range f.checkPlace(a.Name, c, true) {
				p.Attr = "sites"
				problems = append(problems, p)
			}
		}
	}
	return problems
}

func (f Form) checkPlace(name string, c *value.Component, site bool) []component.Problem {
	var problems []component.Problem
	words := placeWords
	if site {
		words = siteWords
	}
	var given []string
	for a := range c.All() {
		if !slices.Contains(words, a.Name) {
			problems = append(problems, component.Problem{
				Expected: strings.Join(words, ", "), Found: a.Name,
				Message: fmt.Sprintf("%s: %s has no meaning there", name, a.Name), Remedy: "see " + f.Library,
			})
		}
		if slices.Contains(kinds, a.Name) {
			given = append(given, a.Name)
		}
		if s, ok := a.Value.(value.String); ok && a.Name == "balance" && !slices.Contains(f.Balances, string(s)) {
			problems = append(problems, component.Problem{
				Expected: strings.Join(f.Balances, ", "), Found: string(s),
				Message: fmt.Sprintf("%s: balance is not %s", name, strings.Join(f.Balances, " or ")), Remedy: "give one of " + strings.Join(f.Balances, ", "),
			})
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
				problems = append(problems, f.checkPlace(name+" "+a.Name, l, false)...)
			}
		}
	}
	return problems
}

// Read reads sites. Those that name no port have that of the server; paths
// are those of tree.
func (f Form) Read(all *value.Component, port int, tree host.Tree) ([]Site, error) {
	var list []Site
	for a := range all.All() {
		c, ok := a.Value.(*value.Component)
		if !ok {
			return nil, fmt.Errorf("site %s: want a component, found a %s", a.Name, a.Value.Kind())
		}
		s, err := f.site(c, port, tree)
		if err != nil {
			return nil, fmt.Errorf("site %s: %w", a.Name, err)
		}
		s.Name = a.Name
		list = append(list, s)
	}
	return list, nil
}

func (f Form) site(c *value.Component, port int, tree host.Tree) (s Site, err error) {
	if s.Port, err = number(c, "listen", port); err != nil {
		return s, err
	}
	names, err := text(c, "serverName")
	if err != nil {
		return s, err
	}
	for n := range strings.FieldsSeq(names) {
		if !nameWord.MatchString(n) {
			return s, fmt.Errorf("serverName: %q is not a host name", n)
		}
		s.Hosts = append(s.Hosts, n)
	}
	if v, ok := c.Get("locations"); ok {
		locations, ok := v.(*value.Component)
		if !ok {
			return s, fmt.Errorf("locations: want a component, found a %s", v.Kind())
		}
		for a := range locations.All() {
			l, ok := a.Value.(*value.Component)
			if !ok {
				return s, fmt.Errorf("location %s: want a component, found a %s", a.Name, a.Value.Kind())
			}
			p, err := f.place(a.Name, l, tree)
			if err != nil {
				return s, fmt.Errorf("location %s: %w", a.Name, err)
			}
			s.Places = append(s.Places, p)
		}
	}
	if slices.ContainsFunc(kinds, func(k string) bool { _, ok := c.Get(k); return ok }) {
		p, err := f.place("/", c, tree)
		if err != nil {
			return s, err
		}
		s.Places = append(s.Places, p)
	}
	return s, nil
}

// place reads what is served below prefix.
func (f Form) place(prefix string, c *value.Component, tree host.Tree) (p Place, err error) {
	p.Path = prefix
	if !pathWord.MatchString(prefix) {
		return p, fmt.Errorf("%q is not the path of a URL", prefix)
	}
	if v, ok := c.Get("upstreams"); ok {
		return p, f.upstreams(&p, c, v)
	}
	if v, ok := c.Get("pages"); ok {
		pages, ok := v.(*value.Component)
		if !ok {
			return p, fmt.Errorf("pages: want a component, found a %s", v.Kind())
		}
		p.Pages, err = readPages(prefix, pages)
		return p, err
	}
	if _, ok := c.Get("root"); ok {
		root, err := text(c, "root")
		if err != nil {
			return p, err
		}
		if p.Root, err = tree.Path(root); err != nil {
			return p, err
		}
		if !rootWord.MatchString(p.Root) {
			return p, fmt.Errorf("root: %q has a character that no web server takes in a path", p.Root)
		}
		return p, nil
	}
	if p.Redirect, err = text(c, "redirect"); err != nil {
		return p, err
	}
	if !urlWord.MatchString(p.Redirect) {
		return p, fmt.Errorf("redirect: %q is not a URL", p.Redirect)
	}
	return p, nil
}

func (f Form) upstreams(p *Place, c *value.Component, v value.Value) error {
	port, err := number(c, "upstreamPort", 80)
	if err != nil {
		return err
	}
	if p.Balance, err = text(c, "balance"); err != nil {
		return err
	}
	if p.Balance != "" && !slices.Contains(f.Balances, p.Balance) {
		return fmt.Errorf("balance: %q is not %s", p.Balance, strings.Join(f.Balances, " or "))
	}
	all, ok := v.(value.Vector)
	if !ok {
		return fmt.Errorf("upstreams: want a vector, found a %s", v.Kind())
	}
	if len(all) == 0 {
		return errors.New("upstreams: the vector is empty")
	}
	for _, e := range all {
		s, ok := e.(value.String)
		if !ok {
			return fmt.Errorf("upstreams: want addresses, found a %s", e.Kind())
		}
		address, err := upstreamAddress(string(s), port)
		if err != nil {
			return err
		}
		p.Upstreams = append(p.Upstreams, address)
	}
	return nil
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

func readPages(prefix string, pages *value.Component) (list []Page, err error) {
	for a := range pages.All() {
		body, err := component.Text(a.Value)
		if err != nil {
			return nil, fmt.Errorf("page %q: %w", a.Name, err)
		}
		at := path.Join(prefix, path.Clean("/"+a.Name))
		if !pathWord.MatchString(at) {
			return nil, fmt.Errorf("page %q: not the path of a URL", a.Name)
		}
		ext := path.Ext(at)
		if ext == "" {
			if ext = ".txt"; strings.HasPrefix(strings.TrimSpace(body), "<") {
				ext = ".html"
			}
		}
		sum := sha256.Sum256([]byte(body))
		list = append(list, Page{Path: at, File: hex.EncodeToString(sum[:]) + ext, Content: []byte(body)})
	}
	return list, nil
}

// WritePages writes the pages of sites into a folder, which it makes. Those of
// other sites stay until TidyPages.
func WritePages(folder string, all []Site) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, content := range files(all) {
		file := filepath.Join(folder, name)
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, content) {
			continue
		}
		if err := host.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TidyPages deletes from a folder of pages what is no page of the sites.
func TidyPages(folder string, all []Site) {
	wanted := files(all)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if _, ok := wanted[e.Name()]; !ok {
			_ = host.RemoveFile(filepath.Join(folder, e.Name()))
		}
	}
}

func files(all []Site) map[string][]byte {
	found := map[string][]byte{}
	for _, s := range all {
		for _, p := range s.Places {
			for _, page := range p.Pages {
				found[page.File] = page.Content
			}
		}
	}
	return found
}

// Listens returns the ports that sites among the attributes of a server have of
// their own, as far as they are known.
func (f Form) Listens(attrs *value.Component) (ports []int) {
	v, _ := attrs.Get("sites")
	all, ok := v.(*value.Component)
	if !ok {
		return nil
	}
	for a := range all.All() {
		if c, ok := a.Value.(*value.Component); ok {
			v, _ := c.Get("listen")
			if n, ok := v.(value.Integer); ok {
				ports = append(ports, int(n))
			}
		}
	}
	return ports
}

// Ports returns the ports of sites, sorted.
func Ports(all []Site) (ports []int) {
	for _, s := range all {
		ports = append(ports, s.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
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

// Free says which of the ports of a server something else listens on, and who.
func Free(ports []int) error {
	for _, p := range ports {
		if err := host.CheckPort("0.0.0.0", p); err != nil {
			return err
		}
	}
	return nil
}
