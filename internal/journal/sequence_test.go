package journal

import (
	"path/filepath"
	"testing"
)

// A daemon takes least from its clock, which may be set back while it is down.
func TestNoNumberIsGivenTwiceWhateverTheClockSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	var free int64
	for _, least := range []int64{1000, 1001, 20, 50_000, 0} {
		j, f := open(t, path)
		from, err := j.Reserve(t.Context(), "event", least, 100)
		if err != nil {
			t.Fatal(err)
		}
		if from < least || from < free {
			t.Errorf("from %d, which is below %d or %d", from, least, free)
		}
		free = from + 100
		must(t, f.Close())
	}
	j, _ := open(t, path)
	if from, err := j.Reserve(t.Context(), "another", 7, 1); err != nil || from != 7 {
		t.Errorf("another count begins at %d, %v", from, err)
	}
}
