package nginx

import (
	"bytes"
	"fmt"
	"strings"

	"aloft/internal/host/sites"
)

// form is what nginx knows of sites, and how it is said.
var (
	form      = sites.Form{Balances: []string{"roundrobin", "leastconn", "iphash"}, Library: "aloft/nginx.sf"}
	balancing = map[string]string{"leastconn": "least_conn;", "iphash": "ip_hash;"}
)

// aliveName is asked for to see whether a server answers, whatever its sites pass
// on.
const aliveName = "aloft-alive.invalid"

// renderer writes a server's configuration. Words from a description are in
// quotes, and have been checked when they were read.
type renderer struct {
	server    *server
	upstreams bytes.Buffer
	groups    int
}

func (r *renderer) render(workers string) []byte {
	var b, servers bytes.Buffer
	for _, s := range r.server.sites {
		r.site(&servers, s)
	}
	if len(r.server.sites) == 0 { // it answers, if only that there is nothing
		fmt.Fprintf(&servers, "  server {\n%s    return 404;\n  }\n", r.listen(r.server.port))
	}
	// Who asks for the name, which nobody has, is answered by the server itself.
	fmt.Fprintf(&servers, "  server {\n    listen %d;\n    server_name %s;\n    return 204;\n  }\n", r.server.ports[0], aliveName)
	fmt.Fprintf(&b, "# Written by aloft; changes are overwritten.\n")
	fmt.Fprintf(&b, "user www-data;\nworker_processes %s;\npid /run/%s.pid;\nerror_log stderr warn;\n", workers, r.server.name)
	b.WriteString("events { worker_connections 1024; }\nhttp {\n" +
		"  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n" +
		"  sendfile on;\n  server_tokens off;\n  access_log /dev/stdout;\n")
	if s := r.server.cert; s != nil {
		fmt.Fprintf(&b, "  ssl_certificate \"%s\";\n  ssl_certificate_key \"%s\";\n  ssl_protocols TLSv1.2 TLSv1.3;\n", s.CertFile, s.KeyFile)
	}
	b.Write(r.upstreams.Bytes())
	b.Write(servers.Bytes())
	b.WriteString("}\n")
	return b.Bytes()
}

func (r *renderer) site(b *bytes.Buffer, s sites.Site) {
	fmt.Fprintf(b, "  server {\n%s", r.listen(s.Port))
	if len(s.Hosts) > 0 {
		fmt.Fprintf(b, "    server_name %s;\n", strings.Join(s.Hosts, " "))
	}
	for _, p := range s.Places {
		r.place(b, p)
	}
	b.WriteString("  }\n")
}

// listen has a server listen on a port, and if that is the component's, for
// HTTPS on its other one.
func (r *renderer) listen(port int) string {
	text := fmt.Sprintf("    listen %d;\n", port)
	if port == r.server.port && r.server.https != 0 {
		text += fmt.Sprintf("    listen %d ssl;\n", r.server.https)
	}
	return text
}

func (r *renderer) place(b *bytes.Buffer, p sites.Place) {
	switch {
	case p.Upstreams != nil:
		fmt.Fprintf(b, "    location %q {\n      proxy_pass http://%s;\n", p.Path, r.upstream(p))
		b.WriteString("      proxy_set_header Host $host;\n" +
			"      proxy_set_header X-Real-IP $remote_addr;\n" +
			"      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n" +
			"      proxy_set_header X-Forwarded-Proto $scheme;\n" +
			"      proxy_connect_timeout 2s;\n      proxy_next_upstream error timeout;\n    }\n")
	case p.Root != "":
		how, root := "root", p.Root
		if p.Path != "/" {
			how, root = "alias", strings.TrimSuffix(root, "/")
			if strings.HasSuffix(p.Path, "/") {
				root += "/"
			}
		}
		fmt.Fprintf(b, "    location %q {\n      %s \"%s\";\n      index index.html;\n    }\n", p.Path, how, root)
	case p.Redirect != "":
		fmt.Fprintf(b, "    location %q {\n      return 302 \"%s\";\n    }\n", p.Path, p.Redirect)
	default:
		for _, page := range p.Pages {
			fmt.Fprintf(b, "    location = %q {\n      root \"%s\";\n      try_files /%s =404;\n    }\n", page.Path, r.server.folder(), page.File)
		}
	}
}

// upstream writes the group of a place's upstreams and returns its name.
func (r *renderer) upstream(p sites.Place) string {
	name := fmt.Sprintf("group%d", r.groups)
	r.groups++
	fmt.Fprintf(&r.upstreams, "  upstream %s {\n", name)
	if how := balancing[p.Balance]; how != "" {
		fmt.Fprintf(&r.upstreams, "    %s\n", how)
	}
	for _, address := range p.Upstreams {
		fmt.Fprintf(&r.upstreams, "    server %s max_fails=1 fail_timeout=10s;\n", address)
	}
	r.upstreams.WriteString("  }\n")
	return name
}
