package host

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aloft/component"
)

// Task is a program that runs to its end within one operation of a component.
// What it leaves running goes on, until EndTasks; what one that was cut off
// left is ended before the next begins.
type Task struct {
	Name    string   // for people: "startScript"
	Command []string // program and arguments; no shell
	Dir     string
	Env     map[string]string
	Stdin   []byte
	From    string // in place of Stdin: a file to read from
	Timeout time.Duration
	// Errors keeps only what is written to standard error as output.
	Errors bool
}

const (
	taskFile    = "task.json"
	resultsFile = "task.results"
	taskMark    = "ALOFT_TASK"
	maxResults  = 1 << 20

	// taskGrace is the time to end for one that was told to. Managers promise
	// five seconds in all.
	taskGrace = 3 * time.Second
)

// taskRecord tells of a task that has begun, until it has ended.
type taskRecord struct {
	Mark string `json:"mark"`
}

// Run runs the task for the component of folder, with its output in OutputFile,
// and returns what it wrote to descriptor 3.
func (t Task) Run(ctx context.Context, folder string) ([]byte, error) {
	if err := endCutOff(ctx, folder); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	spec := Spec{Command: t.Command, Dir: t.Dir, Env: t.Env}
	spec.complete(folder)
	l, err := spec.program(t.Command)
	if err != nil {
		return nil, err
	}
	if err := rotate(folder, spec.Output, rotateAt); err != nil {
		return nil, err
	}
	out, err := openOutput(spec.Output, l.user)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	since, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	results, err := os.OpenFile(filepath.Join(folder, resultsFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, explain(err)
	}
	defer results.Close()

	mark := taskMark + "=" + rand.Text()
	if err := WriteRecord(folder, taskFile, taskRecord{Mark: mark}); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, l.path)
	cmd.Args, cmd.Dir, cmd.Env = t.Command, spec.Dir, append(l.env, familyOf(folder).mark, mark)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = nil, out, out, []*os.File{results}
	if t.Errors {
		cmd.Stdout = nil
	}
	if t.Stdin != nil {
		cmd.Stdin = strings.NewReader(string(t.Stdin))
	}
	if t.From != "" {
		from, err := os.Open(t.From)
		if err != nil {
			return nil, err
		}
		defer from.Close()
		cmd.Stdin = from
	}
	cmd.SysProcAttr, cmd.WaitDelay = l.attr(), taskGrace
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) } // it leads a session, so a group
	err = cmd.Run()
	if st, serr := out.Stat(); serr == nil && st.Size() > since {
		_ = stampOutput(folder, st) // without it its lines have the time of the last one
	}
	if limited.Err() != nil {
		if kerr := endCutOff(context.WithoutCancel(ctx), folder); kerr != nil {
			return nil, kerr
		}
	} else if rerr := RemoveFile(filepath.Join(folder, taskFile)); rerr != nil {
		return nil, rerr
	}
	if err != nil {
		return nil, t.failure(ctx, limited, err, tail(spec.Output, since))
	}
	return readResults(results)
}

func (t Task) failure(ctx, limited context.Context, err error, output []string) error {
	remedy := ""
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("%s was cut off: %w", t.Name, ctx.Err())
	case limited.Err() != nil:
		err, remedy = fmt.Errorf("%s did not end within %s", t.Name, t.Timeout), "give it longer with timeout, or have it end"
	case len(output) > 0:
		err = fmt.Errorf("%s: %w: %s", t.Name, err, strings.TrimSpace(output[len(output)-1]))
	default:
		err = fmt.Errorf("%s: %w, and said nothing", t.Name, err)
	}
	return &component.Failure{Err: err, Output: output, Remedy: remedy}
}

func readResults(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxResults+1))
	if err == nil && len(b) > maxResults {
		err = fmt.Errorf("more than %d bytes were written to descriptor 3", maxResults)
	}
	return b, err
}

// endCutOff ends what is left of a task that has not ended.
func endCutOff(ctx context.Context, folder string) error {
	var rec taskRecord
	found, err := ReadRecord(folder, taskFile, &rec)
	if !found {
		return err
	}
	path := filepath.Join(folder, taskFile)
	if rec.Mark != "" && !strings.HasPrefix(rec.Mark, taskMark+"=") {
		return fmt.Errorf("record %s: %q marks no program of ours", path, rec.Mark)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if err := (family{mark: rec.Mark}).kill(ctx); err != nil {
		return err
	}
	return RemoveFile(path)
}

// EndTasks ends all that tasks of folder have left running.
func EndTasks(ctx context.Context, folder string) error {
	if err := endCutOff(ctx, folder); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	return familyOf(folder).kill(ctx)
}
