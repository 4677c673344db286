package workspace

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aloft/internal/sdl/lsp/text"
)

// folder returns a folder with files, name and content in turn.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1])
	}
	return dir
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func snapshot(folders ...string) *Snapshot {
	return New(func() time.Time { return time.Unix(0, 0) }).WithOptions(Options{Folders: folders})
}

func resolved(t *testing.T, s *Snapshot, name string) *Result {
	t.Helper()
	res, err := s.Resolve(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestAnalysesAreKeptUntilAFileTheyReadChanges(t *testing.T) {
	dir := folder(t, "main.sf", "#include? \"late.sf\"\n#include \"part.sf\"\nsfConfig extends Part;\n", "part.sf", "Part extends { a 1; }\n")
	main, part := filepath.Join(dir, "main.sf"), filepath.Join(dir, "part.sf")
	s := snapshot(dir)
	first := resolved(t, s, main)
	if again := resolved(t, s.With("other", text.New("x")), main); again != first {
		t.Error("nothing it reads has changed")
	}
	write(t, part, "Part extends { a 12345; }\n")
	second := resolved(t, s, main)
	if second == first {
		t.Error("an included file has changed on disk")
	}
	s = s.With(part, text.New("Part extends { a 1; b 2; }\n"))
	third := resolved(t, s, main)
	if third == second || third.Tree.Len() != 2 {
		t.Error("an included file is open with another text")
	}
	if back := resolved(t, s.Without(part), main); back.Tree.Len() != 1 {
		t.Error("the included file is closed again")
	}
	write(t, filepath.Join(dir, "late.sf"), "sfConfig;\n")
	if late := resolved(t, s, main); len(late.Includes) != 3 {
		t.Errorf("a file that was missing is there: %v", late.Includes)
	}
}

func TestTheLastResultWithoutMistakesIsKept(t *testing.T) {
	dir := folder(t)
	main := filepath.Join(dir, "main.sf")
	s := snapshot(dir).With(main, text.New("sfConfig extends { a 1; }"))
	good := resolved(t, s, main)
	bad := resolved(t, s.With(main, text.New("sfConfig extends { a b; }")), main)
	if bad.Diagnostics.Errors() != 1 || bad.Good != good.Result {
		t.Errorf("with mistakes the last good result is %v", bad.Good)
	}
}

func TestLinksLeadOutOfNoFolderEvenWhenOpen(t *testing.T) {
	outside := folder(t, "secret.sf", "Part extends {}\n")
	dir := folder(t, "main.sf", "#include \"link.sf\"\nsfConfig extends Part;\n")
	link := filepath.Join(dir, "link.sf")
	if err := os.Symlink(filepath.Join(outside, "secret.sf"), link); err != nil {
		t.Fatal(err)
	}
	s := snapshot(dir).With(link, text.New("Part extends {}\n"))
	res := resolved(t, s, filepath.Join(dir, "main.sf"))
	if res.Diagnostics.Errors() != 1 || res.Diagnostics.All()[0].Code != "SDL304" {
		t.Errorf("found %v", res.Diagnostics.All())
	}
	// The file itself can be worked on.
	if res := resolved(t, s, link); res.Diagnostics.Errors() != 0 {
		t.Errorf("opened by itself: %v", res.Diagnostics.All())
	}
}

func TestFilesWithoutSfConfigBelongToWhatIncludesThem(t *testing.T) {
	dir := folder(
		t, "part.sf", "Part extends Base;\n", "lonely.sf", "x 1;\n", "other.sf", "sfConfig extends {} // part.sf\n",
		"main.sf", "Base extends {}\n#include \"part.sf\"\nsfConfig extends Part;\n",
	)
	s := snapshot(dir)
	for name, want := range map[string]string{"part.sf": "main.sf", "lonely.sf": "lonely.sf", "main.sf": "main.sf"} {
		got, err := s.Main(t.Context(), filepath.Join(dir, name))
		if err != nil || filepath.Base(got) != want {
			t.Errorf("%s is part of %s %v, want %s", name, got, err, want)
		}
	}
	if res := resolved(t, s, filepath.Join(dir, "lonely.sf")); res.Diagnostics.Errors() != 0 {
		t.Errorf("a file for others to include: %v", res.Diagnostics.All())
	}
}

func TestPathsAreWhatAnIncludeCanName(t *testing.T) {
	dir := folder(t, "main.sf", "", "part.sf", "", "notes.txt", "", "sub/deep.sf", "", ".hidden/x.sf", "")
	main := filepath.Join(dir, "main.sf")
	s := snapshot(dir).With(filepath.Join(dir, "unsaved.sf"), text.New(""))
	got := strings.Join(s.Paths(main, ""), " ")
	for _, want := range []string{"part.sf", "sub/", "unsaved.sf", "aloft/", "components.sf"} {
		if !slices.Contains(strings.Fields(got), want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	for _, wrong := range []string{"main.sf", "notes.txt", ".hidden/"} {
		if slices.Contains(strings.Fields(got), wrong) {
			t.Errorf("%s is among %s", wrong, got)
		}
	}
	if got := s.Paths(main, "sub/"); !slices.Equal(got, []string{"sub/deep.sf"}) {
		t.Errorf("in sub: %v", got)
	}
	if got, all := s.Files(t.Context(), main); len(got) != 4 || !all {
		t.Errorf("descriptions of the workspace: %v", got)
	}
}

func TestReadersAreFoundThroughOtherFilesAndTheLibrary(t *testing.T) {
	dir := folder(t,
		"main.sf", "#include \"sub/mid.sf\"\nsfConfig extends Part;\n", "sub/mid.sf", "#include? \"part.sf\"\n", "sub/part.sf", "Part extends { a 1; }\n",
		"free.sf", "// #include \"part.sf\"\nsfConfig extends {}\n", "web.sf", "#include \"aloft/components.sf\"\nsfConfig extends VM;\n",
	)
	s, part := snapshot(dir), filepath.Join(dir, "sub", "part.sf")
	got, all := s.Readers(t.Context(), part, []string{part})
	if want := []string{filepath.Join(dir, "main.sf"), filepath.Join(dir, "sub", "mid.sf")}; !all || !slices.Equal(got, want) {
		t.Errorf("read part.sf: %v, all %v; want %v", got, all, want)
	}
	if main, err := s.Main(t.Context(), part); err != nil || main != filepath.Join(dir, "main.sf") {
		t.Errorf("part.sf is part of %s, %v", main, err)
	}
	got, all = s.Readers(t.Context(), part, []string{Library + "aloft/vm.sf"})
	if want := []string{filepath.Join(dir, "web.sf")}; !all || !slices.Equal(got, want) {
		t.Errorf("read vm.sf: %v, all %v; want %v", got, all, want)
	}
	write(t, filepath.Join(dir, "free.sf"), "#include \"sub/part.sf\"\nsfConfig extends {}\n")
	if got, _ = s.Readers(t.Context(), part, []string{part}); len(got) != 3 {
		t.Errorf("after a change on disk: %v", got)
	}
}

func TestOnlySomeDescriptionsThatAreNotOpenAreKept(t *testing.T) {
	dir := t.TempDir()
	s := snapshot(dir)
	for i := range 3 * maxKept {
		name := filepath.Join(dir, strconv.Itoa(i)+".sf")
		if i%3 == 0 {
			s = s.With(name, text.New("sfConfig extends {}\n"))
		} else {
			write(t, name, "sfConfig extends {}\n")
		}
		if _, err := s.Inspect(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.cache.entries); n != 2*maxKept {
		t.Errorf("%d are kept, want %d open and as many closed ones", n, maxKept)
	}
}
