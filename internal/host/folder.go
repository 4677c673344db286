package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"aloft/component"
)

// Folder is one folder under a component's management.
type Folder struct {
	Path    string // absolute
	WorkDir string
	Owned   Owned
	Files   []Shipped // copied into it
}

// folderRecord says what of a folder is the component's. It is written before
// the change it tells of, so it may name what was not made in the end.
type folderRecord struct {
	Path    string   `json:"path"`
	Existed bool     `json:"existed"`
	Made    []string `json:"made"`  // folders made on the way to it, and in it
	Files   []string `json:"files"` // paths below it
}

const folderFile = "folder.json"

func readFolderRecord(workDir string) (*folderRecord, error) {
	path := filepath.Join(workDir, folderFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r folderRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("record of a folder %s: %w", path, err)
	}
	return &r, nil
}

func (r *folderRecord) write(workDir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeAtomic(filepath.Join(workDir, folderFile), b, 0o600, -1, -1)
}

// Put makes the folder and its files as they should be, changing only what
// differs. Files of an earlier Put that are no longer wanted go.
func (f Folder) Put(ctx context.Context, env component.Environment) error {
	rec, err := readFolderRecord(f.WorkDir)
	if err != nil {
		return err
	}
	if rec == nil {
		rec = &folderRecord{Path: f.Path}
		info, err := os.Stat(f.Path)
		switch {
		case err == nil && !info.IsDir():
			return &component.Failure{Err: fmt.Errorf("%s is there already and is no folder", f.Path), Remedy: "choose another path, or remove it"}
		case err == nil:
			rec.Existed = true
		case !errors.Is(err, fs.ErrNotExist):
			return explain(err)
		}
		rec.Made = missingDirs(f.Path)
	}
	before := rec.Files
	var wanted []string
	for _, s := range f.Files {
		if _, err := f.below(s.Path); err != nil {
			return err
		}
		wanted = append(wanted, s.Path)
		if !slices.Contains(rec.Files, s.Path) {
			rec.Files = append(rec.Files, s.Path)
		}
		for _, dir := range missingDirs(filepath.Dir(filepath.Join(f.Path, s.Path))) {
			if !slices.Contains(rec.Made, dir) {
				rec.Made = append(rec.Made, dir)
			}
		}
	}
	if err := rec.write(f.WorkDir); err != nil {
		return err
	}
	if err := os.MkdirAll(f.Path, 0o755); err != nil {
		return explain(err)
	}
	for i, s := range f.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.putFile(ctx, env, s); err != nil {
			return err
		}
		env.Progress(float64(i+1)/float64(len(f.Files)), s.Path)
	}
	for _, old := range before {
		if !slices.Contains(wanted, old) {
			if path, err := f.below(old); err != nil {
				return err
			} else if err := RemoveFile(path); err != nil {
				return err
			}
		}
	}
	if info, err := os.Stat(f.Path); err != nil {
		return err
	} else if ok, err := f.Owned.holds(info); err != nil {
		return err
	} else if !ok {
		if err := f.Owned.apply(f.Path); err != nil {
			return err
		}
	}
	rec.Files = wanted
	return rec.write(f.WorkDir)
}

// fileOwned is how a copied file is owned.
func (f Folder) fileOwned(s Shipped) Owned {
	return Owned{Owner: f.Owned.Owner, Group: f.Owned.Group, Mode: s.Mode}
}

// below returns the path of a file in the folder. Whoever the folder belongs to
// may have put a link into it, by which the file would be another's.
func (f Folder) below(file string) (string, error) {
	if !filepath.IsLocal(file) {
		return "", fmt.Errorf("source file %q leads out of its folder", file)
	}
	path := filepath.Join(f.Path, file)
	real, err := realPath(path)
	if err != nil {
		return "", err
	}
	top, err := realPath(filepath.Join(f.Path, "x"))
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(filepath.Dir(top), real); err != nil || !filepath.IsLocal(rel) {
		return "", &component.Failure{
			Err:    fmt.Errorf("file %s: a symbolic link in %s leads out of that folder", file, f.Path),
			Remedy: "remove the link",
		}
	}
	return path, nil
}

func (f Folder) putFile(ctx context.Context, env component.Environment, s Shipped) error {
	path := filepath.Join(f.Path, s.Path)
	kept := Kept{Path: path}
	owned := f.fileOwned(s)
	if kept.CheckDigest(s.Digest, owned) == nil {
		return nil
	}
	content, err := s.Fetch(ctx, env)
	if err != nil {
		return err
	}
	uid, gid, err := owned.ids()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return explain(err)
	}
	if err := writeAtomic(path, content, s.Mode, uid, gid); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Check returns nil if the folder and its files are as Put left them.
func (f Folder) Check() error {
	info, err := os.Stat(f.Path)
	if err != nil {
		return err
	}
	if ok, err := f.Owned.holds(info); err != nil {
		return err
	} else if !info.IsDir() || !ok {
		return fmt.Errorf("%s has another owner, group or mode", f.Path)
	}
	for _, s := range f.Files {
		if err := (Kept{Path: filepath.Join(f.Path, s.Path)}).CheckDigest(s.Digest, f.fileOwned(s)); err != nil {
			return err
		}
	}
	return nil
}

// RemoveFolder undoes the Put recorded in workDir: the files copied, then the
// folders made, if they are empty; or, if all is said, a folder that was made
// with everything in it. A folder that was there before stays.
func RemoveFolder(workDir string, all bool) error {
	rec, err := readFolderRecord(workDir)
	if err != nil || rec == nil {
		return err
	}
	for _, file := range rec.Files {
		path, err := (Folder{Path: rec.Path}).below(file)
		if err != nil {
			continue // what a link leads to was not copied there
		}
		if err := RemoveFile(path); err != nil {
			return err
		}
	}
	if all && !rec.Existed {
		if err := os.RemoveAll(rec.Path); err != nil {
			return explain(err)
		}
	}
	slices.SortFunc(rec.Made, func(a, b string) int { return len(a) - len(b) })
	for i := len(rec.Made) - 1; i >= 0; i-- {
		// One that is not empty holds what somebody else put there.
		_ = os.Remove(rec.Made[i])
	}
	return RemoveFile(filepath.Join(workDir, folderFile))
}
