package convert

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// processKey takes what a Process has an attribute for, and reports whether k
// was that.
func (m *making) processKey(k entry) bool {
	text := k.val.text
	seconds := func(attr string) {
		if n, ok := seconds(text); ok {
			m.set(attr, integer(n))
		} else {
			m.lose(k.val.at, k.key, "%s is no duration", shortened(text))
		}
	}
	switch k.key {
	case "user":
		name, group, _ := strings.Cut(text, ":")
		if n, ok := number(name); ok && n == 0 {
			name = "root"
		} else if ok {
			m.lose(k.val.at, k.key, "a user is given by name, not by the number %s", name)
			return true
		}
		if group != "" {
			m.lose(k.val.at, k.key, "the group %s; it is the user's own", shortened(group))
		}
		m.set("user", text2(name))
	case "working_dir":
		m.set("dir", text2(text))
	case "restart":
		m.restart(k)
	case "stop_signal":
		m.set("stopSignal", text2(strings.TrimPrefix(text, "SIG")))
	case "stop_grace_period":
		seconds("stopTimeout")
	case "ulimits":
		m.ulimits(k)
	default:
		return false
	}
	return true
}

func (m *making) restart(k entry) {
	policy, times, _ := strings.Cut(k.val.text, ":")
	word := map[string]string{
		"no": "never", "false": "never", "always": "always", "unless-stopped": "always", "on-failure": "onFailure",
	}[policy]
	if word == "" {
		m.lose(k.val.at, k.key, "%s is not understood", shortened(policy))
		return
	}
	m.set("restart", text2(word))
	if n, ok := number(times); ok {
		m.set("sfMaxRestarts", integer(n))
	}
}

func (m *making) ulimits(k entry) {
	for _, x := range k.val.keys {
		name := map[string]string{"nofile": "openFiles", "nproc": "processes"}[x.key]
		n := x.val
		if soft := get(n, "soft"); soft != nil {
			n = soft
		}
		v, ok := number(n.text)
		if name == "" || !ok || n.kind >= nList {
			m.lose(x.at, k.key+"."+x.key, "there is no such limit")
			continue
		}
		m.limit(name, v)
	}
}

// health makes a check of a container's health the check that it is ready.
func (m *making) health(k entry) {
	test, disable := get(k.val, "test"), get(k.val, "disable")
	if m.s.kind != "process" || disable != nil && disable.text == "true" || test == nil {
		return // the other components check themselves
	}
	var command []string
	switch {
	case test.kind != nList:
		command = []string{"/bin/sh", "-c", test.text}
	case len(test.items) > 1 && test.items[0].text == "CMD":
		command = m.list(test, k.key)[1:]
	case len(test.items) == 2 && test.items[0].text == "CMD-SHELL":
		command = []string{"/bin/sh", "-c", test.items[1].text}
	case len(test.items) > 0 && test.items[0].text == "NONE":
		return
	default:
		m.lose(test.at, k.key, "the test is not understood")
		return
	}
	exprs := make([]syntax.Expr, len(command))
	for i, w := range command {
		exprs[i] = text2(w)
	}
	m.set("readyCommand", &syntax.Vector{Elems: exprs})
	span := func(key, otherwise string) int {
		text := otherwise
		if n := get(k.val, key); n != nil {
			text = n.text
		}
		n, ok := seconds(text)
		if !ok {
			m.lose(get(k.val, key).at, k.key+"."+key, "%s is no duration", shortened(text))
			n, _ = seconds(otherwise)
		}
		return n
	}
	retries := 3
	if n := get(k.val, "retries"); n != nil {
		if v, ok := number(n.text); ok && v < 1000 {
			retries = v
		}
	}
	m.set("readyTimeout", integer(min(max(1, span("start_period", "0s")+retries*span("interval", "30s")), 1<<30)))
	m.lose(k.at, k.key, "it is checked until the program is ready, not again later")
}

// environment collects variables: files first, then those written here.
func (m *making) environment() {
	type variable struct {
		at    diag.Span
		value string
	}
	vars := map[string]variable{}
	var order []string
	add := func(name, v string, at diag.Span) {
		if _, ok := vars[name]; !ok {
			order = append(order, name)
		}
		vars[name] = variable{at, v}
	}
	if n := get(m.s.def, "env_file"); n != nil {
		m.envFiles(n, add)
	}
	n := get(m.s.def, "environment")
	passed := func(name string, at diag.Span) {
		if v, ok := m.c.opts.Environment[name]; ok {
			add(name, v, at)
		} else {
			m.lose(at, "environment", "%s is not set; give it with -E %s=VALUE", shortened(name), shortened(name))
		}
	}
	if n != nil {
		for _, x := range n.items {
			name, v, ok := strings.Cut(x.text, "=")
			if ok {
				add(name, v, x.at)
			} else {
				passed(name, x.at)
			}
		}
		for _, k := range n.keys {
			switch {
			case k.val.kind == nNull:
				passed(k.key, k.at)
			case k.val.kind >= nList:
				m.lose(k.at, "environment."+k.key, "a variable is a text")
			default:
				add(k.key, k.val.text, k.val.at)
			}
		}
	}
	if len(order) == 0 {
		return
	}
	if m.s.kind != "process" {
		m.lose(n.at, "environment", "the component has attributes instead of variables")
		return
	}
	var items []syntax.Item
	for _, name := range order {
		v := vars[name]
		if strings.ContainsAny(v.value, "\x00") || name == "" {
			m.lose(v.at, "environment", "%q is no variable", name)
			continue
		}
		items = append(items, attribute(name, m.c.hosted(v.at, m.where+".environment."+name, v.value)))
	}
	m.set("env", table(items))
}

// envFiles reads the files of variables that lie in the Compose file's folder.
func (m *making) envFiles(n *node, add func(name, v string, at diag.Span)) {
	list := []*node{n}
	if n.kind == nList {
		list = n.items
	}
	for _, x := range list {
		file, required := x, true
		if x.kind == nMap {
			if r := get(x, "required"); r != nil {
				required = r.text != "false"
			}
			if file = get(x, "path"); file == nil {
				continue
			}
		}
		text, err := m.readFile(file.text)
		if err != nil {
			if required {
				m.lose(file.at, "env_file", "%s: %v", shortened(file.text), bareError(err))
			}
			continue
		}
		vars, err := dotenv.ParseWithLookup(bytes.NewReader(text), func(name string) (string, bool) {
			return m.c.opts.Environment[name], true
		})
		if err != nil {
			m.lose(file.at, "env_file", "%s: %s", shortened(file.text), plainWords(err.Error()))
			continue
		}
		names := make([]string, 0, len(vars))
		for name := range vars {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			add(name, vars[name], file.at)
		}
	}
}

func (m *making) readFile(name string) ([]byte, error) {
	info, err := m.stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCompose {
		return nil, fmt.Errorf("not a file of at most %d bytes", maxCompose)
	}
	f, err := m.c.opts.Folder.Open(path.Clean(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxCompose))
}

// volumes makes files and folders of what is mounted.
func (m *making) volumes(k entry) {
	for _, x := range k.val.items {
		v, ok := parseMount(x)
		switch {
		case !ok:
			m.lose(x.at, k.key, "%s is not understood", shortened(x.text))
		case m.s.kind == "nginx" && v.kind == "bind" && path.Clean(v.target) == "/usr/share/nginx/html":
			m.pages(x, v)
		case m.s.kind != "process":
			m.lose(x.at, k.key, "the component has its own place for what would be at %s", shortened(v.target))
		case v.kind == "bind":
			m.copied(x, v)
		case v.kind == "volume":
			m.volume(x, v)
		default:
			m.lose(x.at, k.key, "a mount of the kind %s", shortened(v.kind))
		}
	}
}

func (m *making) has(name string) bool {
	return slices.ContainsFunc(m.program.Protos[1].Body.Items, func(i syntax.Item) bool { return i.(*syntax.Attribute).Name == name })
}

// copied adds a mounted file or folder and reports whether that could be done.
func (m *making) copied(x *node, v mount) bool {
	info, err := m.stat(v.source)
	if err != nil {
		m.lose(x.at, "volumes", "%s: %v", shortened(v.source), bareError(err))
		return false
	}
	items := []syntax.Item{attribute("path", text2(v.target)), attribute("source", text2(m.beside(v.source)))}
	if info.IsDir() {
		m.component(path.Base(v.target), component("Directory", append(items, attribute("recursive", boolean(true)))...))
	} else {
		m.component(path.Base(v.target), component("File", items...))
	}
	if !v.readOnly {
		m.lose(x.at, "volumes", "%s is copied to the machine; what is written there does not come back", shortened(v.source))
	}
	return true
}

// pages lets nginx serve a mounted folder. It gets a place of its own: where
// the image has it, the distribution's package puts a page.
func (m *making) pages(x *node, v mount) {
	v.readOnly = true // the server writes nothing there
	v.target = "/srv/html"
	if m.copied(x, v) {
		m.set("sites", table([]syntax.Item{
			attribute("site", table([]syntax.Item{attribute("root", text2(v.target))})),
		}))
	}
}

// volume makes a folder of a named volume.
func (m *making) volume(x *node, v mount) {
	if first, ok := m.c.mounted[v.source]; ok && v.source != "" {
		m.lose(x.at, "volumes", "%s is also mounted by %s; each has a folder of its own", shortened(v.source), first)
	} else {
		m.c.mounted[v.source] = m.s.name
	}
	if driver := get(get(m.c.volumes, v.source), "driver"); driver != nil && driver.text != "local" {
		m.lose(driver.at, "volumes", "the driver %s", shortened(driver.text))
	}
	m.lose(x.at, "volumes", "%s is a folder of the machine and goes with it", shortened(v.target))
	m.component(path.Base(v.target), component("Directory",
		attribute("path", text2(v.target)), attribute("keepOnTerminate", boolean(true))))
}

// serviceConfigs makes files of configs.
func (m *making) serviceConfigs(k entry) {
	for _, x := range k.val.items {
		name, target, mode := x.text, "", ""
		if x.kind == nMap {
			name = ""
			for key, to := range map[string]*string{"source": &name, "target": &target, "mode": &mode} {
				if n := get(x, key); n != nil {
					*to = n.text
				}
			}
		}
		if target == "" {
			target = "/" + name
		}
		def := get(m.c.configs, name)
		items := []syntax.Item{attribute("path", text2(target))}
		file, content := get(def, "file"), get(def, "content")
		switch {
		case m.s.kind != "process":
			m.lose(x.at, k.key, "the component writes its configuration itself")
			continue
		case content != nil:
			items = append(items, attribute("content", text2(content.text)))
		case file != nil:
			if info, err := m.stat(file.text); err != nil || !info.Mode().IsRegular() {
				m.lose(file.at, k.key, "%s is no file that can be read here", shortened(file.text))
				continue
			}
			items = append(items, attribute("source", text2(m.beside(file.text))))
		default:
			m.lose(x.at, k.key, "%s has no file and no content here", shortened(name))
			continue
		}
		if mode = strings.TrimPrefix(mode, "0o"); mode != "" {
			if strings.Trim(mode, "01234567") == "" && len(mode) <= 5 {
				items = append(items, attribute("mode", text2(fmt.Sprintf("%04s", mode))))
			} else {
				m.lose(x.at, k.key, "the mode %s", shortened(mode))
			}
		}
		m.component(path.Base(target), component("File", items...))
	}
}
