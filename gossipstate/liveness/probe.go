package liveness

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Probe is a question to ask before this node accuses Owner: has anybody heard of it?
type Probe struct {
	Owner wire.ID
	// Via are neighbours, at most MaxVia, to ask for their newest beat of Owner. One that has none newer than this node
	// dials Owner, and answers in time whatever comes of it, so that its silence means that this node is not heard. The
	// beat goes to Beat, then the answer to Probed.
	Via []wire.ID
	// Dial: this node is to dial Owner as well, as a peer and at its TCP address.
	Dial bool
	// Deadline is when an answer has to be there. After it the probe has failed by itself.
	Deadline time.Time
}

// Answer is what became of one part of a probe.
type Answer uint8

const (
	// Unreachable: the dial got no answer.
	Unreachable Answer = iota + 1
	// PortRefused: the host answers the dial, and nothing listens. It counts only of this node's own dial.
	PortRefused
	// Reached: the process itself answered, by a handshake under its key; an open port alone is Unreachable: the kernel of a
	// stopped process answers too. Its beats are waited for, once, for MissedBeats more intervals.
	Reached
)

// probing is a probe under way, or one that has failed already.
type probing struct {
	until   time.Time
	open    []wire.ID // of whom an answer is awaited; this node itself stands for its dial
	asked   int
	refused bool
	counted bool // for the health of this node
}

func (p *probing) failed(now time.Time) bool { return len(p.open) == 0 || !now.Before(p.until) }

// Probes returns the questions to ask now, each once, in the order in which they arose; at most MaxProbes. A table is judged
// to be slow when it does not get the answers: call it after every Tick and NeighbourDown.
func (t *Table) Probes() []Probe {
	all := t.probes
	t.probes = nil
	return all
}

// ask begins a probe of m. One that the member's refused redial started does not dial again.
func (t *Table) ask(m *member, c cause, now time.Time) {
	if len(t.probes) >= MaxProbes {
		t.counters.ProbesFull++
		return // with a later Tick
	}
	p := Probe{
		Owner: m.owner, Via: t.via(m), Dial: c != refused && c != unanswered,
		Deadline: now.Add(t.health.patient(ProbeTimeout)),
	}
	m.probe = &probing{until: p.Deadline, open: slices.Clone(p.Via), refused: c == refused}
	if p.Dial {
		m.probe.open = append(m.probe.open, t.self)
	}
	m.probe.asked = len(m.probe.open)
	if m.probe.asked > 0 {
		t.counters.Probes++
		t.probes = append(t.probes, p)
	}
}

// via are the neighbours to ask about m: live ones that do not accuse it, of highest rank, so that not always the same are
// asked.
func (t *Table) via(m *member) []wire.ID {
	var near []wire.ID
	for id, s := range t.sources {
		if m.docket != nil {
			if _, accuses := m.docket.find(id); accuses {
				continue
			}
		}
		if other := t.members[id]; s.neighbour && other != nil && other.status == Alive && other != m && id != t.self {
			near = append(near, id)
		}
	}
	seed := mix(rankSeed(m) ^ uint64(m.verifier.index))
	slices.SortFunc(near, func(x, y wire.ID) int {
		return cmp.Or(cmp.Compare(rank(y, seed), rank(x, seed)), x.Compare(y))
	})
	return near[:min(len(near), MaxVia)]
}

// Probed takes the answer of one that a Probe named: via is the neighbour, or this node itself for its dial. A newer beat of
// owner has ended the probe before; then, and when nobody asked, the answer is ignored.
func (t *Table) Probed(owner, via wire.ID, answer Answer, now time.Time) []Transition {
	now = t.observe(now)
	m := t.members[owner]
	if m == nil || m.probe == nil {
		return nil
	}
	i := slices.Index(m.probe.open, via)
	if i < 0 || m.probe.failed(now) {
		return nil
	}
	m.probe.open = slices.Delete(m.probe.open, i, i+1)
	m.probe.refused = m.probe.refused || via == t.self && answer == PortRefused
	if answer == Reached && !m.reprieved && m.grounds != refused {
		m.probe, m.reprieved = nil, true
		m.hold = now.Add(MissedBeats * t.interval(m))
		t.health.well(now)
		return nil
	}
	if len(m.probe.open) == 0 {
		m.probe.counted = true
		t.health.well(now)
	}
	return t.consider(m, now)
}

// missed counts a probe of which nobody answered in time against this node: it may be the one that nobody reaches.
func (t *Table) missed(m *member, now time.Time) {
	if p := m.probe; !p.counted && p.asked > 1 && len(p.open) == p.asked {
		t.health.worse(now)
	}
	m.probe.counted = true
}
