package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"aloft/api/peerpb"
)

const (
	segmentSize = 32 << 10 // bytes of a stream sent at once
	maxSegment  = 64 << 10 // and taken
	lingering   = 10 * time.Second
)

// Conn is a stream of bytes inside a session. It is what net/http, crypto/tls
// and yamux expect of a connection: half-closed by CloseWrite, limited by
// deadlines. A write that its deadline cut short ends the stream, since nobody
// could say how much of it went out.
type Conn interface {
	net.Conn
	CloseWrite() error
	// Peer says which daemon is at the other end.
	Peer() Peer
}

// segments is either end of a gRPC stream of segments.
type segments interface {
	Send(*peerpb.Segment) error
	Recv() (*peerpb.Segment, error)
	Context() context.Context
}

// streamConn implements Conn. A goroutine of the node receives; it holds one
// segment at a time, so the windows of gRPC and yamux bound what is under way.
type streamConn struct {
	node   *Node
	stream segments
	peer   Peer
	name   string
	abort  func() // ends the stream at once
	finish func() // tells the other end that nothing follows; nil at the end that answers

	data    chan []byte   // from receive to Read
	ended   chan struct{} // closed when no data follows; over says why
	gone    chan struct{} // closed when receive returned
	deaf    chan struct{} // closed when the other end reads no more
	closed  chan struct{} // closed by Close
	over    error         // set before ended is closed
	once    sync.Once
	reading deadline
	writing deadline

	reader sync.Mutex
	// rest of the segment read last; guarded by reader
	rest []byte

	writer sync.Mutex
	// guarded by writer
	shut   bool  // CloseWrite was called
	failed error // of an earlier write
}

// newConn puts a Conn on a stream. It reports ErrClosed on a node that ends.
func (n *Node) newConn(stream segments, other Peer, name string, abort, finish func()) (*streamConn, error) {
	c := &streamConn{
		node: n, stream: stream, peer: other, name: name, abort: abort, finish: finish,
		data: make(chan []byte), ended: make(chan struct{}), gone: make(chan struct{}),
		deaf: make(chan struct{}), closed: make(chan struct{}),
	}
	if !n.start(c.receive) {
		return nil, ErrClosed
	}
	return c, nil
}

func (c *streamConn) receive() {
	defer close(c.gone)
	end := sync.OnceFunc(func() { close(c.ended) })
	defer end()
	deaf := sync.OnceFunc(func() { close(c.deaf) })
	defer deaf()
	for {
		s, err := c.stream.Recv()
		if err == nil && len(s.Data) > maxSegment {
			err = errors.New("a segment is too large")
			c.abort()
		}
		if err != nil {
			select {
			case <-c.ended:
			default:
				c.over = err
			}
			return
		}
		if len(s.Data) > 0 {
			select {
			case c.data <- s.Data:
			case <-c.closed: // nobody reads any more
			case <-c.ended: // data after the end
			case <-c.stream.Context().Done():
			}
		}
		if s.Closed {
			deaf()
		}
		if s.End || s.Closed {
			select {
			case <-c.ended:
			default:
				c.over = io.EOF
				end()
			}
		}
	}
}

func (c *streamConn) Read(b []byte) (int, error) {
	c.reader.Lock()
	defer c.reader.Unlock()
	select {
	case <-c.closed:
		return 0, c.fault("read", net.ErrClosed)
	case <-c.reading.over():
		return 0, c.fault("read", os.ErrDeadlineExceeded)
	default:
	}
	if len(c.rest) == 0 && len(b) > 0 {
		select {
		case c.rest = <-c.data:
		case <-c.ended:
			if errors.Is(c.over, io.EOF) {
				return 0, io.EOF
			}
			return 0, c.fault("read", c.over)
		case <-c.closed:
			return 0, c.fault("read", net.ErrClosed)
		case <-c.reading.over():
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		}
	}
	n := copy(b, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil
	}
	return n, nil
}

func (c *streamConn) Write(b []byte) (int, error) {
	c.writer.Lock()
	defer c.writer.Unlock()
	written := 0
	for len(b) > 0 {
		piece := b[:min(len(b), segmentSize)]
		if err := c.writable(); err != nil {
			return written, c.fault("write", err)
		}
		stop := c.writing.whenOver(c.abort)
		err := c.stream.Send(&peerpb.Segment{Data: piece})
		stop()
		if err != nil {
			c.failed = c.cause(err)
			return written, c.fault("write", c.failed)
		}
		written += len(piece)
		b = b[len(piece):]
	}
	return written, nil
}

// writable says why nothing can be written any more. c.writer is held.
func (c *streamConn) writable() error {
	if c.failed != nil {
		return c.failed
	}
	if c.shut {
		return syscall.EPIPE
	}
	select {
	case <-c.writing.over():
		return os.ErrDeadlineExceeded
	default:
	}
	select {
	case <-c.closed:
	case <-c.deaf:
	default:
		return nil
	}
	return c.cause(io.EOF)
}

// cause finds out why a Send failed, which gRPC tells the receiver only.
func (c *streamConn) cause(err error) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	case <-c.writing.over():
		return os.ErrDeadlineExceeded
	default:
	}
	select {
	case <-c.ended:
		if !errors.Is(c.over, io.EOF) {
			return c.over
		}
	default:
	}
	if errors.Is(err, io.EOF) {
		return syscall.EPIPE
	}
	return err
}

// CloseWrite says that nothing more will be written; reading goes on.
func (c *streamConn) CloseWrite() error {
	c.writer.Lock()
	defer c.writer.Unlock()
	if err := c.writable(); err != nil {
		return c.fault("close", err)
	}
	c.shut = true
	if err := c.stream.Send(&peerpb.Segment{End: true}); err != nil {
		return c.fault("close", c.cause(err))
	}
	return nil
}

// Close ends both directions. What was written is delivered if the other end
// reads it within 10 s; a write under way is cut off.
func (c *streamConn) Close() error {
	c.once.Do(func() {
		free := c.writer.TryLock()
		if !free {
			c.abort()
		}
		close(c.closed)
		if !free {
			return
		}
		if c.finish == nil { // the handler sees closed, and returns: gRPC sends what is written, then the end
			c.writer.Unlock()
			return
		}
		started := c.node.start(func() {
			defer c.abort()
			timer := time.AfterFunc(lingering, c.abort)
			defer timer.Stop()
			err := c.stream.Send(&peerpb.Segment{End: true, Closed: true})
			c.writer.Unlock()
			if err == nil {
				c.finish()
				<-c.gone
			}
		})
		if !started {
			c.writer.Unlock()
			c.abort()
		}
	})
	return nil
}

func (c *streamConn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: ALPN, Addr: c.RemoteAddr(), Err: err}
}

func (c *streamConn) Peer() Peer           { return c.peer }
func (c *streamConn) LocalAddr() net.Addr  { return streamAddr(c.name) }
func (c *streamConn) RemoteAddr() net.Addr { return streamAddr(c.name + " of " + c.peer.String()) }

func (c *streamConn) SetDeadline(t time.Time) error {
	c.reading.set(t)
	c.writing.set(t)
	return nil
}

func (c *streamConn) SetReadDeadline(t time.Time) error  { c.reading.set(t); return nil }
func (c *streamConn) SetWriteDeadline(t time.Time) error { c.writing.set(t); return nil }

// streamAddr names an end of a stream for people.
type streamAddr string

func (streamAddr) Network() string  { return ALPN }
func (a streamAddr) String() string { return string(a) }

// deadline is a time that can be moved, and a channel that is closed once it
// has come.
type deadline struct {
	mu sync.Mutex
	// guarded by mu
	timer *time.Timer
	moved int           // how often it was
	done  chan struct{} // nil: nobody asked and it has not come
	came  bool
	cut   func() // is called when it comes
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.came {
		d.came, d.done = false, nil
	}
	if t.IsZero() {
		return
	}
	moved := d.moved
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.moved == moved {
				d.come()
			}
		})
		return
	}
	d.come()
}

// come closes the channel. d.mu is held.
func (d *deadline) come() {
	if d.done == nil {
		d.done = make(chan struct{})
	}
	close(d.done)
	d.came = true
	if d.cut != nil {
		d.cut()
	}
}

func (d *deadline) over() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}

// whenOver calls f, which must not block, if the deadline comes before stop is
// called.
func (d *deadline) whenOver(f func()) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = f
	if d.came {
		f()
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cut = nil
	}
}
