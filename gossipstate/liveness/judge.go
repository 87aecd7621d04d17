package liveness

import (
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Loss says how the beats between a neighbour and this node ended, or what became of the redial.
type Loss uint8

const (
	// ConnectionLost: it broke, a redial is under way. The neighbour is still expected to beat.
	ConnectionLost Loss = iota + 1
	// RedialRefused: its host answers and nothing listens on its port. The process is gone.
	RedialRefused
	// RedialUnanswered: no answer to the redial: host or path is gone.
	RedialUnanswered
	// Released: one side closed the connection on purpose. The member is far from now on.
	Released
)

// NeighbourUp says that beats can now run between owner and this node. Owner need not be a member yet. It is watched from
// its first own beat on.
func (t *Table) NeighbourUp(owner wire.ID, now time.Time) {
	now = t.observe(now)
	s, known := t.sources[owner]
	if !known && !t.roomForSource(now) {
		t.counters.SourcesFull++
		return
	}
	s.neighbour = true
	t.sources[owner] = s
	if m := t.members[owner]; m != nil && m.status == Suspect && m.cause == refused {
		m.cause, m.deadline = silent, now.Add(t.timeout(m, silent))
	}
}

// NeighbourDown says that no beats can run between owner and this node any more, and why; after ConnectionLost it is called
// again with the result of the redial unless that succeeded. Only a watched member, one that this node has seen alive, is
// suspected for it.
func (t *Table) NeighbourDown(owner wire.ID, why Loss, now time.Time) []Transition {
	now = t.observe(now)
	s, known := t.sources[owner]
	m := t.members[owner]
	redial := why == RedialRefused || why == RedialUnanswered
	if redial && (s.neighbour || m == nil || m.arrivals == nil || m.status == Dead || m.status == Left) {
		t.counters.RedialsIgnored++
		return nil
	}
	if known {
		s.neighbour = false
		t.sources[owner] = s
	}
	switch {
	case m == nil:
		return nil
	case why == Released:
		m.arrivals = nil
		return nil
	case why == RedialRefused:
		return t.suspect(m, refused, now)
	case why == RedialUnanswered:
		return t.suspect(m, unanswered, now)
	default:
		return nil
	}
}

// Tick judges every member by its silence. The transitions are in order of owner.
func (t *Table) Tick(now time.Time) []Transition {
	now = t.observe(now)
	var all []Transition
	for _, m := range t.order {
		if m.owner == t.self {
			continue
		}
		switch m.status {
		case Alive:
			if phi, silence := t.phi(m, now); phi >= t.cfg.PhiSuspect && silence > MissedBeats*t.interval(m) {
				all = append(all, t.suspect(m, t.silentOrFar(m), now)...)
			}
		case Suspect:
			if !now.Before(m.deadline) {
				all = append(all, t.die(m, now)...)
			}
		}
	}
	return all
}

// observe notes that an input came at now and returns the time to use for it. A pause before it that this node must have
// slept through is taken out of everyone's silence.
func (t *Table) observe(now time.Time) time.Time {
	gap := now.Sub(t.last)
	if gap <= 0 {
		return t.last
	}
	t.last = now
	if gap <= t.cfg.sleepGap() {
		return now
	}
	t.counters.Slept++
	for _, m := range t.order {
		m.quiet = m.quiet.Add(gap)
		m.deadline = m.deadline.Add(gap)
		if m.arrivals != nil {
			m.arrivals.broken = true
		}
	}
	return now
}

// recount notes that a member went from one status to another; 0 is none.
func (t *Table) recount(from, to Status) {
	t.counts[from]--
	t.counts[to]++
	t.counts[0] = 0
	t.period = t.cfg.backgroundPeriod(t.counts[Alive] + t.counts[Suspect])
}

// interval is the time within which a sign of life of m is expected.
func (t *Table) interval(m *member) time.Duration {
	if m.arrivals != nil {
		return m.digest.BeatInterval
	}
	return max(t.period, m.digest.BeatInterval)
}

// phi returns the suspicion level of m at now and the silence that counts for it, both 0 for who is not judged by silence.
func (t *Table) phi(m *member, now time.Time) (float64, time.Duration) {
	if m.status == 0 || m.status == Left || m.owner == t.self {
		return 0, 0
	}
	silence := now.Sub(m.quiet)
	if m.arrivals != nil {
		return m.arrivals.phi(silence), silence
	}
	if m.verifier.index == 0 {
		silence -= time.Duration(len(t.order)) * time.Second * wire.MaxBeats / 2 / HashRate
	}
	mean := t.interval(m)
	return phi(silence, mean, minSpread(mean)), max(0, silence)
}

func (t *Table) silentOrFar(m *member) cause {
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
	deadline := now.Add(t.timeout(m, c))
	if m.status == Suspect {
		if deadline.Before(m.deadline) {
			m.cause, m.deadline = c, deadline
		}
		return nil
	}
	m.cause, m.deadline = c, deadline
	phi, _ := t.phi(m, now)
	return t.become(m, Suspect, phi, t.evidence(m, now), now)
}

func (t *Table) die(m *member, now time.Time) []Transition {
	phi, _ := t.phi(m, now)
	reason := t.evidence(m, now)
	if m.cause == refused || m.cause == unanswered {
		reason = fmt.Sprintf("%s, no beat for %s", reason, seconds(now.Sub(m.quiet)))
	}
	return t.become(m, Dead, phi, reason, now)
}

// evidence says for people why m is suspect.
func (t *Table) evidence(m *member, now time.Time) string {
	silence := seconds(now.Sub(m.quiet))
	switch m.cause {
	case refused:
		return "connection refused"
	case unanswered:
		return "connection lost, redial unanswered"
	case far:
		return "no sign of life relayed for " + silence
	default:
		return "no beat for " + silence
	}
}

// revive ends a suspicion or a death. One that is heard of in another way than by its own direct beat is no longer watched:
// its beats do not reach this node directly, and their absence would only accuse it again.
func (t *Table) revive(m *member, phi float64, direct bool, reason string, now time.Time) []Transition {
	t.counters.Refuted++
	if m.status == Dead {
		t.counters.Resurrected++
	}
	if !direct {
		m.arrivals = nil
	}
	return t.become(m, Alive, phi, reason, now)
}

// become changes the status of m. It is the only place that does.
func (t *Table) become(m *member, to Status, phi float64, reason string, now time.Time) []Transition {
	from := m.status
	if from == to {
		return nil
	}
	switch to {
	case Suspect:
		t.counters.Suspected++
	case Dead:
		t.counters.Died++
	case Left:
		t.counters.Departed++
		m.arrivals = nil
	}
	t.recount(from, to)
	m.status, m.since = to, now
	return []Transition{{Owner: m.owner, From: from, To: to, Phi: phi, Reason: reason, At: now}}
}

// seconds renders a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
