package control

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"aloft/api/peerpb"
	"aloft/internal/ownership"
)

// letting is a manager that lets a machine go on, unless it is frozen.
type letting struct {
	peerpb.OwnerClient
	frozen bool
}

func (l letting) Hold(ctx context.Context, r *peerpb.HoldRequest, _ ...grpc.CallOption) (*peerpb.HoldReply, error) {
	if l.frozen {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &peerpb.HoldReply{Systems: r.Systems}, nil
}

// HL2, LV3: a manager that is frozen takes no time from the others that a machine
// asks by the same call, however little that one has.
func TestHL2AFrozenManagerHoldsUpNoOthersWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := []string{"a", "b", "c", "d"}
		all := bosses(t, &box{}, ids...)
		time.Sleep(3 * time.Second)
		a := all["a"].control
		a.cfg.Others = func(_ context.Context, manager string) (peerpb.OwnerClient, error) {
			return letting{frozen: manager == "b" || manager == "c"}, nil
		}
		names, want := []string{"of b", "of c", "of d"}, []string{"of d"}
		for _, id := range ids[1:] {
			if _, err := all[id].keeper.Acquire(t.Context(), ownership.System("of "+id)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		for _, id := range ids[1:] {
			if manager, _ := a.Owner("of " + id); manager != id {
				t.Fatalf("%q is of %q", "of "+id, manager)
			}
		}
		for _, limit := range []time.Duration{time.Second, 10 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			begun := time.Now()
			reply, err := a.Hold(ctx, "machine", names, false)
			took := time.Since(begun)
			cancel()
			if got := reply.GetSystems(); err != nil || !slices.Equal(got, want) {
				t.Errorf("let go on %v, %v; want %v", got, err, want)
			}
			if most := min(limit/2, 2*time.Second); took > most {
				t.Errorf("it took %s, want %s at the most", took, most)
			}
		}
	})
}
