package liveness

import (
	"math"
	"time"
)

// windowSize is how many intervals a watcher remembers per neighbour: 11 s at the default interval, so that one freeze
// is forgotten soon (guess; Cassandra keeps 1,000 of 1 s).
const windowSize = 16

// phiPerInterval is how much phi grows with each interval of silence after the first when arrivals are regular. It makes
// the customary threshold of 8 mean MissedBeats intervals: 4 x (3 - 1).
const phiPerInterval = 4.0

// arrivals is the clockwork of one watched neighbour as seen here: the last windowSize intervals between its own beats.
type arrivals struct {
	last   time.Time // newest direct beat
	broken bool      // this node slept since last: the next interval says nothing
	signed time.Duration
	gaps   [windowSize]time.Duration
	next   int
	mean   time.Duration // of gaps, within 1..2 signed intervals
	spread float64       // of gaps, seconds
}

// newArrivals starts as if all beats so far had come exactly when due.
func newArrivals(signed time.Duration, now time.Time) *arrivals {
	a := &arrivals{last: now, signed: signed, mean: signed, spread: minSpread(signed)}
	for i := range a.gaps {
		a.gaps[i] = signed
	}
	return a
}

// arrived notes a direct beat at now.
func (a *arrivals) arrived(now time.Time) {
	if a.broken {
		a.last, a.broken = now, false
		return
	}
	a.gaps[a.next] = now.Sub(a.last)
	a.next = (a.next + 1) % windowSize
	a.last = now

	var sum, deviation time.Duration
	for _, g := range a.gaps {
		sum += g
	}
	mean := sum / windowSize
	for _, g := range a.gaps {
		deviation += (g - mean).Abs()
	}
	// Bounds: nobody is judged faster than its signed clockwork, whatever bursts arrive, and nobody buys more than ten
	// intervals of silence (a mean of 2, and 2 x 8/4 means more) by beating erratically.
	a.mean = min(max(mean, a.signed), 2*a.signed)
	a.spread = min(max((deviation/windowSize).Seconds(), minSpread(a.mean)), 2*minSpread(a.mean))
}

// phi is the suspicion after that much silence: see the function phi.
func (a *arrivals) phi(silence time.Duration) float64 { return phi(silence, a.mean, a.spread) }

// minSpread is the spread that perfectly regular arrivals are credited with.
func minSpread(mean time.Duration) float64 { return mean.Seconds() / (phiPerInterval * math.Ln10) }

// phi is -log10 of the probability that a member of this mean interval and spread is silent for so long and yet alive:
// dimensionless, >= 0, (silence - mean) / (spread * ln 10). Source: Hayashibara et al. 2004, with an exponential tail
// behind the mean instead of a normal one; spread is in seconds, the mean absolute deviation of the intervals.
func phi(silence, mean time.Duration, spread float64) float64 {
	return max(0, (silence-mean).Seconds()/(spread*math.Ln10))
}
