package graph

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestOrderPutsEveryEdgeForwardAndKeepsInsertionOrderAmongFreeOnes(t *testing.T) {
	var g Graph[string]
	g.Add("a", "b", "c", "d")
	g.Edge("d", "a")
	if got, want := g.Order(), []string{"b", "c", "d", "a"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestCyclesNamesGroupsAndLeavesOutSingles(t *testing.T) {
	var g Graph[string]
	g.Add("lone")
	g.Edge("a", "b")
	g.Edge("b", "c")
	g.Edge("c", "a")
	g.Edge("c", "d")
	g.Edge("self", "self")
	got := g.Cycles()
	want := [][]string{{"a", "b", "c"}, {"self"}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("cycles %v, want %v", got, want)
	}
	if p := g.Path("a", "a"); !slices.Equal(p, []string{"a", "b", "c", "a"}) {
		t.Errorf("path %v", p)
	}
	if p := g.Path("d", "a"); p != nil {
		t.Errorf("path %v where there is none", p)
	}
}

func TestOrderAndCyclesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Graph[int]
		n := rapid.IntRange(1, 20).Draw(t, "n")
		for i := range n {
			g.Add(i)
		}
		for range rapid.IntRange(0, 40).Draw(t, "edges") {
			g.Edge(rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to"))
		}
		order := g.Order()
		at := map[int]int{}
		for i, k := range order {
			at[k] = i
		}
		for _, k := range order {
			for _, after := range g.After(k) {
				if i, ok := at[after]; ok && i <= at[k] {
					t.Fatalf("%d comes before %d", after, k)
				}
			}
		}
		if (len(order) == n) != (len(g.Cycles()) == 0) {
			t.Fatalf("order of %d of %d vertices, cycles %v", len(order), n, g.Cycles())
		}
	})
}
