package api

import (
	"encoding/binary"
	"fmt"
	"io"
)

// ExecProtocol is the protocol that a connection is upgraded to for a command
// on a machine: after the 101 answer both sides send frames.
const ExecProtocol = "aloft-exec/1"

// FrameType says what a frame carries.
type FrameType byte

// The types of frames. Stdin, StdinEOF and Resize go to the machine, the
// others come from it; Exit or Problem is the last.
const (
	FrameStdin    FrameType = iota + 1 // bytes
	FrameStdinEOF                      // nothing
	FrameResize                        // a WindowSize in JSON
	FrameStdout                        // bytes
	FrameStderr                        // bytes
	FrameExit                          // the exit status, four bytes, big endian
	FrameProblem                       // a Problem in JSON
)

// MaxFrame is the largest content of a frame in bytes. A reader may refuse
// more; WriteFrame cuts byte streams so that they fit.
const MaxFrame = 64 << 10

const frameHeader = 5 // type, and length of the content in four bytes, big endian

// WriteFrame writes content as one frame, in a single Write. Content longer
// than MaxFrame is an error.
func WriteFrame(w io.Writer, t FrameType, content []byte) error {
	if len(content) > MaxFrame {
		return fmt.Errorf("frame of %d bytes, at most %d", len(content), MaxFrame)
	}
	buf := make([]byte, frameHeader, frameHeader+len(content))
	buf[0] = byte(t)
	binary.BigEndian.PutUint32(buf[1:], uint32(len(content)))
	_, err := w.Write(append(buf, content...))
	return err
}

// ReadFrame reads one frame. The error is io.EOF only at the end between two
// frames.
func ReadFrame(r io.Reader) (FrameType, []byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	t, n := FrameType(head[0]), binary.BigEndian.Uint32(head[1:])
	if t < FrameStdin || t > FrameProblem {
		return 0, nil, fmt.Errorf("frame of unknown type %d", t)
	}
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("frame of %d bytes, at most %d", n, MaxFrame)
	}
	content := make([]byte, n)
	if _, err := io.ReadFull(r, content); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return t, content, nil
}
