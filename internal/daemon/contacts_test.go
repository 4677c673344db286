package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestContactsLearnedArePreferredAtTheNextStart(t *testing.T) {
	book := contactBook{file: filepath.Join(t.TempDir(), "contacts.json"), log: slog.New(slog.DiscardHandler)}
	given := []string{"a:7400", "b:7400"}
	if got := book.with(given); !slices.Equal(got, given) {
		t.Errorf("at the first start: %v, want those given", got)
	}
	book.keep([]string{"c:7400", "b:7400"})
	book.keep(nil) // a manager that knows none says nothing
	want := []string{"c:7400", "b:7400", "a:7400"}
	if got := book.with(given); !slices.Equal(got, want) {
		t.Errorf("at the next start: %v, want %v", got, want)
	}
	if err := os.WriteFile(book.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := book.with(given); !slices.Equal(got, given) {
		t.Errorf("with a damaged file: %v, want those given", got)
	}
}
