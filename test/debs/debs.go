// Package debs publishes packages for tests, as a vendor of software does: in a
// signed source that apt reads.
package debs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Signer is somebody who publishes packages.
type Signer struct {
	home string // of gpg
	Key  string // public, in armour
}

// NewSigner makes a key that is gone at the end of the test.
func NewSigner(t *testing.T, name string) Signer {
	t.Helper()
	s := Signer{home: t.TempDir()}
	if err := os.Chmod(s.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.Command("gpgconf", "--homedir", s.home, "--kill", "all").Run() })
	run(t, "", "gpg", "--homedir", s.home, "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never")
	s.Key = string(run(t, "", "gpg", "--homedir", s.home, "--armor", "--export", name))
	return s
}

// Publish makes a source with the suites stable and testing, and a package in
// it, version 1.0 for all architectures. scripts are its programs by name, which
// go to /usr/bin. It serves the source until the end of the test, and returns
// its address.
func Publish(t *testing.T, s Signer, name string, scripts map[string]string) string {
	t.Helper()
	dir, tree := t.TempDir(), t.TempDir()
	write := func(file, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	control := "Package: " + name + "\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: for a test\n"
	write(filepath.Join(tree, "DEBIAN/control"), control, 0o644)
	for script, text := range scripts {
		write(filepath.Join(tree, "usr/bin", script), text, 0o755)
	}
	run(t, "", "dpkg-deb", "--build", "-Zgzip", "--root-owner-group", tree, filepath.Join(dir, name+".deb"))
	deb, err := os.ReadFile(filepath.Join(dir, name+".deb"))
	if err != nil {
		t.Fatal(err)
	}
	list := fmt.Sprintf("%sFilename: %s.deb\nSize: %d\nSHA256: %x\n", control, name, len(deb), sha256.Sum256(deb))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(list))
	z.Close()
	arch := strings.TrimSpace(string(run(t, "", "dpkg", "--print-architecture")))
	for _, suite := range []string{"stable", "testing"} {
		top := filepath.Join(dir, "dists", suite)
		var release strings.Builder
		fmt.Fprintf(&release, "Origin: test\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: %s\nComponents: main\nSHA256:\n",
			suite, suite, time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"), arch)
		for file, text := range map[string]string{"Packages": list, "Packages.gz": packed.String()} {
			write(filepath.Join(top, "main/binary-"+arch, file), text, 0o644)
			fmt.Fprintf(&release, " %x %d main/binary-%s/%s\n", sha256.Sum256([]byte(text)), len(text), arch, file)
		}
		write(filepath.Join(top, "Release"), release.String(), 0o644)
		run(t, top, "gpg", "--homedir", s.home, "--batch", "--quiet", "--clearsign", "--output", "InRelease", "Release")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	server := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	go func() { defer close(served); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	return fmt.Sprintf("http://%s/", l.Addr())
}

func run(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s%s", name, args, err, out, said.Bytes())
	}
	return out
}
