package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/protobuf/proto"

	"aloft/internal/journal/journalpb"
)

const (
	// settled is how long the log grows before its rows go into the file of
	// rows: long enough that this costs little for each of them, and short enough
	// that what is kept in memory until then is little too.
	settled = 1 << 20
	// grown is by how much the log's file is made longer at a time. What lies
	// within it is written without a change of the file system's own books, which
	// would cost a flush of its own.
	grown = 256 << 10
)

// A frame is what one flush puts onto the disk: mark, the length of what
// follows, the revision of its first save, a checksum, and a journalpb.Batch.
const frameHead = 4 + 4 + 8 + 4

var (
	frameMark  = []byte{0xa1, 'W', 'A', 'L'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// ahead is the log of what the file of rows does not hold yet, in a file beside
// it: one write and one flush for each batch. Once its rows are in the other
// file it begins anew in its own place, so that what lies behind its end is
// older than what is before it.
//
// Its methods must not be called concurrently.
type ahead struct {
	file *os.File
	id   []byte // of the journal; a log of another one holds nothing for it
	next uint64 // revision of the save that comes next
	end  int64  // of the last frame
	size int64  // of the file
	// failed says that behind end there may be a frame whose writers were told
	// that it is not there. It is taken away before anything else is written.
	failed bool
}

// openAhead opens the log of the journal id, whose file of rows holds all saves
// up to revision base, or makes it. What is missing there is given to visit, in
// order. A frame that a crash has torn ends the log, and was told to nobody;
// one that is broken before others is ErrDamaged.
func openAhead(path string, id []byte, base uint64, visit func(first uint64, b *journalpb.Batch)) (*ahead, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	a := &ahead{file: file, id: id, next: base + 1}
	if err := a.replay(visit); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if a.size == 0 {
		if err := syncFolder(filepath.Dir(path)); err != nil {
			return nil, errors.Join(fmt.Errorf("make the journal: %w", err), file.Close())
		}
	}
	return a, nil
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (a *ahead) replay(visit func(first uint64, b *journalpb.Batch)) error {
	content, err := io.ReadAll(a.file)
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	a.size = int64(len(content))
	end := 0 // of the frames read
	for {
		f, ok := readFrame(content[end:], a.id)
		if !ok || f.first > a.next {
			break
		}
		end += f.length
		if f.first < a.next {
			continue // the file of rows has it
		}
		visit(f.first, f.batch)
		a.next += uint64(len(f.batch.GetSaves()))
		a.end = int64(end)
	}
	// A flush comes after those before it have ended: what was written later is
	// not whole where something before it is not.
	for rest := content[end:]; ; rest = rest[1:] {
		at := bytes.Index(rest, frameMark)
		if at < 0 {
			return nil
		}
		rest = rest[at:]
		if f, ok := readFrame(rest, a.id); ok && f.first >= a.next {
			return damaged(strings.TrimSuffix(a.file.Name(), aheadSuffix), fmt.Errorf("in its log %d is not whole, and %d is", a.next, f.first))
		}
	}
}

// append puts a batch onto the disk. After an error it is taken away again, now
// or, where the disk refuses that too, before the next.
func (a *ahead) append(b *journalpb.Batch) error {
	frame, err := writeFrame(a.id, a.next, b)
	if err != nil {
		return err
	}
	if err := a.takeBack(); err != nil {
		return err
	}
	if err := a.put(frame); err != nil {
		a.failed = true
		_ = a.takeBack()
		return err
	}
	a.end += int64(len(frame))
	a.size = max(a.size, a.end)
	a.next += uint64(len(b.GetSaves()))
	return nil
}

// takeBack makes what has failed to be written no frame, whatever of it is on the
// disk.
func (a *ahead) takeBack() error {
	if !a.failed {
		return nil
	}
	if _, err := a.file.WriteAt(make([]byte, len(frameMark)), a.end); err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(a.file.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", a.file.Name(), err)
	}
	a.failed = false
	return nil
}

func (a *ahead) put(frame []byte) error {
	if end := a.end + int64(len(frame)); end > a.size {
		size := max(end, a.size+grown)
		// Where the disk has no room for all of that it may have for the frame.
		if _, err := a.file.WriteAt(make([]byte, size-a.size), a.size); err == nil {
			a.size = size
		}
	}
	if _, err := a.file.WriteAt(frame, a.end); err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(a.file.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", a.file.Name(), err)
	}
	return nil
}

// full says that the rows of the log should go into the file of rows.
func (a *ahead) full() bool { return a.end >= settled }

// restart makes the log begin anew: all that is in it is in the file of rows.
func (a *ahead) restart() {
	a.end = 0
	if a.size > 2*settled && a.file.Truncate(settled) == nil {
		a.size = settled
	}
}

// frame is what was read of one.
type frame struct {
	first  uint64 // revision of the first save
	batch  *journalpb.Batch
	length int // bytes, with its head
}

// readFrame reads the frame that b begins with; ok is false when there is none
// of the journal id, or not a whole one.
func readFrame(b, id []byte) (f frame, ok bool) {
	if len(b) < frameHead || !bytes.HasPrefix(b, frameMark) {
		return frame{}, false
	}
	length := binary.LittleEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-frameHead) {
		return frame{}, false
	}
	f = frame{first: binary.LittleEndian.Uint64(b[8:]), batch: &journalpb.Batch{}, length: frameHead + int(length)}
	if frameSum(id, b[:f.length]) != binary.LittleEndian.Uint32(b[16:]) {
		return frame{}, false
	}
	err := proto.Unmarshal(b[frameHead:f.length], f.batch)
	return f, err == nil && len(f.batch.GetSaves()) > 0
}

func writeFrame(id []byte, first uint64, batch *journalpb.Batch) ([]byte, error) {
	head := append(make([]byte, 0, frameHead+proto.Size(batch)), frameMark...)
	head = head[:frameHead]
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(head, batch)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frameHead))
	binary.LittleEndian.PutUint64(b[8:], first)
	binary.LittleEndian.PutUint32(b[16:], frameSum(id, b))
	return b, nil
}

// frameSum is the checksum of a frame of the journal id: of all but the sum
// itself.
func frameSum(id, frame []byte) uint32 {
	sum := crc32.Update(crc32.Checksum(id, castagnoli), castagnoli, frame[:16])
	return crc32.Update(sum, castagnoli, frame[frameHead:])
}
