package liveness

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	// clockLeap is the difference to what is known of a clock at which it was set, not late: more than beats are under way. Back,
	// it is a beat interval more.
	clockLeap = 2 * time.Second
	// clockFade is by how much an estimate gives way at each beat, so that it follows a clock that runs slow: 1.4 ms a second at
	// the default interval, while a bad quartz loses 0.1.
	clockFade = time.Millisecond

	maxT0     = 1 << 48                    // ms: the year 10889, within what time.Time can hold
	maxOffset = 100 * 365 * 24 * time.Hour // told; the difference of two is within time.Duration
)

// clock is how far a neighbour's wall clock is ahead of this node's. It is for people alone: nothing is decided by it.
//
// A beat comes at its due time by its owner's clock, and then it travels. So each arrival shows the offset less the delay, and
// the largest value seen is the nearest to the truth: short of it by the quickest way a beat took. An owner counts its beats by
// a clock that nobody sets, from the wall clock at the chain's beginning; that its wall clock was set shows with the next chain.
//
// The first beat says too little: it comes with the stream, up to an interval after it was due.
type clock struct {
	offset time.Duration
	heard  bool
	known  bool
}

// arrived notes beat k of d's chain that came from its owner at now.
func (c *clock) arrived(d *wire.Digest, k uint32, now time.Time) {
	if d.BeatT0 == 0 || d.BeatT0 > maxT0 {
		return
	}
	due := time.UnixMilli(int64(d.BeatT0)).Add(time.Duration(k) * d.BeatInterval)
	shown := min(max(due.Sub(now), -maxOffset), maxOffset)
	first := !c.heard
	c.heard, c.known = true, !first
	if leap := shown - c.offset; first || leap > clockLeap || leap < -clockLeap-d.BeatInterval {
		c.offset = shown
		return
	}
	c.offset = max(shown, c.offset-clockFade)
}
