package observe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"aloft/value"
)

const (
	// logSize and logFiles bound the log of one component: 10 MB, three times.
	logSize  = 10 << 20
	logFiles = 3
	// longestLine is where a line without end is cut.
	longestLine = 64 << 10
	// pause is how often a followed file is looked at.
	pause = 250 * time.Millisecond
)

// LogFile is the log of one component. Older content is in File.1 and File.2.
type LogFile struct {
	Path value.Path
	File string
}

// Line is one line of a component's log, without its end.
type Line struct {
	Path value.Path
	Text string
	Time time.Time // when it was read from the end of the log, else zero: logs hold no times
}

// Follow visits the last tail lines of each file (all with tail 0), oldest
// first, and goes on with what is written until ctx ends, then returns nil. A
// file may be rotated, cut, or still to come. It stops at visit's first error.
func Follow(ctx context.Context, files []LogFile, tail int, visit func(Line) error) error {
	readers := make([]*reader, len(files))
	defer func() {
		for _, r := range readers {
			if r != nil {
				r.close()
			}
		}
	}()
	for i, f := range files {
		readers[i] = &reader{LogFile: f}
		if err := readers[i].before(tail, visit); err != nil {
			return err
		}
	}
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, r := range readers {
			if err := r.more(visit); err != nil {
				return err
			}
		}
	}
}

// Tail visits the last tail lines of each file (all with tail 0), oldest first.
func Tail(files []LogFile, tail int, visit func(Line) error) error {
	for _, f := range files {
		r := &reader{LogFile: f}
		err := r.before(tail, visit)
		if err == nil {
			err = r.end(visit)
		}
		r.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// reader reads one log as it grows.
type reader struct {
	LogFile
	file *os.File // nil: it is not there yet
	off  int64
	rest []byte // a line whose end has not come
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// before visits what is there. Older files are read as far as tail needs them.
func (r *reader) before(tail int, visit func(Line) error) error {
	if err := r.open(); err != nil || r.file == nil {
		return err
	}
	kept, rest, n, err := last(r.file, tail)
	if err != nil {
		return fmt.Errorf("log %s: %w", r.File, err)
	}
	r.off, r.rest = n, rest
	for i := 1; i < logFiles && (tail == 0 || len(kept) < tail); i++ {
		f, err := os.Open(r.File + "." + strconv.Itoa(i))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("log %s: %w", r.File, err)
		}
		want := 0
		if tail > 0 {
			want = tail - len(kept)
		}
		older, rest, _, err := last(f, want)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("log %s: %w", r.File, err)
		}
		if len(rest) > 0 {
			older = append(older, string(rest))
		}
		kept = append(older, kept...)
	}
	for _, text := range kept {
		if err := visit(Line{Path: r.Path, Text: text}); err != nil {
			return err
		}
	}
	return nil
}

// last returns the last n whole lines of f (all with 0), the rest behind them,
// and how many bytes were read.
func last(f *os.File, n int) (kept []string, rest []byte, size int64, err error) {
	for r := bufio.NewReaderSize(f, longestLine); ; {
		line, err := r.ReadSlice('\n')
		size += int64(len(line))
		switch {
		case err == io.EOF:
			return kept, bytes.Clone(line), size, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, nil, 0, err
		}
		if n > 0 && len(kept) >= 2*n {
			kept = append(kept[:0], kept[n:]...)
		}
		kept = append(kept, text(line))
		if n > 0 && len(kept) > n {
			kept = kept[len(kept)-n:]
		}
	}
}

func text(line []byte) string {
	return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")))
}

func (r *reader) open() error {
	f, err := os.Open(r.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	r.file, r.off = f, 0
	return nil
}

// more visits what was written since, also when the file was replaced or cut.
func (r *reader) more(visit func(Line) error) error {
	if r.file != nil {
		now, err := os.Stat(r.File)
		old, oldErr := r.file.Stat()
		if oldErr != nil {
			return fmt.Errorf("log %s: %w", r.File, oldErr)
		}
		// First to the end of what was open: a replaced file is complete now.
		cut := old.Size() < r.off
		if cut {
			r.off = 0
			if err := r.end(visit); err != nil {
				return err
			}
		}
		if err := r.grow(visit); err != nil {
			return err
		}
		if err != nil || os.SameFile(now, old) {
			return nil // not replaced, or its follower is still to come
		}
		if err := r.end(visit); err != nil {
			return err
		}
		r.close()
	}
	if err := r.open(); err != nil || r.file == nil {
		return err
	}
	return r.grow(visit)
}

// grow visits the lines that have come to the open file.
func (r *reader) grow(visit func(Line) error) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.file.ReadAt(buf, r.off)
		r.off += int64(n)
		whole, rest := lines(append(r.rest, buf[:n]...))
		for _, line := range whole {
			if err := visit(Line{Path: r.Path, Text: text(line), Time: time.Now()}); err != nil {
				return err
			}
		}
		if r.rest = bytes.Clone(rest); len(r.rest) >= longestLine {
			if err := r.end(visit); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("log %s: %w", r.File, err)
		}
	}
}

// end visits a line whose end will not come.
func (r *reader) end(visit func(Line) error) error {
	if len(r.rest) == 0 {
		return nil
	}
	line := Line{Path: r.Path, Text: text(r.rest), Time: time.Now()}
	r.rest = nil
	return visit(line)
}

// Rotate rotates a log of 10 MB or more that a process writes by itself: the
// process keeps its file, so the content is copied and the file cut. It must
// be open for appending. What is written between the two is lost.
func Rotate(path string) error { return rotateAt(path, logSize) }

func rotateAt(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() < size {
		return err
	}
	if err := shift(path); err != nil {
		return err
	}
	copied, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	_, err = io.Copy(copied, f)
	if err = errors.Join(err, copied.Close()); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// shift makes room for File.1.
func shift(path string) error {
	for i := logFiles - 2; i >= 1; i-- {
		err := os.Rename(path+"."+strconv.Itoa(i), path+"."+strconv.Itoa(i+1))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log: %w", err)
		}
	}
	return nil
}
