package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"

	"aloft/api"
)

// recorder holds an answer until it is whole.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// SetReadDeadline does nothing: the body has been read. Huma asks for it.
func (r *recorder) SetReadDeadline(time.Time) error { return nil }

// failure returns the error that the answer tells, nil if it tells success.
func (r *recorder) failure() error {
	if r.status < 400 {
		return nil
	}
	var p api.Problem
	if json.Unmarshal(r.body.Bytes(), &p) != nil || p.Type == "" {
		return &api.Error{Kind: api.KindInternal, Message: http.StatusText(r.status)}
	}
	return p.Err()
}

// plan returns the id of the plan that an answer tells has begun; "" if it tells
// of none.
func (r *recorder) plan() string {
	var d api.Deployment
	if r.status >= 400 || json.Unmarshal(r.body.Bytes(), &d) != nil {
		return ""
	}
	return d.Plan
}

// tag gives what was read an ETag, and takes away the content if r has it.
func (r *recorder) tag(req *http.Request) {
	if r.status != http.StatusOK || req.Method != http.MethodGet && req.Method != http.MethodHead {
		return
	}
	tag := tagOf(r.body.Bytes())
	r.header.Set("ETag", tag)
	if r.header.Get("Cache-Control") == "" {
		r.header.Set("Cache-Control", "no-cache") // keep it, and ask each time whether it is still so
	}
	if matches(req.Header.Values("If-None-Match"), tag, true) {
		r.status = http.StatusNotModified
		r.body.Reset()
		r.header.Del("Content-Type")
	}
}

// tagOf returns the strong ETag of a content.
func tagOf(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

// matches reports whether a list of ETags (RFC 9110, 13.1) names tag, or
// anything by "*". Weak ones count only if weak is set. What is no list of
// ETags names nothing.
func matches(lines []string, tag string, weak bool) bool {
	for _, line := range lines {
		if strings.TrimSpace(line) == "*" {
			return true
		}
		for rest := line; ; {
			rest = strings.TrimLeft(rest, ", \t")
			opaque, isWeak := strings.CutPrefix(rest, "W/")
			if !strings.HasPrefix(opaque, `"`) {
				break
			}
			end := strings.IndexByte(opaque[1:], '"')
			if end < 0 {
				break
			}
			if opaque[:end+2] == tag && (weak || !isWeak) {
				return true
			}
			rest = opaque[end+2:]
		}
	}
	return false
}

// sendTo sends the answer, in the time its receiver may take.
func (r *recorder) sendTo(w http.ResponseWriter) {
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Now().Add(answerTime)) // not on a test's recorder
	maps.Copy(w.Header(), r.header)
	r.WriteHeader(http.StatusOK)
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // the caller is gone if this fails
	_ = out.SetWriteDeadline(time.Time{})
}
