package ownership

import (
	"cmp"
	"crypto/sha256"
	"slices"
)

// row is whose a shard is, as the store told last.
type row struct {
	manager  string
	term     int64
	revision int64
}

// missed is how many beats of its own a manager has succeeded in, with none of
// another's between them, before it holds the other for dead.
const missed = 3

// state is what a manager knows of the others and of the shards. Its methods
// decide, without a clock, and act on nothing.
type state struct {
	self     string
	managers []string         // of the cluster, self among them; nil: not known yet
	round    int64            // beats of its own that it succeeded in and has seen come back
	confirm  int64            // revision of a beat that succeeded and has not come back
	came     int64            // revision of its newest beat that came back
	heard    map[string]int64 // by manager: the round in which it beat, became an owner, or came to be known
	rows     map[string]row   // by shard
	held     map[string]int64 // by shard: the revision of the row under which it is held here
	taking   map[string]bool  // shards that are being acquired
}

func newState(self string) *state {
	return &state{self: self, heard: map[string]int64{}, rows: map[string]row{}, held: map[string]int64{}, taking: map[string]bool{}}
}

// event is one thing that a manager comes to know.
type event interface{ event() }

type (
	// know says who the managers are.
	know struct{ managers []string }
	// beaten says that the store took a beat of this manager.
	beaten struct{ revision int64 }
	// seen says that a beat came out of the store. They come in the order of
	// revisions, and so does beaten's.
	seen struct {
		manager  string
		revision int64
	}
	// changed says what the row of a shard is.
	changed struct {
		shard string
		row   row
	}
	// gone says that a shard has no row any more.
	gone struct {
		shard    string
		revision int64
	}
	// took says that this manager acquired a shard, with the row as it is now.
	took struct {
		shard string
		row   row
	}
	// failed says that it did not.
	failed struct{ shard string }
)

func (know) event()    {}
func (beaten) event()  {}
func (seen) event()    {}
func (changed) event() {}
func (gone) event()    {}
func (took) event()    {}
func (failed) event()  {}

// step takes in what happened and returns the shards that are lost by it.
func (s *state) step(e event) (lost []string) {
	switch e := e.(type) {
	case know:
		s.managers = e.managers
		for _, m := range e.managers {
			if _, known := s.heard[m]; !known {
				s.heard[m] = s.round
			}
		}
		for m := range s.heard {
			if !slices.Contains(e.managers, m) {
				delete(s.heard, m)
			}
		}
	case beaten:
		s.confirm = e.revision
		s.count()
	case seen:
		if e.manager == s.self {
			s.came = max(s.came, e.revision)
			s.count()
		} else if _, known := s.heard[e.manager]; known {
			s.heard[e.manager] = s.round
		}
	case changed:
		return s.change(e.shard, e.row)
	case gone:
		if old, known := s.rows[e.shard]; known && e.revision > old.revision {
			delete(s.rows, e.shard)
			return s.lose(e.shard)
		}
	case took:
		delete(s.taking, e.shard)
		lost = s.change(e.shard, e.row)
		if s.rows[e.shard] == e.row {
			s.held[e.shard] = e.row.revision
		}
	case failed:
		delete(s.taking, e.shard)
	}
	return lost
}

// count makes a round of a beat that has both succeeded and come back: all that
// others wrote before it is known then. One that failed counts for nothing, even
// if it comes out of the store later, since several of them may at once.
func (s *state) count() {
	if s.confirm != 0 && s.came >= s.confirm {
		s.round++
		s.confirm = 0
	}
}

func (s *state) change(shard string, r row) (lost []string) {
	if r.revision <= s.rows[shard].revision {
		return nil
	}
	s.rows[shard] = r
	// Who has become an owner is heard: the beats come by a watch of their own,
	// and of a manager that has just come back the first may be on its way still.
	if _, known := s.heard[r.manager]; known {
		s.heard[r.manager] = s.round
	}
	return s.lose(shard)
}

// lose ends the hold on a shard whose row is not as it was.
func (s *state) lose(shard string) []string {
	at, held := s.held[shard]
	if !held || s.rows[shard].revision == at {
		return nil
	}
	delete(s.held, shard)
	return []string{shard}
}

// dead reports whether a manager does not live, or is none.
func (s *state) dead(manager string) bool {
	if manager == s.self || s.managers == nil {
		return false
	}
	heard, known := s.heard[manager]
	return !known || s.round-heard >= missed
}

// living returns the managers that are not dead, this one among them.
func (s *state) living() (ids []string) {
	for _, m := range s.managers {
		if !s.dead(m) {
			ids = append(ids, m)
		}
	}
	return ids
}

// due returns the shards that this manager is to acquire now, in order: those
// that were given to it or that it held when it ended, and those of managers
// that are dead where it ranks first of the living.
func (s *state) due() (shards []string) {
	if !slices.Contains(s.managers, s.self) {
		return nil
	}
	living := s.living()
	for shard, r := range s.rows {
		if _, held := s.held[shard]; held || s.taking[shard] {
			continue
		}
		if r.manager == s.self || s.dead(r.manager) && first(shard, living) == s.self {
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards
}

// heir returns the living manager that a shard of this one falls to, or "".
func (s *state) heir(shard string) string {
	return first(shard, slices.DeleteFunc(s.living(), func(m string) bool { return m == s.self }))
}

// apart returns which of the living managers, but those to avoid, ranks first
// for a shard; "" if all are to be avoided.
func (s *state) apart(shard string, avoid []string) string {
	return first(shard, slices.DeleteFunc(s.living(), func(m string) bool { return slices.Contains(avoid, m) }))
}

// first returns which of the managers ranks first for a shard, by rendezvous
// hashing: each shard has an order of its own, and who is missing changes
// nothing between the others.
func first(shard string, managers []string) string {
	return slices.MaxFunc(append([]string{""}, managers...), func(a, b string) int {
		ra, rb := rank(shard, a), rank(shard, b)
		return cmp.Or(slices.Compare(ra[:], rb[:]), cmp.Compare(a, b))
	})
}

func rank(shard, manager string) (r [sha256.Size]byte) {
	if manager == "" {
		return r
	}
	return sha256.Sum256([]byte(manager + "\x00" + shard))
}
