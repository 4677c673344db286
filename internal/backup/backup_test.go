package backup_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"

	"aloft/internal/backup"
)

// parts are what the tests write: none, one byte, and more than a piece.
var parts = map[string]string{"empty": "", "small": "x", "large": strings.Repeat("0123456789abcdef", 20_000)}

func written(t testing.TB) []byte {
	t.Helper()
	var file bytes.Buffer
	w := backup.NewWriter(&file)
	for _, name := range []string{"empty", "small", "large"} {
		err := w.Part(name, func(w io.Writer) error {
			_, err := io.WriteString(w, parts[name])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func read(file []byte) (map[string]string, error) {
	found := map[string]string{}
	err := backup.Read(bytes.NewReader(file), func(name string, content io.Reader) error {
		text, err := io.ReadAll(content)
		found[name] = string(text)
		return err
	})
	return found, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	found, err := read(written(t))
	if err != nil || !maps.Equal(found, parts) {
		t.Errorf("%d parts, %v", len(found), err)
	}
	names := 0
	err = backup.Read(bytes.NewReader(written(t)), func(string, io.Reader) error { names++; return nil })
	if err != nil || names != len(parts) {
		t.Errorf("without reading the content: %d parts, %v", names, err)
	}
}

func TestATruncatedFileSaysSo(t *testing.T) {
	file := written(t)
	for n := 1; n < len(file); n += 1 + n/7 {
		if _, err := read(file[:n]); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("%d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, err := read(file[:len(file)-1]); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("the last byte is missing: %v", err)
	}
	if _, err := read(append(bytes.Clone(file), 0)); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("a byte too many: %v", err)
	}
}

func TestAnAlteredFileSaysSo(t *testing.T) {
	file := written(t)
	for n := len("aloft backup 1\n"); n < len(file); n += 1 + n/7 {
		altered := bytes.Clone(file)
		altered[n] ^= 1
		if _, err := read(altered); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("byte %d: %v", n, err)
		}
	}
}

func TestWhatIsNoBackupIsToldFromADamagedOne(t *testing.T) {
	for _, text := range []string{"something else altogether", "aloft backup 2\nof the future", "\x00"} {
		if _, err := read([]byte(text)); !errors.Is(err, backup.ErrForeign) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAnErrorWhileWritingStays(t *testing.T) {
	full := errors.New("full")
	w := backup.NewWriter(io.Discard)
	if err := w.Part("a", func(io.Writer) error { return full }); !errors.Is(err, full) {
		t.Errorf("part: %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("close: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	file := written(f)
	f.Add(file)
	f.Add(file[:100])
	f.Add([]byte("aloft backup 1\n\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, file []byte) {
		found := map[string]string{}
		var again bytes.Buffer
		w := backup.NewWriter(&again)
		err := backup.Read(bytes.NewReader(file), func(name string, content io.Reader) error {
			text, err := io.ReadAll(content)
			if err != nil {
				return err
			}
			found[name] = string(text)
			return w.Part(name, func(w io.Writer) error {
				_, err := w.Write(text)
				return err
			})
		})
		if err != nil {
			return
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		// What is accepted can be written again, and says the same.
		if same, err := read(again.Bytes()); err != nil || !maps.Equal(same, found) {
			t.Fatalf("written again: %v", err)
		}
	})
}
