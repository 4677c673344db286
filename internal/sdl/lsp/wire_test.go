package lsp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.lsp.dev/protocol"

	"aloft/internal/sdl/lsp/workspace"
)

func framed(contents ...string) (text string) {
	for _, c := range contents {
		text += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(c), c)
	}
	return text
}

// FuzzMessage: whatever a client sends, reading comes to an end, and a message
// that was read is the same once sent on.
func FuzzMessage(f *testing.F) {
	f.Add(framed(`{"jsonrpc":"2.0","id":1,"method":"shutdown","params":{}}`, `{"jsonrpc":"2.0","id":"a","result":null}`))
	f.Add(framed(`{`, `{"id":null,"error":{"code":1,"message":"m"}}`))
	f.Add("Content-Length: 134217728\r\n\r\n{}")
	f.Add("noise\n\nContent-Length: -1\n\n")
	f.Fuzz(func(t *testing.T, sent string) {
		c := newConn(strings.NewReader(sent), io.Discard)
		for range len(sent) + 1 {
			m, err := c.read()
			if _, malformed := errors.AsType[errMalformed](err); malformed {
				continue
			}
			if err != nil {
				return
			}
			var b bytes.Buffer
			if err := newConn(nil, &b).send(m); err != nil {
				t.Fatal(err)
			}
			once := b.String()
			again, err := newConn(&b, nil).read()
			if err != nil {
				t.Fatalf("%q: %v", once, err)
			}
			var twice bytes.Buffer
			if err := newConn(nil, &twice).send(again); err != nil || twice.String() != once {
				t.Errorf("%q became %q, %v", once, twice.String(), err)
			}
		}
		t.Errorf("%d bytes are more than as many messages", len(sent))
	})
}

// FuzzOptions: what a client sets counts as far as it can be read, and folders
// are absolute.
func FuzzOptions(f *testing.F) {
	f.Add([]byte(`{"include":["/a"],"properties":{"b":"c"},"environment":{"D":"e"}}`), "/home/a", "file:///w")
	f.Add([]byte(`{"include":[5,"/a"],"properties":null}`), "a", "")
	f.Add([]byte(`[]`), "", "untitled:1")
	f.Fuzz(func(t *testing.T, text []byte, path, uri string) {
		s := &server{Config: Config{Log: slog.New(slog.DiscardHandler)}}
		p := initializeParams{RootPath: path, Options: text}
		p.RootURI = protocol.DocumentURI(uri)
		for _, folder := range s.options(p).Folders {
			if !filepath.IsAbs(folder) {
				t.Errorf("folder %q", folder)
			}
		}
	})
}

// FuzzCommand: nothing that a client asks for is run without a program, the
// name of a command, and a file's absolute path.
func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"command":"aloft.plan","arguments":["file:///a/b.sf"]}`))
	f.Add([]byte(`{"command":"aloft.plan","arguments":[5]}`))
	f.Add([]byte(`{"command":"aloft.deploy","arguments":["untitled:1"]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, params []byte) {
		s := &server{Config: Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)}}
		if done, err := s.execute(t.Context(), workspace.Options{}, params); err == nil || done != nil {
			t.Errorf("%v, %v", done, err)
		}
	})
}
