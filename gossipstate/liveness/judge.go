package liveness

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Tick judges every member by its silence and by what is held against it. The transitions are in order of owner. What else
// may have come up by it: see Suspects, Probes and MustSign.
func (t *Table) Tick(now time.Time) []Transition {
	now = t.observe(now)
	t.health.tick(now)
	if now.Before(t.judgeAt) {
		return nil
	}
	anew := t.judgeAt.IsZero() || len(t.due) != len(t.order)
	if anew {
		t.due = slices.Grow(t.due[:0], len(t.order))[:len(t.order)]
	}
	never := now.Add(MissedBeats * wire.MaxBeatInterval)
	t.judgeAt = never
	self := t.members[t.self]
	atAll := !now.Before(t.seldomAt)
	if atAll {
		t.seldomAt = now.Add(seldom)
	}
	var all []Transition
	for i, m := range t.order {
		if !anew && now.Before(t.due[i]) {
			t.judgeBy(t.due[i])
			continue
		}
		t.due[i] = now
		switch {
		case m.status == Left || m == self:
			t.due[i] = never
		case m.status == Dead && !atAll:
			t.due[i] = t.seldomAt
		default:
			if at := t.calmUntil(m); now.Before(at) {
				t.due[i] = at
				break
			}
			if m.idle() && !atAll {
				t.due[i] = t.seldomAt
				break
			}
			if m.docket != nil || m.status == Suspect {
				t.learn(m, now)
				all = append(all, t.judge(m, now)...)
			}
			all = append(all, t.consider(m, now)...)
			if m.status == Dead || m.idle() {
				t.due[i] = t.seldomAt
			}
		}
		t.judgeBy(t.due[i]) // in vain when something has changed that may concern others
	}
	return all
}

// Due returns the time before which Tick changes nothing, unless the table is told something. It may be past.
func (t *Table) Due() time.Time { return t.judgeAt }

// idle says whether m, which is silent, is one whom others look after.
func (m *member) idle() bool {
	return m.status == Alive && m.arrivals == nil && m.docket == nil && m.probe == nil && m.grounds == none
}

// judgeBy has Tick look at the members at that time or before. What only puts a verdict off, as a beat does, need not be told.
func (t *Table) judgeBy(at time.Time) {
	if at.Before(t.judgeAt) {
		t.judgeAt = at
	}
}

// calmUntil is before when nothing can change about m unless something is told.
func (t *Table) calmUntil(m *member) time.Time {
	if m.status != Alive || m.docket != nil || m.probe != nil || m.grounds != none {
		return time.Time{}
	}
	intervals := time.Duration(MissedBeats)
	if m.arrivals != nil {
		intervals-- // time to ask: see almost
	}
	at := m.quiet.Add(intervals * t.interval(m))
	if at.Before(m.hold) {
		return m.hold
	}
	return at
}

// observe notes that an input came at now and returns the time to use for it. A pause before it that this node must have
// slept through is taken out of everyone's silence and out of all that has a deadline.
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
	t.health.worse(now)
	for _, m := range t.order {
		m.quiet = m.quiet.Add(gap)
		m.suspected = m.suspected.Add(gap)
		m.hold = m.hold.Add(gap)
		if m.probe != nil {
			m.probe.until = m.probe.until.Add(gap)
		}
		if m.arrivals != nil {
			m.arrivals.broken = true
		}
	}
	return now
}

// recount notes that a member went from one status to another; 0 is none.
func (t *Table) recount(from, to Status) {
	t.judgeAt, t.forgetAt = time.Time{}, time.Time{}
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

// evidence says for people what this node itself has against m.
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

// revive ends a suspicion or a death, by what came from the peer from. One that is heard of in another way than by its own
// direct beat is no longer watched: its beats do not reach this node directly, and their absence would only accuse it again.
func (t *Table) revive(m *member, phi float64, from wire.ID, reason string, now time.Time) []Transition {
	t.counters.Refuted++
	if m.status == Dead {
		t.counters.Resurrected++
	}
	if from != m.owner {
		m.arrivals = nil
	}
	m.refuter, m.refuted = from, now
	return t.become(m, Alive, why{phi: phi, reason: reason, refuter: from}, now)
}

// why is what a transition says beside the statuses: see there.
type why struct {
	phi      float64
	reason   string
	timeout  time.Duration
	accusers []wire.ID
	refuter  wire.ID
}

// become changes the status of m. It is the only place that does.
func (t *Table) become(m *member, to Status, w why, now time.Time) []Transition {
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
		m.arrivals, m.probe = nil, nil
		t.withdraw(m)
		if m.owner == t.self {
			t.withdrawAll()
		}
	}
	t.recount(from, to)
	t.relist(m)
	m.status, m.since = to, now
	tr := Transition{
		Owner: m.owner, From: from, To: to, Phi: w.phi, Accusers: w.accusers, Timeout: w.timeout, Refuter: w.refuter,
		Reason: w.reason, At: now,
	}
	m.tell(tr)
	return []Transition{tr}
}

// seconds renders a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
