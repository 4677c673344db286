package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"aloft/internal/host"
)

// unitWords are how systemd says that a unit is enabled (systemctl is-enabled),
// first those of consequence here.
var unitWords = []string{
	isEnabled, isEnabledRuntime, isAlias, isIndirect,
	"disabled", "static", "linked", "linked-runtime", "generated", "transient", "masked", "masked-runtime",
}

const (
	isEnabled        = "enabled"
	isEnabledRuntime = "enabled-runtime" // until the machine boots again
	isAlias          = "alias"
	isIndirect       = "indirect" // whether what it names with Also= is enabled or not
)

// unitFolders are where systemctl keeps links, and for how long.
var unitFolders = map[string]string{"": "/etc/systemd/system", "--runtime": "/run/systemd/system"}

// word is how a unit is enabled; empty if systemd knows none of that name.
func (systemd) word(ctx context.Context, unit string) (string, error) {
	out, err := host.Output(ctx, "systemctl", "is-enabled", "--", unit)
	// The word is the last line: of init scripts it says first whom it asks.
	if lines := strings.Fields(out); len(lines) > 0 && slices.Contains(unitWords, lines[len(lines)-1]) {
		return lines[len(lines)-1], nil
	}
	if strings.Contains(out, "No such file") || strings.Contains(out, "not-found") {
		return "", nil
	}
	return "", err
}

// levels has no levels, as systemd knows by itself what a unit is enabled for,
// but UNIT=WORD of the unit and of all that is enabled and disabled with it.
func (s systemd) levels(ctx context.Context, name string) ([]string, error) {
	var found []string
	units := []string{name}
	for i := 0; i < len(units); i++ {
		word, err := s.word(ctx, units[i])
		if err != nil {
			return nil, err
		}
		if word == "" {
			continue
		}
		found = append(found, units[i]+"="+word)
		text, err := host.Output(ctx, "systemctl", "cat", "--", units[i])
		if err != nil {
			continue // what runs without a file has none that says so
		}
		for _, other := range also(text) {
			if !slices.Contains(units, other) {
				units = append(units, other)
			}
		}
	}
	return found, nil
}

// also are the units that the text of a unit names with Also=, without those
// that a template would have to fill in.
func also(text string) (units []string) {
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, list, ok := strings.Cut(line, "=")
		if section != "[Install]" || !ok || strings.TrimSpace(key) != "Also" {
			continue
		}
		for unit := range strings.FieldsSeq(list) {
			if checkName(unit) == nil {
				units = append(units, unit)
			}
		}
	}
	return units
}

func (s systemd) enable(ctx context.Context, name string, enabled bool, found []string) error {
	word, err := s.word(ctx, name)
	switch {
	case err != nil:
		return err
	case !enabled && word == isIndirect:
		return s.restore(ctx, name, found) // it is not enabled itself
	case !enabled:
		_, err := s.disable(ctx, name, word, false)
		return err
	case word == isEnabled || word == isAlias:
		return nil
	}
	// Of a unit without an [Install] section it says that there is nothing to
	// enable, and that is no failure: others start it.
	return unitFiles(ctx, "enable", "", name)
}

// disable has a unit that is enabled as word says not enabled any more, and
// returns how it is then. With runtime it may stay enabled until the next boot.
func (s systemd) disable(ctx context.Context, unit, word string, runtime bool) (string, error) {
	var err error
	if word == isEnabled || word == isAlias {
		if word, err = s.unlink(ctx, unit, ""); err != nil {
			return word, err
		}
	}
	if word == isEnabledRuntime && !runtime {
		return s.unlink(ctx, unit, "--runtime")
	}
	return word, nil
}

// unlink is systemctl disable, which also removes the link by which systemd
// knows a unit whose file is elsewhere: that stays.
func (s systemd) unlink(ctx context.Context, unit, option string) (string, error) {
	p, err := s.properties(ctx, unit, "Id")
	if err != nil {
		return "", err
	}
	file, folder := p["Id"], unitFolders[option]
	target, _ := os.Readlink(filepath.Join(folder, file)) // empty of what is no link
	if err := unitFiles(ctx, "disable", option, unit); err != nil {
		return "", err
	}
	word, err := s.word(ctx, unit)
	if err != nil || word != "" || filepath.Base(target) != file {
		return word, err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(folder, target)
	}
	if err := unitFiles(ctx, "link", option, target); err != nil {
		return "", err
	}
	return s.word(ctx, unit)
}

func unitFiles(ctx context.Context, verb, option, unit string) error {
	command := []string{"systemctl", verb, "--quiet"}
	if option != "" {
		command = append(command, option)
	}
	return host.Command(ctx, append(command, "--", unit)...)
}

func (s systemd) restore(ctx context.Context, _ string, found []string) error {
	var errs []error
	for _, f := range found { // the unit before what goes with it
		unit, want, _ := strings.Cut(f, "=")
		errs = append(errs, s.put(ctx, unit, want))
	}
	return errors.Join(errs...)
}

// put has a unit enabled as want says.
func (s systemd) put(ctx context.Context, unit, want string) error {
	word, err := s.word(ctx, unit)
	if err != nil || word == want || word == "" {
		return err
	}
	if want != isEnabled && want != isAlias {
		if word, err = s.disable(ctx, unit, word, want == isEnabledRuntime); err != nil || word == want {
			return err
		}
	}
	switch want {
	case isEnabled, isAlias:
		return unitFiles(ctx, "enable", "", unit)
	case isEnabledRuntime:
		return unitFiles(ctx, "enable", "--runtime", unit)
	}
	return nil
}
