package store

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// BenchmarkIntents is what a journal's intents cost: small durable writes by 16
// writers to one of three managers on one disk, through the store and, in turns
// with it, through etcd's own client of the same member. The ratio is of the
// medians of the rounds.
func BenchmarkIntents(b *testing.B) {
	const writers, each = 16, 25
	c := newCluster(b, 3)
	s := c.members[c.leader()]
	value := make([]byte, 200)
	raw := s.member.client
	ways := map[string]func(key string) error{
		"store": func(key string) error {
			_, err := s.Commit(b.Context(), Txn{Put: []Put{{Key: key, Value: value}}})
			return err
		},
		"etcd": func(key string) error {
			_, err := raw.Put(b.Context(), key, string(value))
			return err
		},
		// A transaction without conditions, as the store's are.
		"etcd, transactions": func(key string) error {
			_, err := raw.Txn(b.Context()).Then(clientv3.OpPut(key, string(value))).Commit()
			return err
		},
	}
	rates := map[string][]float64{}
	order := []string{"store", "etcd", "etcd, transactions"}
	for round := 0; b.Loop(); round++ {
		for i := range order {
			name := order[(i+round)%len(order)]
			begin := time.Now()
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for range each {
						if err := ways[name](Key("intent", strconv.Itoa(w))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			rates[name] = append(rates[name], writers*each/time.Since(begin).Seconds())
		}
	}
	median := func(name string) float64 {
		slices.Sort(rates[name])
		return rates[name][len(rates[name])/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median("store"), "store/s")
	b.ReportMetric(median("etcd"), "etcd/s")
	b.ReportMetric(median("store")/median("etcd"), "store:etcd")
	b.ReportMetric(median("store")/median("etcd, transactions"), "store:etcd-txn")
}

// BenchmarkFailOver kills the process of the leading manager and measures the
// time until another one's write, begun after that, has succeeded. Each round
// the killed one comes back. Elections without a kill are counted too.
func BenchmarkFailOver(b *testing.B) {
	c := newCluster(b, 3)
	reports := make(chan report, 1000)
	var running [3]*exec.Cmd
	start := func(i int) {
		config, err := json.Marshal(c.configs[i])
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"="+string(config)), os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := cmd.StdinPipe(); err != nil { // its end tells the child that we are gone
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		running[i] = cmd
		go func() {
			for in := bufio.NewScanner(out); in.Scan(); {
				r := report{From: i}
				if json.Unmarshal(in.Bytes(), &r) == nil {
					reports <- r
				}
			}
		}()
	}
	for i := range c.members {
		c.configs[i].Join = nil
		c.configs[i].Log = nil
		c.stop(i)
	}
	for i := range running {
		start(i)
	}
	defer func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	next := func() report {
		select {
		case r := <-reports:
			return r
		case <-time.After(30 * time.Second):
			b.Fatal("no manager writes")
			return report{}
		}
	}
	var took []time.Duration
	unasked, last := 0, report{}
	for b.Loop() {
		// Three seconds in which all three write, and nobody is killed.
		seen := map[int]bool{}
		for began := int64(0); began == 0 || last.End-began < int64(3*time.Second); {
			r := next()
			if seen[r.From] = true; len(seen) == 3 && began == 0 {
				began, last = r.End, r
			}
			if began != 0 && r.Term > last.Term {
				unasked++
			}
			last = r
		}
		leader := last
		for ; !leader.Leader; leader = next() {
		}
		killed := time.Now().UnixNano()
		if err := running[leader.From].Process.Kill(); err != nil {
			b.Fatal(err)
		}
		_ = running[leader.From].Wait()
		r := next()
		for ; r.From == leader.From || r.Begin < killed && r.Term == leader.Term; r = next() {
		}
		took = append(took, time.Duration(r.End-killed))
		start(leader.From)
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(float64(unasked), "elections-unasked")
}

// report is what a member says of each of its writes.
type report struct {
	From   int    `json:"-"`
	Begin  int64  `json:"begin"`
	End    int64  `json:"end"`
	Leader bool   `json:"leader"`
	Term   uint64 `json:"term"`
}

const childEnv = "ALOFT_STORE_MEMBER"

// child is a manager that writes every few milliseconds and reports, until its
// input ends.
func child(config string) {
	var cfg Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		panic(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	s, err := Open(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer s.Close()
	out := json.NewEncoder(os.Stdout)
	for ctx.Err() == nil {
		begin := time.Now().UnixNano()
		_, err := s.Commit(ctx, Txn{Put: []Put{{Key: cfg.Name, Value: []byte("beat")}}})
		server := s.member.etcd.Server
		if err == nil {
			_ = out.Encode(report{
				Begin: begin, End: time.Now().UnixNano(), Term: server.Term(),
				Leader: server.Lead() == uint64(server.MemberID()),
			})
		}
		time.Sleep(10 * time.Millisecond)
	}
}
