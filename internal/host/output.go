package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// OutputFile is where a process's output goes in its work folder when the
// description names no file.
const OutputFile = "output.log"

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
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, explain(err)
	}
	if os.Geteuid() == 0 && u.UID != 0 {
		if err := f.Chown(u.UID, u.GID); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// tail returns the last lines of what was written to path from offset on.
func tail(path string, offset int64) []string {
	f, err := os.Open(path)
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

// rotate copies a file that has grown too large beside itself and empties it.
func rotate(path string, limit int64) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() <= limit {
		return nil
	}
	if err != nil {
		return err
	}
	for n := rotateTo; n > 1; n-- {
		older, newer := fmt.Sprintf("%s.%d", path, n), fmt.Sprintf("%s.%d", path, n-1)
		if err := os.Rename(newer, older); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := copyFile(path, path+".1", st.Mode().Perm()); err != nil {
		return err
	}
	return os.Truncate(path, 0)
}

// RemoveOutput deletes an output file and what was rotated from it.
func RemoveOutput(path string) error {
	var errs []error
	for _, p := range []string{path, path + ".1", path + ".2"} {
		errs = append(errs, RemoveFile(p))
	}
	return errors.Join(errs...)
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
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
