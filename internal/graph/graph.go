// Package graph finds, among things that wait for each other, those that would
// wait for ever. It refuses to order them, knows nothing of what its vertices
// mean, and starts no goroutine. Equal insertions give equal answers.
package graph

import "slices"

// Graph is a directed graph whose vertices keep the order they were added in.
// The zero Graph is empty and ready for use.
type Graph[K comparable] struct {
	index map[K]int
	keys  []K
	out   [][]int
}

// Add adds vertices; known ones stay where they are.
func (g *Graph[K]) Add(keys ...K) {
	for _, k := range keys {
		g.vertex(k)
	}
}

// Edge says that before comes before after. Repeating an edge is harmless, and
// not looked for: that would cost the square of a barrier's edges.
func (g *Graph[K]) Edge(before, after K) {
	b, a := g.vertex(before), g.vertex(after)
	g.out[b] = append(g.out[b], a)
}

// Cycles returns the groups of vertices that reach one another (Tarjan's
// strongly connected components), leaving out single vertices without an edge
// to themselves. Groups and their members are in order of insertion.
func (g *Graph[K]) Cycles() [][]K {
	t := tarjan{out: g.out, number: make([]int, len(g.keys)), low: make([]int, len(g.keys)), group: make([]int, len(g.keys))}
	for v := range g.keys {
		if t.number[v] == 0 {
			t.visit(v)
		}
	}
	members := make([][]K, t.groups)
	first := make([]int, 0, t.groups)
	for v, k := range g.keys {
		n := t.group[v] - 1
		if len(members[n]) == 0 {
			first = append(first, n)
		}
		members[n] = append(members[n], k)
	}
	var cycles [][]K
	for _, n := range first {
		if m := members[n]; len(m) > 1 || g.selfLoop(m[0]) {
			cycles = append(cycles, m)
		}
	}
	return cycles
}

// Path returns a shortest way along edges from one vertex to another, both
// included, or nil. From a vertex to itself it is a cycle through it.
func (g *Graph[K]) Path(from, to K) []K {
	f, ok1 := g.index[from]
	t, ok2 := g.index[to]
	if !ok1 || !ok2 {
		return nil
	}
	came := make(map[int]int)
	queue := []int{f}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, w := range g.out[v] {
			if w == t {
				path := []K{g.keys[t], g.keys[v]}
				for v != f {
					v = came[v]
					path = append(path, g.keys[v])
				}
				slices.Reverse(path)
				return path
			}
			if _, seen := came[w]; !seen && w != f {
				came[w] = v
				queue = append(queue, w)
			}
		}
	}
	return nil
}

func (g *Graph[K]) selfLoop(k K) bool {
	v := g.index[k]
	return slices.Contains(g.out[v], v)
}

func (g *Graph[K]) vertex(k K) int {
	if v, ok := g.index[k]; ok {
		return v
	}
	if g.index == nil {
		g.index = make(map[K]int)
	}
	v := len(g.keys)
	g.index[k] = v
	g.keys = append(g.keys, k)
	g.out = append(g.out, nil)
	return v
}

// tarjan runs with a stack of its own: descriptions may be deep.
type tarjan struct {
	out                [][]int
	number, low, group []int // from 1; 0: not yet
	stack              []int
	next, groups       int
}

func (t *tarjan) visit(root int) {
	type frame struct{ v, edge int }
	frames := []frame{{v: root}}
	t.enter(root)
	for len(frames) > 0 {
		f := &frames[len(frames)-1]
		if f.edge < len(t.out[f.v]) {
			w := t.out[f.v][f.edge]
			f.edge++
			switch {
			case t.number[w] == 0:
				t.enter(w)
				frames = append(frames, frame{v: w})
			case t.group[w] == 0:
				t.low[f.v] = min(t.low[f.v], t.number[w])
			}
			continue
		}
		v := f.v
		frames = frames[:len(frames)-1]
		if len(frames) > 0 {
			u := frames[len(frames)-1].v
			t.low[u] = min(t.low[u], t.low[v])
		}
		if t.low[v] == t.number[v] {
			t.groups++
			for {
				w := t.stack[len(t.stack)-1]
				t.stack = t.stack[:len(t.stack)-1]
				t.group[w] = t.groups
				if w == v {
					break
				}
			}
		}
	}
}

func (t *tarjan) enter(v int) {
	t.next++
	t.number[v], t.low[v] = t.next, t.next
	t.stack = append(t.stack, v)
}
