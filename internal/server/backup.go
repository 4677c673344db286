package server

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// backup registers the operation that answers with a backup. It is not huma's:
// that would hold all of it in memory.
func (s *Server) backup(mux guarded) {
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "backup", Method: http.MethodGet, Path: "/v1/backup",
		Summary: "A backup: what a home is restored from. It has the cluster's keys in it.",
		Responses: map[string]*huma.Response{"200": {
			Description: "the backup; its last bytes are a digest of all before",
			Content: map[string]*huma.MediaType{
				"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
			},
		}},
	})
	mux.HandleFunc("GET /v1/backup", func(w http.ResponseWriter, r *http.Request) {
		out := &download{w: w, until: http.NewResponseController(w)}
		if err := s.cfg.Service.Backup(r.Context(), out); err != nil {
			if !out.begun {
				s.fail(w, err)
				return
			}
			s.cfg.Log.Warn("backup", "error", err)
			panic(http.ErrAbortHandler) // the caller is to see that it was cut
		}
	})
}

// download is a long answer. Its caller may take as long as it likes, but not
// stand still.
type download struct {
	w     http.ResponseWriter
	until *http.ResponseController
	begun bool
}

func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.w.Header().Set("Content-Type", "application/octet-stream")
		d.w.Header().Set("Cache-Control", "no-store")
	}
	if err := d.until.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return 0, err
	}
	return d.w.Write(p)
}
