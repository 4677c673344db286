package server

import (
	"fmt"
	"sync"
	"time"

	"aloft/api"
)

// What one caller may ask for over the network, by default.
const (
	defaultRate    = 500  // requests a second, in the long run
	defaultBurst   = 1000 // requests at once
	defaultStreams = 2000 // streams at once
)

// maxCallers is how many callers are remembered; those who have not called for
// longest are forgotten first, and have by then their full allowance again.
const maxCallers = 10_000

// callers is how often everybody has asked lately.
type callers struct {
	rate, burst float64
	streams     int

	mu sync.Mutex
	// under mu:
	known map[string]*allowance
}

// allowance is a token bucket, and how many streams are open.
type allowance struct {
	tokens  float64
	at      time.Time // when tokens was right
	streams int
}

// admit takes one request off a caller's allowance, or says when to come again.
func (c *callers) admit(name string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.of(name, now)
	a.tokens = min(c.burst, a.tokens+max(0, now.Sub(a.at).Seconds())*c.rate)
	a.at = now
	if a.tokens < 1 {
		wait := time.Duration((1 - a.tokens) / c.rate * float64(time.Second))
		return &api.Error{Kind: api.KindTooMany, Message: fmt.Sprintf("%s sends more than %g requests a second", name, c.rate), RetryAfter: max(wait, time.Millisecond)}
	}
	a.tokens--
	return nil
}

// stream counts one stream of a caller, until the func it returns is called.
func (c *callers) stream(name string) (end func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.of(name, time.Now())
	if a.streams >= c.streams {
		return nil, &api.Error{Kind: api.KindTooMany, Message: fmt.Sprintf("%s has %d streams open, and may have no more", name, a.streams), RetryAfter: time.Second}
	}
	a.streams++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		a.streams--
	}, nil
}

// of returns the allowance of a caller. The lock is held.
func (c *callers) of(name string, now time.Time) *allowance {
	a := c.known[name]
	if a == nil {
		if len(c.known) >= maxCallers {
			c.forget(now)
		}
		a = &allowance{tokens: c.burst, at: now}
		c.known[name] = a
	}
	return a
}

// forget leaves out who has a full allowance. The lock is held.
func (c *callers) forget(now time.Time) {
	for name, a := range c.known {
		if a.streams == 0 && a.tokens+now.Sub(a.at).Seconds()*c.rate >= c.burst {
			delete(c.known, name)
		}
	}
}
