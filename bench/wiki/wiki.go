package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aloft/api"
	"aloft/bench/product"
)

// measureWiki makes the wiki twice, the second time with all packages in the
// cache; then a change of the servlet container is measured, by which it is
// reconfigured and started again, from the command's begin until a page is
// there.
func measureWiki(ctx context.Context, out io.Writer, p product.Product, dir, file string) (err error) {
	if err := p.Call(ctx, "daemon", "start"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.End()) }()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	file = filepath.Join(dir, "wiki.sf")
	up := func(text string) (time.Duration, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return 0, err
		}
		return p.Time(ctx, "up", file, "-y")
	}
	first, err := up(string(text))
	if err != nil {
		return err
	}
	if err := p.Call(ctx, "down", "wiki", "-y"); err != nil {
		return err
	}
	again, err := up(string(text))
	if err != nil {
		return err
	}
	events, err := p.Events(ctx, "wiki")
	if err != nil {
		return err
	}
	uri, err := p.Output(ctx, "get", "wiki", "vmB:software:tomcat:apps:mediaWiki:uri")
	if err != nil {
		return err
	}
	page := strings.TrimSpace(string(uri))
	began := time.Now()
	changed, err := up(strings.Replace(string(text), "port 80;", "port 80; javaArgs [| \"-Xmx144m\" |];", 1))
	if err != nil {
		return err
	}
	if err := answered(ctx, page); err != nil {
		return err
	}
	back := time.Since(began)

	fmt.Fprintf(out, "| the wiki on two machines | |\n|---|---|\n")
	fmt.Fprintf(out, "| `up`, a new cache of packages | %s |\n", product.Round(first))
	fmt.Fprintf(out, "| `up` again after `down`, packages in the cache | %s |\n", product.Round(again))
	fmt.Fprintf(out, "| `up` with another argument of Tomcat's Java: reconfigured and started again | %s, a page after %s |\n\n", product.Round(changed), product.Round(back))
	fmt.Fprintln(out, "Where the time of the second `up` goes, in seconds since its plan was accepted:")
	fmt.Fprintln(out, "\n| component | deploy | took | start | took |\n|---|---|---|---|---|")
	for _, s := range spans(events) {
		fmt.Fprintf(out, "| %s | %s | %s |\n", s.path, s.deploy, s.start)
	}
	fmt.Fprintln(out)
	return nil
}

// answered asks for a page until it is there, for a minute.
func answered(ctx context.Context, uri string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", uri, err)
		}
	}
}

// span is a time between two events, since the plan was accepted.
type span struct{ begin, end time.Duration }

func (s span) String() string {
	if s.end == 0 {
		return "– | –"
	}
	return fmt.Sprintf("%.1f–%.1f | %.1f", s.begin.Seconds(), s.end.Seconds(), (s.end - s.begin).Seconds())
}

type spent struct {
	path          string
	deploy, start span
}

// spans tells when each component of the last plan was deployed and started,
// in the order in which they began.
func spans(events []api.Event) []*spent {
	var accepted time.Time
	var all []*spent
	for _, e := range events {
		if e.Kind == "plan" && e.State == "running" {
			accepted, all = e.Time, nil
		}
		if e.Kind != "component" {
			continue
		}
		i := slices.IndexFunc(all, func(s *spent) bool { return s.path == e.Path })
		if i < 0 {
			i = len(all)
			all = append(all, &spent{path: e.Path})
		}
		switch s, at := all[i], e.Time.Sub(accepted); e.State {
		case "deploying":
			s.deploy.begin = at
		case "deployed":
			s.deploy.end = at
		case "starting":
			s.start.begin = at
		case "running":
			s.start.end = at
		}
	}
	return all
}
