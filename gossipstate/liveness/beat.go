package liveness

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// ErrForged: no chain held under the beat's anchor name holds its preimage. It costs the sender score, but little: anchors
// are named by 4 bytes, so once in a while, or by an attacker's effort, an honest relay means a chain not known here.
var ErrForged = errors.New("liveness: forged beat")

// Outcome is what became of a beat. The zero Outcome goes with an error.
type Outcome uint8

const (
	// Fresh: a larger proof of life.
	Fresh Outcome = iota + 1
	// Stale: not newer than the newest beat known. No fault, and not checked any further.
	Stale
	// UnknownAnchor: no digest held carries the anchor. No fault; ask the sender for the digest.
	UnknownAnchor
	// OverBudget: checking it would exceed HashRate for its source. Drop it.
	OverBudget
)

func (o Outcome) String() string {
	return [...]string{"refused", "fresh", "stale", "unknown anchor", "over budget"}[min(o, OverBudget)]
}

// Beat takes a beat that came from the peer from: its own, or one that it relays. A fresh one ends a suspicion and brings
// the dead back at once; it never ends Left. Beats of this node's own identity are checked and counted like all others, so
// that a twin shows in Proof.
//
// Error: ErrForged.
func (t *Table) Beat(from wire.ID, b wire.Beat, now time.Time) (Outcome, []Transition, error) {
	now = t.observe(now)
	m, outcome := t.identify(from, b, now)
	switch outcome {
	case Fresh:
		t.counters.BeatsFresh++
		return Fresh, t.fresh(m, from, b, now), nil
	case Stale:
		t.counters.BeatsStale++
	case UnknownAnchor:
		t.counters.BeatsUnknown++
	case OverBudget:
		t.counters.BeatsOverBudget++
	default:
		t.counters.BeatsForged++
		return 0, nil, ErrForged
	}
	return outcome, nil, nil
}

// identify finds whose beat b is and whether it is new. The zero Outcome: forged.
func (t *Table) identify(from wire.ID, b wire.Beat, now time.Time) (*member, Outcome) {
	var room [MaxSharing + 1]*member
	candidates := t.candidates(room[:0], from, b.Anchor)
	switch {
	case len(candidates) == 0:
		return nil, UnknownAnchor
	case b.Index == 0:
		return nil, 0
	case len(candidates) == 1 && b.Index <= candidates[0].verifier.index:
		return nil, Stale // true or not, it proves nothing, and a hash would be wasted on it
	}
	// The sender itself first, then the nearest: the honest owner of a name is found in a few hashes, and a stranger who
	// took the same name cannot make every beat of it expensive.
	slices.SortStableFunc(candidates, func(x, y *member) int {
		switch from {
		case x.owner:
			return -1
		case y.owner:
			return 1
		}
		return cmp.Compare(x.verifier.distance(b.Index), y.verifier.distance(b.Index))
	})
	for _, m := range candidates {
		if b.Index > m.verifier.length {
			continue
		}
		if !t.spend(from, m.verifier.distance(b.Index), now) {
			return nil, OverBudget
		}
		if m.verifier.proves(b) {
			if b.Index <= m.verifier.index {
				return nil, Stale
			}
			return m, Fresh
		}
		if len(candidates) > 1 {
			t.toBack(m)
		}
	}
	return nil, 0
}

// candidates appends to list the members whose anchor has the name: at most MaxSharing, and from itself.
func (t *Table) candidates(list []*member, from wire.ID, name uint32) []*member {
	for m := t.names[name]; m != nil; m = m.nextNamed {
		list = append(list, m)
	}
	if m := t.members[from]; m != nil && !m.named && m.verifier.length > 0 && m.digest.BeatAnchor.Name() == name {
		list = append(list, m)
	}
	return list
}

// fresh notes the new newest beat of m.
func (t *Table) fresh(m *member, from wire.ID, b wire.Beat, now time.Time) []Transition {
	phi, _ := t.phi(m, now)
	before := m.proof()
	m.verifier.advance(b)
	m.heard, m.quiet, m.beatAt = now, now, now
	m.unrelayed, m.bringer = true, from
	if from == m.owner && m.status != Left && m.owner != t.self && t.sources[from].neighbour {
		m.clock.arrived(&m.digest, b.Index, now)
		if m.arrivals == nil || m.status == Dead {
			m.arrivals = newArrivals(m.digest.BeatInterval, now)
			t.judgeAt = time.Time{}
		} else {
			m.arrivals.arrived(now)
		}
	}
	t.proved(m, before, now)
	if m.status != Suspect && m.status != Dead {
		return nil
	}
	return t.revive(m, phi, from, fmt.Sprintf("beat %d came", b.Index), now)
}

// name makes m known under the name of its anchor. The first MaxSharing keep it: an anchor's name cannot be known before
// its owner publishes it, so taking it first needs several identities that each outrun the owner's digest.
func (t *Table) name(m *member) {
	if m.verifier.length == 0 {
		return
	}
	name := m.digest.BeatAnchor.Name()
	head := t.names[name]
	if head == nil {
		t.names[name] = m
		m.named = true
		return
	}
	tail, n := head, 1
	for ; tail.nextNamed != nil; n++ {
		tail = tail.nextNamed
	}
	if n >= MaxSharing {
		t.counters.NamesCrowded++
		return
	}
	tail.nextNamed = m
	m.named = true
}

// toBack makes m the last to be tried among those of its name that are equally near. Otherwise the budget could go to
// a stranger's chain at each first beat of an owner.
func (t *Table) toBack(m *member) {
	if m.named {
		t.unname(m)
		t.name(m)
	}
}

// unname is the opposite of name.
func (t *Table) unname(m *member) {
	if !m.named {
		return
	}
	name := m.digest.BeatAnchor.Name()
	if head := t.names[name]; head != m {
		for head.nextNamed != m {
			head = head.nextNamed
		}
		head.nextNamed = m.nextNamed
	} else if m.nextNamed != nil {
		t.names[name] = m.nextNamed
	} else {
		delete(t.names, name)
	}
	m.nextNamed, m.named = nil, false
}
