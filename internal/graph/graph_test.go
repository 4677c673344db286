package graph

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestCyclesNamesGroupsAndLeavesOutSingles(t *testing.T) {
	var g Graph[string]
	g.Add("lone", "c")
	g.Edge("a", "b")
	g.Edge("b", "c")
	g.Edge("b", "c")
	g.Edge("c", "a")
	g.Edge("c", "d")
	g.Edge("self", "self")
	got := g.Cycles()
	want := [][]string{{"c", "a", "b"}, {"self"}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("cycles %v, want %v", got, want)
	}
}

func TestPathIsShortest(t *testing.T) {
	var g Graph[string]
	g.Add("lone")
	for _, e := range [][2]string{
		{"a", "b"}, {"b", "c"}, {"c", "d"}, {"d", "a"}, {"a", "c"}, {"d", "d"}, {"d", "out"},
	} {
		g.Edge(e[0], e[1])
	}
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"a", "b", []string{"a", "b"}},
		{"a", "d", []string{"a", "c", "d"}},
		{"a", "a", []string{"a", "c", "d", "a"}},
		{"b", "b", []string{"b", "c", "d", "a", "b"}},
		{"d", "d", []string{"d", "d"}},
		{"out", "a", nil},
		{"out", "out", nil},
		{"a", "lone", nil},
		{"lone", "lone", nil},
		{"a", "unknown", nil},
		{"unknown", "unknown", nil},
	} {
		if got := g.Path(c.from, c.to); !slices.Equal(got, c.want) {
			t.Errorf("from %s to %s: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

func TestGroupsAreTheVerticesThatReachEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Graph[int]
		n := rapid.IntRange(1, 20).Draw(t, "n")
		edges := map[[2]int]bool{}
		for i := range n {
			g.Add(i)
		}
		for range rapid.IntRange(0, 40).Draw(t, "edges") {
			e := [2]int{rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to")}
			edges[e] = true
			g.Edge(e[0], e[1])
		}
		group := make([]int, n) // of each vertex, from 1; 0: of none
		for i, members := range g.Cycles() {
			if !slices.IsSorted(members) || i > 0 && members[0] < g.Cycles()[i-1][0] {
				t.Fatalf("not in order of insertion: %v", g.Cycles())
			}
			for _, k := range members {
				group[k] = i + 1
			}
		}
		for a := range n {
			for b := range n {
				there, back := g.Path(a, b), g.Path(b, a)
				for _, way := range [][]int{there, back} {
					for i := 1; i < len(way); i++ {
						if !edges[[2]int{way[i-1], way[i]}] {
							t.Fatalf("path %v leaves the edges", way)
						}
					}
				}
				together := group[a] != 0 && group[a] == group[b]
				if together != (there != nil && back != nil) {
					t.Fatalf("cycles %v, from %d to %d by %v and back by %v", g.Cycles(), a, b, there, back)
				}
			}
		}
	})
}
