// Package daemon builds every room and wires them together: the managing
// daemon of a home, and the daemon of a machine. It owns every goroutine; each
// of the two Run functions returns when all they started have ended. It
// decides nothing that a room could decide.
package daemon

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
)

// Options says which daemon to run.
type Options struct {
	Home    string // state folder, absolute
	Socket  string // of the Service API; of a managing daemon
	Machine bool   // the daemon of a machine
	Version string // of the build
	Log     io.Writer
	Environ []string

	// Orphans, unless it is "", is written into the settings of the home: what
	// becomes of what belongs to nothing.
	Orphans string
}

// Run runs a daemon until ctx ends or it is told to stop.
func Run(ctx context.Context, o Options) error {
	// A machine's daemon is small, and collecting its garbage while many start at
	// once costs more than it saves.
	// One that manages is to do with little memory also with many components.
	if o.Machine {
		debug.SetGCPercent(300)
	} else {
		debug.SetGCPercent(75)
	}
	log := slog.New(slog.NewTextHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	h, err := openHome(o.Home)
	if err != nil {
		return err
	}
	defer h.close()
	if o.Machine {
		// Components may run as users of their own, and have their folders in it.
		if err := os.Chmod(o.Home, 0o711); err != nil {
			return err
		}
		return runMachine(ctx, h, o, log)
	}
	if o.Orphans != "" {
		if err := h.setOrphans(o.Orphans); err != nil {
			return err
		}
	}
	return runMember(ctx, h, o, log)
}

// operations is how many operations a daemon performs at once (runtime.md
// LC4).
func operations() int { return 2 * runtime.NumCPU() }
