package liveness

import (
	"math"
	"time"
)

// A node that is slow itself finds others slow. What shows it is counted, and stretches its patience: Lifeguard's local
// health multiplier (Dadgar, Phillips, Currey 2018: Lifeguard: Local Health Awareness for More Accurate Failure
// Detection, section IV-A; memberlist's awareness.go).

// maxIll bounds the ill health of this node, so that one that is permanently slow still finds the dead.
const maxIll = 3

// illFor is how long one sign of ill health lasts without a sign of good health (guess).
const illFor = 10 * time.Second

// health is what this node thinks of itself.
type health struct {
	ill    int // 0..maxIll
	better time.Time
}

func (h *health) worse(now time.Time) { h.ill, h.better = min(h.ill+1, maxIll), now.Add(illFor) }

func (h *health) well(now time.Time) { h.ill, h.better = max(h.ill-1, 0), now.Add(illFor) }

func (h *health) tick(now time.Time) {
	if h.ill > 0 && !now.Before(h.better) {
		h.well(now)
	}
}

// patient is d, stretched by ill health: 1 + ill/2 times. (Guess. Lifeguard and memberlist take 1 + ill, up to eight; here a
// quorum has to agree besides.)
func (h *health) patient(d time.Duration) time.Duration { return d + d*time.Duration(h.ill)/2 }

// Ill returns the ill health of this node, 0..3: all its timeouts are 1 + Ill/2 times as long. It rises by 1 with each pause of this
// process that was forgiven, each probe in which none of the peers that were asked answered in time, each own accusation
// that came too early and each quorum that accused this node; it falls by 1 with each probe that all answered, and every 10 s.
func (t *Table) Ill() int { return t.health.ill }

// suspicionTimeout is how long a suspicion lasts that count accusers hold, before it is death:
//
//	high - (high - low) * log(k+1) / log(K+1)    with k = count-1 confirmations of the first, K = MaxQuorum-1,
//	                                             high = 3/2 low
//
// and low from k = K on. Source: Lifeguard (as above), section IV-C, "Local Health Aware Suspicion", there with K = 3
// and high = 6 low: a quorum has to agree anyhow, so that less time will do (guess).
func suspicionTimeout(low time.Duration, count int) time.Duration {
	k := float64(min(max(count, 1), MaxQuorum) - 1)
	high := low * 3 / 2
	return high - time.Duration(float64(high-low)*math.Log(k+1)/math.Log(MaxQuorum))
}
