package client

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"aloft/api"
)

// daemon answers every request with the same body, or, once it is asked again,
// with the end of a stream.
type daemon struct {
	body  string
	asked int
}

func (d *daemon) RoundTrip(r *http.Request) (*http.Response, error) {
	body := d.body
	if d.asked++; d.asked > 1 {
		body = "event: end\ndata: {}\n\n"
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// FuzzAnswer: an answer that is none is an error that names the request, and
// one that was read is the same once written.
func FuzzAnswer(f *testing.F) {
	for _, v := range []any{api.Status{System: "shop", Components: []api.Component{{Path: "web"}}}, api.Status{}} {
		text, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(`null`)
	f.Add(`{"components":{}}`)
	f.Fuzz(func(t *testing.T, body string) {
		st, err := (&Client{http: &http.Client{Transport: &daemon{body: body}}}).Status(t.Context(), "shop")
		if err != nil {
			if !strings.Contains(err.Error(), "/v1/systems/shop") {
				t.Errorf("the error does not name the request: %v", err)
			}
			return
		}
		once, err := json.Marshal(st)
		if err != nil {
			return // a time that JSON cannot tell
		}
		again, err := (&Client{http: &http.Client{Transport: &daemon{body: string(once)}}}).Status(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}

// FuzzEvents: a stream gives events as long as they can be read, and at the
// most one error, the last thing it gives.
func FuzzEvents(f *testing.F) {
	text, err := json.Marshal(api.Event{Cursor: "4", Sequence: 4, Kind: api.EventComponent, System: "shop"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("data: " + string(text) + "\n\ndata: " + string(text) + "\n\nevent: end\ndata: {}\n\n")
	f.Add("data: " + string(text) + "\n\n") // cut: asked for again
	f.Add("data: {\n\n")
	f.Add("event: error\ndata: {\"type\":\"unavailable\"}\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		events, err := (&Client{http: &http.Client{Transport: &daemon{body: body}}}).Events(t.Context(), api.EventQuery{})
		if err != nil {
			t.Fatal(err)
		}
		failed, got := false, 0
		for _, err := range events {
			if failed {
				t.Error("something comes after an error")
			}
			if failed = err != nil; !failed {
				got++
			}
		}
		if got > strings.Count(body, "data") {
			t.Errorf("%d events in %q", got, body)
		}
	})
}

// FuzzReceive: what comes back of a command is its output and a status, or an
// error.
func FuzzReceive(f *testing.F) {
	frames := func(last api.FrameType, content []byte) []byte {
		var b bytes.Buffer
		for _, one := range []struct {
			t       api.FrameType
			content []byte
		}{{api.FrameStdout, []byte("a")}, {api.FrameStderr, []byte("b")}, {last, content}} {
			if err := api.WriteFrame(&b, one.t, one.content); err != nil {
				f.Fatal(err)
			}
		}
		return b.Bytes()
	}
	f.Add(frames(api.FrameExit, binary.BigEndian.AppendUint32(nil, 3)))
	f.Add(frames(api.FrameExit, []byte{1}))
	f.Add(frames(api.FrameProblem, []byte(`{"type":"unavailable","detail":"gone"}`)))
	f.Add(frames(api.FrameProblem, []byte(`{}`)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		var out, errs bytes.Buffer
		status, err := receive(t.Context(), bytes.NewReader(sent), api.ExecStreams{Stdout: &out, Stderr: &errs})
		if out.Len()+errs.Len() > len(sent) {
			t.Errorf("%d bytes of output in %d", out.Len()+errs.Len(), len(sent))
		}
		if err != nil && status != 0 {
			t.Errorf("status %d, %v", status, err)
		}
		if err == nil && !bytes.Contains(sent, append([]byte{byte(api.FrameExit), 0, 0, 0, 4}, binary.BigEndian.AppendUint32(nil, uint32(status))...)) {
			t.Errorf("status %d, which nobody sent in %q", status, sent)
		}
	})
}
