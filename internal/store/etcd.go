package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
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
)

// setSegment sets etcd's package variable once, before the first member.
var setSegment = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// Config says where a store lives.
type Config struct {
	Dir string       // folder of the store; made with mode 0700
	Log *slog.Logger // etcd's warnings come as debug lines, its errors as errors
}

// Store is the store in an embedded etcd of one member. It listens on no TCP
// port: the member's peer address is a Unix socket inside Dir, and there is no
// client address, since the only client is in this process.
type Store struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	lock   *os.File
	dir    *os.File

	close  sync.Once
	closed chan struct{}
}

var _ KV = (*Store)(nil)

// Open starts the member, which is ready when Open returns. It fails when
// another process has the folder open. ctx limits the start alone.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the store: %w", err)
	}
	s := &Store{closed: make(chan struct{})}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lock(filepath.Join(cfg.Dir, "lock")); err != nil {
		return nil, err
	}
	socket, err := s.socket(cfg.Dir)
	if err != nil {
		return nil, err
	}
	setSegment()
	if err := room(cfg.Dir); err != nil {
		return nil, err
	}
	s.etcd, err = start(member(cfg, socket))
	if err != nil {
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case err := <-s.etcd.Err():
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, err)
	case <-s.etcd.Server.StopNotify():
		return nil, fmt.Errorf("start the store in %s: the member stopped", cfg.Dir)
	case <-ctx.Done():
		return nil, fmt.Errorf("start the store in %s: %w", cfg.Dir, ctx.Err())
	}
	s.client = v3client.New(s.etcd.Server)
	return s, nil
}

// start is embed.StartEtcd, with an error in place of the panic by which a
// member gives up when it cannot write its first files.
func start(c *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return embed.StartEtcd(c)
}

// Free space below which the member would end at its first write: a new one
// allocates two segments of its log.
const (
	roomNew = 2*walSegment + 4<<20
	roomOld = 1 << 20
)

// room refuses to start a member on a full disk.
func room(dir string) error {
	need := uint64(roomOld)
	if _, err := os.Stat(filepath.Join(dir, "etcd")); errors.Is(err, fs.ErrNotExist) {
		need = roomNew
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("folder of the store %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fmt.Errorf("the disk of %s is full: %d KiB are free, the store needs %d KiB to start: free some space there, then start again",
			dir, free>>10, need>>10)
	}
	return nil
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

// socket returns a path of the member's socket that the kernel takes. A long
// one goes by way of the folder's descriptor: nothing outside the folder is
// made, so nothing can be left behind.
func (s *Store) socket(dir string) (string, error) {
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

func member(cfg Config, socket string) *embed.Config {
	c := embed.NewConfig()
	c.Dir = filepath.Join(cfg.Dir, "etcd")
	c.Name = "aloft"
	c.InitialClusterToken = "aloft"
	// etcd listens on a URL's host part, which cannot hold a path when it is
	// parsed, so the URL is built. The advertised one is a name only: alone,
	// nobody dials it, and the folder can move.
	c.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: socket}}
	c.AdvertisePeerUrls = []url.URL{{Scheme: "unix", Host: "alone"}}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, nil
	c.ListenClientHttpUrls, c.ListenMetricsUrls = nil, nil
	c.EnableGRPCGateway = false
	// Alone, an election has nobody to wait for.
	c.TickMs, c.ElectionMs = 10, 100
	c.PreVote = false
	c.MaxTxnOps = MaxTxnOp
	c.MaxRequestBytes = 2 * MaxTxn
	c.QuotaBackendBytes = quota
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = strconv.Itoa(history)
	// Raft keeps its latest entries in memory, rows and all: keep few. Alone,
	// nobody needs them to catch up, and a snapshot is only a mark in the log.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 200, 20
	c.MaxSnapFiles, c.MaxWalFiles = 2, 2
	c.BackendFreelistType = "map"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core{log: cfg.Log}))
	return c
}

// Run waits until ctx ends or the member fails, closes the store, and returns
// nil in the first case.
func (s *Store) Run(ctx context.Context) error {
	defer s.Close()
	select {
	case <-ctx.Done():
		return nil
	case <-s.closed:
		return nil
	case err := <-s.etcd.Err():
		return fmt.Errorf("store: %w", err)
	case <-s.etcd.Server.StopNotify():
		return errors.New("store: the member stopped")
	}
}

// Close stops the member and returns when it has stopped. Calls under way
// return ErrClosed.
func (s *Store) Close() {
	s.close.Do(func() {
		close(s.closed)
		if s.client != nil {
			_ = s.client.Close()
		}
		if s.etcd != nil {
			s.etcd.Close()
		}
		if s.dir != nil {
			_ = s.dir.Close()
		}
		if s.lock != nil {
			_ = s.lock.Close()
		}
	})
}

// Get returns one row, or ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (Entry, error) {
	if err := checkKey(key); err != nil {
		return Entry{}, err
	}
	r, err := s.client.Get(ctx, key)
	if err != nil {
		return Entry{}, s.failed("read row "+key, err)
	}
	if len(r.Kvs) == 0 {
		return Entry{}, fmt.Errorf("row %s: %w", key, ErrNotFound)
	}
	return entry(r.Kvs[0]), nil
}

// List returns the rows under prefix and the revision they were read at.
func (s *Store) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	r, err := s.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, s.failed("list rows "+prefix, err)
	}
	entries := make([]Entry, len(r.Kvs))
	for i, kv := range r.Kvs {
		entries[i] = entry(kv)
	}
	return entries, r.Header.Revision, nil
}

// Commit carries out t and returns the store's revision after it.
func (s *Store) Commit(ctx context.Context, t Txn) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	conditions := make([]clientv3.Cmp, len(t.If))
	reads := make([]clientv3.Op, len(t.If))
	for i, c := range t.If {
		conditions[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Revision)
		reads[i] = clientv3.OpGet(c.Key, clientv3.WithKeysOnly())
	}
	writes := make([]clientv3.Op, 0, len(t.Put)+len(t.Delete))
	for _, p := range t.Put {
		writes = append(writes, clientv3.OpPut(p.Key, string(p.Value), clientv3.WithLease(clientv3.LeaseID(p.Lease))))
	}
	for _, key := range t.Delete {
		writes = append(writes, clientv3.OpDelete(key))
	}
	r, err := s.client.Txn(ctx).If(conditions...).Then(writes...).Else(reads...).Commit()
	if err != nil {
		return 0, s.failed("write rows", err)
	}
	if r.Succeeded {
		return r.Header.Revision, nil
	}
	have := map[string]int64{}
	for _, answer := range r.Responses {
		for _, kv := range answer.GetResponseRange().GetKvs() {
			have[string(kv.Key)] = kv.ModRevision
		}
	}
	return 0, conflict(t.If, func(key string) int64 { return have[key] })
}

// Watch sends every change of rows under prefix from revision from on.
func (s *Store) Watch(ctx context.Context, prefix string, from int64) <-chan Batch {
	out := make(chan Batch)
	go func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		b := Batch{}
		for r := range s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(max(1, from))) {
			if b.Err = r.Err(); b.Err != nil {
				break
			}
			if len(r.Events) == 0 {
				continue
			}
			b = Batch{Changes: make([]Change, len(r.Events))}
			for i, e := range r.Events {
				b.Changes[i] = Change{Entry: entry(e.Kv), Deleted: e.Type == mvccpb.DELETE}
			}
			b.Revision = b.Changes[len(b.Changes)-1].Revision
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		// The member ends watches when it stops, without an error.
		if b.Err == nil {
			b.Err = ErrClosed
		}
		select {
		case out <- Batch{Err: s.failed("watch rows "+prefix, b.Err)}:
		case <-ctx.Done():
		}
	}()
	return out
}

// Grant makes a lease.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	r, err := s.client.Grant(ctx, seconds(ttl))
	if err != nil {
		return 0, s.failed("grant a lease", err)
	}
	return LeaseID(r.ID), nil
}

// Renew starts the lease's time anew.
func (s *Store) Renew(ctx context.Context, id LeaseID) error {
	if _, err := s.client.KeepAliveOnce(ctx, clientv3.LeaseID(id)); err != nil {
		return s.failed("renew a lease", err)
	}
	return nil
}

// Revoke ends the lease and deletes its rows.
func (s *Store) Revoke(ctx context.Context, id LeaseID) error {
	_, err := s.client.Revoke(ctx, clientv3.LeaseID(id))
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return s.failed("revoke a lease", err)
	}
	return nil
}

// Compact forgets the history before revision: watches from before it get
// ErrCompacted. The store does it by itself from time to time.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	if _, err := s.client.Compact(ctx, revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return s.failed("compact the store", err)
	}
	return nil
}

func entry(kv *mvccpb.KeyValue) Entry {
	return Entry{
		Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision,
		Created: kv.CreateRevision, Lease: LeaseID(kv.Lease),
	}
}

// failed turns etcd's errors into ours and says what was tried.
func (s *Store) failed(op string, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		err = ErrCompacted
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		err = ErrLeaseLost
	case errors.Is(err, rpctypes.ErrNoSpace):
		err = fmt.Errorf("the store holds %d MB and takes no more: end systems that are no longer needed", quota>>20)
	default:
		select {
		case <-s.closed:
			err = ErrClosed
		default:
		}
	}
	return fmt.Errorf("%s: %w", op, err)
}
