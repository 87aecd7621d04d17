package replica

import "time"

// A process that sleeps costs nothing, and every time that it wakes costs about as much as what it then does (measured: 50 to
// 100 us of a core, in a process that wakes ten times a second). So what can happen together does: see tickIdle, turn and
// identity.renewChain.

const (
	// tickEvery is how often the table looks at what is due while something is: pulls, syncs, silence. The hold of a gap is one
	// tick.
	tickEvery = 100 * time.Millisecond
	// tickIdleMin to tickIdleMax is how often it looks while nothing is: see tickIdle.
	tickIdleMin = 150 * time.Millisecond
	tickIdleMax = 350 * time.Millisecond

	// answerAfter is how long after its own beat is due the larger owner sends it to the smaller one. When the clocks of the
	// two agree, the smaller one's beat has come by then, and the acknowledgement goes with the answer: QUIC and TCP wait 25 ms
	// and more for such a chance. When they do not agree, nothing is lost.
	answerAfter = 15 * time.Millisecond
)

// tickIdle is the pause between two ticks while nothing is due: half of the shortest pause that the failure detector takes for
// this process's own sleep. With the default interval each second tick comes with the beats.
func (t *table) tickIdle() time.Duration {
	return min(max(t.r.cfg.Liveness.BeatInterval/2, tickIdleMin), tickIdleMax)
}

// nextTick is when the table has to look at what is due, if no command changes that.
func (t *table) nextTick(now time.Time) time.Time {
	idle := t.tickIdle()
	due := now.Add(idle)
	if t.me.interval > 0 {
		due = due.Add(-(now.Sub(t.me.t0) % idle))
	}
	by := func(at time.Time) {
		if at.Before(due) {
			due = at
		}
	}
	if len(t.pulls) > 0 || t.dialsRunning > 0 || now.Before(t.nextAccuse) {
		by(now)
	}
	if !t.r.follows {
		by(t.live.Due())
	}
	for _, l := range t.links {
		if !l.syncAt.IsZero() && l.speaks && !l.syncing {
			by(l.syncAt)
		}
		if b := l.beats; b != nil && b.port != nil && now.Sub(b.knocked) >= 2*b.interval {
			by(b.heard.Add(b.knockAfter()))
		}
	}
	if soon := now.Add(tickEvery); due.Before(soon) {
		return soon
	}
	return due
}

// turn is how long after its own beat is due this node sends it to l.
func (t *table) turn(l *link) time.Duration {
	if t.r.self.Compare(l.owner) > 0 {
		return answerAfter
	}
	return 0
}
