// Package editors_test checks what editors are told of the language against
// the language itself.
package editors_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"aloft/internal/sdl/syntax"
)

// letter says what the characters of a token belong to; see
// vscode/test/spans.mjs.
func letter(t syntax.Token) byte {
	sign := t.Sign()
	switch {
	case t.Comment():
		return 'c'
	case t.Word():
		return 'w'
	case t.Text():
		return 's'
	case sign == "":
		return 'n' // a byte array, too
	case t.Op() != syntax.NotOp, sign == "--":
		return 'o'
	case sign[0] == '#' && len(sign) > 1:
		return 'd'
	case unicode.IsLetter(rune(sign[0])):
		return 'k'
	default:
		return ' ' // punctuation
	}
}

// apart are descriptions that no editor can read like the scanner: LX1 has
// lines that end with a carriage return alone, LX2 has \u007B for brackets.
var apart = map[string]bool{"LX1-ok.sf": true, "LX2-ok.sf": true}

// descriptions returns every description of the project that is right.
func descriptions(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, root := range []string{"../examples", "../library", "../internal/sdl"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".sf" && !strings.HasSuffix(path, "-bad.sf") && !apart[e.Name()] {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 50 {
		t.Fatalf("only %d descriptions found", len(files))
	}
	return files
}

// scanned returns what the scanner takes each character of a text for, line by
// line.
func scanned(text []byte) [][]byte {
	var taken []byte
	at := 0
	for _, token := range syntax.Tokens(text) {
		taken = append(taken, blanks(text[at:token.Start])...)
		for _, r := range string(text[token.Start:token.End]) {
			if r == '\n' {
				taken = append(taken, '\n')
			} else {
				taken = append(taken, letter(token))
			}
		}
		at = int(token.End)
	}
	return bytes.Split(append(taken, blanks(text[at:])...), []byte{'\n'})
}

// blanks returns text with every character but the ends of lines blank.
func blanks(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return ' '
	}, text)
}

// compare reports where an editor's reading of the files differs from the
// scanner's. Blanks within tokens count for nothing, nor does punctuation.
func compare(t *testing.T, files []string, read map[string][]string) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source := strings.Split(string(text), "\n")
		for i, want := range scanned(text) {
			if i == len(read[file]) && len(want) == 0 {
				break // the end of the last line
			}
			if i >= len(read[file]) {
				t.Errorf("%s has only %d lines for the editor", file, len(read[file]))
				break
			}
			got := []byte(strings.ReplaceAll(read[file][i], "p", " "))
			for col, r := range []rune(source[i]) {
				if r != ' ' && r != '\t' && r != '\r' && (col >= len(got) || got[col] != want[col]) {
					t.Errorf("%s:%d: the editor sees\n%s\n%s\nwhere the scanner sees\n%s", file, i+1, source[i], got, want)
					break
				}
			}
		}
	}
}

// spans runs a program that prints what an editor takes the characters for.
func spans(t *testing.T, command *exec.Cmd) map[string][]string {
	t.Helper()
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command.Args[0], err, stderr.String())
	}
	var read map[string][]string
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatalf("%v: %v\n%s%s", command.Args[0], err, out, stderr.String())
	}
	return read
}

func TestVimHighlightsWhatTheScannerReads(t *testing.T) {
	files := descriptions(t)
	args := []string{"--clean", "--headless", "-u", "NONE", "--cmd", "set rtp^=vim", "-S", "vim/test/spans.vim"}
	compare(t, files, spans(t, exec.Command("nvim", append(args, files...)...)))
}

func TestExtension(t *testing.T) {
	if testing.Short() {
		t.Skip("installs packages")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, sources{os.DirFS("vscode")}); err != nil {
		t.Fatal(err)
	}
	npm := func(args ...string) {
		t.Helper()
		c := exec.Command("npm", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("npm %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	npm("ci", "--ignore-scripts")

	t.Run("highlights what the scanner reads", func(t *testing.T) {
		files := descriptions(t)
		compare(t, files, spans(t, exec.Command("node", append([]string{filepath.Join(dir, "test/spans.mjs")}, files...)...)))
	})
	t.Run("is built and packaged", func(t *testing.T) {
		npm("run", "check")
		npm("run", "package")
		packaged, err := os.Stat(filepath.Join(dir, "aloft.vsix"))
		if err != nil || packaged.Size() < 10_000 {
			t.Errorf("package: %v, %v", packaged, err)
		}
	})
}

// sources is the extension without what was built or installed.
type sources struct{ fs.FS }

func (s sources) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.FS, name)
	var kept []fs.DirEntry
	for _, e := range entries {
		if e.Name() != "node_modules" && e.Name() != "out" {
			kept = append(kept, e)
		}
	}
	return kept, err
}
