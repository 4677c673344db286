// Package backup writes and reads the file that a home is restored from: named
// parts, one after the other, with a digest at the end. What the parts are is
// its caller's to know.
//
// The form is the line "aloft backup 1"; then each part: the length of its name
// and the name, then pieces, each its length and bytes, and a zero; after the
// last part a zero in place of a name; and the SHA-256 of all before. Lengths
// are unsigned varints.
package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

const (
	family  = "aloft backup "
	magic   = family + "1\n"
	maxName = 32 << 10
	piece   = 64 << 10
)

// ErrDamaged says that a file is not what a Writer wrote.
var ErrDamaged = errors.New("the backup is damaged or cut short")

// ErrForeign says that a file is no backup, or one of a newer version.
var ErrForeign = errors.New("this is no backup of aloft")

// Writer writes a backup. The first error stays, and Close returns it.
type Writer struct {
	out *bufio.Writer
	sum hash.Hash
	to  io.Writer
	err error
}

// NewWriter begins a backup on w.
func NewWriter(w io.Writer) *Writer {
	sum := sha256.New()
	b := &Writer{out: bufio.NewWriterSize(io.MultiWriter(w, sum), piece), sum: sum, to: w}
	_, b.err = b.out.WriteString(magic)
	return b
}

// Part writes a part: all that fill gives to its writer.
func (b *Writer) Part(name string, fill func(w io.Writer) error) error {
	switch {
	case b.err != nil:
	case name == "" || len(name) > maxName:
		b.err = fmt.Errorf("name of a part with %d bytes: from 1 to %d", len(name), maxName)
	default:
		b.lengthAnd([]byte(name))
		in := bufio.NewWriterSize(pieces{b}, piece)
		if err := fill(in); err != nil && b.err == nil {
			b.err = fmt.Errorf("%s: %w", name, err)
		}
		if err := in.Flush(); err != nil && b.err == nil {
			b.err = err
		}
		b.lengthAnd(nil)
	}
	return b.err
}

// lengthAnd writes content after its length.
func (b *Writer) lengthAnd(content []byte) {
	if b.err != nil {
		return
	}
	if _, b.err = b.out.Write(binary.AppendUvarint(nil, uint64(len(content)))); b.err == nil {
		_, b.err = b.out.Write(content)
	}
}

// pieces writes a part's content.
type pieces struct{ b *Writer }

func (p pieces) Write(content []byte) (int, error) {
	for rest := content; len(rest) > 0 && p.b.err == nil; {
		n := min(len(rest), piece)
		p.b.lengthAnd(rest[:n])
		rest = rest[n:]
	}
	if p.b.err != nil {
		return 0, p.b.err
	}
	return len(content), nil
}

// Close writes the end. It does not close the writer below.
func (b *Writer) Close() error {
	b.lengthAnd(nil)
	if b.err == nil {
		b.err = b.out.Flush()
	}
	if b.err == nil {
		_, b.err = b.to.Write(b.sum.Sum(nil))
	}
	return b.err
}

// Read gives each part of a backup to part, in the order in which they were
// written. What part does not read is skipped. That the backup was whole is
// known only when Read has returned nil: it is ErrDamaged otherwise, or
// ErrForeign, or what part or r returned.
func Read(r io.Reader, part func(name string, content io.Reader) error) error {
	in := &reader{in: bufio.NewReaderSize(r, piece), sum: sha256.New()}
	head := make([]byte, len(magic))
	switch _, err := io.ReadFull(in, head); {
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return err
	case err != nil && strings.HasPrefix(magic, strings.TrimRight(string(head), "\x00")) && head[0] != 0:
		return ErrDamaged
	case !strings.HasPrefix(string(head), family):
		return ErrForeign
	case string(head) != magic:
		return fmt.Errorf("%w: its form is a newer one; take a newer aloft", ErrForeign)
	}
	for {
		n, err := in.length(maxName)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		name := make([]byte, n)
		if _, err := io.ReadFull(in, name); err != nil {
			return cut(err)
		}
		content := &content{in: in}
		if err := part(string(name), content); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
	}
	want := in.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, got); err != nil {
		return cut(err)
	}
	if !bytes.Equal(got, want) {
		return ErrDamaged
	}
	switch _, err := in.in.ReadByte(); {
	case err == nil:
		return ErrDamaged // something follows
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// cut makes the end of a file in the midst of something what it means.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDamaged
	}
	return err
}

// reader hashes what is read.
type reader struct {
	in  *bufio.Reader
	sum hash.Hash
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.sum.Write(p[:n])
	return n, err
}

// ReadByte implements io.ByteReader.
func (r *reader) ReadByte() (byte, error) {
	c, err := r.in.ReadByte()
	if err == nil {
		r.sum.Write([]byte{c})
	}
	return c, err
}

// length reads a length, at most limit.
func (r *reader) length(limit uint64) (uint64, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		if cut(err) == ErrDamaged {
			return 0, ErrDamaged
		}
		return 0, fmt.Errorf("%w (%w)", ErrDamaged, err) // too large a number
	}
	if n > limit {
		return 0, ErrDamaged
	}
	return n, nil
}

// content is one part.
type content struct {
	in   *reader
	left uint64 // of the piece
	over bool
}

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 && !c.over {
		n, err := c.in.length(piece)
		if err != nil {
			return 0, err
		}
		c.left, c.over = n, n == 0
	}
	if c.over {
		return 0, io.EOF
	}
	n, err := c.in.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	return n, cut(err)
}
