// Package executables manages components whose class is a folder of
// executables, one for each operation (sfClass "script:DIR"), which a
// description brings along. It starts no goroutine.
package executables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"aloft/component"
	"aloft/internal/host"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// Manager manages the components of all such classes.
type Manager struct{}

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes what all such classes have in common; what one of them is,
// catalog.ScriptClass tells.
func (Manager) Class() component.Class {
	return component.Class{Name: catalog.ScriptsPrefix, Site: component.SiteMachine, OpenAttributes: true, OpenOutputs: true, Reconfigures: true}
}

// The operations: the names of the executables.
const (
	deploy      = "deploy"
	start       = "start"
	reconfigure = "reconfigure"
	terminate   = "terminate"
	ping        = "ping"
)

const (
	// folderName is where the folder of executables stands in the work folder.
	folderName = "executables"
	// deployedFile says that deploy has been run, and so has to be undone.
	deployedFile = "deployed.json"
	// startedFile says that start has succeeded.
	startedFile = "started.json"

	// again is the exit status of an executable that wants to be run again.
	again = 75
	// soonest and latest are how long it is waited before that.
	soonest, latest = time.Second, 30 * time.Second
	// reserve is left of an operation's time for ending one that hangs.
	reserve = 4 * time.Second
	// unlimited is the time of an operation that nothing limits.
	unlimited = 10 * time.Minute
)

// stage is one that has passed.
type stage struct {
	Class string `json:"class"`
}

// own are the executables of one component.
type own struct {
	class  component.Class
	attrs  *value.Component // without the executables
	folder host.Folder
}

// read returns the executables that attributes bring along.
func read(c *component.Call, attrs *value.Component) (own, error) {
	name, _ := attrs.Get("sfClass")
	text, _ := name.(value.String)
	o := own{class: catalog.ScriptClass(string(text), attrs), attrs: value.NewComponent(attrs.Data)}
	o.folder = host.Folder{Path: filepath.Join(c.WorkDir, folderName), WorkDir: c.WorkDir, Owned: host.Owned{Mode: 0o755}}
	if problems := o.class.Check(attrs, component.Target{}); len(problems) > 0 {
		return o, errors.New(problems[0].Message)
	}
	for a := range attrs.All() {
		if a.Name != catalog.ScriptsAttr {
			o.attrs.Set(a)
		}
	}
	if o.class.Schema != nil {
		for _, name := range o.class.Schema.Names() {
			if v := o.class.Schema.Default(name); v != nil {
				if _, given := o.attrs.Get(name); !given {
					o.attrs.Set(value.Attr{Name: name, Value: v})
				}
			}
		}
	}
	v, _ := attrs.Get(catalog.ScriptsAttr)
	shipped, _ := v.(*value.Component)
	files, _ := shipped.Get("files")
	list, _ := files.(value.Vector)
	for _, e := range list {
		one, _ := e.(*value.Component)
		s, err := host.ReadShipped(one)
		if err != nil {
			return o, err
		}
		o.folder.Files = append(o.folder.Files, s)
	}
	return o, nil
}

// run runs the executable of an operation, if there is one, and reports
// whether there is.
func (o own) run(ctx context.Context, c *component.Call, operation string) (bool, error) {
	file := filepath.Join(o.folder.Path, operation)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	env, stdin, err := o.input(c, operation)
	if err != nil {
		return true, err
	}
	for _, name := range []string{attributesFile, oldFile} { // there may be secrets in them
		defer host.RemoveFile(filepath.Join(c.WorkDir, name))
	}
	end, limited := ctx.Deadline()
	if !limited {
		end = time.Now().Add(unlimited)
	}
	env["ALOFT_DEADLINE"] = strconv.FormatInt(end.Unix(), 10)
	for pause := soonest; ; pause = min(2*pause, latest) {
		left := time.Until(end)
		task := host.Task{Name: operation, Command: []string{file}, Dir: c.WorkDir, Env: env, Stdin: stdin, Errors: true, Timeout: max(left-reserve, left/2)}
		results, err := task.Run(ctx, c.WorkDir)
		if err == nil {
			return true, o.output(c.Env, operation, results)
		}
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok || failed.ExitCode() != again || operation == ping || time.Until(end) < pause+reserve {
			return true, err
		}
		c.Env.Progress(0, fmt.Sprintf("%s is tried again in %s: %v", operation, pause, err))
		if err := host.Sleep(ctx, pause); err != nil {
			return true, err
		}
	}
}

// Deploy puts the executables on the machine and runs deploy.
func (Manager) Deploy(ctx context.Context, c *component.Call) error {
	o, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if err := o.folder.Put(ctx, c.Env); err != nil {
		return err
	}
	if err := host.WriteRecord(c.WorkDir, deployedFile, stage{o.class.Name}); err != nil {
		return err
	}
	_, err = o.run(ctx, c, deploy)
	return err
}

// Start runs start, unless ping says that it was.
func (Manager) Start(ctx context.Context, c *component.Call) error {
	o, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if err := o.folder.Put(ctx, c.Env); err != nil {
		return err
	}
	var was stage
	if found, err := host.ReadRecord(c.WorkDir, startedFile, &was); err != nil {
		return err
	} else if found {
		if asked, err := o.run(ctx, c, ping); asked && err == nil {
			return nil
		}
	}
	if _, err := o.run(ctx, c, start); err != nil {
		return err
	}
	return host.WriteRecord(c.WorkDir, startedFile, stage{o.class.Name})
}

// Reconfigure runs reconfigure, of the new executables. Where it fails, the
// old ones run it with the old attributes.
func (Manager) Reconfigure(ctx context.Context, c *component.Call) error {
	err := reconfigureTo(ctx, c, c.Attrs)
	if err == nil {
		return nil
	}
	back := *c
	back.Attrs, back.Old = c.Old, c.Attrs
	if undo := reconfigureTo(context.WithoutCancel(ctx), &back, c.Old); undo != nil {
		return errors.Join(err, fmt.Errorf("and back: %w", undo))
	}
	return err
}

func reconfigureTo(ctx context.Context, c *component.Call, attrs *value.Component) error {
	o, err := read(c, attrs)
	if err != nil {
		return err
	}
	if err := o.folder.Put(ctx, c.Env); err != nil {
		return err
	}
	_, err = o.run(ctx, c, reconfigure)
	return err
}

// Terminate runs terminate, ends what the executables left running, and removes
// them.
func (Manager) Terminate(ctx context.Context, c *component.Call) error {
	var was stage
	began, err := host.ReadRecord(c.WorkDir, deployedFile, &was)
	if err != nil {
		return err
	}
	if began {
		o, err := read(c, c.Attrs)
		if err != nil {
			return err
		}
		if err := o.folder.Put(ctx, c.Env); err != nil {
			return err
		}
		if _, err := o.run(ctx, c, terminate); err != nil {
			return err
		}
	}
	if err := host.EndTasks(ctx, c.WorkDir); err != nil {
		return err
	}
	if err := host.RemoveFolder(c.WorkDir, true); err != nil {
		return err
	}
	for _, name := range []string{startedFile, deployedFile} {
		if err := host.RemoveFile(filepath.Join(c.WorkDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// Ping runs ping.
func (Manager) Ping(ctx context.Context, c *component.Call) error {
	o, err := read(c, c.Attrs)
	if err != nil {
		return err
	}
	if err := o.folder.Check(); err != nil {
		return fmt.Errorf("its executables: %w", err)
	}
	_, err = o.run(ctx, c, ping)
	return err
}

// variable returns the name of the environment variable for an attribute:
// letters in capitals, digits, and _ for all else.
func variable(name string) string {
	return "ALOFT_A_" + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z' || '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, name)
}
