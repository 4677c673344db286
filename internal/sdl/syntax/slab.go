package syntax

import "aloft/value"

// slab makes values of one kind many at a time: a tree has a great number of
// small parts that live and die together.
type slab[T any] struct {
	free []T
	size int // of the piece last made
}

const (
	slabFirst = 4 // most texts read one by one are short
	slabMost  = 128
)

// take returns n zero values.
func (s *slab[T]) take(n int) []T {
	switch {
	case n == 0:
		return nil
	case n > slabMost/4:
		return make([]T, n)
	case n > len(s.free):
		s.size = min(max(2*s.size, slabFirst, n), slabMost)
		s.free = make([]T, s.size)
	}
	list := s.free[:n:n]
	s.free = s.free[n:]
	return list
}

// one returns a pointer to a zero value.
func (s *slab[T]) one() *T { return &s.take(1)[0] }

// copied returns a copy of list.
func (s *slab[T]) copied(list []T) []T {
	c := s.take(len(list))
	copy(c, list)
	return c
}

// slabs holds what the parts of a tree are made from.
type slabs struct {
	attributes slab[Attribute]
	literals   slab[Literal]
	references slab[Reference]
	components slab[Component]
	bodies     slab[Body]
	protos     slab[Proto]
	parts      slab[value.Part]
	items      slab[Item]
}
