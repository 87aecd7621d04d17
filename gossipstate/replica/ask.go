package replica

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Before this node accuses a member it asks neighbours about it, and answers theirs.

const (
	probeRate     = 4                             // probes a second of one neighbour that may cause a dial (guess)
	probeBurst    = 32                            // at one time: half of what it may ask about
	othersRate    = 16                            // dials a second for all neighbours together, who may come and go (guess)
	othersBurst   = 128                           // at one time: the bursts of four neighbours
	maxDialsAsked = 16                            // members that are dialled for neighbours at one time
	askedTimeout  = liveness.ProbeTimeout * 2 / 5 // for a neighbour's probe: with a tick and the way there and back it is in time

	extraRate  = 4 // frames a second beside those of own beats: with the fastest beats just within frameRate
	extraBurst = 4 // at one time
)

// askAbout puts the questions that the failure detector has.
func (t *table) askAbout(now time.Time) {
	for _, p := range t.live.Probes() {
		digest, _, held := t.members().state.Digest(p.Owner)
		if !held {
			continue
		}
		proof, _ := t.live.Proof(p.Owner)
		for _, via := range p.Via {
			l := t.links[PeerOf(via)]
			if l == nil || l.beats == nil || len(l.beats.probes) >= wire.MaxFrameProbes {
				t.r.counters.one(CountProbe, "unasked")
				continue
			}
			l.beats.probes = append(l.beats.probes, wire.BeatProbe{Owner: p.Owner, Anchor: digest.BeatAnchor.Name(), Index: proof.Index})
			t.r.counters.one(CountProbe, "asked")
		}
		if p.Dial && !t.dial(p.Owner, t.portOf(p.Owner), false, waiter{p.Deadline, func(answer liveness.Answer, now time.Time) {
			t.transitions(t.live.Probed(p.Owner, t.r.self, answer, now))
		}}, now) {
			t.r.counters.one(CountProbe, "busy")
		}
	}
}

// takeProbes answers a neighbour's probes: with a newer beat, or with what a dial shows. What cannot be looked up is answered as
// well: the neighbour is to know that it is heard.
func (t *table) takeProbes(l *link, probes []wire.BeatProbe, now time.Time) {
	for i := range probes {
		p := &probes[i]
		if b := t.newestBeat(wire.Members, p.Owner); b != nil && b.Anchor == p.Anchor && b.Index > p.Index {
			t.r.counters.one(CountProbe, "answered_by_beat")
			t.reply(l, p.Owner, b, false)
			continue
		}
		if refusal := t.lookAfter(l, p.Owner, now); refusal != "" {
			t.r.counters.one(CountProbe, refusal)
			t.reply(l, p.Owner, nil, false)
		}
	}
}

// lookAfter dials owner for a neighbour, and says why not otherwise. Nobody can have this node dial whom it does not know as a
// member, nor anywhere else than where that member says that it is, or where this node would look for it anyhow.
func (t *table) lookAfter(l *link, owner gossipstate.ID, now time.Time) (refusal string) {
	switch status := t.live.Status(owner); {
	case owner == t.r.self || owner == l.owner || status == 0 || status == liveness.Left:
		return "no_member"
	case !l.asked.take(now):
		return "over_rate"
	}
	beats := l.beats
	if !t.dial(owner, t.portOf(owner), true, waiter{now.Add(askedTimeout), func(answer liveness.Answer, _ time.Time) {
		if l.beats == beats {
			t.reply(l, owner, nil, answer == liveness.Reached)
		}
	}}, now) {
		return "busy_asked"
	}
	return ""
}

// reply has the answer go out with the next frame.
func (t *table) reply(l *link, owner gossipstate.ID, b *wire.Beat, reached bool) {
	switch {
	case len(l.beats.answers)+len(l.beats.replies) >= wire.MaxFrameProbes:
		t.r.counters.one(CountProbe, "unanswered")
	case b != nil:
		l.beats.replies = append(l.beats.replies, *b)
	default:
		l.beats.answers = append(l.beats.answers, wire.BeatAnswer{Owner: owner, Reached: reached})
	}
	t.stirred = true
}

// takeAnswers gives a neighbour's answers to the failure detector, which ignores what it has not asked for.
func (t *table) takeAnswers(l *link, answers []wire.BeatAnswer, now time.Time) {
	for i := range answers {
		answer := liveness.Unreachable
		if answers[i].Reached {
			answer = liveness.Reached
		}
		t.transitions(t.live.Probed(answers[i].Owner, l.owner, answer, now))
	}
}

// hasten wakes the senders of frames that should not wait for the next own beat. One that has had too many waits for the next
// tick, or its beat.
func (t *table) hasten(now time.Time) {
	for _, l := range t.links {
		b := l.beats
		if b == nil || len(b.hurry) > 0 || !(b.waits() || t.live.Urgent(l.owner)) || !b.extra.take(now) {
			continue
		}
		b.hurry <- struct{}{}
	}
}

// waits says whether there is something to say to the neighbour at once.
func (b *beatLink) waits() bool { return len(b.probes)+len(b.answers)+len(b.replies) > 0 }
