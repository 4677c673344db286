package website

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

// site is what the serving process reads from its configuration file.
type site struct {
	Listen string            `json:"listen"` // host:port
	Pages  map[string]string `json:"pages,omitempty"`
	Root   string            `json:"root,omitempty"`
}

// Main is the command that serves a Website: `website serve --config FILE`
// after the program's name. It returns the exit status when it is told to end.
func Main(args []string) int {
	flags := flag.NewFlagSet("website serve", flag.ContinueOnError)
	config := flags.String("config", "", "the site's configuration `file`")
	if len(args) == 0 || args[0] != "serve" || flags.Parse(args[1:]) != nil || *config == "" {
		fmt.Fprintln(os.Stderr, "usage: website serve --config FILE")
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, *config); err != nil {
		fmt.Fprintln(os.Stderr, "website:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, config string) error {
	h := &handler{config: config}
	s, err := h.site()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(patience)
	})
	fmt.Printf("serving on http://%s/\n", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	<-drained
	return nil
}

// handler serves the site that its configuration file describes at the moment
// of the request: replacing the file switches the site between two requests.
type handler struct {
	config string

	mu sync.Mutex
	// guarded by mu
	read    os.FileInfo
	current site
}

func (h *handler) site() (site, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, err := os.Stat(h.config)
	if err != nil {
		return site{}, err
	}
	if h.read != nil && os.SameFile(st, h.read) && st.ModTime().Equal(h.read.ModTime()) {
		return h.current, nil
	}
	b, err := os.ReadFile(h.config)
	if err != nil {
		return site{}, err
	}
	var s site
	if err := json.Unmarshal(b, &s); err != nil {
		return site{}, fmt.Errorf("%s: %w", h.config, err)
	}
	h.read, h.current = st, s
	return s, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this site only has pages to read", http.StatusMethodNotAllowed)
		return
	}
	s, err := h.site()
	if err != nil {
		fmt.Fprintln(os.Stderr, "website:", err)
		http.Error(w, "this site's configuration cannot be read", http.StatusInternalServerError)
		return
	}
	if s.Root != "" {
		serveRoot(w, r, s.Root)
		return
	}
	name, text, ok := s.page(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType(name, text))
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
}

// page finds the page for a request's path; a folder's page is its index.html.
func (s site) page(request string) (name, text string, ok bool) {
	name = path.Clean("/" + request)
	for _, name := range []string{name, path.Join(name, "index.html")} {
		if text, ok := s.Pages[name]; ok {
			return name, text, true
		}
	}
	return "", "", false
}

// contentType goes by the page's name, and by its text where that says nothing.
func contentType(name, text string) string {
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return http.DetectContentType([]byte(text))
}

// serveRoot serves files below root; a link that leads out of it is not found.
func serveRoot(w http.ResponseWriter, r *http.Request, root string) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "website:", err)
		http.Error(w, "this site's folder cannot be read", http.StatusInternalServerError)
		return
	}
	defer dir.Close()
	http.FileServerFS(dir.FS()).ServeHTTP(w, r)
}

// encode returns the configuration file's content.
func (s site) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(s)
	return b.Bytes(), err
}
