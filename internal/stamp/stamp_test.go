package stamp

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func at(s int64) time.Time { return time.Unix(s, 0) }

func TestALineHasTheTimeOfTheGrowthThatBroughtIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "times")
	for _, m := range []Mark{{at(5), 900}, {at(10), 20}, {at(20), 20}, {at(30), 50}} {
		if err := Append(path, m); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("40000") // torn
	_ = f.Close()
	marks, err := Read(path)
	if err != nil || len(marks) != 3 {
		t.Fatalf("%v, %v; want those since the file was begun anew", marks, err)
	}
	for offset, want := range map[int64]time.Time{1: at(10), 20: at(10), 21: at(30), 50: at(30), 51: {}} {
		if got := marks.At(offset); !got.Equal(want) {
			t.Errorf("at %d: %v, want %v", offset, got, want)
		}
	}
	if marks, err := Read(path + ".none"); err != nil || len(marks) != 0 || !marks.At(1).IsZero() {
		t.Errorf("no file: %v, %v", marks, err)
	}
}

func TestRotatedMarksAreKeptAsLongAsTheirFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "times")
	for n := range int64(4) {
		if err := Append(path, Mark{at(n), n}); err != nil {
			t.Fatal(err)
		}
		if err := Rotate(path, 2); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range []int64{-1, 3, 2, -1} {
		marks, err := Read(Name(path, n))
		if err != nil || (len(marks) > 0) != (want >= 0) || want >= 0 && marks[0].Size != want {
			t.Errorf("rotated %d times: %v, %v", n, marks, err)
		}
	}
}

func TestALinkOrAPipeInItsPlaceIsRefused(t *testing.T) {
	dir := t.TempDir()
	other, link, pipe := filepath.Join(dir, "other"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	for _, err := range []error{os.WriteFile(other, nil, 0o600), os.Symlink(other, link), syscall.Mkfifo(pipe, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{link, pipe} {
		if err := Append(path, Mark{at(1), 1}); err == nil {
			t.Errorf("%s was written", path)
		}
		if _, err := Read(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
	if b, err := os.ReadFile(other); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}

func FuzzMarks(f *testing.F) {
	f.Add([]byte("1000 5\n2000 9\n"), int64(7))
	f.Add([]byte("1000 5\nx\n-1 -1\n99999999999999999999 1\n2000 3\n"), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		marks, err := parse(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(marks); i++ {
			if marks[i].Size < marks[i-1].Size {
				t.Fatalf("%v", marks)
			}
		}
		if at := marks.At(offset); at.IsZero() && len(marks) > 0 && offset <= marks[len(marks)-1].Size && !marks[len(marks)-1].At.IsZero() {
			t.Errorf("no time for %d in %v", offset, marks)
		}
	})
}
