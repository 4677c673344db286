package lsp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/jsonrpc2"
	"go.lsp.dev/protocol"
)

// action is what a command does: it runs the program itself.
type action struct {
	args  func(file string) []string
	doing string
	// ask is the question before it acts, with the file's name to be put in;
	// "" for none.
	ask, yes string
	reads    bool // it reads the description
}

var actions = map[string]action{
	"aloft.plan": {
		args: func(file string) []string { return []string{"plan", file} }, doing: "Planning %s", reads: true,
	},
	"aloft.deploy": {
		args: func(file string) []string { return []string{"up", "-y", file} }, doing: "Deploying %s",
		ask: "Deploy %s?", yes: "Deploy", reads: true,
	},
	"aloft.terminate": {
		args: func(file string) []string { return []string{"down", "-y", system(file)} }, doing: "Terminating %s",
		ask: "Terminate %s?", yes: "Terminate",
	},
}

var commandNames = []string{"aloft.plan", "aloft.deploy", "aloft.terminate"}

// system returns the name of the system that file describes.
func system(file string) string { return strings.TrimSuffix(filepath.Base(file), ".sf") }

// flags returns what makes the program read a description as the editor does.
func flags(o workspace.Options) (list []string) {
	for _, dir := range o.Include {
		list = append(list, "-I", dir)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Properties)) {
		list = append(list, "-D", name+"="+o.Properties[name])
	}
	for _, name := range slices.Sorted(maps.Keys(o.Environment)) {
		list = append(list, "-E", name+"="+o.Environment[name])
	}
	return list
}

// exitChanges is the status of plan when something would be done.
const exitChanges = 2

// execute carries out a command. It may take long, so that it takes no slot of
// other requests; it ends when it is cancelled or the server ends.
func (s *server) execute(ctx context.Context, o workspace.Options, params json.RawMessage) (any, error) {
	p, err := decode[struct {
		Command   string            `json:"command"`
		Arguments []json.RawMessage `json:"arguments"`
	}](params)
	if err != nil {
		return nil, err
	}
	act, known := actions[p.Command]
	var file string
	if len(p.Arguments) > 0 {
		var u protocol.DocumentURI
		if json.Unmarshal(p.Arguments[0], &u) == nil {
			file = s.nameOf(u)
		}
	}
	switch {
	case !known:
		return nil, jsonrpc2.NewError(jsonrpc2.InvalidParams, "unknown command "+p.Command)
	case !filepath.IsAbs(file):
		return nil, jsonrpc2.NewError(jsonrpc2.InvalidParams, p.Command+" needs the URI of a file; save the text first")
	case s.Self == "":
		return nil, errors.New("the program that would do this is not known")
	}
	if act.ask != "" {
		sure, err := s.ask(ctx, fmt.Sprintf(act.ask, system(file)), act.yes)
		if err != nil || !sure {
			return nil, err
		}
	}
	return s.run(ctx, o, act, file)
}

// ask puts a question to the user.
func (s *server) ask(ctx context.Context, question, yes string) (bool, error) {
	var chosen *protocol.MessageActionItem
	err := s.call(ctx, "window/showMessageRequest", protocol.ShowMessageRequestParams{
		Type: protocol.MessageTypeInfo, Message: question, Actions: []protocol.MessageActionItem{{Title: yes}, {Title: "Cancel"}},
	}, &chosen)
	return chosen != nil && chosen.Title == yes, err
}

// outcome is how a command ended.
type outcome struct {
	Status int    `json:"status"`
	Output string `json:"output"`
}

// grace is how long a program that was told to end may take.
const grace = 10 * time.Second

// run starts the program, tells what it says while it runs, and how it ended.
func (s *server) run(ctx context.Context, reading workspace.Options, act action, file string) (any, error) {
	args := slices.Concat(s.Flags, act.args(file))
	if act.reads {
		args = append(args, flags(reading)...)
	}
	cmd := exec.CommandContext(ctx, s.Self, args...)
	cmd.Dir = filepath.Dir(file)
	if len(reading.Folders) > 0 {
		cmd.Dir = reading.Folders[0] // includes are looked for there too
	}
	// As Ctrl-C does: a deployment goes on without its follower.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = grace
	read, write := io.Pipe()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = write, write
	title := fmt.Sprintf(act.doing, system(file))
	progress := s.begun(ctx, title)
	var lines sync.WaitGroup
	lines.Go(func() {
		scan := bufio.NewScanner(io.TeeReader(read, &out))
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			s.say("window/logMessage", protocol.MessageTypeLog, scan.Text())
			progress.report(scan.Text())
		}
		read.CloseWithError(scan.Err()) // a line that is too long must not hold up the program
	})
	err := cmd.Run()
	write.Close()
	lines.Wait()
	progress.end()
	if cmd.ProcessState == nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	o := outcome{Status: cmd.ProcessState.ExitCode(), Output: out.String()}
	text := strings.TrimSpace(o.Output)
	isPlan := act.ask == ""
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case o.Status == 0 && isPlan, o.Status == exitChanges && isPlan:
		s.say("window/showMessage", protocol.MessageTypeInfo, text)
	case o.Status == 0:
		s.say("window/showMessage", protocol.MessageTypeInfo, title+": done")
	default:
		s.say("window/showMessage", protocol.MessageTypeError, fmt.Sprintf("%s: failed\n%s", title, tail(text, 10)))
	}
	return o, nil
}

// tail returns the last n lines of a text.
func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (s *server) say(method string, kind protocol.MessageType, text string) {
	if err := s.notify(method, protocol.ShowMessageParams{Type: kind, Message: text}); err != nil {
		s.Log.Debug("message not sent", "error", err)
	}
}

// progress shows that something goes on, to clients that can show it.
type progress struct {
	s     *server
	token string
}

// begun begins to show that something goes on.
func (s *server) begun(ctx context.Context, title string) *progress {
	if !s.client.progress {
		return &progress{}
	}
	s.mu.Lock()
	s.progresses++
	p := &progress{s, fmt.Sprintf("aloft-%d", s.progresses)}
	s.mu.Unlock()
	if err := s.call(ctx, "window/workDoneProgress/create", map[string]string{"token": p.token}, nil); err != nil {
		return &progress{} // it does not want to
	}
	p.send(protocol.WorkDoneProgressBegin{Kind: protocol.WorkDoneProgressKindBegin, Title: title})
	return p
}

func (p *progress) report(text string) {
	p.send(protocol.WorkDoneProgressReport{Kind: protocol.WorkDoneProgressKindReport, Message: text})
}

func (p *progress) end() {
	p.send(protocol.WorkDoneProgressEnd{Kind: protocol.WorkDoneProgressKindEnd})
}

func (p *progress) send(value any) {
	if p.s == nil {
		return
	}
	if err := p.s.notify("$/progress", map[string]any{"token": p.token, "value": value}); err != nil {
		p.s.Log.Debug("progress not sent", "error", err)
	}
}
