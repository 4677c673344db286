package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"aloft/component"
	"aloft/internal/host"
)

// tree is the record of the files in a destination that are the component's.
// It is written before what it tells of is done, so it may name what was not
// made in the end.
type tree struct {
	workDir string

	Destination string   `json:"destination"`
	Files       []string `json:"files"` // below the destination, sorted
	Made        []string `json:"made"`  // folders that were made, by path
	Done        string   `json:"done"`  // key of what is unpacked whole, or ""
}

const recordFile = "archive.json"

func readTree(workDir, destination string) (*tree, error) {
	t := &tree{workDir: workDir, Destination: destination}
	_, err := host.ReadRecord(workDir, recordFile, t)
	return t, err
}

func (t *tree) write() error { return host.WriteRecord(t.workDir, recordFile, t) }

// staging is where files are unpacked before they get to their places: beside
// them, as renaming needs one file system.
func (t *tree) staging() string { return filepath.Join(t.Destination, ".aloft-new") }

// replace has fill write the files into a folder, and then moves them to their
// places; those of before that are not among them go. Until fill has
// succeeded, nothing is changed.
func (t *tree) replace(fill func(folder string) error, key string) error {
	if err := t.makeFolder(t.Destination); err != nil {
		return err
	}
	if err := os.RemoveAll(t.staging()); err != nil {
		return err
	}
	if err := os.Mkdir(t.staging(), 0o700); err != nil {
		return err
	}
	err := fill(t.staging())
	var files, folders []string
	if err == nil {
		files, folders, err = list(t.staging())
	}
	if err == nil {
		err = t.conflict(files)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(t.staging()), t.giveUp())
	}
	return t.move(files, folders, key)
}

// giveUp removes what was made for files that did not come.
func (t *tree) giveUp() error {
	if t.Done != "" || len(t.Files) > 0 {
		return nil
	}
	return removeTree(t.workDir)
}

func (t *tree) makeFolder(path string) error {
	var missing []string
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, dir)
	}
	if len(missing) == 0 {
		return nil
	}
	t.Made = append(t.Made, missing...)
	if err := t.write(); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o755)
}

// list returns the files and folders below a folder, sorted.
func list(folder string) (files, folders []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		if d.IsDir() {
			folders = append(folders, rel)
		} else {
			files = append(files, rel)
		}
		return err
	})
	slices.Sort(files)
	return files, folders, err
}

// conflict refuses to write over what is not the component's.
func (t *tree) conflict(files []string) error {
	for _, file := range files {
		if _, ours := slices.BinarySearch(t.Files, file); ours {
			continue
		}
		path := filepath.Join(t.Destination, file)
		if _, err := os.Lstat(path); err == nil {
			return &component.Failure{
				Err:    fmt.Errorf("%s is there already, and the archive has it too", path),
				Remedy: "unpack it elsewhere, leave that file out with only, or remove it",
			}
		}
	}
	return nil
}

func (t *tree) move(files, folders []string, key string) error {
	old := t.Files
	t.Files, t.Done = merge(old, files), ""
	for _, folder := range folders {
		if path := filepath.Join(t.Destination, folder); !slices.Contains(t.Made, path) {
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				t.Made = append(t.Made, path)
			}
		}
	}
	if err := t.write(); err != nil {
		return err
	}
	for _, file := range old {
		if _, still := slices.BinarySearch(files, file); !still {
			if err := host.RemoveFile(filepath.Join(t.Destination, file)); err != nil {
				return err
			}
		}
	}
	for _, folder := range folders {
		if err := os.MkdirAll(filepath.Join(t.Destination, folder), 0o755); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := os.Rename(filepath.Join(t.staging(), file), filepath.Join(t.Destination, file)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(t.staging()); err != nil {
		return err
	}
	if err := syncAll(t.Destination); err != nil { // before the record says so
		return err
	}
	t.Files, t.Done = files, key
	t.Made = removeEmpty(t.Made, t.Destination, folders)
	return t.write()
}

// syncAll has all that was written to the file system of folder on the disk.
func syncAll(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

func merge(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// removeEmpty deletes the folders below destination that are empty and not
// wanted, innermost first, and returns those that stay.
func removeEmpty(made []string, destination string, wanted []string) []string {
	slices.SortFunc(made, func(a, b string) int { return len(b) - len(a) })
	return slices.DeleteFunc(slices.Clone(made), func(path string) bool {
		rel, err := filepath.Rel(destination, path)
		if err != nil || rel == "." || !filepath.IsLocal(rel) || slices.Contains(wanted, rel) {
			return false
		}
		return os.Remove(path) == nil
	})
}

// check returns an error if a file is missing.
func (t *tree) check() error {
	for _, file := range t.Files {
		if _, err := os.Lstat(filepath.Join(t.Destination, file)); err != nil {
			return err
		}
	}
	return nil
}

// removeTree deletes what the record in workDir names: the files, and the
// folders made for them in which nothing else is.
func removeTree(workDir string) error {
	t, err := readTree(workDir, "")
	if err != nil || t.Destination == "" {
		return err
	}
	if err := os.RemoveAll(t.staging()); err != nil {
		return err
	}
	for _, file := range t.Files {
		if err := host.RemoveFile(filepath.Join(t.Destination, file)); err != nil {
			return err
		}
	}
	slices.SortFunc(t.Made, func(a, b string) int { return len(b) - len(a) })
	for _, folder := range t.Made {
		_ = os.Remove(folder) // one that is not empty holds what somebody else put there
	}
	return host.RemoveFile(filepath.Join(workDir, recordFile))
}
