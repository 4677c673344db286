package convert

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// making is the conversion of one service.
type making struct {
	c       *composer
	s       *service
	where   string            // services.NAME
	machine []syntax.Item     // attributes of the machine
	files   []syntax.Item     // components before the program
	program *syntax.Component // what runs
	names   map[string]bool   // in the machine
	proxied *service          // what a web server passes requests on to, or nil
}

// service returns the machine of s. Of a service with replicas it is a set of
// copies.
func (c *composer) service(s *service) syntax.Item {
	m := &making{c: c, s: s, where: "services." + s.name, names: map[string]bool{s.kind: true}}
	proto := map[string]string{"process": "Process", "redis": "Redis", "nginx": "Nginx"}[s.kind]
	m.program = component(proto)
	m.program.Protos = append(m.program.Protos, syntax.Proto{Body: &syntax.Body{}})
	if s.copies > 1 {
		m.machine = append(m.machine, attribute("sfCopies", integer(s.copies)))
	}
	m.keys()
	if s.kind == "nginx" && !m.has("sites") {
		m.sites()
	}
	for _, k := range s.def.keys {
		if k.key == "depends_on" {
			m.dependsOn(k)
		}
	}
	if len(m.program.Protos[1].Body.Items) == 0 {
		m.program.Protos = m.program.Protos[:1]
	}
	items := append(m.machine, m.files...)
	items = append(items, attribute(s.kind, m.program))
	return attribute(s.label, component("Machine", items...))
}

func (m *making) lose(at diag.Span, key, format string, args ...any) {
	m.c.lose(at, m.where+"."+key, format, args...)
}

// set gives the program an attribute.
func (m *making) set(name string, v syntax.Expr) {
	b := m.program.Protos[1].Body
	b.Items = append(b.Items, attribute(name, v))
}

// component adds a component beside the program, under a name made from want.
func (m *making) component(want string, c *syntax.Component) {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, want)
	if name == "" || !value.IsWord(name) {
		name = "f" + name
	}
	for base, i := name, 2; m.names[name]; i++ {
		name = fmt.Sprint(base, "-", i)
	}
	m.names[name] = true
	m.files = append(m.files, attribute(name, c))
}

// done elsewhere, or of no weight for what runs.
var quietKeys = []string{
	"image", "command", "entrypoint", "deploy", "scale", "container_name", "depends_on", "expose", "env_file", "pull_policy", "profiles", "mem_limit", "mem_reservation", "tty", "stdin_open", "init",
}

// keys goes through what the service says, in its order.
func (m *making) keys() {
	def := m.s.def
	m.image()
	m.command()
	m.ports()
	m.deploy()
	m.environment()
	for _, k := range def.keys {
		switch {
		case slices.Contains(quietKeys, k.key), k.key == "ports", k.key == "environment", strings.HasPrefix(k.key, "x-"):
		case k.key == "volumes":
			m.volumes(k)
		case k.key == "configs":
			m.serviceConfigs(k)
		case k.key == "healthcheck":
			m.health(k)
		case k.key == "secrets":
			m.lose(k.at, k.key, "a secret's content is not put into a description; place the file on the machine another way")
		case k.key == "build":
			m.lose(k.at, k.key, "no image is built; install what it holds with Package and File components")
		case k.key == "extends":
			m.lose(k.at, k.key, "not followed; docker compose config writes it out")
		case k.key == "networks" || k.key == "network_mode" || k.key == "links" || k.key == "external_links":
			m.lose(k.at, k.key, "all machines of a system reach each other, by address")
		case k.key == "hostname" || k.key == "domainname":
			m.lose(k.at, k.key, "a machine is named after its component")
		case m.s.kind == "process" && m.processKey(k):
		case m.s.kind != "process" && (k.key == "restart" || k.key == "stop_grace_period" || k.key == "stop_signal"):
			// The component sees to that itself.
		default:
			m.lose(k.at, k.key, "aloft has nothing that does this")
		}
	}
}

// image tells what of the image is lost.
func (m *making) image() {
	image := get(m.s.def, "image")
	switch {
	case image == nil:
	case m.s.kind == "process":
		m.lose(image.at, "image", "what %s holds is not carried over, its default command and environment included; install it with Package and File components", shortened(image.text))
	default:
		if _, tag, ok := strings.Cut(image.text, ":"); ok && tag != "latest" {
			m.lose(image.at, "image", "the version is that of the machine's distribution, not %s", shortened(tag))
		}
	}
}

// list returns the words of a command: a text is split, a list is as it is.
func (m *making) list(n *node, key string) []string {
	if n == nil || n.kind == nNull {
		return nil
	}
	if n.kind != nList {
		out, err := words(n.text)
		if err != nil {
			m.lose(n.at, key, "cannot be split into words: %v", err)
		}
		return out
	}
	var out []string
	for _, x := range n.items {
		out = append(out, x.text)
	}
	return out
}

func (m *making) command() {
	entry, command := get(m.s.def, "entrypoint"), get(m.s.def, "command")
	all := append(m.list(entry, "entrypoint"), m.list(command, "command")...)
	at := m.s.at
	if command != nil {
		at = command.at
	}
	switch m.s.kind {
	case "redis":
		m.redis(all, at)
		return
	case "nginx":
		if len(all) > 0 {
			m.lose(at, "command", "the component starts its server itself")
		}
		return
	}
	if len(all) == 0 {
		m.lose(m.s.at, "command", "the image's own command is not known; command is TBD, to be filled in")
		m.set("command", tbd())
		return
	}
	exprs := make([]syntax.Expr, len(all))
	for i, w := range all {
		exprs[i] = m.c.hosted(at, m.where+".command", w)
	}
	m.set("command", values(exprs))
}

// redis takes what the component knows from the server's command line.
func (m *making) redis(args []string, at diag.Span) {
	if len(args) > 0 && path.Base(args[0]) == "redis-server" {
		args = args[1:]
	}
	for i := 0; i < len(args); i++ {
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		n, isNumber := number(next)
		switch {
		case args[i] == "--appendonly" && (next == "yes" || next == "no"):
			m.set("appendOnly", boolean(next == "yes"))
		case args[i] == "--port" && isNumber:
			m.set("port", integer(n))
		case args[i] == "--requirepass" && next != "":
			m.set("password", text2(next))
		case args[i] == "--maxmemory" && next != "":
			m.set("maxMemory", text2(next))
		default:
			m.lose(at, "command", "Redis has no attribute for %s", shortened(args[i]))
			for i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
				i++
			}
			continue
		}
		i++
	}
}

func (m *making) ports() {
	var open []syntax.Expr
	seen := map[string]bool{}
	add := func(at diag.Span, list []port) {
		for _, p := range list {
			word := fmt.Sprint(p.protocol, "/", p.number)
			if !seen[word] {
				seen[word] = true
				open = append(open, text2(word))
			}
		}
	}
	n := get(m.s.def, "ports")
	if n == nil {
		return
	}
	for _, x := range n.items {
		text := portText(x)
		list, ok := parsePorts(text)
		if !ok {
			m.lose(x.at, "ports", "%s is not understood", shortened(text))
			continue
		}
		add(x.at, list)
		if list[0].published != "" {
			m.lose(x.at, "ports", "%s is not published on the host; it is reached at the address of the machine, port %d", shortened(text), list[0].number)
		}
	}
	if len(open) > 0 {
		m.machine = append(m.machine, attribute("ports", &syntax.Vector{Elems: open}))
	}
}

// deploy takes the resources; replicas are known already.
func (m *making) deploy() {
	def := m.s.def
	limits, wanted := get(get(get(def, "deploy"), "resources"), "limits"), get(get(get(def, "deploy"), "resources"), "reservations")
	need := func(n *node, key, attr string, read func(string) (int, bool)) {
		if n == nil {
			return
		}
		if v, ok := read(n.text); ok && v > 0 {
			m.machine = append(m.machine, attribute(attr, integer(v)))
		} else {
			m.lose(n.at, key, "%s is not understood", shortened(n.text))
		}
	}
	need(get(wanted, "cpus"), "deploy.resources.reservations.cpus", "cores", wholeCores)
	// The machine is the service's alone: what the container may take at most is
	// what the machine has at least.
	switch {
	case get(limits, "memory") != nil:
		need(get(limits, "memory"), "deploy.resources.limits.memory", "memory", mebibytes)
	case get(def, "mem_limit") != nil:
		need(get(def, "mem_limit"), "mem_limit", "memory", mebibytes)
	default:
		need(get(wanted, "memory"), "deploy.resources.reservations.memory", "memory", mebibytes)
	}
	if cpus := get(limits, "cpus"); cpus != nil {
		m.lose(cpus.at, "deploy.resources.limits.cpus", "a program's share of its machine is not limited")
	}
	if n := get(def, "deploy"); n != nil && n.kind == nMap {
		for _, k := range n.keys {
			if !slices.Contains([]string{"replicas", "resources", "mode"}, k.key) {
				m.lose(k.at, "deploy."+k.key, "aloft has nothing that does this")
			} else if k.key == "mode" && k.val.text != "replicated" {
				m.lose(k.at, "deploy.mode", "only replicated is known")
			}
		}
	}
}

func wholeCores(s string) (int, bool) {
	whole, part, _ := strings.Cut(s, ".")
	n, ok := number(whole)
	if whole == "" {
		n, ok = 0, true
	}
	if strings.Trim(part, "0") != "" {
		n++
	}
	return n, ok && n < 10_000
}

// limit adds one of the limits of a process.
func (m *making) limit(name string, n int) {
	b := m.program.Protos[1].Body
	for _, item := range b.Items {
		if a := item.(*syntax.Attribute); a.Name == "limits" {
			inner := a.Value.(*syntax.Component).Protos[0].Body
			for _, x := range inner.Items {
				if x.(*syntax.Attribute).Name == name {
					return
				}
			}
			inner.Items = append(inner.Items, attribute(name, integer(n)))
			return
		}
	}
	m.set("limits", table([]syntax.Item{attribute(name, integer(n))}))
}

// dependsOn makes the program start after those of other services: it holds a
// reference into each.
func (m *making) dependsOn(k entry) {
	var refs []syntax.Expr
	add := func(at diag.Span, name string) {
		s := m.c.byName[name]
		switch {
		case s == nil:
			m.lose(at, k.key, "there is no service %s here", shortened(name))
		case s == m.proxied && s.copies > 1:
			// A list of addresses cannot be waited for, and need not be: who does not
			// serve yet is passed over.
		case s != m.s:
			refs = append(refs, expression(m.c.reference(s, s.kind, "sfClass")))
			if s.copies > 1 {
				m.lose(at, k.key, "it waits for the first copy of %s only", name)
			}
		}
	}
	for _, x := range k.val.items {
		add(x.at, x.text)
	}
	for _, x := range k.val.keys {
		add(x.at, x.key)
		if condition := get(x.val, "condition"); condition != nil && condition.text == "service_completed_successfully" {
			m.lose(condition.at, k.key, "it starts when %s runs, not when that has ended", x.key)
		}
	}
	if len(refs) > 0 {
		m.set("dependsOn", values(refs))
		items := m.program.Protos[1].Body.Items
		m.c.doc.of(items[len(items)-1]).behind = []string{"// starts when what is referred to runs"}
	}
}

// beside is the path of a file from the folder of the result.
func (m *making) beside(source string) string { return path.Join(m.c.opts.Beside, source) }

// stat says what source, a path in the Compose file, is.
func (m *making) stat(source string) (fs.FileInfo, error) {
	if m.c.opts.Folder == nil {
		return nil, fs.ErrNotExist
	}
	clean := path.Clean(source)
	if !fs.ValidPath(clean) {
		return nil, fmt.Errorf("outside of the folder of the Compose file")
	}
	return fs.Stat(m.c.opts.Folder, clean)
}
