package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"aloft/bench/product"
)

// host is where the source of packages seems to be: requests to it go through
// the product's cache to the source.
const host = "packages.aloft-bench.example"

// source is a signed source of one package, which answers each request after a
// delay.
type source struct {
	env    []string // that has the product ask it
	key    string   // armoured
	delay  time.Duration
	asked  atomic.Int64
	home   string // of the signer
	server *http.Server
}

const control = "Package: aloft-bench\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a web server and a page\n"

// newSource makes a source in dir and serves it.
func newSource(dir string, delay time.Duration) (s *source, err error) {
	s = &source{delay: delay, home: filepath.Join(dir, "signer")}
	tree, pool := filepath.Join(dir, "tree"), filepath.Join(dir, "pool")
	for _, d := range []string{s.home, filepath.Join(tree, "DEBIAN"), filepath.Join(tree, "usr/bin"), filepath.Join(tree, "usr/share/aloft-bench"), pool} {
		err = errors.Join(err, os.MkdirAll(d, 0o755))
	}
	err = errors.Join(err, os.Chmod(s.home, 0o700))
	if err != nil {
		return nil, err
	}
	tell := func(name string, args ...string) []byte {
		if err != nil {
			return nil
		}
		cmd := exec.Command(name, args...)
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, failed := cmd.Output()
		if failed != nil {
			err = fmt.Errorf("%s: %w\n%s", cmd, failed, product.Tail(problems.Bytes()))
		}
		return out
	}
	write := func(file string, text []byte) {
		if err == nil {
			err = os.WriteFile(file, text, 0o644)
		}
	}
	write(filepath.Join(tree, "DEBIAN/control"), []byte(control))
	write(filepath.Join(tree, "usr/share/aloft-bench/index.html"), []byte("a page\n"))
	self, failed := os.Executable() // it serves in the machines
	if failed != nil {
		return nil, failed
	}
	tell("cp", self, filepath.Join(tree, "usr/bin/aloft-bench"))
	deb := filepath.Join(pool, "aloft-bench.deb")
	tell("dpkg-deb", "--build", "-Zgzip", "--root-owner-group", tree, deb)
	arch := strings.TrimSpace(string(tell("dpkg", "--print-architecture")))
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(deb)
	if err != nil {
		return nil, err
	}
	list := fmt.Appendf(nil, "%sFilename: aloft-bench.deb\nSize: %d\nSHA256: %x\n", control, len(content), sha256.Sum256(content))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(list); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	var release bytes.Buffer
	fmt.Fprintf(&release, "Suite: stable\nDate: %s\nArchitectures: %s\nComponents: main\nSHA256:\n", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"), arch)
	below := filepath.Join(pool, "dists/stable/main/binary-"+arch)
	err = os.MkdirAll(below, 0o755)
	for name, text := range map[string][]byte{"Packages": list, "Packages.gz": packed.Bytes()} {
		write(filepath.Join(below, name), text)
		fmt.Fprintf(&release, " %x %d main/binary-%s/%s\n", sha256.Sum256(text), len(text), arch, name)
	}
	write(filepath.Join(pool, "dists/stable/Release"), release.Bytes())
	tell("gpg", "--homedir", s.home, "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "bench", "ed25519", "sign", "never")
	s.key = string(tell("gpg", "--homedir", s.home, "--armor", "--export", "bench"))
	tell("gpg", "--homedir", s.home, "--batch", "--quiet", "--clearsign", "--output", filepath.Join(pool, "dists/stable/InRelease"), filepath.Join(pool, "dists/stable/Release"))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	files := http.FileServer(http.Dir(pool))
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		time.Sleep(delay)
		files.ServeHTTP(w, r)
	})}
	go func() { _ = s.server.Serve(l) }()
	settings := filepath.Join(dir, "apt.conf")
	write(settings, fmt.Appendf(nil, "Acquire::http::Proxy::%s \"http://%s\";\n", host, l.Addr()))
	s.env = []string{"APT_CONFIG=" + settings}
	return s, err
}

// end serves no more.
func (s *source) end() error {
	return errors.Join(s.server.Close(), exec.Command("gpgconf", "--homedir", s.home, "--kill", "all").Run())
}

// measureWebs makes systems of web machines, each in a home of its own, whose
// cache of packages is empty.
func measureWebs(ctx context.Context, out io.Writer, p product.Product, dir string, s *source, sizes []int) error {
	fmt.Fprintf(out, "Web machines, each with a source of packages, a package of it and a web server; the source answers each request after %s:\n\n", s.delay)
	fmt.Fprintln(out, "| web machines | `up` | requests to the source | the busiest machine's packages took |\n|---|---|---|---|")
	for _, n := range sizes {
		p.Home = filepath.Join(dir, fmt.Sprint("webs", n))
		took, busiest, err := webs(ctx, p, dir, s, n)
		if err != nil {
			return fmt.Errorf("%d web machines: %w", n, err)
		}
		fmt.Fprintf(out, "| %d | %s | %d | %s |\n", n, product.Round(took), s.asked.Swap(0), product.Round(busiest))
	}
	return nil
}

func webs(ctx context.Context, p product.Product, dir string, s *source, n int) (took, busiest time.Duration, err error) {
	file := filepath.Join(dir, "webs.sf")
	if err := os.WriteFile(file, fmt.Appendf(nil, `#include "aloft/components.sf"
sfConfig extends {
  web extends VM {
    cloudProvider "local"; memory 256; sfCopies %d;
    all extends Compound { sfOrder "depth";
      source extends Repository { name "bench"; url "http://%s/"; suite "stable"; key %q; }
      page extends Package { name "aloft-bench"; refresh false; }
      server extends Process { command [| "aloft-bench", "-serve", "/usr/share/aloft-bench" |]; readyPort 8000; }
    }
  }
}
`, n, host, s.key), 0o600); err != nil {
		return 0, 0, err
	}
	if err := p.Call(ctx, "daemon", "start"); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.End()) }()
	if took, err = p.Time(ctx, "up", file, "-y"); err != nil {
		return 0, 0, err
	}
	events, err := p.Events(ctx, "webs")
	if err != nil {
		return 0, 0, err
	}
	packages := map[string]time.Duration{} // by machine
	for _, s := range spans(events) {
		if machine, name, _ := strings.Cut(s.path, ":all:"); name == "source" || name == "page" {
			packages[machine] += s.deploy.end - s.deploy.begin
			busiest = max(busiest, packages[machine])
		}
	}
	return took, busiest, nil
}
