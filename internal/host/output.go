package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"aloft/component"
	"aloft/internal/stamp"
)

// OutputFile is where a process's output goes in its work folder when the
// description names no file.
const OutputFile = "output.log"

// TimesFile is where a component's work folder says when its output, wherever
// that goes, was written: marks of package stamp.
const TimesFile = "output.times"

// Output is kept as three files of 10 MB. The process holds the first one open
// itself, so it must stay the same file: rotation copies it and then truncates
// it, and what is written between the two is lost. The file is open for
// appending, so that the process goes on at its new end.
const (
	rotateAt = 10 << 20
	rotateTo = 2 // .1 and .2 beside the current file
)

const (
	tailLines = 10
	tailBytes = 8 << 10
)

func openOutput(path string, u User) (*os.File, error) {
	f, err := openOwn(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 && u.UID != 0 {
		if err := f.Chown(u.UID, u.GID); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// openOwn opens an output file, and nothing else that is found in its place: the
// process may be allowed to put a link there, and the daemon more than it.
func openOwn(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if errors.Is(err, unix.ELOOP) {
		return nil, notOutput(path, "a symbolic link")
	}
	if err != nil {
		return nil, explain(err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = notOutput(path, kindOf(st.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func notOutput(path, kind string) error {
	return &component.Failure{
		Err:    fmt.Errorf("output cannot go to %s: it is %s", path, kind),
		Remedy: "choose another file for it, or remove what is there",
	}
}

// tail returns the last lines of what was written to path from offset on.
func tail(path string, offset int64) []string {
	f, err := openOwn(path, os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	if st.Size() < offset {
		offset = 0 // rotated meanwhile
	}
	cut := false
	if st.Size()-offset > tailBytes {
		offset, cut = st.Size()-tailBytes, true
	}
	b, err := io.ReadAll(io.NewSectionReader(f, offset, st.Size()-offset))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(strings.ToValidUTF8(string(b), "\uFFFD"), "\n"), "\n")
	if cut && len(lines) > 1 {
		lines = lines[1:]
	}
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-tailLines):]
}

// rotate copies a file that has grown too large beside itself and empties it,
// and lets the marks of folder follow.
func rotate(folder, path string, limit int64) error {
	f, err := openOwn(path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() <= limit {
		return err
	}
	for n := rotateTo; n > 1; n-- {
		older, newer := fmt.Sprintf("%s.%d", path, n), fmt.Sprintf("%s.%d", path, n-1)
		if err := os.Rename(newer, older); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := copyFile(f, path+".1", st.Mode().Perm()); err != nil {
		return err
	}
	return errors.Join(f.Truncate(0), stamp.Rotate(filepath.Join(folder, TimesFile), rotateTo))
}

// stampOutput notes when the output of folder was written last.
func stampOutput(folder string, output fs.FileInfo) error {
	return stamp.Append(filepath.Join(folder, TimesFile), stamp.Mark{At: output.ModTime(), Size: output.Size()})
}

// RemoveOutput deletes an output file and what was rotated from it.
func RemoveOutput(path string) error {
	files := []string{path}
	if filepath.Base(path) == OutputFile {
		files = append(files, filepath.Join(filepath.Dir(path), TimesFile))
	}
	var errs []error
	for _, file := range files {
		for n := range rotateTo + 1 {
			errs = append(errs, RemoveFile(stamp.Name(file, n)))
		}
	}
	return errors.Join(errs...)
}

func copyFile(src io.Reader, to string, mode fs.FileMode) (err error) {
	dst, err := createBeside(to)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(dst.Name())
		}
	}()
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(mode), dst.Close())
	if err != nil {
		return explain(err)
	}
	return os.Rename(dst.Name(), to)
}
