package executables

import (
	"testing"

	"aloft/value"
)

// What executables write to descriptor 3: whatever it is, outputs have names
// that descriptions can write, and values that can be sent.
func FuzzResults(f *testing.F) {
	for _, s := range []string{"", "a=b\nc=d=e\r\n", `{"a":1,"b":{"$long":7},"c":[true,null]}`, "a", "=", `{"a b":1}`, "{", `{"a":{"$cd":"data","attrs":[]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, written []byte) {
		out, err := results(written)
		if err != nil {
			return
		}
		for a := range out.All() {
			if !outputName.MatchString(a.Name) {
				t.Errorf("an output is called %q", a.Name)
			}
			if _, err := value.Encode(a.Value); err != nil {
				t.Errorf("%s: %v", a.Name, err)
			}
		}
	})
}
