package worker

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	rateWindow = 10 * time.Second // over which a rate is taken
	minSample  = rateWindow / 100 // between samples, which bounds their number
)

// meter counts nonces and tells how many a second there were over the last rateWindow. Safe for concurrent use.
type meter struct {
	tried atomic.Uint64

	mu      sync.Mutex
	samples []sample // in order; the first is the newest that is at least rateWindow old, or the first of all
}

type sample struct {
	at    time.Time
	tried uint64
}

// sample notes the count at now. It is called at least once a second while there is work.
func (m *meter) sample(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.samples); n > 0 && now.Sub(m.samples[n-1].at) < minSample {
		return
	}
	m.samples = append(m.samples, sample{at: now, tried: m.tried.Load()})
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
}

// rate is nonces a second up to now, 0 before the first sample and a rateWindow after the last.
func (m *meter) rate(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := 0
	for i+1 < len(m.samples) && now.Sub(m.samples[i+1].at) >= rateWindow {
		i++
	}
	if n := len(m.samples); n == 0 || now.Sub(m.samples[n-1].at) >= rateWindow {
		return 0
	}
	seconds := now.Sub(m.samples[i].at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(m.tried.Load()-m.samples[i].tried) / seconds
}
