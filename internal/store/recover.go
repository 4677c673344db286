package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// Recover makes the member in cfg.Dir, which must be closed, the only one of its
// store: for when the majority is lost for ever. It keeps all that this member
// knows, also what it does not know the others to have agreed upon: they may
// have. Those that come back in spite of all are told that they were removed,
// but two of three that come back together do not ask: keep them from it.
//
// Then open it with cfg. It can be repeated.
func Recover(ctx context.Context, cfg Config) error {
	s := &Store{cfg: cfg}
	s.cfg.Join = nil
	err := s.recover(ctx)
	if s.dir != nil {
		_ = s.dir.Close()
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if err != nil {
		return fmt.Errorf("recover the store in %s: %w", cfg.Dir, err)
	}
	return nil
}

func (s *Store) recover(ctx context.Context) (err error) {
	if s.lock, err = lock(filepath.Join(s.cfg.Dir, "lock")); err != nil {
		return err
	}
	if s.socket, err = s.listens(s.cfg.Dir); err != nil {
		return err
	}
	setSegment()
	if err := room(s.cfg.Dir); err != nil {
		return err
	}
	c := s.etcdConfig()
	if !wal.Exist(filepath.Join(c.Dir, "member", "wal")) {
		return errors.New("there is no store")
	}
	if err := agree(filepath.Join(c.Dir, "member", "wal")); err != nil {
		return err
	}
	c.ForceNewCluster = true
	m, err := startMember(ctx, c, s.cfg.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	select {
	case <-m.etcd.Server.ReadyNotify():
		return m.readdress(ctx, s.peerURL())
	case <-m.gone:
		return m.why()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// agree marks everything in a member's log as agreed upon. What the others
// acknowledged a moment ago this member has, without knowing that; etcd would
// drop it.
func agree(dir string) error {
	log := zap.NewNop()
	marks, err := wal.ValidSnapshotEntries(log, dir)
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	mark := &walpb.Snapshot{}
	if len(marks) > 0 {
		mark = marks[len(marks)-1]
	}
	w, state, entries, err := readLog(log, dir, mark)
	if errors.Is(err, io.ErrUnexpectedEOF) && wal.Repair(log, dir) { // the last write was torn
		w, state, entries, err = readLog(log, dir, mark)
	}
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	defer w.Close()
	if len(entries) == 0 {
		return nil
	}
	if last := entries[len(entries)-1].GetIndex(); state.GetCommit() < last {
		state.Commit = &last
		if err := w.Save(state, nil); err != nil {
			return fmt.Errorf("write the log: %w", err)
		}
	}
	return nil
}

func readLog(log *zap.Logger, dir string, from *walpb.Snapshot) (*wal.WAL, *raftpb.HardState, []*raftpb.Entry, error) {
	w, err := wal.Open(log, dir, from)
	if err != nil {
		return nil, nil, nil, err
	}
	_, state, entries, err := w.ReadAll()
	if err != nil {
		return nil, nil, nil, errors.Join(err, w.Close())
	}
	return w, state, entries, nil
}
