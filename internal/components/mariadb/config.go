package mariadb

import (
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"aloft/component"
	"aloft/value"
)

// option is a line of the server's configuration.
type option struct{ name, value string }

// standard are what a server runs with that its description does not speak of.
// The log of changes is what replicas follow; it is on the disk when a change is
// acknowledged, and keeps a week.
var standard = []option{
	{"character-set-server", "utf8mb4"},
	{"skip-name-resolve", "ON"}, // who logs in has an address; asking for names takes long where nobody knows them
	{"log-bin", "binlog"},
	{"log-slave-updates", "ON"},
	{"binlog-format", "ROW"},
	{"sync-binlog", "1"},
	{"binlog-expire-logs-seconds", "604800"},
	{"gtid-strict-mode", "ON"},
	// Of a replica: it looks for a primary that is away until that is back, and
	// fetches again what it had not applied when it was killed.
	{"relay-log", "relay"},
	{"relay-log-recovery", "ON"},
	{"slave-net-timeout", "20"},
	{"master-retry-count", "0"},
	{"tmpdir", "/tmp"},
}

// ours are the options that attributes other than settings decide, or that a
// supervised server needs as they are.
var ours = []string{
	"datadir", "socket", "port", "bind-address", "pid-file", "server-id", "user", "basedir", "read-only", "log-error",
	"skip-networking", "skip-grant-tables", "bootstrap", "help", "print-defaults", "defaults-file", "defaults-extra-file", "no-defaults",
}

// settingName is an option as the configuration file and SET GLOBAL name it.
var settingName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// modifiers may stand before the name of an option.
var modifiers = []string{"loose-", "skip-", "disable-", "enable-", "maximum-"}

// checkSetting refuses names that are no option, and options that are not for
// settings to say. The server takes abbreviations, so these are refused as well.
func checkSetting(name string) error {
	if !settingName.MatchString(name) {
		return fmt.Errorf("%.80q is not the name of a setting", name)
	}
	bare := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	candidates := []string{bare}
	for _, m := range modifiers {
		if rest, ok := strings.CutPrefix(bare, m); ok {
			candidates = append(candidates, rest)
		}
	}
	for _, own := range ours {
		for _, c := range candidates {
			if strings.HasPrefix(own, c) {
				return fmt.Errorf("setting %s: it is not for settings to say", name)
			}
		}
	}
	return nil
}

// readSettings reads the attribute settings, in the order of names.
func readSettings(c *value.Component) ([]option, error) {
	var found []option
	for a := range c.All() {
		if err := checkSetting(a.Name); err != nil {
			return nil, err
		}
		o := option{name: strings.ToLower(strings.ReplaceAll(a.Name, "_", "-"))}
		if b, ok := a.Value.(value.Bool); ok {
			o.value = map[bool]string{true: "ON", false: "OFF"}[bool(b)]
		} else {
			text, err := component.Text(a.Value)
			if err != nil {
				return nil, fmt.Errorf("setting %s: %w", a.Name, err)
			}
			o.value = text
		}
		if strings.ContainsFunc(o.value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("setting %s: %.80q has characters that a setting cannot have", a.Name, o.value)
		}
		found = append(found, o)
	}
	slices.SortFunc(found, func(a, b option) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// said are the options that a description may say. What events of a primary do
// comes from there: a replica does not do it once more.
func (s settings) said() []option {
	all := slices.Concat(standard, s.settings)
	if s.follows {
		all = append(all, option{"event-scheduler", "OFF"})
	}
	return all
}

// options are all lines of the configuration, in the order in which later ones
// prevail.
func (s settings) options() []option {
	all := append(s.said(),
		option{"datadir", s.dataDir},
		option{"socket", s.socket},
		option{"pid-file", strings.TrimSuffix(s.socket, ".sock") + ".pid"},
		option{"port", strconv.Itoa(s.port)},
		option{"bind-address", strings.Join(s.bind, ",")},
		option{"server-id", strconv.FormatUint(uint64(s.id), 10)},
	)
	if s.follows {
		all = append(all, option{"read-only", "ON"})
	}
	return all
}

// serverID returns the n-th number that a server may have among those that
// replicate each other, from 0; the first that no other has is its own.
func serverID(name string, n int) uint32 {
	if n > 0 {
		name += fmt.Sprint(" ", n)
	}
	return max(1, crc32.ChecksumIEEE([]byte(name)))
}

// file is the configuration as the server reads it.
func (s settings) file() string {
	var b strings.Builder
	b.WriteString("# Written by aloft. It is written again when the component is started or changed.\n[mariadbd]\n")
	for _, o := range s.options() {
		b.WriteString(o.name + "=" + quoted(o.value) + "\n")
	}
	return b.String()
}

// quoted writes a value so that the reader of configuration files finds what it
// was, whatever it holds; lines end it, so there are none in it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
