package leak_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"aloft/test/leak"
)

const secret = `p<ss"wörd/+&%20`

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPlantedLeaksAreFoundInEveryForm(t *testing.T) {
	f := leak.New(secret)
	quoted, err := json.Marshal(map[string]string{"x": secret})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"plain": []byte("…" + secret + "…"), "hex": []byte("x" + hex.EncodeToString([]byte(secret))),
		"JSON": quoted, "URL": []byte("?q=" + url.QueryEscape(secret)), "path": []byte("/" + url.PathEscape(secret)),
		"base64 0":             []byte(base64.StdEncoding.EncodeToString([]byte("abc" + secret + "d"))),
		"base64 1":             []byte(base64.StdEncoding.EncodeToString([]byte("a" + secret + "bc"))),
		"base64 2":             []byte(base64.RawURLEncoding.EncodeToString([]byte("ab" + secret))),
		"gzip":                 append([]byte("row\x1f\x8b\x08 not one "), zipped(t, []byte("…"+secret))...),
		"gzip of gzip of JSON": zipped(t, zipped(t, quoted)),
	} {
		if how := f.In(content); how == "" {
			t.Errorf("%s: not found", name)
		}
	}
	for _, content := range []string{"", "nothing", secret[:7], base64.StdEncoding.EncodeToString([]byte("something else altogether"))} {
		if how := f.In([]byte(content)); how != "" {
			t.Errorf("%q: found as %s", content, how)
		}
	}
}

func TestFilesAreLookedThrough(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"meant": []byte(secret), "sub/leak.gz": zipped(t, []byte(secret)), "sub/fine": []byte("fine")} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	leaks, looked, err := leak.New(secret).Files(dir, func(path string) bool { return filepath.Base(path) == "meant" })
	if err != nil || looked != 2 || len(leaks) != 1 || leaks[0].Place != filepath.Join(dir, "sub/leak.gz") {
		t.Errorf("%v of %d files, %v", leaks, looked, err)
	}
}
