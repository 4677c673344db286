package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A backup is the rows at one revision, not the member's files: it has no
// history, so nothing that was deleted, and no rows bound to leases, whose
// holders are not in it. It is magic; for each row the lengths of key and value
// as varints, then both; a zero; and the SHA-256 of all before.
const magic = "aloft rows 1\n"

// ErrDamaged says that a backup is not what Backup wrote.
var ErrDamaged = errors.New("the backup is damaged or cut short")

// Backup writes the rows of r to w, and returns their number and revision. A
// Store's Local is a reader for when there is no majority.
func Backup(ctx context.Context, r Reader, w io.Writer) (rows int, revision int64, err error) {
	entries, revision, err := r.List(ctx, "")
	if err != nil {
		return 0, 0, err
	}
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	write := func(parts ...[]byte) {
		for _, p := range parts {
			_, _ = out.Write(p) // the error stays, and Flush returns it
		}
	}
	write([]byte(magic))
	for _, e := range entries {
		if e.Lease != 0 {
			continue
		}
		rows++
		lengths := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(e.Key))), uint64(len(e.Value)))
		write(lengths, []byte(e.Key), e.Value)
	}
	write([]byte{0})
	if err := out.Flush(); err != nil {
		return 0, 0, fmt.Errorf("write the backup of the rows: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return 0, 0, fmt.Errorf("write the backup of the rows: %w", err)
	}
	return rows, revision, nil
}

// ReadBackup gives each row of a backup to row, in the order of their keys. That
// it was whole is known only when ReadBackup has returned nil.
func ReadBackup(r io.Reader, row func(key string, value []byte) error) error {
	sum := sha256.New()
	in := bufio.NewReader(r)
	read := func(n uint64) ([]byte, error) {
		b := make([]byte, n)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, ErrDamaged
		}
		sum.Write(b)
		return b, nil
	}
	length := func(most uint64) (uint64, error) {
		n, err := binary.ReadUvarint(in)
		if err != nil || n > most {
			return 0, ErrDamaged
		}
		sum.Write(binary.AppendUvarint(nil, n))
		return n, nil
	}
	if b, err := read(uint64(len(magic))); err != nil || string(b) != magic {
		return ErrDamaged
	}
	for last := ""; ; {
		n, err := length(maxKey)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		size, err := length(MaxRow)
		if err != nil {
			return err
		}
		key, err := read(n)
		if err != nil {
			return err
		}
		value, err := read(size)
		if err != nil {
			return err
		}
		if string(key) <= last {
			return ErrDamaged
		}
		last = string(key)
		if err := row(last, value); err != nil {
			return err
		}
	}
	want := sum.Sum(nil)
	if got, err := read(sha256.Size); err != nil || !bytes.Equal(got, want) {
		return ErrDamaged
	}
	return nil
}

// Restore founds a lone store in cfg.Dir, which must not hold one, with the rows
// of a backup, and closes it: all of them, or there is no store. Revisions begin
// anew: what was handed out of them before must be told apart by other means.
func Restore(ctx context.Context, cfg Config, backup io.Reader) (rows int, err error) {
	if _, err := os.Stat(filepath.Join(cfg.Dir, "etcd")); !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("restore the rows: %s holds a store already: take another folder", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return 0, fmt.Errorf("restore the rows: %w", err)
	}
	// What an interrupted restore left is in the way of nobody but the next.
	half := filepath.Join(cfg.Dir, "restoring")
	if err := os.RemoveAll(half); err != nil {
		return 0, fmt.Errorf("restore the rows: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(half)) }()
	into := cfg
	into.Dir, into.Peer, into.Join = half, nil, nil
	if rows, err = fill(ctx, into, backup); err != nil {
		return 0, fmt.Errorf("restore the rows: %w", err)
	}
	if err := os.Rename(filepath.Join(half, "etcd"), filepath.Join(cfg.Dir, "etcd")); err != nil {
		return 0, fmt.Errorf("restore the rows: %w", err)
	}
	return rows, nil
}

// fill founds a store and puts the rows of a backup into it.
func fill(ctx context.Context, cfg Config, backup io.Reader) (rows int, err error) {
	s, err := Open(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var t Txn
	size := 0
	commit := func() error {
		if len(t.Put) == 0 {
			return nil
		}
		_, err := s.Commit(ctx, t)
		t, size = Txn{}, 0
		return err
	}
	err = ReadBackup(backup, func(key string, value []byte) error {
		if len(t.Put) == MaxTxnOp || size+len(key)+len(value) > MaxTxn {
			if err := commit(); err != nil {
				return err
			}
		}
		t.Put = append(t.Put, Put{Key: key, Value: value})
		size += len(key) + len(value)
		rows++
		return nil
	})
	if err != nil {
		return 0, err
	}
	return rows, commit()
}
