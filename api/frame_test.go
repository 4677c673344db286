package api

import (
	"bytes"
	"io"
	"testing"
)

func TestFramesComeBackAsWritten(t *testing.T) {
	var buf bytes.Buffer
	for _, content := range []string{"", "a", string(make([]byte, MaxFrame))} {
		if err := WriteFrame(&buf, FrameStdout, []byte(content)); err != nil {
			t.Fatal(err)
		}
		typ, got, err := ReadFrame(&buf)
		if err != nil || typ != FrameStdout || string(got) != content {
			t.Fatalf("%d bytes came back as type %d, %d bytes, %v", len(content), typ, len(got), err)
		}
	}
	if err := WriteFrame(io.Discard, FrameStdin, make([]byte, MaxFrame+1)); err == nil {
		t.Error("a frame over the limit was written")
	}
}

func TestCutFrameIsNoCleanEnd(t *testing.T) {
	var buf bytes.Buffer
	_ = WriteFrame(&buf, FrameStderr, []byte("abc"))
	for n := range buf.Len() {
		_, _, err := ReadFrame(bytes.NewReader(buf.Bytes()[:n]))
		if want := n == 0; (err == io.EOF) != want || err == nil {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// FuzzReadFrame: what can be read writes back to the bytes it was read from.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{byte(FrameExit), 0, 0, 0, 4, 0, 0, 0, 1})
	f.Add([]byte{byte(FrameStdinEOF), 0, 0, 0, 0})
	f.Add([]byte{9, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		typ, content, err := ReadFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteFrame(&out, typ, content); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(data, out.Bytes()) {
			t.Fatalf("% x came back as % x", data, out.Bytes())
		}
	})
}
