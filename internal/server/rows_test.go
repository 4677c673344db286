package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"aloft/api"
	"aloft/internal/store"
)

// FuzzAnswered: the row of an answer gives that answer, or an error that names
// the row; nobody waits for one that is there.
func FuzzAnswered(f *testing.F) {
	for _, row := range []answered{
		{Request: "r", Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte("{}")},
		{Request: "other"},
		{Request: "r", Status: 201, Large: true},
	} {
		text, err := json.Marshal(row)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`null`))
	f.Add([]byte(`{"status":"200"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var want answered
		bad := json.Unmarshal(text, &want)
		if bad == nil && want.Status == 0 && want.Request == "r" {
			return // a change that is being made: it is waited for
		}
		s := &Server{cfg: Config{Rows: store.NewMemory()}}
		if _, err := s.cfg.Rows.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "change/k", Value: text}}}); err != nil {
			t.Fatal(err)
		}
		held, old, err := s.claim(t.Context(), "change/k", answered{Request: "r"})
		switch {
		case held != nil:
			t.Error("a row that is there was claimed")
		case bad != nil && (err == nil || !strings.Contains(err.Error(), "change/k")):
			t.Errorf("%v, although it cannot be read: %v", err, bad)
		case bad == nil && (err != nil || old.Status != want.Status || old.Request != want.Request || !bytes.Equal(old.Body, want.Body)):
			t.Errorf("%+v became %+v, %v", want, old, err)
		}
	})
}

// FuzzInput: whatever a caller of exec sends, its input reaches the command in
// order, ends once, and the newest size is the one that counts.
func FuzzInput(f *testing.F) {
	var b bytes.Buffer
	for _, frame := range []struct {
		t       api.FrameType
		content string
	}{{api.FrameStdin, "ab"}, {api.FrameResize, `{"columns":80,"rows":24}`}, {api.FrameStdin, "c"}, {api.FrameStdinEOF, ""}, {api.FrameStdin, "late"}} {
		if err := api.WriteFrame(&b, frame.t, []byte(frame.content)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.Bytes())
	f.Add([]byte{byte(api.FrameResize), 0, 0, 0, 1, '{'})
	f.Add([]byte{byte(api.FrameStdin), 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, sent []byte) {
		chunks, resize := make(chan []byte, len(sent)+1), make(chan api.WindowSize, 1)
		input(t.Context(), bufio.NewReader(bytes.NewReader(sent)), chunks, resize)
		var got []byte
		for c := range chunks { // closed, or this never ends
			got = append(got, c...)
		}
		var want []byte
		open := true
		for in := bytes.NewReader(sent); open; {
			kind, content, err := api.ReadFrame(in)
			switch {
			case err != nil, kind != api.FrameStdin && kind != api.FrameResize:
				open = false
			case kind == api.FrameResize:
				open = json.Unmarshal(content, new(api.WindowSize)) == nil
			default:
				want = append(want, content...)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("the command reads %q, want %q", got, want)
		}
	})
}
