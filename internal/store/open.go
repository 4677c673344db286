package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/tlsutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"golang.org/x/sys/unix"
)

const (
	// history is how many revisions watches can go back to.
	history = 10_000
	// quota bounds the file of the store: reached, writes are refused.
	quota = 1 << 30
	// walSegment replaces etcd's 64 MB, two of which are allocated at once: a
	// home of ours lives on small disks too.
	walSegment = 8 << 20
	// socketPath is what the kernel takes for a Unix socket's path, less the
	// closing zero.
	socketPath = 107
	// learners is how many managers may be joining at once.
	learners = 8
)

// setSegment sets etcd's package variable once, before the first member.
var setSegment = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// Config says where a store lives.
type Config struct {
	Dir string       // folder of the store; made with mode 0700
	Log *slog.Logger `json:"-"` // etcd's warnings come as debug lines, its errors as errors
	// Name is the member's name among the members: the manager's UUID. A new
	// store is founded with it, so no two stores are taken for one another.
	Name string
	// Peer is where other managers reach this member. Without it the member is
	// alone and listens on no port. A store can be opened with another address
	// than before, and with none again once it is alone.
	Peer *Peer
	// Join makes a new member of an existing store: what AddLearner returned on
	// one of its members. Opening again with the same or with none goes on.
	Join *Join
}

// Peer is the address of a member and what it proves itself with: TLS 1.3, and
// only certificates of CA on either side.
type Peer struct {
	Listen  string // host:port
	Address string // host:port that the others dial; empty: Listen
	// PEM files. Cert is for clients and servers; it and Key are read anew for
	// every connection, CA when the store is opened.
	Cert, Key, CA string
	// ServerName is in the certificates of all members; empty: each one's names
	// Address's host.
	ServerName string
	// CRL is a file with a DER revocation list, read anew for every connection;
	// empty: nothing is revoked.
	CRL string
}

func (p *Peer) address() string {
	if p.Address != "" {
		return p.Address
	}
	return p.Listen
}

// Store is the store in an embedded etcd member.
type Store struct {
	cfg    Config
	socket string // of the member when it is alone
	lock   *os.File
	dir    *os.File

	mu sync.Mutex
	// The fields below are guarded by mu.
	member  *member // nil while none runs
	life    *gate   // of calls that need the member
	quorum  *gate   // of calls that need the others too
	full    error   // why writes are refused though the member runs
	changed chan struct{}
	lost    error // why the member will not run again

	stop   context.CancelFunc
	tended chan struct{} // closed when tend has returned
	close  sync.Once
	closed chan struct{}
}

var _ KV = (*Store)(nil)

// Open starts the member. Alone it is ready when Open returns; of several, it
// serves once a majority answers, and Open waits for that for two seconds only.
// It fails when another process has the folder open. ctx limits the start alone.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	if cfg.Name == "" {
		cfg.Name = "aloft"
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the store: %w", err)
	}
	s := &Store{
		cfg: cfg, closed: make(chan struct{}), tended: make(chan struct{}), changed: make(chan struct{}),
		life: newGate(), quorum: newGate(), stop: func() {},
	}
	defer func() {
		if err != nil {
			close(s.tended)
			s.Close()
		}
	}()
	if s.lock, err = lock(filepath.Join(cfg.Dir, "lock")); err != nil {
		return nil, err
	}
	if s.socket, err = s.listens(cfg.Dir); err != nil {
		return nil, err
	}
	setSegment()
	if err := room(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Join != nil {
		if err := prepareJoin(cfg); err != nil {
			return nil, err
		}
	}
	m, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
	}
	if err := s.admit(ctx, m); err != nil {
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, errors.Join(err, m.stop()))
	}
	s.serve(m)
	_ = s.weigh(m) // tend tells
	tending, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.tend(tending)
	return s, nil
}

// begin starts the member as the configuration has it.
func (s *Store) begin(ctx context.Context) (*member, error) {
	return startMember(ctx, s.etcdConfig(), s.cfg.Log)
}

// admit waits until a member that was started can be used, and has it say its
// address when that is new.
func (s *Store) admit(ctx context.Context, m *member) error {
	alone := len(m.members()) < 2
	if !alone && s.cfg.Peer == nil {
		return fmt.Errorf("it has %d managers and needs its own address: start this one with the address that it had", len(m.members()))
	}
	patience := time.NewTimer(patience)
	defer patience.Stop()
	ready := m.etcd.Server.ReadyNotify()
	for waited := patience.C; ; {
		select {
		case <-ready:
			if alone {
				return m.readdress(ctx, s.peerURL())
			}
			return nil
		case <-m.gone:
			return m.why()
		case <-waited:
			if !alone || s.cfg.Join != nil {
				return nil
			}
			waited = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lock keeps a second process out. etcd has a lock of its own, but waits for
// it without end and without saying so.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the store in %s is in use by another daemon; end it with \"aloft daemon stop\" first", filepath.Dir(path))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// listens returns a path of the member's socket that the kernel takes. A long
// one goes by way of the folder's descriptor: nothing outside the folder is
// made, so nothing can be left behind.
func (s *Store) listens(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("folder of the store: %w", err)
	}
	const name = "peer.sock"
	if path := filepath.Join(abs, name); len(path) <= socketPath {
		return path, nil
	}
	if s.dir, err = os.Open(abs); err != nil {
		return "", fmt.Errorf("folder of the store: %w", err)
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(s.dir.Fd())), name), nil
}

// peerURL is what the member says of itself. Alone it is a name only: nobody
// dials it, and the folder can move.
func (s *Store) peerURL() url.URL {
	if s.cfg.Peer == nil {
		return url.URL{Scheme: "unix", Host: "alone"}
	}
	return url.URL{Scheme: "https", Host: s.cfg.Peer.address()}
}

func (s *Store) etcdConfig() *embed.Config {
	c := embed.NewConfig()
	c.Dir = filepath.Join(s.cfg.Dir, "etcd")
	c.Name = s.cfg.Name
	c.InitialClusterToken = s.cfg.Name
	c.AdvertisePeerUrls = []url.URL{s.peerURL()}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil
	c.ListenClientHttpUrls, c.ListenMetricsUrls = nil, nil
	c.EnableGRPCGateway = false
	c.MaxTxnOps = MaxTxnOp
	c.MaxRequestBytes = 2 * MaxTxn
	c.MaxLearners = learners
	c.QuotaBackendBytes = quota
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = strconv.Itoa(history)
	c.SnapshotCount = 200 // a snapshot is only a mark in the log
	c.MaxSnapFiles, c.MaxWalFiles = 2, 2
	c.BackendFreelistType = "map"
	// Remove asks the members themselves whether they are well. etcd's check
	// wants connections that have stood for five seconds.
	c.StrictReconfigCheck = false
	if s.cfg.Peer == nil {
		// etcd listens on a URL's host part, which cannot hold a path when it is
		// parsed, so the URL is built.
		c.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: s.socket}}
		// Alone, an election has nobody to wait for.
		c.TickMs, c.ElectionMs = 10, 100
		c.PreVote = false
		// Raft keeps its latest entries in memory, rows and all: keep few. Alone,
		// nobody needs them to catch up.
		c.SnapshotCatchUpEntries = 20
		return c
	}
	c.ListenPeerUrls = []url.URL{{Scheme: "https", Host: s.cfg.Peer.Listen}}
	c.PeerTLSInfo, c.TlsMinVersion = s.cfg.Peer.tls(), string(tlsutil.TLSVersion13)
	c.TickMs, c.ElectionMs = 50, 500
	c.PreVote = true
	// Whoever lags by more gets the whole file.
	c.SnapshotCatchUpEntries = 1000
	if s.cfg.Join != nil {
		c.ClusterState = embed.ClusterStateFlagExisting
		c.InitialCluster = s.cfg.Join.initial(c.Name, s.peerURL())
	}
	return c
}

// Run waits until ctx ends or the member fails for good, closes the store, and
// returns nil in the first case.
func (s *Store) Run(ctx context.Context) error {
	defer s.Close()
	select {
	case <-ctx.Done():
	case <-s.closed:
	case <-s.tended:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return fmt.Errorf("store: %w", s.lost)
	}
	return nil
}

// Close stops the member and returns when it has stopped. Calls under way
// return ErrClosed.
func (s *Store) Close() {
	s.close.Do(func() {
		close(s.closed)
		s.stop()
		<-s.tended
		s.mu.Lock()
		m := s.member
		s.member = nil
		s.mu.Unlock()
		s.shut(ErrClosed)
		if m != nil {
			_ = m.stop() // what does not end now ends with the process
		}
		if s.dir != nil {
			_ = s.dir.Close()
		}
		if s.lock != nil {
			_ = s.lock.Close()
		}
	})
}

// host returns the address of a peer URL, for people.
func host(peerURL string) string {
	_, address, _ := strings.Cut(peerURL, "://")
	return address
}
