// Package stamp keeps when a file grew to which size, so that its lines have
// times that whoever wrote them did not write: in a file beside it, a line for
// each growth that was seen.
//
// What a crash loses of it is only the precision of these times.
package stamp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Mark says that a file had grown to Size bytes by At, to the millisecond.
type Mark struct {
	At   time.Time
	Size int64
}

// Append adds a mark to the file at path, or makes it with mode 0600.
func Append(path string, m Mark) error {
	f, err := open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, m.At.UnixMilli(), m.Size)
	return errors.Join(err, f.Close())
}

// open opens a file of marks and nothing else that is found in its place: it lies
// where programs that are not trusted may put a link, or a pipe.
func open(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Name returns the name that path has once its file was rotated n times.
func Name(path string, n int) string {
	if n == 0 {
		return path
	}
	return path + "." + strconv.Itoa(n)
}

// Rotate renames the file at path, and keeps so many of the older ones.
func Rotate(path string, keep int) error {
	for n := keep; n > 0; n-- {
		err := os.Rename(Name(path, n-1), Name(path, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Marks are those of one file, by size.
type Marks []Mark

// Read returns the marks in the file at path, none if there is no such file.
func Read(path string) (Marks, error) {
	f, err := open(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f)
}

// parse reads marks. A file that has become smaller was begun anew: those from
// before say nothing of it. Lines that are no marks, as a torn one, are passed.
func parse(r io.Reader) (Marks, error) {
	var marks Marks
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		at, size, _ := strings.Cut(lines.Text(), " ")
		ms, err := strconv.ParseInt(at, 10, 64)
		n, err2 := strconv.ParseInt(size, 10, 64)
		if err != nil || err2 != nil || n < 0 {
			continue
		}
		if len(marks) > 0 && n < marks[len(marks)-1].Size {
			marks = nil
		}
		marks = append(marks, Mark{At: time.UnixMilli(ms), Size: n})
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, err
	}
	return marks, nil
}

// At returns by when the byte before offset had been written, and the zero time
// when no mark covers it.
func (m Marks) At(offset int64) time.Time {
	i, _ := slices.BinarySearchFunc(m, offset, func(m Mark, offset int64) int {
		switch {
		case m.Size < offset:
			return -1
		default:
			return 1 // the first of those that cover it
		}
	})
	if i == len(m) {
		return time.Time{}
	}
	return m[i].At
}
