package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// member is one run of the embedded etcd.
//
// etcd ends its process when it cannot write: it logs with level fatal or
// panic. Here the goroutine that does so ends instead, and died tells. What it
// held stays held, so such a member may not be able to stop; stop says so.
type member struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	space  space

	once   sync.Once
	died   chan struct{} // closed by the first fatal line
	gone   chan struct{} // closed when it no longer runs, for whatever reason
	mu     sync.Mutex
	reason error // guarded by mu: the last thing the member said of its end
}

// errStuck says that a member that failed holds its files still.
var errStuck = errors.New("it cannot be started again within this process: restart the daemon")

// stopping bounds how long a member may take to stop: etcd waits for
// connections for a second, and for the transfer of its leadership for longer.
const stopping = 15 * time.Second

// startMember starts a member that may still have to find the others.
func startMember(ctx context.Context, c *embed.Config, log *slog.Logger) (*member, error) {
	m := &member{died: make(chan struct{}), gone: make(chan struct{})}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core{log: log, end: m.note},
		zap.WithFatalHook(m), zap.WithPanicHook(m)))
	started := make(chan error, 1)
	abandoned := make(chan struct{})
	go func() {
		err := errors.New("the member ended while it started")
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%v", r)
			}
			select {
			case <-m.died:
				err = m.why()
			default:
			}
			started <- err
			select {
			case <-abandoned:
				if m.etcd != nil {
					m.etcd.Close()
				}
			default:
			}
		}()
		m.etcd, err = embed.StartEtcd(c)
	}()
	select {
	case err := <-started:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		close(abandoned)
		return nil, ctx.Err()
	}
	m.client = v3client.New(m.etcd.Server)
	go m.watch()
	return m, nil
}

// OnWrite is zapcore.CheckWriteHook: it runs after a fatal or panic line.
func (m *member) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	m.note(e.Message, fields)
	m.once.Do(func() { close(m.died) })
	runtime.Goexit()
}

// note keeps what the member says of its end.
func (m *member) note(message string, fields []zapcore.Field) {
	err := errors.New(message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", message, cause)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reason = err
}

func (m *member) why() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reason == nil {
		return errors.New("the member stopped")
	}
	if strings.Contains(m.reason.Error(), "permanently removed") {
		return ErrRemoved
	}
	if errors.Is(m.reason, unix.ENOSPC) || errors.Is(m.reason, unix.EDQUOT) {
		return fmt.Errorf("its disk is full: free some space there: %w", m.reason)
	}
	return m.reason
}

// watch closes gone when the member no longer runs.
func (m *member) watch() {
	defer close(m.gone)
	select {
	case <-m.died:
	case <-m.etcd.Server.StopNotify():
		if m.self() == nil {
			m.mu.Lock()
			m.reason = ErrRemoved
			m.mu.Unlock()
		}
	case err := <-m.etcd.Err():
		m.note("the listener failed", []zapcore.Field{zap.Error(err)})
	}
}

func (m *member) ended() bool {
	select {
	case <-m.died:
		return true
	case <-m.gone:
		return true
	default:
		return false
	}
}

// stop ends the member and returns when it has ended, or errStuck.
func (m *member) stop() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.client.Close()
		m.etcd.Close()
	}()
	limit := time.NewTimer(stopping)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
		return errStuck
	}
}

// members returns who belongs to the store, as far as this one knows.
func (m *member) members() []*membership.Member { return m.etcd.Server.Cluster().Members() }

func (m *member) self() *membership.Member {
	return m.etcd.Server.Cluster().Member(m.etcd.Server.MemberID())
}

// readdress has the members know this one by another address.
func (m *member) readdress(ctx context.Context, to url.URL) error {
	self := m.self()
	if self == nil || len(self.PeerURLs) == 1 && self.PeerURLs[0] == to.String() {
		return nil
	}
	if _, err := m.client.MemberUpdate(ctx, uint64(self.ID), []string{to.String()}); err != nil {
		return fmt.Errorf("tell the members the address %s: %w", to.Host, err)
	}
	return nil
}

// tls is for both directions. Who connects may do so from any address of its
// own: what counts is the issuer of its certificate.
func (p *Peer) tls() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: p.Cert, KeyFile: p.Key, TrustedCAFile: p.CA, CRLFile: p.CRL, ServerName: p.ServerName,
		ClientCertAuth: true, SkipClientSANVerify: true,
	}
}
