package lsp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"aloft/internal/sdl/lsp/answer"
	"aloft/internal/sdl/lsp/text"
	"aloft/internal/sdl/lsp/workspace"

	"go.lsp.dev/protocol"
)

// silent returns a server that nothing is sent to: its handlers are called.
func silent(knows func() *answer.Known) *server {
	now := func() time.Time { return time.Unix(0, 0) }
	return &server{
		Config: Config{Now: now, Log: slog.New(slog.DiscardHandler)}, slots: make(chan struct{}, 1),
		current: workspace.New(now), versions: map[string]int32{}, knows: knows,
	}
}

const typedOver = `#include "aloft/components.sf"
#include "part.sf"
// What all have.
App extends Base { url ("http://" ++ host); sub extends { deep 1; } }

sfConfig extends {
  // The first.
  one extends App { port 81; }  two extends App { other PARENT:one:port; }
  web extends Process { command [| "sleep", "1" |]; sfClass "Process"; }
  three extends Part, App { port (two:port + 1); x LAZY one:url; y
    IF (port > 3) THEN 1 ELSE 2 FI; /* last */ }
}
`

// TestCompletionsAreThoseOfAFreshLook types at random, and compares what is
// completed on the way with what a server says that sees the text for the first
// time: what is kept from one key to the next changes nothing.
func TestCompletionsAreThoseOfAFreshLook(t *testing.T) {
	dir := t.TempDir()
	part := filepath.Join(dir, "part.sf")
	write := func(content string) {
		if err := os.WriteFile(part, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("Base extends { port 80; host \"h\"; }\nPart extends { p 1; }\n")
	kept := silent(nil)
	kept.knows = sync.OnceValue(kept.makeKnown)
	name := filepath.Join(dir, "main.sf")
	complete := func(s *server, doc *text.Text, off int) protocol.CompletionList {
		params, err := json.Marshal(map[string]any{"textDocument": map[string]any{"uri": s.uriOf(name)}, "position": s.position(doc, off)})
		if err != nil {
			t.Fatal(err)
		}
		list, err := completion(context.Background(), s, s.current, params)
		if err != nil {
			t.Fatal(err)
		}
		return list.(protocol.CompletionList)
	}
	keys := append(strings.Split("abptfo 1;:{}\"\n", ""), "PARENT:", "extends ", " x ", "one:", "three:sub:", "\r\n", "\U0001F600", "#include \"", "LAZY ", "// c\n")
	r := rand.New(rand.NewPCG(1, 2))
	rounds, some := 240, 0
	if testing.Short() {
		rounds = 80
	}
	doc, off := text.New(typedOver), 0
	for round := range rounds {
		switch n := r.IntN(12); {
		case round%40 == 0:
			doc = text.New(typedOver)
			fallthrough
		case n == 0: // to another place
			off = doc.Offset(text.Position{Line: r.IntN(doc.Lines()), Char: r.IntN(60)}, text.UTF8)
		case n == 1 && off > 0: // back
			p := doc.Position(off, text.UTF16)
			from := doc.Offset(text.Position{Line: p.Line, Char: max(0, p.Char-1)}, text.UTF16)
			doc, off = doc.Replace(from, off, ""), from
		case n == 2: // another file on disk
			write(fmt.Sprintf("Base extends { port 80; host \"h\"; }\nPart extends { p 1; }\nMore%d extends {}\n", round))
		default:
			key := keys[r.IntN(len(keys))]
			doc, off = doc.Replace(off, off, key), off+len(key)
		}
		kept.current = kept.current.With(name, doc)
		fresh := silent(kept.knows)
		fresh.current = fresh.current.With(name, doc)
		got, want := complete(kept, doc, off), complete(fresh, doc, off)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("round %d: at %d of\n%s\ncompleted with %v\nafresh with %v", round, off, doc.String(), got, want)
		}
		some += min(1, len(got.Items))
	}
	if some < rounds/4 {
		t.Errorf("only %d of %d places had completions", some, rounds)
	}
}
