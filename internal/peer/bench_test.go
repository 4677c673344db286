package peer

import (
	"context"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"aloft/api/peerpb"
)

func benchManager(b *testing.B) *manager {
	b.Helper()
	w := &world{t: b, quiet: true}
	boss := w.manager()
	boss.listen()
	return boss
}

// join brings a new machine from nothing to a call each way.
func join(b *testing.B, boss *manager) {
	m := boss.machine()
	m.enrol()
	m.contact(boss.address)
	if _, err := peerpb.NewMachineClient(boss.session(m.id)).Tell(b.Context(), &peerpb.TellRequest{}); err != nil {
		b.Error(err)
	}
	if _, err := peerpb.NewOwnerClient(m.session(boss.id)).Report(b.Context(), &peerpb.ReportRequest{}); err != nil {
		b.Error(err)
	}
}

func cpu() time.Duration {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkJoin200 lets 200 machines enrol with one manager at once. cpu-ms is
// processor time per machine, both sides together.
func BenchmarkJoin200(b *testing.B) {
	const machines = 200
	for b.Loop() {
		boss := benchManager(b)
		before := cpu()
		done := make(chan struct{})
		for range machines {
			go func() {
				join(b, boss)
				done <- struct{}{}
			}()
		}
		for range machines {
			<-done
		}
		b.ReportMetric(float64((cpu()-before).Microseconds())/1000/machines, "cpu-ms/machine")
	}
}

// BenchmarkIdleSessions tells what a session that both sides have called over
// costs, both ends together.
func BenchmarkIdleSessions(b *testing.B) {
	const machines = 100
	for b.Loop() {
		boss := benchManager(b)
		join(b, boss)
		before := inUse()
		goroutines := runtime.NumGoroutine()
		for range machines {
			join(b, boss)
		}
		b.ReportMetric(float64(inUse()-before)/1024/machines, "KiB/session")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/machines, "goroutines/session")
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func BenchmarkCall(b *testing.B) {
	boss := benchManager(b)
	m := boss.machine()
	m.enrol()
	m.contact(boss.address)
	client := peerpb.NewMachineClient(boss.session(m.id))
	for b.Loop() {
		if _, err := client.Tell(context.Background(), &peerpb.TellRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRelay moves bytes through a relay, between two daemons that have a
// session over it: TLS in gRPC in yamux in TLS, all three daemons in this
// process. BenchmarkTunnel is the same without a relay.
func BenchmarkRelay(b *testing.B) { benchTunnel(b, true) }

func BenchmarkTunnel(b *testing.B) { benchTunnel(b, false) }

func benchTunnel(b *testing.B, relayed bool) {
	w := &world{t: b, quiet: true}
	near, relay := w.bosses()
	far := near.colleague()
	far.listen()
	s, err := relay.node.Dial(b.Context(), far.address)
	if err != nil {
		b.Fatal(err)
	}
	near.session(relay.id)
	before := inUse()
	if relayed {
		_, err = near.node.dialBy(b.Context(), near.session(relay.id).(*session), s.Peer().ID, nil)
	} else {
		_, err = near.node.Dial(b.Context(), far.address)
	}
	if err != nil {
		b.Fatal(err)
	}
	ln := far.node.Tunnels("sink")
	defer ln.Close()
	background(b, func(context.Context) error {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		_, err = io.Copy(conn, conn)
		return err
	})
	conn, err := near.node.Tunnel(b.Context(), far.id, "sink")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	piece := make([]byte, 1<<20)
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		go conn.Write(piece)
		if _, err := io.ReadFull(conn, make([]byte, len(piece))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(inUse()-before)/1024, "KiB")
}
