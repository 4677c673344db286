package daemon

import (
	"errors"
	"sync"
	"time"

	"aloft/internal/store"
)

// ending ends the run of a daemon from within: because the API asked for it,
// or because the daemon has become another.
type ending struct {
	stop chan struct{} // closed when it is to end

	mu   sync.Mutex
	over bool  // guarded by mu
	told bool  // by the API; guarded by mu
	why  error // of Run, guarded by mu; nil: told to end
}

func newEnding() *ending { return &ending{stop: make(chan struct{})} }

// endSoon makes the daemon end after the answer to the call that asked for it.
func (e *ending) endSoon() {
	e.mu.Lock()
	e.told = true
	e.mu.Unlock()
	endSoon(func() { e.end(nil) })
}

// ended returns the error that a Run ended with. A daemon that becomes another
// just when it is told to end does not go on as that: then the error is
// errStopped too.
func (e *ending) ended(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.told && (errors.Is(err, errChanged) || errors.Is(err, errRemoved) || errors.Is(err, store.ErrRemoved)) {
		return errors.Join(err, errStopped)
	}
	return err
}

// endSoon calls end after the answer to the call that asked for it.
func endSoon(end func()) { time.AfterFunc(50*time.Millisecond, end) }

// end makes the daemon's Run end, with why; the first why counts.
func (e *ending) end(why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.over, e.why = true, why
		close(e.stop)
	}
}

// reason returns what Run returns once it was ended from within.
func (e *ending) reason() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.why
}
