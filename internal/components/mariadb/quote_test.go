package mariadb

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"aloft/internal/host"
	"aloft/value"
)

// unliteral reads a string of SQL as a server does, and what follows it.
func unliteral(t *testing.T, s string) (text, rest string) {
	t.Helper()
	if s == "" || s[0] != '\'' {
		t.Fatalf("%q begins no literal", s)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			if s[i] == '0' {
				b.WriteByte(0)
			} else {
				b.WriteByte(s[i])
			}
		case s[i] == '\'' && i+1 < len(s) && s[i+1] == '\'':
			i++
			b.WriteByte('\'')
		case s[i] == '\'':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	t.Fatalf("%q does not end", s)
	return "", ""
}

// FuzzLiteral: what is written as a literal is one, and is what it was.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"", `\`, `'`, `\'`, `'; DROP DATABASE x; -- `, "a\x00b", `\\'`, "\xbf'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if text, rest := unliteral(t, literal(s)); text != s || rest != "" {
			t.Errorf("%q is read as %q, then %q", s, text, rest)
		}
	})
}

// FuzzName: a name is one name, whatever it holds.
func FuzzName(f *testing.F) {
	f.Add("a`b")
	f.Fuzz(func(t *testing.T, s string) {
		q := name(s)
		inner := q[1 : len(q)-1]
		if strings.ReplaceAll(inner, "``", "`") != s || strings.Count(inner, "`")%2 != 0 || strings.Contains(strings.ReplaceAll(inner, "``", ""), "`") {
			t.Errorf("%q is written as %s", s, q)
		}
	})
}

// FuzzSetting: a setting is one line with one value, and none of those that are
// not for settings to say.
func FuzzSetting(f *testing.F) {
	f.Add("max_connections", "300")
	f.Add("skip_networking", "a\nb")
	f.Add("loose-data", `"`)
	f.Fuzz(func(t *testing.T, setting, text string) {
		found, err := readSettings(value.NewComponent(true, value.Attr{Name: setting, Value: value.String(text)}))
		if err != nil {
			return
		}
		s := settings{name: "aloft-x", dataDir: "/d", socket: "/s.sock", bind: []string{"::"}, port: 1}
		lines := strings.Count(s.file(), "\n")
		s.settings = found
		if got := strings.Count(s.file(), "\n"); got != lines+1 {
			t.Errorf("%q %q makes %d lines", setting, text, got-lines)
		}
		for _, own := range ours {
			if found[0].name == own {
				t.Errorf("%s may be set", own)
			}
		}
	})
}

// FuzzDataRecord: what lies in a data folder, which others may write, is read as
// a stage that there is, or refused.
func FuzzDataRecord(f *testing.F) {
	f.Add([]byte(`{"stage":"fresh"}`))
	f.Add([]byte(`{"stage":"replica","primary":"10.0.0.1:3306"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, dataFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := readStage(dir)
		if err != nil {
			return
		}
		if err := host.WriteRecord(dir, dataFile, r); err != nil {
			t.Fatal(err)
		}
		if again, err := readStage(dir); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}

// FuzzMadeRecord: a damaged record deletes nothing.
func FuzzMadeRecord(f *testing.F) {
	f.Add([]byte(`{"folder":""}`))
	f.Add([]byte(`{"folder":"x"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Contains(string(b), "/") || strings.Contains(string(b), `\`) {
			return // it could name a folder of this machine
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, madeFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = removeData(dir, false)
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	})
}

func TestSettingThatIsNotForSettingsToSayIsRefused(t *testing.T) {
	for _, name := range []string{"datadir", "DataDir", "data", "skip_networking", "skip-network", "loose-skip-grant-tables", "pid_file", "so", "bind-address", "a b", "", "x\ny", "-x", "!include"} {
		if err := checkSetting(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	for _, name := range []string{"max_connections", "innodb-buffer-pool-size", "log_bin", "skip-name-resolve", "read_rnd_buffer_size"} {
		if err := checkSetting(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOperandOfASetting(t *testing.T) {
	for _, c := range []struct{ kind, text, want string }{
		{"BIGINT UNSIGNED", "64M", "67108864"},
		{"INT UNSIGNED", "300", "300"},
		{"BIGINT", "-1", "-1"},
		{"BIGINT", "9000000000000000000E", "'9000000000000000000E'"},
		{"DOUBLE", "0.5", "0.5"},
		{"BOOLEAN", "ON", "'ON'"},
		{"BOOLEAN", "1", "1"},
		{"VARCHAR", "64M", "'64M'"},
		{"VARCHAR", "1", "'1'"},
		{"ENUM", "x'; SHUTDOWN; --", "'x''; SHUTDOWN; --'"},
	} {
		if got := operand(c.kind, c.text); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.kind, c.text, got, c.want)
		}
	}
}

// The data of a later version are not touched, those of an earlier one are
// brought up to date.
func TestVersionsOfDataFolders(t *testing.T) {
	for _, c := range []struct {
		data    string
		upgrade bool
		refused string
	}{
		{"10.11.4-MariaDB", false, ""},
		{"10.5.23-MariaDB\n", true, ""},
		{"9.0.1-MariaDB", true, ""},
		{"11.4.2-MariaDB", false, "is of MariaDB 11.4, and the machine has 10.11, which cannot read it"},
		{"8.0.36", false, `says "8.0.36", which is no version of MariaDB`},
		{"", false, "is no version of MariaDB"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "mysql_upgrade_info"), []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := folderVersion(dir)
		upgrade := false
		if err == nil {
			upgrade, err = checkVersion(dir, v, version{10, 11})
		}
		if upgrade != c.upgrade || (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%q: upgrade %t, %v", c.data, upgrade, err)
		}
	}
	if _, err := folderVersion(t.TempDir()); err == nil {
		t.Error("a folder that says nothing is of a version")
	}
}

func TestHashOfAPassword(t *testing.T) {
	if got := hashed("password"); got != "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19" {
		t.Errorf("%s", got)
	}
}
