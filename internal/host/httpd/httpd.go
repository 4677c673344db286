// Package httpd places applications into an Apache of the machine, for the
// managers of what runs there, and has the server take up what changed: it
// tests every configuration before it counts, and asks the server whether it
// has it. It starts no goroutine.
//
// An application is a file of directives, which all sites at the server's own
// ports include.
package httpd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"aloft/component"
	"aloft/internal/host"
)

// Program is the server.
const Program = "/usr/sbin/apache2"

// Server is an Apache of the machine, by its folder.
type Server struct {
	Home string `json:"home"`
	URI  string `json:"uri"` // where it answers, as http://address:port/
}

// Config is the server's own configuration, which includes what is in Apps.
func (s Server) Config() string { return filepath.Join(s.Home, "apache.conf") }

// Apps is the folder of what is placed in it.
func (s Server) Apps() string { return filepath.Join(s.Home, "apps") }

// Run is the server's folder for the time of one boot.
func (s Server) Run() string { return filepath.Join("/run", filepath.Base(s.Home)) }

// PidFile is where the server notes its process.
func (s Server) PidFile() string { return filepath.Join(s.Run(), "apache.pid") }

// Test returns an error, with what the server says, if a file is not a
// configuration it could run with.
func Test(ctx context.Context, config string, more ...string) error {
	return host.Command(ctx, append([]string{Program, "-t", "-f", config}, more...)...)
}

// reload has the server read its configuration anew, if it runs. Requests under
// way end as they began. A server that is just beginning, or reading it already,
// is not told: the signal would end it, or be lost.
func (s Server) reload() error {
	b, err := os.ReadFile(s.PidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 {
		return fmt.Errorf("%s is not the number of a process", s.PidFile())
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The number may be another process's by now.
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || !bytes.Contains(line, []byte("\x00"+s.Config()+"\x00")) {
		return nil
	}
	if !host.Catches(pid, syscall.SIGUSR1) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, syscall.SIGUSR1, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// App is something that is placed in a server.
type App struct {
	Server Server
	Path   string // of its URLs: "/wiki"
	Owner  string // a word of the component, which no other has, of letters, digits and -
	// Text are its directives, each in a line of its own.
	Text string
}

func (a App) file() string { return filepath.Join(a.Server.Apps(), a.Owner+".conf") }

// mark is a path, and where the server leads from it while it has the
// application as it is now, and at no other time: no site answers so by chance.
func (a App) mark() (path, answer string) {
	path, answer = words([]byte(a.Owner + "\x00" + a.Text))
	return "/" + path, answer
}

func (a App) head() []byte {
	path, answer := a.mark()
	return fmt.Appendf(nil, "# Written by aloft; changes are overwritten.\n%sRewriteRule \"^%s$\" \"%s\" [R=302,L]\n", a.at(), path, answer)
}

// at is the line that tells whose a path is.
func (a App) at() string { return "# At " + a.Path + "\n" }

// Rival returns an error if the path belongs to something else in the same
// server.
func (a App) Rival() error {
	found, err := os.ReadDir(a.Server.Apps())
	if err != nil {
		return err
	}
	for _, e := range found {
		file := filepath.Join(a.Server.Apps(), e.Name())
		if file == a.file() || filepath.Ext(file) != ".conf" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if bytes.Contains(text, []byte("\n"+a.at())) {
			return &component.Failure{
				Err:    fmt.Errorf("the path %s/ of this Apache belongs to another component", a.Path),
				Remedy: "choose another path for one of them",
			}
		}
	}
	return nil
}

// Place tests the application in the server's configuration, and has the server
// take it up. Await tells when it has. One that the server refuses leaves what
// was there before.
func (a App) Place(ctx context.Context) error {
	if err := a.Rival(); err != nil {
		return err
	}
	text := append(a.head(), a.Text...)
	if old, err := os.ReadFile(a.file()); err == nil && bytes.Equal(old, text) {
		return nil
	}
	next := a.file() + ".next"
	if err := host.WriteFile(next, text, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(a.Server.Config()); err == nil { // else the server tests it when it starts
		if err := Test(ctx, a.Server.Config(), "-c", "Include "+strconv.Quote(next)); err != nil {
			return errors.Join(err, host.RemoveFile(next))
		}
	}
	if err := os.Rename(next, a.file()); err != nil {
		return err
	}
	return a.Server.reload()
}

// ErrNotTakenUp is in the error about a server that answers, without the
// configuration that it is asked about.
var ErrNotTakenUp = errors.New("its Apache has not taken up its configuration")

// Up returns nil if the server has the application as it is now.
func (a App) Up(ctx context.Context) error {
	path, answer := a.mark()
	return led(ctx, http.MethodGet, strings.TrimSuffix(a.Server.URI, "/")+path, "", answer)
}

// led returns nil if a server leads from an address to another.
func led(ctx context.Context, method, uri, name, to string) error {
	status, location, err := Ask(ctx, method, uri, name)
	if err == nil && location != to {
		err = fmt.Errorf("%w: it answers %d", ErrNotTakenUp, status)
	}
	return err
}

// Await waits until the server has taken it up.
func (a App) Await(ctx context.Context) error {
	return a.Server.await(ctx, a.Up)
}

// Remove takes the application away, and waits until the server, if it runs, no
// longer answers for it.
func (a App) Remove(ctx context.Context) error {
	text, err := os.ReadFile(a.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := errors.Join(host.RemoveFile(a.file()), host.RemoveFile(a.file()+".next")); err != nil {
		return err
	}
	if err := a.Server.reload(); err != nil {
		return err
	}
	if len(text) < len(a.head()) {
		return nil
	}
	a.Text = string(text[len(a.head()):]) // as it was placed
	return a.Server.await(ctx, func(ctx context.Context) error {
		if a.Up(ctx) == nil {
			return fmt.Errorf("its Apache goes on serving what was taken away from %s", a.Server.URI)
		}
		return ctx.Err()
	})
}

// Ask sends a request for the name of a host, or for that in the address, that
// follows nothing and keeps no connection. It takes any certificate: it asks who
// it knows. It returns the status of the answer and where it leads.
func Ask(ctx context.Context, method, uri, name string) (status int, location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, uri, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = name
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: name},
			DialContext:       (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, resp.Header.Get("Location"), resp.Body.Close()
}

// Times of the wait for a server that is to take up its configuration.
const (
	askEvery   = 20 * time.Millisecond
	tellAgain  = time.Second
	pauseLimit = time.Second
)

// await asks until the answer is nil, and tells the server again what it may
// have missed.
func (s Server) await(ctx context.Context, ask func(context.Context) error) error {
	told := time.Now()
	for pause := askEvery; ; pause = min(pause*5/4, pauseLimit) { // each question is a line of the log
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if host.Sleep(ctx, pause) != nil {
			return err
		}
		if time.Since(told) < tellAgain {
			continue
		}
		told = time.Now()
		if err := s.reload(); err != nil {
			return err
		}
	}
}

// Reload has the server read its configuration, and waits until it answers to
// the mark of it.
func (s Server) Reload(ctx context.Context, m Mark) error {
	if err := s.reload(); err != nil {
		return err
	}
	return s.Await(ctx, m)
}

// Await waits until the server answers to the mark of a configuration.
func (s Server) Await(ctx context.Context, m Mark) error {
	return s.await(ctx, func(ctx context.Context) error { return m.up(ctx, s.URI) })
}

// Mark is what a server answers to that has the configuration with this
// content, and none else: a redirection for a name that nobody has.
type Mark struct{ name, answer string }

// alive is what every server answers to by itself, whatever its sites pass on.
var alive = Mark{"aloft-alive.invalid", "http://alive.invalid/"}

// Alive are the directives by which a server answers to Ping at a port.
func Alive(port int) string { return alive.Directives(port) }

// Ping returns nil if the server answers. Any answer counts.
func (s Server) Ping(ctx context.Context) error {
	_, _, err := Ask(ctx, http.MethodHead, s.URI, alive.name)
	return err
}

// MarkOf returns the mark of a content.
func MarkOf(content []byte) Mark {
	word, answer := words(content)
	return Mark{word + ".invalid", answer}
}

// words returns a word for a content, and an address, which none else has.
func words(content []byte) (word, address string) {
	sum := sha256.Sum256(content)
	return "aloft-" + hex.EncodeToString(sum[:12]), "http://" + hex.EncodeToString(sum[16:]) + ".invalid/"
}

// Directives are those by which a server answers to the mark at a port.
func (m Mark) Directives(port int) string {
	return fmt.Sprintf("<VirtualHost *:%d>\n  ServerName %s\n  RewriteEngine On\n  RewriteRule \"^\" \"%s\" [R=302,L]\n</VirtualHost>\n", port, m.name, m.answer)
}

// up returns nil if the server at uri has the configuration.
func (m Mark) up(ctx context.Context, uri string) error {
	return led(ctx, http.MethodHead, uri, m.name, m.answer)
}
