// Package leak looks for a secret in everything that the product writes: files
// below a folder, and the arguments and environments of processes. It finds the
// secret as it is and in the forms that programs give texts: base64, hex, URL
// and JSON escapes, and inside gzip.
package leak

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Finder looks for one secret.
type Finder struct {
	forms map[string][]byte // by name
}

// New returns a finder of a secret of at least eight bytes.
func New(secret string) *Finder {
	if len(secret) < 8 {
		panic("leak: a secret this short is found everywhere")
	}
	quoted, err := json.Marshal(secret)
	if err != nil {
		panic(err) // a string always has a form
	}
	var ascii strings.Builder // as JSON without anything beyond ASCII
	for _, r := range secret {
		if r < 0x80 {
			ascii.WriteRune(r)
		} else {
			fmt.Fprintf(&ascii, "\\u%04x", r)
		}
	}
	f := &Finder{forms: map[string][]byte{
		"plain": []byte(secret), "hex": []byte(hex.EncodeToString([]byte(secret))), "HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(secret)))),
		"URL query": []byte(url.QueryEscape(secret)), "URL path": []byte(url.PathEscape(secret)),
		"JSON": bytes.Trim(quoted, `"`), "JSON in ASCII": []byte(ascii.String()),
	}}
	// In base64, three places where it may begin within a group; the characters
	// at both ends depend on what is around.
	for shift := range 3 {
		inner := []byte(secret)[(3-shift)%3:]
		inner = inner[:len(inner)/3*3]
		f.forms[fmt.Sprintf("base64 at %d", shift)] = []byte(base64.StdEncoding.EncodeToString(inner))
		f.forms[fmt.Sprintf("base64url at %d", shift)] = []byte(base64.URLEncoding.EncodeToString(inner))
	}
	return f
}

// maxDepth bounds gzip within gzip.
const maxDepth = 3

// In returns how the secret is in content, "" if it is not.
func (f *Finder) In(content []byte) string { return f.in(content, maxDepth) }

func (f *Finder) in(content []byte, depth int) string {
	for name, form := range f.forms {
		if bytes.Contains(content, form) {
			return name
		}
	}
	if depth == 0 {
		return ""
	}
	// A gzip may be anywhere, as in a row of a database.
	magic := []byte{0x1f, 0x8b, 0x08}
	for at := 0; ; at++ {
		i := bytes.Index(content[at:], magic)
		if i < 0 {
			return ""
		}
		at += i
		r, err := gzip.NewReader(bytes.NewReader(content[at:]))
		if err != nil {
			continue
		}
		r.Multistream(false)
		inside, _ := io.ReadAll(io.LimitReader(r, 64<<20)) // what could be read, be the rest broken
		if how := f.in(inside, depth-1); how != "" {
			return "gzip, " + how
		}
	}
}

// Leak is a place where the secret was found.
type Leak struct{ Place, How string }

func (l Leak) String() string { return l.Place + " (" + l.How + ")" }

// Files looks through the files below dir. Files for which meant returns true
// are left out: it is where the secret belongs.
func (f *Finder) Files(dir string, meant func(path string) bool) (leaks []Leak, looked int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || meant(path) {
			return ignoreGone(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		looked++
		if how := f.In(content); how != "" {
			leaks = append(leaks, Leak{path, how})
		}
		if how := f.In([]byte(path)); how != "" {
			leaks = append(leaks, Leak{path, "name, " + how})
		}
		return nil
	})
	return leaks, looked, err
}

// Processes looks through the arguments and environments of all processes.
func (f *Finder) Processes() (leaks []Leak, looked int, err error) {
	for _, name := range []string{"cmdline", "environ"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + name)
		if err != nil {
			return nil, 0, err
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			looked++
			if how := f.In(content); how != "" {
				leaks = append(leaks, Leak{path, how})
			}
		}
	}
	return leaks, looked, nil
}

// ignoreGone forgives files that went away while they were looked for.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
