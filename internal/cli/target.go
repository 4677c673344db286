package cli

import (
	"context"
	"strings"
	"time"

	"aloft/value"

	"github.com/spf13/cobra"
)

// target is what a command is about: a system, and a place in it. An absent
// path is "", the top is "ROOT".
type target struct{ system, path string }

// parseTarget reads SYSTEM, SYSTEM PATH or SYSTEM:PATH; for a machine also
// SYSTEM/PATH.
func parseTarget(args []string) (target, error) {
	if len(args) == 0 {
		return target{}, nil
	}
	system, path, joined := strings.Cut(args[0], ":")
	if len(args) > 1 {
		if joined {
			return target{}, fail("write SYSTEM PATH or SYSTEM:PATH", "two paths: %s and %s", path, args[1])
		}
		path, joined = args[1], true
	}
	if system == "" {
		return target{}, fail("'aloft systems' lists them", "the name of a system is missing in %q", args[0])
	}
	if !joined {
		return target{system: system}, nil
	}
	p, err := value.ParsePath(path)
	if err != nil {
		return target{}, err
	}
	return target{system, p.String()}, nil
}

// contains reports whether the component at path, as the API prints it, is the
// target or below it.
func (t target) contains(path string) bool {
	if t.path == "" || t.path == "ROOT" {
		return true
	}
	return value.Path(t.path).Contains(value.Path(path))
}

// machine returns the name of the machine that args name: SYSTEM/PATH as
// machines are called, or the two other ways.
func machine(args []string) (string, error) {
	if len(args) == 1 && strings.Contains(args[0], "/") {
		return args[0], nil
	}
	t, err := parseTarget(args)
	if err != nil {
		return "", err
	}
	if t.path == "" || t.path == "ROOT" {
		return "", fail("write SYSTEM/PATH as 'aloft machines' prints it", "%s is a system, not a machine", t.system)
	}
	return t.system + "/" + t.path, nil
}

// completionPatience is how long a shell waits for names.
const completionPatience = 500 * time.Millisecond

// completeSystem offers the systems' names for the first argument.
func (a *app) completeSystem(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(c, args, func(ctx context.Context) (names []string) {
		if cl, err := a.connect(); err == nil {
			systems, _ := cl.Systems(ctx) // no daemon: nothing to offer
			for _, s := range systems {
				names = append(names, s.Name)
			}
		}
		return names
	})
}

// completeMachine offers the machines' names for the first argument.
func (a *app) completeMachine(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(c, args, func(ctx context.Context) (names []string) {
		if cl, err := a.connect(); err == nil {
			machines, _ := cl.Machines(ctx)
			for _, m := range machines {
				names = append(names, m.Name)
			}
		}
		return names
	})
}

func (a *app) complete(c *cobra.Command, args []string, names func(context.Context) []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx := c.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	return names(ctx), cobra.ShellCompDirectiveNoFileComp
}

// completeFile offers descriptions.
func completeFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"sf"}, cobra.ShellCompDirectiveFilterFileExt
}
