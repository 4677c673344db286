package daemon

import (
	"slices"
	"testing"

	"aloft/internal/member"
)

func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		`{"roles":["manage","host"],"listen":"192.0.2.1:7400","name":"a"}`,
		`{"roles":["host"],"join":{"address":"192.0.2.1:7400","token":"aloft1.x.y","enrolled":true}}`,
		`{"roles":["host"],"joined":"00","removed":true}`,
		`{"roles":["host","host"]}`, `{"roles":[]}`, `{"roles":["host"],"unknown":1}`, `[]`, `{`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := decodeSettings(text)
		if err != nil {
			return
		}
		if len(s.Roles) == 0 || len(member.Sorted(s.Roles)) != len(s.Roles) {
			t.Fatalf("roles %q were taken", s.Roles)
		}
		home := t.TempDir()
		if err := s.write(home); err != nil {
			t.Fatal(err)
		}
		again, err := readSettings(home)
		if err != nil || !slices.Equal(again.Roles, s.Roles) || again.Name != s.Name || again.Listen != s.Listen || (again.Join == nil) != (s.Join == nil) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}
