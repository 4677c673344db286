package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"aloft/internal/observe"
)

// logName is what the log of a daemon in the background is called, wherever
// who started it has put it.
const logName = "daemon.log"

// rotateEvery is how often its size is looked at. The output of components'
// processes is rotated by host, which knows its files.
const rotateEvery = time.Minute

// rotating keeps the log of this daemon from growing without bound, until ctx
// ends. A log that goes elsewhere, to a terminal or where its user has sent
// it, is left alone.
func rotating(w io.Writer, log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		path := logFile(w)
		tick := time.NewTicker(rotateEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			if path == "" {
				continue
			}
			if err := observe.Rotate(path); err != nil {
				log.Warn("rotate the daemon's log", "error", err)
			}
		}
	}
}

// logFile returns the path of a daemon's log that can be rotated: it is cut
// under a writer that appends. "" says that w is no such file.
func logFile(w io.Writer) string {
	f, ok := w.(*os.File)
	if !ok {
		return ""
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || filepath.Base(path) != logName {
		return ""
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_APPEND == 0 {
		return ""
	}
	return path
}

// together runs functions until all have ended; the first error ends them all.
func together(fs ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		for _, f := range fs {
			g.Go(func() error { return f(ctx) })
		}
		return g.Wait()
	}
}
