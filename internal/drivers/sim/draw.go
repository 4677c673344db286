package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"
)

// quantile is one point of a distribution.
type quantile struct {
	share   float64
	seconds float64
}

// bootTimes is fitted to the time from request to first SSH connection of
// small EC2 machines asked for in rounds of 100; median 66 s, 99 % within
// 97 s, the longest 236 s. Source of the measurements: the experiments of the
// CHOReOS Enactment Engine. Between the points it is linear.
var bootTimes = []quantile{
	{0, 49},
	{0.01, 52},
	{0.05, 56},
	{0.10, 58},
	{0.25, 62},
	{0.50, 66},
	{0.75, 71},
	{0.90, 77},
	{0.95, 81},
	{0.98, 89},
	{0.99, 97},
	{0.995, 124},
	{1, 236},
}

// BootFailures is the share of machines that never booted in the same
// experiments, for Faults.NeverBoots.
const BootFailures = 0.006

// bootTime returns the boot time at share u, 0 to 1, of the distribution.
func bootTime(u float64) time.Duration {
	for i := 1; i < len(bootTimes); i++ {
		a, b := bootTimes[i-1], bootTimes[i]
		if u <= b.share {
			s := a.seconds + (b.seconds-a.seconds)*(u-a.share)/(b.share-a.share)
			return time.Duration(s * float64(time.Second))
		}
	}
	return time.Duration(bootTimes[len(bootTimes)-1].seconds * float64(time.Second))
}

// draw returns a number in [0, 1) that depends on the seed, the key and how
// often the key was drawn before, but not on what else goes on: concurrent
// requests in another order draw the same numbers. The caller holds mu.
func (c *Cloud) draw(key string) float64 {
	n := c.draws[key]
	c.draws[key] = n + 1
	h := fnv.New64a()
	h.Write([]byte(key + "\x00" + strconv.FormatUint(n, 10)))
	return rand.New(rand.NewPCG(c.cfg.Seed, h.Sum64())).Float64()
}

// happens draws whether a fault of the given share happens to key.
func (c *Cloud) happens(share float64, key string) bool {
	return share > 0 && c.draw(key) < share
}
