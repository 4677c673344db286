package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"aloft/component"
)

// Block is the lines of one component in a file that others have lines in too,
// such as /etc/hosts. They stand between two marks; the rest is not touched.
type Block struct {
	Path    string // absolute
	WorkDir string // keeps the record of what was there before
	Name    string // of the marks: ServiceName
	Owned   Owned  // of a file that is made for it; one that is there keeps its own
}

// blockRecord says what of the file is the component's beyond the block.
type blockRecord struct {
	Path    string   `json:"path"`
	Existed bool     `json:"existed"`
	Ended   bool     `json:"ended"` // with the end of a line, or was empty
	Made    []string `json:"made"`  // folders, outermost first
}

const blockFile = "block.json"

// editing is held while a file of several components is read and written.
var editing sync.Mutex

func (b Block) marks() (begin, end string) {
	return "# begin " + b.Name + ": by aloft, do not edit\n", "# end " + b.Name + "\n"
}

// cut returns what stands before and after the block, and the block's lines;
// false if there is none.
func (b Block) cut(text string) (before, lines, after string, found bool) {
	begin, end := b.marks()
	before, rest, found := cutLine(text, begin)
	if !found {
		return text, "", "", false
	}
	lines, after, found = cutLine(rest, end)
	if !found { // somebody deleted the end
		return before, "", rest, true
	}
	return before, lines, after, true
}

// cutLine is strings.Cut at a whole line.
func cutLine(text, line string) (before, after string, found bool) {
	for at := 0; ; {
		i := strings.Index(text[at:], line)
		if i < 0 {
			return text, "", false
		}
		if i += at; i == 0 || text[i-1] == '\n' {
			return text[:i], text[i+len(line):], true
		}
		at = i + 1
	}
}

// Read returns the text of the file without the block; "" if there is no file.
func (b Block) Read() (string, error) {
	text, err := os.ReadFile(b.Path)
	if err != nil && !absent(err) {
		return "", explain(err)
	}
	before, _, after, _ := b.cut(string(text))
	return before + after, nil
}

// Put makes lines the component's, at the end of the file. None has a line
// break.
func (b Block) Put(lines []string) error {
	editing.Lock()
	defer editing.Unlock()
	info, err := os.Lstat(b.Path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return &component.Failure{Err: fmt.Errorf("%s is %s", b.Path, kindOf(info.Mode())), Remedy: "make it a regular file"}
	case err != nil && !absent(err):
		return explain(err)
	}
	text, err := os.ReadFile(b.Path)
	if err != nil && !absent(err) {
		return explain(err)
	}
	before, old, after, found := b.cut(string(text))
	var body strings.Builder
	for _, l := range lines {
		if strings.ContainsAny(l, "\n\x00") {
			return fmt.Errorf("%q is not a line of %s", l, b.Path)
		}
		body.WriteString(l + "\n")
	}
	if found && old == body.String() && info != nil {
		return nil
	}
	if err := b.claim(info != nil, string(text)); err != nil {
		return err
	}
	if !found && before != "" && !strings.HasSuffix(before, "\n") {
		before += "\n"
	}
	begin, end := b.marks()
	return b.write(info, before+begin+body.String()+end+after)
}

// claim records what is there before the first change.
func (b Block) claim(existed bool, text string) error {
	path := filepath.Join(b.WorkDir, blockFile)
	if _, err := os.Lstat(path); err == nil || !absent(err) {
		return err
	}
	return WriteRecord(b.WorkDir, blockFile, blockRecord{
		Path: b.Path, Existed: existed, Ended: text == "" || strings.HasSuffix(text, "\n"), Made: missingDirs(filepath.Dir(b.Path)),
	})
}

// write replaces the file's text, and no more of it.
func (b Block) write(info fs.FileInfo, text string) error {
	uid, gid, err := b.Owned.ids()
	if err != nil {
		return err
	}
	mode := b.Owned.Mode
	if info != nil {
		mode, uid, gid = info.Mode(), -1, -1
		if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
			uid, gid = int(st.Uid), int(st.Gid)
		}
	}
	if err := b.makeDirs(uid, gid); err != nil {
		return err
	}
	if err := writeAtomic(b.Path, []byte(text), mode, uid, gid); err != nil {
		return fmt.Errorf("write %s: %w", b.Path, err)
	}
	return nil
}

// makeDirs makes the folders on the way to the file, the file's owner's, and
// closed to whom the file is.
func (b Block) makeDirs(uid, gid int) error {
	mode := fs.FileMode(0o755)
	if b.Owned.Mode&0o077 == 0 {
		mode = 0o700
	}
	for _, dir := range missingDirs(filepath.Dir(b.Path)) {
		if err := os.Mkdir(dir, mode); err != nil {
			return explain(err)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return explain(err)
		}
	}
	return nil
}

// Check returns nil if the block has these lines.
func (b Block) Check(lines []string) error {
	text, err := os.ReadFile(b.Path)
	if err != nil {
		return err
	}
	_, have, _, found := b.cut(string(text))
	want := strings.Join(lines, "\n")
	if want != "" {
		want += "\n"
	}
	if !found || have != want {
		return fmt.Errorf("its lines in %s were changed", b.Path)
	}
	return nil
}

// RemoveBlock takes away the lines recorded in workDir, and the file and the
// folders if they were made for them and nothing else is in them.
func RemoveBlock(workDir, name string) error {
	var rec blockRecord
	if found, err := ReadRecord(workDir, blockFile, &rec); !found {
		return err
	}
	b := Block{Path: rec.Path, WorkDir: workDir, Name: name}
	if err := b.remove(rec); err != nil {
		return err
	}
	return RemoveFile(filepath.Join(workDir, blockFile))
}

func (b Block) remove(rec blockRecord) error {
	editing.Lock()
	defer editing.Unlock()
	text, err := os.ReadFile(b.Path)
	if absent(err) {
		removeMade(rec.Made)
		return RemoveFile(b.Path) // what was begun beside it
	}
	if err != nil {
		return explain(err)
	}
	before, _, after, found := b.cut(string(text))
	if found && !rec.Ended && after == "" {
		before = strings.TrimSuffix(before, "\n")
	}
	if left := before + after; left == "" && !rec.Existed {
		if err := RemoveFile(b.Path); err != nil {
			return err
		}
		removeMade(rec.Made)
		return nil
	}
	if !found {
		return nil
	}
	info, err := os.Lstat(b.Path)
	if err != nil {
		return err
	}
	return b.write(info, before+after)
}
