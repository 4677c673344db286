package peer

import (
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
)

// wire is the connection under a link: real (mux.go) or simulated (network.go).
type wire interface {
	grpc.ClientConnInterface
	// tellRetired says to the other end that no call will come any more.
	tellRetired()
	// shut breaks the connection and frees what it holds.
	shut()
}

// errBroken is what a call ends with that was under way when its connection ended.
var errBroken = status.Error(codes.Unavailable, "connection broke")

// link is one authenticated connection between two daemons, whichever of them
// dialled.
type link struct {
	node     *Node
	local    Peer                // who we were when it was made
	remote   Peer                // who is at the other end; zero: an unenrolled machine
	expires  time.Time           // of the other end's certificate
	ours     time.Time           // when our own certificate expires that it was made with
	refresh  time.Time           // when whoever dialled should replace it by one with fresh certificates
	boot     uint64              // of the other end's process
	order    uint64              // later links between the same two processes have higher ones, at both ends
	way                          // that the connection took
	chain    []*x509.Certificate // of the other end
	begun    uint64              // later links of this node have higher ones
	stranger bool                // no session that others may find; set when it is adopted
	wire     wire
	done     chan struct{}
	once     sync.Once

	mu sync.Mutex
	// guarded by mu
	calls         int // of ours, under way
	retired       bool
	told          bool // we said that we are retired and have no calls
	remoteRetired bool // the other end said so
}

// way is how a connection came about.
type way struct {
	dialled string // for people: what we dialled; "" when the other end did
	self    bool   // both ends are this very node
	hops    int    // relays between the ends
	over    *link  // the connection with the nearest of them
}

// tabled reports whether the link makes a session that others may find by its
// id: both ends are members of one cluster in good standing.
func (l *link) tabled() bool {
	if l.self {
		return l.dialled != "" // one of the two ends
	}
	return l.standing()&(asManager|asMachine) != 0 && l.fresh()
}

// fresh reports whether our own certificate, as the other end knows it, is good.
func (l *link) fresh() bool { return l.local != Peer{} && l.node.cfg.Now().Before(l.ours) }

// until says how long to wait before a link is to be replaced by one with fresh
// certificates, where that was tried last at tried.
func (l *link) until(tried time.Time) time.Duration {
	pace := time.Minute
	now := l.node.cfg.Now()
	if now.After(l.expires) || now.After(l.ours) {
		pace = lastRetry // somebody may call nothing over it
	}
	return max(l.refresh.Sub(now), pace-time.Since(tried))
}

// begin counts a call in, unless the link is retired.
func (l *link) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired {
		return false
	}
	l.calls++
	return true
}

func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	l.settle()
}

func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	l.settle()
}

// heardRetired notes that the other end will call no more over this link.
func (l *link) heardRetired() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remoteRetired = true
	l.settle()
}

// settle brings a retired link to its end: first we say that we are through,
// and when the other end is too, it closes. l.mu is held.
func (l *link) settle() {
	if !l.retired || l.calls > 0 {
		return
	}
	if !l.told {
		l.told = true
		l.node.start(l.wire.tellRetired)
	}
	if l.remoteRetired {
		l.node.start(l.close)
	}
}

// close breaks the link. It can be called often.
func (l *link) close() {
	l.once.Do(func() {
		l.wire.shut()
		close(l.done)
		l.node.dropped(l)
	})
}

// hello is what both ends say first: in the clear of the TLS connection, before
// anything whose form may change between versions.
type hello struct {
	boot     uint64
	counter  uint64
	versions *peerpb.Versions
}

// maxHello bounds what a peer can make us read before we know its version.
const maxHello = 64 << 10

func (n *Node) hello() hello {
	v := n.versions()
	v.ProbeMilliseconds = int32(n.wantedProbes().Milliseconds())
	return hello{boot: n.boot, counter: n.counter.Add(1), versions: v}
}

// write sends: length of the rest (4 bytes), boot (8), counter (8), Versions.
func (h hello) write(w io.Writer) error {
	body, err := proto.Marshal(h.versions)
	if err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(16+len(body)))
	out = binary.BigEndian.AppendUint64(out, h.boot)
	out = binary.BigEndian.AppendUint64(out, h.counter)
	_, err = w.Write(append(out, body...))
	return err
}

func readHello(r io.Reader) (hello, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return hello{}, err
	}
	length := binary.BigEndian.Uint32(size[:])
	if length < 16 || length > maxHello {
		return hello{}, fmt.Errorf("first message has an impossible length of %d bytes", length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return hello{}, err
	}
	h := hello{boot: binary.BigEndian.Uint64(body), counter: binary.BigEndian.Uint64(body[8:]), versions: &peerpb.Versions{}}
	if err := proto.Unmarshal(body[16:], h.versions); err != nil {
		return hello{}, fmt.Errorf("first message: %w", err)
	}
	return h, nil
}

// VersionError says that two daemons have no protocol version in common.
type VersionError struct {
	Remote       Peer
	Ours, Theirs *peerpb.Versions
}

// Error names both ranges and what to do.
func (e *VersionError) Error() string {
	older := "this daemon"
	if e.Theirs.Newest < e.Ours.Oldest {
		older = "the other daemon"
	}
	return fmt.Sprintf("%s (build %q) speaks protocol %d to %d, this daemon (build %q) %d to %d: upgrade %s",
		e.Remote, e.Theirs.Build, e.Theirs.Oldest, e.Theirs.Newest, e.Ours.Build, e.Ours.Oldest, e.Ours.Newest, older)
}

func meet(remote Peer, ours, theirs *peerpb.Versions) error {
	if theirs.Newest < ours.Oldest || theirs.Oldest > ours.Newest {
		return &VersionError{Remote: remote, Ours: ours, Theirs: theirs}
	}
	return nil
}

// order ranks links between two processes alike at both ends: by the count of
// the daemon whose id is lower.
func order(local, remote Peer, ours, theirs hello) uint64 {
	if local.ID <= remote.ID {
		return ours.counter
	}
	return theirs.counter
}

// refreshAt is when three quarters of the life of a certificate are over.
func refreshAt(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 4)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
