package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ask returns what puts a question on standard error and reads a line of
// standard input, until ctx ends. The read itself cannot be interrupted and
// is left behind then; the process ends soon after.
func (a *app) ask(ctx context.Context) func(prompt string) (string, error) {
	in := bufio.NewReader(a.Stdin)
	return func(prompt string) (string, error) {
		fmt.Fprint(a.Stderr, prompt)
		type line struct {
			text string
			err  error
		}
		read := make(chan line, 1)
		go func() {
			text, err := in.ReadString('\n')
			read <- line{text, err}
		}()
		select {
		case <-ctx.Done():
			fmt.Fprintln(a.Stderr)
			return "", errInterrupted
		case l := <-read:
			if l.err != nil && !(errors.Is(l.err, io.EOF) && l.text != "") {
				fmt.Fprintln(a.Stderr)
				return "", fmt.Errorf("read the answer: %w", l.err)
			}
			return strings.TrimRight(l.text, "\r\n"), nil
		}
	}
}

// confirm asks for a yes, unless yes was given as an option. Without a
// terminal to ask on it is an error of the command called name.
func (a *app) confirm(ctx context.Context, name, question string, yes bool) error {
	if yes {
		return nil
	}
	if !terminal(a.Stdin) {
		return fail("add -y to go on without asking", "%s has to ask, and standard input is not a terminal", name)
	}
	text, err := a.ask(ctx)(question + " [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(a.Stderr, "aloft: nothing was done")
	return exitStatus(exitError)
}
