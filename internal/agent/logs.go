package agent

import (
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/internal/host"
	"aloft/internal/observe"
	"aloft/value"
)

// Logs streams what components have written, and with follow what they write.
func (a *Agent) Logs(r *peerpb.LogsRequest, stream grpc.ServerStreamingServer[peerpb.LogLine]) error {
	t := a.tenant(r.System)
	if t == nil {
		return status.Errorf(codes.NotFound, "no part of system %s is here", r.System)
	}
	files := t.logFiles(value.Path(r.Path))
	past := observe.Past{Lines: int(r.Tail)}
	if r.Since != nil {
		past.Since = r.Since.AsTime()
	}
	send := func(l observe.Line) error {
		return stream.Send(&peerpb.LogLine{Path: l.Path.String(), Text: l.Text, Time: timestamppb.New(l.Time)})
	}
	if !r.Follow {
		return observe.Tail(files, past, send)
	}
	return observe.Follow(stream.Context(), files, past, send, func() error {
		return stream.Send(&peerpb.LogLine{Live: true})
	})
}

// logFiles returns where the components at and below path write.
func (t *tenant) logFiles(path value.Path) []observe.LogFile {
	var files []observe.LogFile
	for _, c := range t.subtree(path) {
		t.mu.Lock()
		dir, attrs := t.workDir(c.path), c.attrs
		t.mu.Unlock()
		file := filepath.Join(dir, host.OutputFile)
		if v, ok := attrs.Get("logFile"); ok {
			if name, ok := v.(value.String); ok && name != "" {
				tree := host.Tree{Folder: t.agent.cfg.Machine(t.current().GetMachine()).Folder, WorkDir: dir}
				if at, err := tree.Path(string(name)); err == nil {
					file = at
				}
			}
		}
		files = append(files, observe.LogFile{Path: c.path, File: file, Times: filepath.Join(dir, host.TimesFile)})
	}
	return files
}
