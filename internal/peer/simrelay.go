package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// offer is a connection by relays that one end has begun: what TLS and the hello
// would carry. The other end finds it by the number that comes out of the relay.
type offer struct {
	dialler *Node
	by      way
	conn    *streamConn
	made    chan *session // takes one without waiting
}

// meet makes a session over a connection that relays carry. What is said in it
// takes the roads of all of them, and it breaks with any of theirs.
func (h *Host) meet(ctx context.Context, n *Node, conn *streamConn, by way) (*session, error) {
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	var s *session
	var err error
	if by.dialled != "" {
		s, err = h.net.propose(n, conn, by)
	} else {
		s, err = h.net.take(n, conn, by)
	}
	if err != nil {
		conn.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return s, nil
}

func (w *Network) propose(n *Node, conn *streamConn, by way) (*session, error) {
	o := &offer{dialler: n, by: by, conn: conn, made: make(chan *session, 1)}
	w.mu.Lock()
	w.offered++
	number := w.offered
	w.offers[number] = o
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.offers, number)
	}()
	if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, number)); err != nil {
		return nil, err
	}
	var done [1]byte
	_, err := io.ReadFull(conn, done[:])
	select {
	case s := <-o.made:
		return s, nil // even if its connection lost against another and closed by now
	default:
		return nil, err
	}
}

func (w *Network) take(n *Node, conn *streamConn, by way) (*session, error) {
	var number [8]byte
	if _, err := io.ReadFull(conn, number[:]); err != nil {
		return nil, err
	}
	w.mu.Lock()
	o := w.offers[binary.BigEndian.Uint64(number[:])]
	w.mu.Unlock()
	if o == nil {
		return nil, errors.New("the other end has given up")
	}
	there := append(route{}, o.by.over.wire.(*simEnd).route...)
	there = append(there, by.over.wire.(*simEnd).route.back()...)
	s, near, err := w.join(o.dialler, n, there, o.by)
	if err != nil {
		return nil, err
	}
	o.made <- s
	near.carriedBy(o.conn)
	near.other.carriedBy(conn)
	_, err = conn.Write([]byte{0})
	return nil, err
}

// carriedBy binds an end to what carries it: they end together.
func (e *simEnd) carriedBy(conn *streamConn) {
	started := e.link.node.start(func() {
		select {
		case <-conn.gone:
			e.cut()
		case <-e.ctx.Done():
		}
		conn.Close()
	})
	if !started {
		conn.Close()
	}
}
