package observe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"aloft/internal/stamp"
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
	Path  value.Path
	File  string
	Times string // when it was written: marks of package stamp, rotated with it; "" for none
}

// Line is one line of a component's log, without its end.
type Line struct {
	Path value.Path
	Text string
	Time time.Time // by when it had been written
}

// Past chooses lines of what was written.
type Past struct {
	Lines int       // at most so many of each log; 0: all
	Since time.Time // none from before
}

// Follow visits what was written, in the order of time, then calls live, and
// goes on with what is written until ctx ends, then returns nil. A file may be
// rotated, cut, or still to come. It stops at the first error of the two.
func Follow(ctx context.Context, files []LogFile, past Past, visit func(Line) error, live func() error) error {
	readers := readersOf(files)
	defer closeAll(readers)
	if err := merge(readers, past, visit); err != nil {
		return err
	}
	if err := live(); err != nil {
		return err
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

// Tail visits what was written, in the order of time. What is of one log keeps
// its order.
func Tail(files []LogFile, past Past, visit func(Line) error) error {
	readers := readersOf(files)
	defer closeAll(readers)
	for _, r := range readers {
		r.ended = true
	}
	return merge(readers, past, visit)
}

func readersOf(files []LogFile) []*reader {
	readers := make([]*reader, len(files))
	for i, f := range files {
		readers[i] = &reader{LogFile: f}
	}
	return readers
}

func closeAll(readers []*reader) {
	for _, r := range readers {
		r.close()
	}
}

// merge visits the past of logs by time. Of each it has one line in hand.
func merge(readers []*reader, past Past, visit func(Line) error) error {
	type head struct {
		line Line
		next func() (Line, error, bool)
	}
	var heads []*head
	for _, r := range readers {
		next, stop := iter.Pull2(r.past(past.Lines))
		defer stop()
		line, err, ok := next()
		if err != nil {
			return err
		}
		if ok {
			heads = append(heads, &head{line, next})
		}
	}
	for len(heads) > 0 {
		first := 0
		for i, h := range heads {
			if h.line.Time.Before(heads[first].line.Time) {
				first = i
			}
		}
		h := heads[first]
		if !h.line.Time.Before(past.Since) {
			if err := visit(h.line); err != nil {
				return err
			}
		}
		line, err, ok := h.next()
		switch {
		case err != nil:
			return err
		case ok:
			h.line = line
		default:
			heads = slices.Delete(heads, first, first+1)
		}
	}
	return nil
}

// reader reads one log as it grows.
type reader struct {
	LogFile
	ended bool     // a line without an end will get none
	file  *os.File // nil: it is not there yet
	off   int64
	rest  []byte // a line whose end has not come
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// past are the last lines of what is there, all with 0, oldest first. Behind
// its end the reader goes on with more.
func (r *reader) past(lines int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		err := r.open()
		var parts []part
		if err == nil && r.file != nil {
			// All at once: they may be rotated while the first are read.
			parts, err = r.parts()
		}
		defer func() {
			for _, p := range parts[min(1, len(parts)):] {
				_ = p.file.Close()
			}
		}()
		switch {
		case err != nil:
		case lines == 0:
			for n := len(parts) - 1; n >= 0 && err == nil; n-- {
				err = r.scan(n, parts[n], func(l Line) error {
					if !yield(l, nil) {
						return errEnough
					}
					return nil
				})
			}
		default:
			var kept []Line
			for n := 0; n < len(parts) && len(kept) < lines && err == nil; n++ {
				var some []Line
				err = r.scan(n, parts[n], func(l Line) error {
					if len(some) >= 2*lines {
						some = append(some[:0], some[lines:]...)
					}
					some = append(some, l)
					return nil
				})
				kept = append(some[max(0, len(some)+len(kept)-lines):], kept...)
			}
			for _, l := range kept {
				if !yield(l, nil) {
					return
				}
			}
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(Line{}, err)
		}
	}
}

// errEnough says that nobody wants more lines.
var errEnough = errors.New("enough")

// part is what there is of a log under one of its names.
type part struct {
	file  *os.File
	marks stamp.Marks
	time  time.Time // when it was written last
}

// parts opens what there is of the log: that of n was rotated n times, and that
// of 0 is the reader's own.
func (r *reader) parts() ([]part, error) {
	parts := []part{{file: r.file}}
	for n := 1; n < logFiles; n++ {
		f, err := openLog(stamp.Name(r.File, n))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return parts, err
		}
		parts = append(parts, part{file: f})
	}
	for n := range parts {
		p := &parts[n]
		st, err := p.file.Stat()
		if err == nil && r.Times != "" {
			p.marks, err = stamp.Read(stamp.Name(r.Times, n))
		}
		if err != nil {
			return parts, fmt.Errorf("log %s: %w", r.File, err)
		}
		p.time = st.ModTime()
	}
	return parts, nil
}

// scan visits the lines of the nth part. That of 0 is left where its whole lines
// end.
func (r *reader) scan(n int, p part, visit func(Line) error) error {
	size := int64(0)
	line := func(b []byte) Line {
		at := p.marks.At(size)
		if at.IsZero() {
			at = p.time
		}
		return Line{Path: r.Path, Text: text(b), Time: at}
	}
	for in := bufio.NewReaderSize(p.file, longestLine); ; {
		b, err := in.ReadSlice('\n')
		size += int64(len(b))
		switch {
		case err == io.EOF:
			if n == 0 {
				r.off = size
				if !r.ended {
					r.rest = bytes.Clone(b)
					return nil
				}
			}
			if len(b) == 0 {
				return nil
			}
			return visit(line(b))
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("log %s: %w", r.File, err)
		}
		if err := visit(line(b)); err != nil {
			return err
		}
	}
}

func text(line []byte) string {
	return string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")))
}

func (r *reader) open() error {
	f, err := openLog(r.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.file, r.off = f, 0
	return nil
}

// openLog opens a log and nothing else that is found in its place: programs that
// are not trusted may put a link there, or a pipe that nobody writes to.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("log %s is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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
