package liveness

import (
	"fmt"
	"time"
)

// With Config.Alone a table has nobody's word but its own. A suspicion is then its own doubt, and death its age.

// tickAlone judges one member by its silence.
func (t *Table) tickAlone(m *member, now time.Time) []Transition {
	switch m.status {
	case Alive:
		t.judgeBy(m.quiet.Add(MissedBeats * t.interval(m)))
		if phi, silence := t.phi(m, now); phi >= t.cfg.PhiSuspect && silence > MissedBeats*t.interval(m) {
			return t.suspect(m, silentOrFar(m), now)
		}
	case Suspect:
		t.judgeBy(m.deadline)
		if !now.Before(m.deadline) {
			return t.die(m, now)
		}
	}
	return nil
}

func silentOrFar(m *member) cause {
	if m.arrivals != nil {
		return silent
	}
	return far
}

// timeout is how long a suspicion with that cause lasts.
func (t *Table) timeout(m *member, c cause) time.Duration {
	own := MissedBeats * m.digest.BeatInterval
	switch {
	case c == far:
		return max(t.cfg.SuspicionMin, t.interval(m))
	case c == refused && t.cfg.Trusting:
		return RefusedTimeout
	case c == refused:
		return max(t.cfg.SuspicionMin, own)
	default: // the silence began up to one interval before whatever stopped m
		return max(t.cfg.SuspicionMin+m.digest.BeatInterval, own)
	}
}

// suspect makes m suspect, or sharpens the suspicion when the new cause leaves less time.
func (t *Table) suspect(m *member, c cause, now time.Time) []Transition {
	timeout := t.timeout(m, c)
	deadline := now.Add(timeout)
	if m.status == Suspect {
		if deadline.Before(m.deadline) {
			m.cause, m.deadline = c, deadline
			t.judgeBy(deadline)
		}
		return nil
	}
	m.cause, m.deadline = c, deadline
	phi, _ := t.phi(m, now)
	return t.become(m, Suspect, why{phi: phi, reason: t.evidence(m, now), timeout: timeout}, now)
}

// relent takes the haste out of a suspicion for a refused redial: the member can be reached after all.
func (t *Table) relent(m *member, now time.Time) {
	if m.status == Suspect && m.cause == refused {
		m.cause, m.deadline = silent, now.Add(t.timeout(m, silent))
	}
}

func (t *Table) die(m *member, now time.Time) []Transition {
	phi, _ := t.phi(m, now)
	reason := t.evidence(m, now)
	if m.cause == refused || m.cause == unanswered {
		reason = fmt.Sprintf("%s, no beat for %s", reason, seconds(now.Sub(m.quiet)))
	}
	return t.become(m, Dead, why{phi: phi, reason: reason, timeout: t.timeout(m, m.cause)}, now)
}
