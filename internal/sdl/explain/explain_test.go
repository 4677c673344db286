package explain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"aloft/internal/sdl/explain"
	"aloft/internal/sdl/resolve"
)

const description = `Base extends { size 1; disk extends { speed 10; } }
Mid extends Base { size 2; }
sfConfig extends {
  a extends Mid { size 3; }
  b extends Mid;
  b:disk:speed 20;
  c b:disk:speed;
  d (1 + (2 * a:size));
  e LAZY b:ip;
  f g;
  g f;
  h d;
  i nothing:x;
  j b:disk;
  #include "more.sf"
}
`

func TestReasonsOfValues(t *testing.T) {
	files := fstest.MapFS{"site.sf": {Data: []byte(description)}, "more.sf": {Data: []byte("more extends Mid;\n")}}
	in, err := resolve.Inspect(t.Context(), resolve.Source{Folder: resolve.Folder{FS: files}, Name: "site.sf"}, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a:size":       "4:19 given here; 2:20 instead of what Mid has; 1:16 instead of what Base has",
		"b:size":       "2:20 given here (5:13 inherited: sfConfig:b extends Mid); 1:16 instead of what Base has",
		"b:disk:speed": "6:3 put there by the path name b:disk:speed (1:39 instead of this)",
		"a:disk:speed": "1:39 given here (4:13 inherited: sfConfig:a extends Mid, which holds disk:speed 2:13 inherited: Mid extends Base, which holds disk:speed)",
		"c":            "7:3 given here; 7:5 read from b:disk:speed (6:3 put there by the path name b:disk:speed (1:39 instead of this))",
		"d":            "8:3 given here; 8:5 computed: + (8:10 computed: * (8:15 read from a:size (4:19 given here 2:20 instead of what Mid has 1:16 instead of what Base has)))",
		"e":            "9:3 given here; 9:5 known only when it runs: LAZY b:ip",
		"i":            "13:3 given here; 13:5 read from nothing:x, which is not found",
		"j":            "14:3 given here; 14:5 read from b:disk (1:24 given here (5:13 inherited: sfConfig:b extends Mid 2:13 inherited: Mid extends Base))",
		"j:speed":      "14:5 sfConfig:j is a link to b:disk; 6:3 put there by the path name b:disk:speed (1:39 instead of this)",
		"more:size":    "2:20 given here (more.sf:1:14 inherited: sfConfig:more extends Mid); 1:16 instead of what Base has",
	} {
		reasons, err := explain.Attribute(in, append([]string{"sfConfig"}, strings.Split(path, ":")...))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := strings.Join(texts(reasons), "; "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", path, got, want)
		}
	}
}

func TestCircleOfLinksEnds(t *testing.T) {
	files := fstest.MapFS{"site.sf": {Data: []byte(description)}}
	in, err := resolve.Inspect(t.Context(), resolve.Source{Folder: resolve.Folder{FS: files}, Name: "site.sf"}, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if reasons, err := explain.Attribute(in, []string{"sfConfig", "f"}); err != nil || len(reasons) == 0 {
		t.Errorf("got %v, %v", reasons, err)
	}
}

func TestWhatIsNotThereHasNearestNames(t *testing.T) {
	files := fstest.MapFS{"site.sf": {Data: []byte(description)}}
	in, err := resolve.Inspect(t.Context(), resolve.Source{Folder: resolve.Folder{FS: files}, Name: "site.sf"}, resolve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = explain.Attribute(in, []string{"sfConfig", "a", "szie"})
	missing, ok := errors.AsType[*explain.NotFoundError](err)
	if !ok || missing.In != "sfConfig:a" || len(missing.Nearest) != 1 || missing.Nearest[0] != "size" {
		t.Errorf("got %+v", err)
	}
}

func texts(reasons []explain.Reason) (all []string) {
	for _, r := range reasons {
		at := fmt.Sprintf("%d:%d", r.At.Line, r.At.Col)
		if r.At.File != "site.sf" {
			at = r.At.File + ":" + at
		}
		text := at + " " + r.What
		if len(r.Because) > 0 {
			text += " (" + strings.Join(texts(r.Because), " ") + ")"
		}
		all = append(all, text)
	}
	return all
}
