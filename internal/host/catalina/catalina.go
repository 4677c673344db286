// Package catalina places applications into a Tomcat of the machine, for the
// managers of what runs there. Tomcat finds by itself what was placed or taken
// away; this package writes the descriptors it looks for, and asks whether it
// serves them. It starts no goroutine.
//
// An application has one version for each time it was placed. Of several with
// one path Tomcat sends new visitors to the newest that came up, and those
// with a session to the one that knows it, so that one can replace another
// without a request lost.
package catalina

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// Folders of a Tomcat's home. All are root's: Tomcat only reads them.
const (
	contexts = "conf/Catalina/localhost" // descriptors
	archives = "wars"
)

// Make makes the folders in which applications are placed.
func Make(home string) error {
	for _, dir := range []string{contexts, archives} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Tomcat is the container that applications are placed in.
type Tomcat struct {
	Home string `json:"home"` // its CATALINA_BASE
	URI  string `json:"uri"`  // where it answers, as http://address:port/
	Log  string `json:"log"`  // file with what it prints, or "" if that is not known
}

// Version is an application as it was placed once.
type Version struct {
	Tomcat Tomcat
	Path   string // of its URL: "/shop", or "" for all that nothing else answers
	Owner  string // a word of the component, which no other has
	Serial int    // grows with each version of the component
}

// pathForm is what Tomcat's names of applications can tell.
var pathForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

// CheckPath refuses what cannot be the path of an application.
func CheckPath(path string) error {
	if !pathForm.MatchString(path) || len(path) > 150 || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") {
		return fmt.Errorf("%q is not the path of an application", path)
	}
	switch first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/"); strings.ToUpper(first) {
	case "WEB-INF", "META-INF", "ROOT":
		return fmt.Errorf("%q is a name that Tomcat keeps for itself", path)
	}
	return nil
}

// base is the part of file names that stands for the path.
func base(path string) string {
	if path == "" {
		return "ROOT"
	}
	return strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "#")
}

// mark is the part of a version's name that tells whose it is.
func (v Version) mark() string {
	sum := sha256.Sum256([]byte(v.Owner))
	return hex.EncodeToString(sum[:4])
}

// name is the version's among all that are placed.
func (v Version) name() string {
	return fmt.Sprintf("%s##%08d-%s", base(v.Path), v.Serial, v.mark())
}

// Descriptor is the file by which Tomcat knows of it.
func (v Version) Descriptor() string {
	return filepath.Join(v.Tomcat.Home, contexts, v.name()+".xml")
}

// Archive is where its WAR goes.
func (v Version) Archive() string { return filepath.Join(v.Tomcat.Home, archives, v.name()+".war") }

// health is a path inside of the application that answers while it is up, and
// of no other version.
func (v Version) health() string {
	sum := sha256.Sum256([]byte(v.Owner + "\x00" + v.name()))
	return "/aloft-" + hex.EncodeToString(sum[:12])
}

// URI is where the application answers.
func (v Version) URI() string { return strings.TrimSuffix(v.Tomcat.URI, "/") + v.Path + "/" }

// Rival returns an error if the path belongs to something else in the same
// Tomcat.
func (v Version) Rival() error {
	found, err := os.ReadDir(filepath.Join(v.Tomcat.Home, contexts))
	if err != nil {
		return err
	}
	for _, e := range found {
		name, isDescriptor := strings.CutSuffix(e.Name(), ".xml")
		path, version, _ := strings.Cut(name, "##")
		if isDescriptor && path == base(v.Path) && !strings.HasSuffix(version, "-"+v.mark()) {
			return &component.Failure{
				Err:    fmt.Errorf("the path %s/ of this Tomcat belongs to another component", v.Path),
				Remedy: "choose another context for one of them",
			}
		}
	}
	return nil
}

// Context is what a descriptor says, for applications that bring none of their
// own.
type Context struct {
	DocBase    string        // a WAR or a folder
	Privileged bool          // it may use servlets of Tomcat's own, such as CGI
	Drain      time.Duration // how long requests under way may take when it is taken away
	// Own is the descriptor that the application brings, or nil; what is said
	// above is set in it.
	Own []byte
}

// leastDrain is what requests under way get in any case.
const leastDrain = 2 * time.Second

// encode writes the descriptor. An application's own is read and written anew,
// element by element.
func (c Context) encode(health string) ([]byte, error) {
	set := []xml.Attr{
		{Name: xml.Name{Local: "docBase"}, Value: c.DocBase},
		{Name: xml.Name{Local: "unloadDelay"}, Value: fmt.Sprint(max(c.Drain, leastDrain).Milliseconds())},
	}
	if c.Privileged {
		set = append(set, xml.Attr{Name: xml.Name{Local: "privileged"}, Value: "true"})
	}
	own := c.Own
	if own == nil {
		own = []byte("<Context></Context>")
	}
	var b strings.Builder
	in, out := xml.NewDecoder(strings.NewReader(string(own))), xml.NewEncoder(&b)
	depth, roots := 0, 0
	for {
		token, err := in.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch e := token.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				if roots++; e.Name.Local != "Context" || roots > 1 {
					return nil, fmt.Errorf("the element around all is %s, not Context", e.Name.Local)
				}
				kept := slices.Clone(set)
				for _, a := range e.Attr {
					switch a.Name.Local {
					case "path", "docBase", "unloadDelay":
					case "privileged":
						if !c.Privileged {
							kept = append(kept, a)
						}
					default:
						kept = append(kept, a)
					}
				}
				e.Attr = kept
			}
			token = e
		case xml.EndElement:
			if depth--; depth == 0 {
				valve := xml.StartElement{Name: xml.Name{Local: "Valve"}, Attr: []xml.Attr{
					{Name: xml.Name{Local: "className"}, Value: "org.apache.catalina.valves.HealthCheckValve"},
					{Name: xml.Name{Local: "path"}, Value: health},
				}}
				if err := errors.Join(out.EncodeToken(valve), out.EncodeToken(valve.End())); err != nil {
					return nil, err
				}
			}
		case xml.Comment, xml.ProcInst, xml.Directive:
			continue
		}
		if depth == 0 && isText(token) {
			continue
		}
		if err := out.EncodeToken(token); err != nil {
			return nil, err
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	if roots != 1 || depth != 0 {
		return nil, errors.New("it has no element Context")
	}
	return []byte(xml.Header + b.String() + "\n"), nil
}

func isText(t xml.Token) bool {
	_, ok := t.(xml.CharData)
	return ok
}

// Check returns an error if the descriptor that an application brings is none.
func (c Context) Check() error {
	_, err := c.encode("/")
	return err
}

// Place has Tomcat serve the version. Await tells when it does.
func (v Version) Place(c Context) error {
	text, err := c.encode(v.health())
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(v.Descriptor()); err == nil && string(old) == string(text) {
		return nil
	}
	return host.WriteFile(v.Descriptor(), text, 0o644)
}

// Ask sends a request that follows nothing and keeps no connection, and
// returns the status of the answer.
func Ask(ctx context.Context, method, uri string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, uri, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second, // run times that begin are slow
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Up returns nil if Tomcat serves this version to new visitors.
func (v Version) Up(ctx context.Context) error {
	status, err := Ask(ctx, http.MethodGet, strings.TrimSuffix(v.URI(), "/")+v.health())
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("Tomcat does not serve %s: it answers %d", v.URI(), status)
	}
	return nil
}

// lookEvery is the pause between questions to Tomcat, which itself looks once
// a second for what was placed.
const lookEvery = 200 * time.Millisecond

// Await waits until Tomcat serves the version. Where Tomcat says that it
// cannot, or ctx ends, the error has what it printed about that since its log
// had the size of since.
func (v Version) Await(ctx context.Context, since int64) error {
	for pause := lookEvery; ; pause = min(pause*5/4, time.Second) { // each question is a line of the log
		err := v.Up(ctx)
		if err == nil {
			return nil
		}
		log := v.Tomcat.printed(since)
		failed := v.failed(log)
		if !failed && host.Sleep(ctx, pause) == nil {
			continue
		}
		if !failed {
			err = fmt.Errorf("%s was not up in time: %w", v.URI(), err)
		} else {
			err = fmt.Errorf("%s did not come up", v.URI())
		}
		return &component.Failure{Err: err, Output: troubles(log), Remedy: "the application's own log may say more: aloft logs"}
	}
}

// unpacked is the folder that Tomcat unpacks the WAR to, and removes again.
func (v Version) unpacked() string { return filepath.Join(v.Tomcat.Home, "webapps", v.name()) }

// Remove takes the version away, and its WAR, when the requests under way have
// ended, or have had the time that its descriptor gives them.
func (v Version) Remove(ctx context.Context) error {
	if err := host.RemoveFile(v.Descriptor()); err != nil {
		return err
	}
	for {
		_, err := Ask(ctx, http.MethodHead, v.Tomcat.URI)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, there := os.Lstat(v.unpacked())
		if err != nil || errors.Is(there, fs.ErrNotExist) && v.Up(ctx) != nil {
			break // it has ended, or has no Tomcat any more
		}
		if err := host.Sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(v.unpacked()), host.RemoveFile(v.Archive()))
}
