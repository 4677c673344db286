package convert

import (
	"aloft/internal/sdl/syntax"
)

// sites says what a web server without a folder serves: the one program that
// it depends on, as far as can be seen; its own configuration is not read.
func (m *making) sites() {
	target, port := m.upstream()
	if target == nil {
		m.lose(m.s.at, "sites", "what the server serves is not known; sites is TBD, to be filled in (see aloft/nginx.sf)")
		m.set("sites", tbd())
		return
	}
	m.proxied = target
	m.lose(m.s.at, "sites", "what the server serves is not known; it passes all requests on to %s, port %d", target.name, port)
	// A reference to a set of copies is the vector of their addresses.
	upstreams := expression(m.c.link(target.label, "ip"))
	if target.copies == 1 {
		upstreams = values([]syntax.Expr{upstreams})
	}
	site := []syntax.Item{attribute("upstreams", upstreams)}
	if port != 80 {
		site = append(site, attribute("upstreamPort", integer(port)))
	}
	m.set("sites", table([]syntax.Item{attribute("site", table(site))}))
}

// upstream is the only program with a port that the service depends on, and
// the port, or nil.
func (m *making) upstream() (*service, int) {
	var found *service
	at := 0
	on := get(m.s.def, "depends_on")
	if on == nil {
		return nil, 0
	}
	names := make([]string, 0, len(on.items)+len(on.keys))
	for _, x := range on.items {
		names = append(names, x.text)
	}
	for _, x := range on.keys {
		names = append(names, x.key)
	}
	for _, name := range names {
		s := m.c.byName[name]
		if s == nil || s == m.s || s.kind != "process" {
			continue
		}
		port := s.port()
		if port == 0 {
			continue
		}
		if found != nil {
			return nil, 0
		}
		found, at = s, port
	}
	return found, at
}

// port is the first TCP port that the service names, or 0.
func (s *service) port() int {
	for _, key := range []string{"expose", "ports"} {
		list := get(s.def, key)
		if list == nil {
			continue
		}
		for _, x := range list.items {
			text := portText(x)
			if ports, ok := parsePorts(text); ok && ports[0].protocol == "tcp" {
				return ports[0].number
			}
		}
	}
	return 0
}

// portText is an element of ports in the short form.
func portText(x *node) string {
	if x.kind != nMap {
		return x.text
	}
	text := ""
	if target := get(x, "target"); target != nil {
		text = target.text
	}
	if published := get(x, "published"); published != nil {
		text = published.text + ":" + text
	}
	if protocol := get(x, "protocol"); protocol != nil {
		text += "/" + protocol.text
	}
	return text
}
