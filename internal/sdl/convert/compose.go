package convert

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// maxCompose bounds a Compose file, and each file it names, in bytes.
const maxCompose = 1 << 20

// ComposeOptions says what a Compose file may know.
type ComposeOptions struct {
	// Environment is what ${NAME} and variables without value stand for.
	Environment map[string]string
	// Folder is the folder of the Compose file, from which env_file and the
	// kinds of mounted files are read; it must refuse links that lead out. Nil
	// reads nothing.
	Folder fs.FS
	// Beside is the path from the folder of the result to that of the Compose
	// file, with slashes; "" if they are the same.
	Beside string
}

// IsCompose reports whether the YAML text src looks like a Compose file: it
// has services and no sfConfig.
func IsCompose(src []byte) bool {
	return servicesLine().Match(src) && !configLine().Match(src)
}

var (
	servicesLine = pattern(`(?m)^(services|"services")[ \t]*:`)
	configLine   = pattern(`(?m)^(sfConfig|"sfConfig")[ \t]*:`)
)

// Compose reads the Compose file called name and returns a description of what
// aloft can do of it: a machine for each service, with its files and its
// program. What is not carried over is added to list as warnings and told in a
// comment at the top. After an error the result is nil.
func Compose(name string, src []byte, opts ComposeOptions, list *diag.List) *Doc {
	if len(src) > maxCompose {
		d := diag.New(diag.TooDeep, diag.At(value.Pos{File: name, Line: 1, Col: 1}), fmt.Sprintf("a Compose file of more than %d bytes", maxCompose))
		d.Expected, d.Found = fmt.Sprintf("at most %d bytes", maxCompose), fmt.Sprintf("%d bytes", len(src))
		list.Add(d)
		return nil
	}
	if !valid(name, src, list) {
		return nil
	}
	before := list.Errors()
	c := &composer{name: name, opts: opts, list: list, doc: &Doc{File: &syntax.File{Name: name}, notes: map[any]*notes{}}}
	root := c.load(src)
	if root == nil || list.Errors() > before {
		return nil
	}
	c.file(root)
	if list.Errors() > before {
		return nil
	}
	return c.doc
}

// composer makes one description.
type composer struct {
	name string
	opts ComposeOptions
	list *diag.List
	doc  *Doc

	losses   []loss
	services []*service
	byName   map[string]*service
	volumes  *node          // top-level volumes
	configs  *node          // top-level configs
	hosts    *regexp.Regexp // service names where they may be host names
	taken    map[string]bool
	mounted  map[string]string // named volume to the first service that mounts it
}

// loss is something that is not carried over.
type loss struct {
	at        diag.Span
	key, what string
}

// service is one of services.
type service struct {
	name   string // in the Compose file
	label  string // in the description
	at     diag.Span
	def    *node
	copies int
	kind   string // the component it becomes: "process", "redis" or "nginx"
}

// lose notes that something is not carried over.
func (c *composer) lose(at diag.Span, key, format string, args ...any) {
	c.losses = append(c.losses, loss{at, key, fmt.Sprintf(format, args...)})
}

// tell reports what is not carried over, in the order of the text.
func (c *composer) tell() {
	slices.SortStableFunc(c.losses, func(a, b loss) int {
		return cmp.Or(cmp.Compare(a.at.Pos.Line, b.at.Pos.Line), cmp.Compare(a.at.Pos.Col, b.at.Pos.Col))
	})
	for _, l := range c.losses {
		c.list.Add(diag.New(diag.NotCarriedOver, l.at, l.key+": "+l.what))
	}
}

func (c *composer) wrong(at diag.Span, message, expected, found string, hints ...string) {
	d := diag.New(diag.Unexpected, at, message)
	d.Phase, d.Expected, d.Found, d.Hints = "compose", expected, found, hints
	d.Class = ""
	c.list.Add(d)
}

// get returns the value at key of the mapping n, or nil.
func get(n *node, key string) *node {
	if n == nil || n.kind != nMap {
		return nil
	}
	for _, k := range n.keys {
		if k.key == key {
			return k.val
		}
	}
	return nil
}

func (c *composer) file(root *node) {
	if root.kind != nMap {
		c.wrong(root.at, "a Compose file that is "+kindNames[root.kind], "a mapping with services", found(root))
		return
	}
	var services *node
	for _, k := range root.keys {
		switch {
		case k.key == "services":
			services = k.val
		case k.key == "volumes":
			c.volumes = k.val
		case k.key == "configs":
			c.configs = k.val
		case k.key == "version", k.key == "name", k.key == "networks", strings.HasPrefix(k.key, "x-"):
		case k.key == "secrets":
			c.lose(k.at, k.key, "a secret's content is not put into a description")
		case k.key == "include":
			c.lose(k.at, k.key, "other files are not read; docker compose config writes all of them as one")
		default:
			c.lose(k.at, k.key, "aloft has nothing that does this")
		}
	}
	if networks := get(root, "networks"); networks != nil && networks.kind == nMap && len(networks.keys) > 0 {
		c.lose(networks.at, "networks", "all machines of a system reach each other")
	}
	if services == nil || services.kind != nMap || len(services.keys) == 0 {
		c.wrong(root.at, "a Compose file without services", "services: with a mapping of names to services", "none")
		return
	}
	c.taken, c.byName, c.mounted = reservedNames(), map[string]*service{}, map[string]string{}
	for _, k := range services.keys {
		c.declare(k)
	}
	c.hosts = hostPattern(c.services)
	config := &syntax.Body{}
	for _, s := range c.services {
		config.Items = append(config.Items, c.service(s))
	}
	include := &syntax.Include{File: "aloft/components.sf"}
	machine := attribute("Machine", component("VM", attribute("cloudProvider", text2("local"))))
	c.doc.of(machine).above = []string{"// One line to change for another provider."}
	c.doc.File.Items = []syntax.Item{include, machine, attribute("sfConfig", &syntax.Component{Protos: []syntax.Proto{{Body: config}}})}
	c.tell()
	c.doc.of(include).above = c.title()
}

// title is the comment at the top of the description.
func (c *composer) title() []string {
	lines := []string{"// Made by aloft convert from " + plainWords(path.Base(c.name)) + "."}
	if len(c.losses) == 0 {
		return lines
	}
	lines = append(lines, "//", "// Not carried over:")
	for _, l := range c.losses {
		lines = append(lines,
			fmt.Sprintf("//   %s:%d:%d: %s", plainWords(path.Base(c.name)), l.at.Pos.Line, l.at.Pos.Col, plainWords(l.key)),
			"//     "+plainWords(l.what))
	}
	return lines
}

// plainWords is s without what a comment cannot hold.
func plainWords(s string) string {
	return strings.Map(func(r rune) rune {
		if !printable(r) || r == '\\' {
			return ' '
		}
		return r
	}, s)
}

var serviceName = pattern(`^[a-zA-Z0-9._-]{1,100}$`)

// reservedNames are those of templates, which a service must not hide.
func reservedNames() map[string]bool {
	m := map[string]bool{}
	for _, n := range []string{"Machine", "VM", "Process", "Redis", "Nginx", "File", "Directory"} {
		m[n] = true
	}
	return m
}

// declare notes the service of k, and how it is called and what it becomes.
func (c *composer) declare(k entry) {
	s := &service{name: k.key, label: k.key, at: k.at, def: k.val, copies: 1, kind: "process"}
	if k.val.kind != nMap {
		c.wrong(k.val.at, "service "+k.key+" is "+kindNames[k.val.kind], "a mapping", found(k.val))
		return
	}
	if !serviceName().MatchString(k.key) {
		c.wrong(k.at, "a service cannot be called "+shortened(k.key), "letters, digits, . _ and -", shortened(k.key))
		return
	}
	where := "services." + k.key
	if get(k.val, "profiles") != nil {
		c.lose(k.at, where, "a service with profiles is not started unless asked for; left out")
		return
	}
	n := get(get(k.val, "deploy"), "replicas")
	if n == nil {
		n = get(k.val, "scale")
	}
	if n != nil {
		switch copies, ok := number(n.text); {
		case !ok || n.kind >= nList || copies > maxCopies:
			c.lose(n.at, where+".deploy.replicas", "%s is not a number from 0 to %d; one copy is made", shortened(n.text), maxCopies)
		case copies == 0:
			c.lose(n.at, where, "no copy of it is asked for; left out")
			return
		default:
			s.copies = copies
		}
	}
	if c.clashes(s) {
		s.label += "-service"
		for c.clashes(s) {
			s.label += "-"
		}
		c.lose(k.at, where, "the name has another meaning in the description; there it is %s", s.label)
	}
	for _, name := range s.names() {
		c.taken[name] = true
	}
	if image := get(k.val, "image"); image != nil {
		s.kind = kindOf(image.text)
	}
	c.services = append(c.services, s)
	c.byName[s.name] = s
}

// maxCopies bounds the replicas of a service.
const maxCopies = 100

// names are those that s takes in the description: its copies have their own.
func (s *service) names() []string {
	list := []string{s.label}
	if s.copies > 1 {
		for i := range s.copies {
			list = append(list, fmt.Sprint(s.label, i+1))
		}
	}
	return list
}

func (c *composer) clashes(s *service) bool {
	return slices.ContainsFunc(s.names(), func(name string) bool { return c.taken[name] })
}

// first is the name of the service's machine, or of its first copy.
func (s *service) first() string {
	if s.copies > 1 {
		return s.label + "1"
	}
	return s.label
}

// kindOf returns what a service with the image becomes: official images of
// redis and nginx are components, of others nothing is known.
func kindOf(image string) string {
	ref, _, _ := strings.Cut(image, "@")
	for _, registry := range []string{"docker.io/", "index.docker.io/"} {
		ref = strings.TrimPrefix(ref, registry)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(ref, "library/"), ":")
	if name == "redis" || name == "nginx" {
		return name
	}
	return "process"
}

// reference is the text of a reference to path in the machine of s, or in its
// first copy.
func (c *composer) reference(s *service, path ...string) string {
	return c.link(s.first(), path...)
}

// link is the text of a reference to path in the machine called name.
func (c *composer) link(name string, path ...string) string {
	parts := []value.Part{{Kind: value.PartRoot}, {Kind: value.PartHere, Name: name}}
	for _, p := range path {
		parts = append(parts, value.Part{Kind: value.PartHere, Name: p})
	}
	return "LAZY " + value.LinkText(parts)
}

func attribute(name string, v syntax.Expr) *syntax.Attribute {
	return &syntax.Attribute{Name: name, Value: v}
}

func text2(s string) syntax.Expr { return &syntax.Literal{Value: value.String(s)} }

func integer(n int) syntax.Expr { return &syntax.Literal{Value: value.Integer(int32(n))} }

func boolean(b bool) syntax.Expr { return &syntax.Literal{Value: value.Bool(b)} }

func tbd() syntax.Expr { return &syntax.Literal{Value: value.TBD{}} }

// component is extends proto { items }.
func component(proto string, items ...syntax.Item) *syntax.Component {
	c := &syntax.Component{Protos: []syntax.Proto{{Link: []value.Part{{Kind: value.PartAttrib, Name: proto}}}}}
	if len(items) > 0 {
		c.Protos = append(c.Protos, syntax.Proto{Body: &syntax.Body{Items: items}})
	}
	return c
}

// table is extends DATA { items }.
func table(items []syntax.Item) *syntax.Component {
	return &syntax.Component{Data: true, Protos: []syntax.Proto{{Body: &syntax.Body{Items: items}}}}
}

// expression is the value of a text that this package has written.
func expression(src string) syntax.Expr {
	var list diag.List
	if e := syntax.ParseValue("", []byte(src), &list); e != nil {
		return e
	}
	panic("convert: wrote what cannot be read: " + src)
}

// values is [| … |], or [ … ] if one of them is computed.
func values(list []syntax.Expr) syntax.Expr {
	if slices.ContainsFunc(list, func(e syntax.Expr) bool { return !literalOnly(e) }) {
		return vectorOf(diag.Span{}, list)
	}
	return &syntax.Vector{Elems: list}
}
