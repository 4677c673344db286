package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/internal/plan"
	"aloft/value"
)

// narrow is an owner that a message of more than 16 MiB does not reach, and of
// the others the first does not either.
type narrow struct {
	*machine
	calls int
	shown map[string]bool
	done  chan struct{}
	want  int
}

func (n *narrow) Report(ctx context.Context, r *peerpb.ReportRequest) error {
	if size := proto.Size(r); size > 16<<20 {
		return fmt.Errorf("trying to send message larger than max (%d)", size)
	}
	if n.calls++; n.calls == 1 {
		return errors.New("the session is over")
	}
	for _, st := range r.States {
		if !n.shown[st.Path] {
			n.shown[st.Path] = true
			if len(n.shown) == n.want {
				close(n.done)
			}
		}
	}
	return n.machine.Report(ctx, r)
}

// A daemon that comes back tells again all that it did: that may be more than
// one message holds.
func TestWhatIsReportedFitsIntoMessages(t *testing.T) {
	const many = 40
	m := newMachine(t)
	a := m.agent()
	n := &narrow{machine: m, shown: map[string]bool{}, done: make(chan struct{}), want: many}
	a.cfg.Owner = n
	sys := newTenant(a, "sys")
	sys.part.Store(&peerpb.Part{System: "sys", Plan: "p"})
	large := []byte(strings.Repeat("x", 1<<20))
	for i := range many {
		path := value.Path(fmt.Sprint("c", i))
		id := plan.ID(path, plan.Start)
		sys.facts[id] = &peerpb.Fact{System: "sys", Plan: "p", Step: string(id), Outcome: peerpb.Outcome_OUTCOME_DONE, Component: large}
		sys.tell[id], sys.show[path] = true, true
	}
	end := run(t, a)
	<-a.begun // it takes up no system before
	a.mu.Lock()
	a.tenants["sys"] = sys
	a.mu.Unlock()
	a.changed()
	if got := m.outcomes("p", many); len(got) != many {
		t.Errorf("%d facts of %d came through", len(got), many)
	}
	<-n.done
	end()
	if len(sys.tell)+len(sys.show) > 0 {
		t.Errorf("not told: %v, %v", sys.tell, sys.show)
	}
}
