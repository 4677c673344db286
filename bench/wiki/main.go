// Command wiki measures systems whose components come in packages, against the
// real binary, in a home of its own, on this machine: the wiki of the examples
// on two machines, with where its time goes, and from 1 to 16 web machines whose
// packages come from a source that answers each request after a fixed delay. It
// needs root on Linux, removes what it made, and prints Markdown. It is a
// measurement, not a test: it judges nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"aloft/bench/product"
)

func main() {
	aloft := flag.String("aloft", "bin/aloft", "the binary to measure")
	wiki := flag.String("wiki", "examples/wiki/wiki.sf", "the wiki; empty: without it")
	counts := flag.String("counts", "1,2,4,8,16", "how many web machines, comma-separated; empty: without them")
	delay := flag.Duration("delay", 2*time.Second, "after which the source of packages answers each request")
	folder := flag.String("serve", "", "measure nothing, serve this folder at port 8000: what a web machine does")
	flag.Parse()
	if *folder != "" {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(":8000", http.FileServer(http.Dir(*folder))))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *aloft, *wiki, *counts, *delay); err != nil {
		fmt.Fprintln(os.Stderr, "wiki:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, aloft, wiki, counts string, delay time.Duration) (err error) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return errors.New("light machines need root on Linux")
	}
	sizes, err := product.Counts(counts, 200)
	if err != nil {
		return fmt.Errorf("-counts: %w", err)
	}
	if aloft, err = filepath.Abs(aloft); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "aloft-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(out, "%s\n\n", product.Conditions())
	if wiki != "" {
		if err := measureWiki(ctx, out, product.Product{Binary: aloft, Home: filepath.Join(dir, "wiki")}, dir, wiki); err != nil {
			return err
		}
	}
	if len(sizes) == 0 {
		return nil
	}
	s, err := newSource(dir, delay)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	return measureWebs(ctx, out, product.Product{Binary: aloft, Home: filepath.Join(dir, "webs"), Env: s.env}, dir, s, sizes)
}
