package tomcat

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"aloft/internal/host"
	"aloft/internal/host/catalina"
)

// What every application gets: how files and JSP pages are served, and the
// types of files. The distribution has it in a package that needs systemd.
//
//go:embed web.xml
var webXML []byte

// logging sends all that Tomcat says where its output goes.
const logging = `# Written by aloft; changes are overwritten.
handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.level = ALL
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
java.util.logging.ConsoleHandler.encoding = UTF-8
.level = INFO
# A line for each look for another certificate.
org.apache.catalina.security.TLSCertificateReloadListener.level = WARNING
org.apache.tomcat.util.net.NioEndpoint.level = WARNING
`

// The elements of server.xml, as far as they are written. All of it is encoded
// by encoding/xml.
type (
	serverXML struct {
		XMLName   xml.Name      `xml:"Server"`
		Port      int           `xml:"port,attr"` // -1: no port that stops it
		Shutdown  string        `xml:"shutdown,attr"`
		Listeners []listenerXML `xml:"Listener"`
		Service   serviceXML    `xml:"Service"`
	}
	listenerXML struct {
		Class string     `xml:"className,attr"`
		More  []xml.Attr `xml:",any,attr"`
	}
	serviceXML struct {
		Name       string         `xml:"name,attr"`
		Connectors []connectorXML `xml:"Connector"`
		Engine     engineXML      `xml:"Engine"`
	}
	connectorXML struct {
		Port       int         `xml:"port,attr"`
		Protocol   string      `xml:"protocol,attr"`
		Timeout    int         `xml:"connectionTimeout,attr"` // ms
		Redirect   int         `xml:"redirectPort,attr,omitempty"`
		SSLEnabled bool        `xml:"SSLEnabled,attr,omitempty"`
		Scheme     string      `xml:"scheme,attr,omitempty"`
		Secure     bool        `xml:"secure,attr,omitempty"`
		Upgrade    *upgradeXML `xml:"UpgradeProtocol"`
		TLS        *tlsXML     `xml:"SSLHostConfig"`
	}
	upgradeXML struct {
		Class string `xml:"className,attr"`
	}
	tlsXML struct {
		Protocols   string         `xml:"protocols,attr"`
		Certificate certificateXML `xml:"Certificate"`
	}
	certificateXML struct {
		Pair string `xml:"certificateFile,attr"` // with those that signed it, and the key
	}
	engineXML struct {
		Name       string  `xml:"name,attr"`
		Default    string  `xml:"defaultHost,attr"`
		Background int     `xml:"backgroundProcessorDelay,attr"` // s
		Host       hostXML `xml:"Host"`
	}
	hostXML struct {
		Name      string     `xml:"name,attr"`
		AppBase   string     `xml:"appBase,attr"`
		Unpack    bool       `xml:"unpackWARs,attr"`
		Auto      bool       `xml:"autoDeploy,attr"`
		FailEarly bool       `xml:"failCtxIfServletStartFails,attr"`
		Ignore    string     `xml:"deployIgnore,attr"` // of what lies in appBase
		Valves    []valveXML `xml:"Valve"`
	}
	valveXML struct {
		Class string     `xml:"className,attr"`
		More  []xml.Attr `xml:",any,attr"`
	}
)

func valve(class string, more ...string) valveXML {
	v := valveXML{Class: "org.apache.catalina.valves." + class}
	for i := 0; i < len(more); i += 2 {
		v.More = append(v.More, xml.Attr{Name: xml.Name{Local: more[i]}, Value: more[i+1]})
	}
	return v
}

// config is the container's server.xml.
func (t container) config() ([]byte, error) {
	s := serverXML{
		Port: -1, Shutdown: "SHUTDOWN",
		Listeners: []listenerXML{
			{Class: "org.apache.catalina.core.JreMemoryLeakPreventionListener"},
			{Class: "org.apache.catalina.core.ThreadLocalLeakPreventionListener"},
		},
		Service: serviceXML{
			Name:       "Catalina",
			Connectors: []connectorXML{{Port: t.port, Protocol: "HTTP/1.1", Timeout: connectionTimeout, Redirect: t.https}},
			Engine: engineXML{
				Name: "Catalina", Default: "localhost", Background: 1, // how soon what is placed in it is found
				Host: hostXML{
					Name: "localhost", AppBase: "webapps", Unpack: true, Auto: true, FailEarly: true,
					Ignore: ".*", // what has no descriptor is of one that was taken away
					Valves: []valveXML{
						// A line for each request, among what it prints: kept as long as that.
						valve("AccessLogValve", "directory", "/dev", "prefix", "stdout", "suffix", "", "rotatable", "false", "buffered", "false",
							"pattern", `%h %l %u %t "%r" %s %b`),
						// A page of an error shows nobody what only its author should see.
						valve("ErrorReportValve", "showReport", "false", "showServerInfo", "false"),
					},
				},
			},
		},
	}
	if t.https != 0 {
		s.Service.Connectors = append(s.Service.Connectors, connectorXML{
			Port: t.https, Protocol: "org.apache.coyote.http11.Http11NioProtocol", Timeout: connectionTimeout,
			SSLEnabled: true, Scheme: "https", Secure: true,
			Upgrade: &upgradeXML{Class: "org.apache.coyote.http2.Http2Protocol"},
			TLS:     &tlsXML{Protocols: "TLSv1.2+TLSv1.3", Certificate: certificateXML{Pair: t.pairFile()}},
		})
	}
	if t.cert != nil {
		// Whenever it looks, all certificates are near enough to their ends to be
		// read anew.
		seconds := strconv.Itoa(int(lookEvery / time.Second))
		s.Listeners = append(s.Listeners, listenerXML{
			Class: "org.apache.catalina.security.TLSCertificateReloadListener",
			More:  []xml.Attr{{Name: xml.Name{Local: "checkPeriod"}, Value: seconds}, {Name: xml.Name{Local: "daysBefore"}, Value: "36500"}},
		})
	}
	b, err := xml.MarshalIndent(s, "", "  ")
	return append([]byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- Written by aloft; changes are overwritten. -->\n"), append(b, '\n')...), err
}

const connectionTimeout = 20_000 // ms, for the line that a request begins with

// contextXML is said of every application: the run time's own archives, which
// take seconds to look through, have no tags for pages in them.
const contextXML = `<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by aloft; changes are overwritten. -->
<Context>
  <WatchedResource>WEB-INF/web.xml</WatchedResource>
  <JarScanner scanClassPath="false"/>
</Context>
`

// make makes the base. What Tomcat may write is its account's; nothing else is.
func (t container) make(u host.User) error {
	for _, dir := range []string{t.base(), filepath.Join(t.base(), "conf"), t.tlsFolder()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := catalina.Make(t.base()); err != nil {
		return err
	}
	for _, dir := range []string{"webapps", "work", "temp"} {
		if err := host.GiveFolder(filepath.Join(t.base(), dir), u); err != nil {
			return err
		}
	}
	return errors.Join(
		write(filepath.Join(t.base(), "conf", "logging.properties"), []byte(logging)),
		write(filepath.Join(t.base(), "conf", "web.xml"), webXML),
		write(filepath.Join(t.base(), "conf", "context.xml"), []byte(contextXML)),
	)
}

// place puts the configuration and the keys where the container reads them.
func (t container) place(config []byte) error {
	if err := t.renew(); err != nil {
		return err
	}
	return write(t.serverFile(), config)
}

func (t container) serverFile() string { return filepath.Join(t.base(), "conf", "server.xml") }

// write writes a file, unless it is so already.
func write(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	return host.WriteFile(path, content, 0o644)
}
