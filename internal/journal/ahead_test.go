package journal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"aloft/internal/journal/journalpb"
)

// onDisk copies a journal's files as a crash would leave them now, and returns
// where the copy is.
func onDisk(t testing.TB, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, suffix := range []string{"", aheadSuffix} {
		b, err := os.ReadFile(path + suffix)
		must(t, err)
		must(t, os.WriteFile(to+suffix, b, 0o600))
	}
	return to
}

// framesOf returns the frames of the log of f at path.
func framesOf(t testing.TB, path string, f *File) (list []frame) {
	t.Helper()
	b, err := os.ReadFile(path + aheadSuffix)
	must(t, err)
	for {
		one, ok := readFrame(b, f.log.id)
		if !ok {
			return list
		}
		list, b = append(list, one), b[one.length:]
	}
}

// rowsOf returns all rows, with their revisions.
func rowsOf(t testing.TB, f *File) map[string]string {
	t.Helper()
	rows := map[string]string{}
	must(t, f.Scan(t.Context(), "", func(key string, value []byte, revision int64) error {
		rows[key] = fmt.Sprint(revision, " ", string(value))
		if v, r, err := f.Load(t.Context(), key); err != nil || r != revision || !bytes.Equal(v, value) {
			t.Errorf("%s: read %q at %d, %v, and scanned %q at %d", key, v, r, err, value, revision)
		}
		return nil
	}))
	return rows
}

func put(t testing.TB, f *File, rows ...string) {
	t.Helper()
	var keys []string
	var values [][]byte
	var revisions []int64
	for i := 0; i < len(rows); i += 2 {
		keys, revisions = append(keys, rows[i]), append(revisions, Any)
		value := []byte(rows[i+1])
		if rows[i+1] == "" {
			value = nil
		}
		values = append(values, value)
	}
	if saved, err := f.Save(t.Context(), keys, values, revisions); err != nil || !saved {
		t.Fatal(saved, err)
	}
}

// TestNothingThatWasAnsweredIsLostByACrash compares a journal with a model over
// many writes, some of which are larger than the log, and opens what is on the
// disk at every tenth of them.
func TestNothingThatWasAnsweredIsLostByACrash(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			path := filepath.Join(t.TempDir(), "journal")
			_, f := open(t, path)
			settlements := 0
			for n := range 200 {
				var rows []string
				for range 1 + r.IntN(3) {
					value := strings.Repeat(fmt.Sprint(n), r.IntN(1<<r.IntN(17)))
					rows = append(rows, fmt.Sprint("row/", len(rows), "/", r.IntN(20)), value)
				}
				before := f.log.end
				put(t, f, rows...)
				if f.log.end < before {
					settlements++
				}
				if n%10 != 0 {
					continue
				}
				want := rowsOf(t, f)
				copied := onDisk(t, path)
				_, g := open(t, copied)
				if got := rowsOf(t, g); !maps.Equal(got, want) {
					t.Fatalf("after %d writes there are %d rows, want %d", n, len(got), len(want))
				}
				if r.IntN(2) == 0 { // it goes on with what was found
					must(t, f.Close())
					path, f = copied, g
				} else {
					must(t, g.Close())
				}
			}
			if settlements < 1 {
				t.Errorf("its log came to its end %d times", settlements)
			}
		})
	}
}

// TestATornWriteIsAsIfItHadNotBeen: of the last write, which nobody was told of,
// any of its pieces may be on the disk.
func TestATornWriteIsAsIfItHadNotBeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	_, f := open(t, path)
	put(t, f, "a", "1", "b", "2")
	put(t, f, "b", "")
	before, start := rowsOf(t, f), f.log.end
	old, err := os.ReadFile(path + aheadSuffix)
	must(t, err)
	put(t, f, "a", strings.Repeat("x", 3000), "c", strings.Repeat("y", 3000))
	after, end := rowsOf(t, f), f.log.end
	written, err := os.ReadFile(path + aheadSuffix)
	must(t, err)

	r := rand.New(rand.NewPCG(1, 2))
	for try := range 60 {
		torn := slices.Clone(old)
		whole := true
		if try < 30 { // a part from its beginning on
			n := start + r.Int64N(end-start)
			copy(torn[start:n], written[start:n])
			whole = n == end
		} else { // some of its sectors
			const sector = 512
			for at := start / sector * sector; at < end; at += sector {
				if r.IntN(8) > 0 {
					copy(torn[at:at+sector], written[at:at+sector])
				} else if !bytes.Equal(torn[at:at+sector], written[at:at+sector]) {
					whole = false
				}
			}
		}
		crashed := onDisk(t, path)
		must(t, os.WriteFile(crashed+aheadSuffix, torn, 0o600))
		_, g := open(t, crashed)
		want := before
		if whole {
			want = after
		}
		if got := rowsOf(t, g); !maps.Equal(got, want) {
			t.Fatalf("try %d: %v", try, slices.Sorted(maps.Keys(got)))
		}
		put(t, g, "d", "next")
		again := rowsOf(t, g)
		_, h := open(t, onDisk(t, crashed))
		if got := rowsOf(t, h); !maps.Equal(got, again) || got["d"] == "" {
			t.Fatalf("try %d: after another write: %v", try, got)
		}
		must(t, errors.Join(g.Close(), h.Close()))
	}
}

func TestALogThatIsBrokenBeforeItsEndIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	_, f := open(t, path)
	for i := range 5 {
		put(t, f, fmt.Sprint("row", i), "value")
	}
	crashed := onDisk(t, path)
	b, err := os.ReadFile(crashed + aheadSuffix)
	must(t, err)
	b[2*f.log.end/5+frameHead+3] ^= 1
	must(t, os.WriteFile(crashed+aheadSuffix, b, 0o600))
	_, err = Open(crashed)
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "in its log 3 is not whole, and 4 is") {
		t.Errorf("got %v", err)
	}
	// What the error says helps.
	must(t, os.Rename(crashed, crashed+".away"))
	_, g := open(t, crashed)
	if rows := rowsOf(t, g); len(rows) != 0 {
		t.Errorf("a new journal has %v of the old one's log", rows)
	}
}

// TestALogWhoseRowsAreSettledIsNotReadAgain: a crash may come before the log
// begins anew.
func TestALogWhoseRowsAreSettledIsNotReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	_, f := open(t, path)
	for i := range 10 {
		put(t, f, "row", fmt.Sprint(i), fmt.Sprint("row", i), "1")
	}
	must(t, f.Close()) // settles, and leaves the old frames
	_, f = open(t, path)
	if len(f.recent) != 0 || f.log.end != 0 || len(framesOf(t, path, f)) != 10 {
		t.Errorf("%d rows are recent, the log ends at %d", len(f.recent), f.log.end)
	}
	put(t, f, "row", "last")
	want := rowsOf(t, f)
	_, g := open(t, onDisk(t, path))
	if got := rowsOf(t, g); !maps.Equal(got, want) || got["row"] != "11 last" {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestWhatFailedToBeWrittenDoesNotComeBack: its writers were told that it is not
// there, though all of it may be.
func TestWhatFailedToBeWrittenDoesNotComeBack(t *testing.T) {
	for name, next := range map[string]func(*testing.T, *File){
		"another write":   func(t *testing.T, f *File) { put(t, f, "b", "written") },
		"the end":         func(t *testing.T, f *File) { must(t, f.Close()) },
		"the log is full": func(t *testing.T, f *File) { must(t, f.settle()) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal")
			_, f := open(t, path)
			put(t, f, "a", "1")
			failed := &journalpb.Batch{Saves: []*journalpb.Save{{Rows: []*journalpb.Row{{Key: []byte("failed"), Value: []byte("x")}}}}}
			b, err := writeFrame(f.log.id, f.log.next, failed)
			must(t, err)
			must(t, f.log.put(b))
			f.log.failed = true // as when the flush behind it is refused
			next(t, f)
			_, g := open(t, onDisk(t, path))
			if rows := rowsOf(t, g); rows["a"] != "1 1" || rows["failed"] != "" {
				t.Errorf("%v", rows)
			}
		})
	}
}

func TestALogThatIsGoneIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	_, f := open(t, path)
	must(t, f.Close())
	must(t, os.Remove(path+aheadSuffix))
	if _, err := Open(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "its log journal.ahead is gone") {
		t.Errorf("got %v", err)
	}
}

func TestAFileWithoutALogIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		must(t, err)
		rows, err := tx.CreateBucket(rowsBucket)
		must(t, err)
		must(t, rows.SetSequence(7))
		return errors.Join(meta.Put(schemaKey, []byte{1}), rows.Put([]byte("a"), pack([]byte("old"), 7)))
	}))
	must(t, db.Close())
	for range 2 {
		_, f := open(t, path)
		put(t, f, "b", "new")
		if rows := rowsOf(t, f); rows["a"] != "7 old" || !strings.HasSuffix(rows["b"], " new") {
			t.Errorf("%v", rows)
		}
		must(t, f.db.View(func(tx *bolt.Tx) error {
			if v := tx.Bucket(metaBucket).Get(schemaKey); !bytes.Equal(v, []byte{schema}) {
				t.Errorf("its layout is %v", v)
			}
			return nil
		}))
		must(t, f.Close())
	}
}

func TestAClosedJournalRefuses(t *testing.T) {
	_, f := fresh(t)
	must(t, f.Close())
	must(t, f.Close())
	if _, err := f.Save(t.Context(), []string{"a"}, [][]byte{nil}, []int64{Any}); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	id := []byte("0123456789abcdef")
	batch := &journalpb.Batch{Saves: []*journalpb.Save{{Rows: []*journalpb.Row{{Key: []byte("a"), Value: []byte("b")}, {Key: []byte("c"), Gone: true}}}}}
	good, err := writeFrame(id, 5, batch)
	must(f, err)
	f.Add(good, true)
	f.Add(good[:len(good)-1], false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= frameHead { // one whose sum is right
			copy(b, frameMark)
			b[4], b[5], b[6], b[7] = byte(len(b)-frameHead), byte((len(b)-frameHead)>>8), byte((len(b)-frameHead)>>16), 0
			sum := frameSum(id, b)
			b[16], b[17], b[18], b[19] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		got, ok := readFrame(b, id)
		if !ok {
			return
		}
		if got.length > len(b) || len(got.batch.GetSaves()) == 0 {
			t.Fatalf("%d bytes of %d, %d saves", got.length, len(b), len(got.batch.GetSaves()))
		}
		rows := map[string][]byte{}
		for i, s := range got.batch.GetSaves() {
			note(rows, s, got.first+uint64(i))
		}
	})
}
