package sim

import (
	"container/heap"
	"time"
)

// turn is when a record becomes something else: it runs, or is gone.
type turn struct {
	at  time.Time
	ref string
}

// turns is a heap of turns, the earliest first.
type turns []turn

var _ heap.Interface = (*turns)(nil)

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(x any)        { *t = append(*t, x.(turn)) }

func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// asking is the key of the records that a request made.
func asking(account, token string) string { return account + "\x00" + token }
