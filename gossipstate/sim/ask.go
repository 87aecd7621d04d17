package sim

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	probeRate     = 4                             // probes a second of one neighbour that may cause a dial
	probeBurst    = 32                            // at one time
	maxDialsAsked = 16                            // members that are dialled for neighbours at one time
	askedTimeout  = liveness.ProbeTimeout * 2 / 5 // for a neighbour's probe

	extraRate  = 4 // frames a second beside those of own beats
	extraBurst = 4 // at one time
)

// askAbout puts the questions that the failure detector has.
func (p *process) askAbout(now time.Time) {
	for _, probe := range p.live.Probes() {
		digest, _, held := p.topic[members].state.Digest(probe.Owner)
		if !held {
			continue
		}
		proof, _ := p.live.Proof(probe.Owner)
		for _, via := range probe.Via {
			l := p.linkTo(via)
			if l == nil || l.beats == nil || len(l.beats.probes) >= wire.MaxFrameProbes {
				continue
			}
			l.beats.probes = append(l.beats.probes, wire.BeatProbe{
				Owner: probe.Owner, Anchor: digest.BeatAnchor.Name(), Index: proof.Index,
			})
			p.node.Probes++
		}
		if probe.Dial {
			p.dial(probe.Owner, false, waiter{probe.Deadline, func(answer liveness.Answer, now time.Time) {
				p.transitions(p.live.Probed(probe.Owner, p.node.id, answer, now))
			}}, now)
		}
	}
}

// takeProbes answers a neighbour's probes: with a newer beat, or with what a dial shows. What cannot be looked up is answered as
// well: the neighbour is to know that it is heard.
func (p *process) takeProbes(l *link, probes []wire.BeatProbe, now time.Time) {
	for i := range probes {
		probe := &probes[i]
		if b, known := p.newestBeat(probe.Owner, now); known && b.Anchor == probe.Anchor && b.Index > probe.Index {
			p.reply(l, probe.Owner, &b, false)
			continue
		}
		if !p.lookAfter(l, probe.Owner, now) {
			p.reply(l, probe.Owner, nil, false)
		}
	}
}

// newestBeat is the newest beat known of owner.
func (p *process) newestBeat(owner wire.ID, now time.Time) (wire.Beat, bool) {
	if k := p.me.beat(now); owner == p.node.id && p.me.published && k > 0 {
		return p.me.chain.Beat(k), true
	}
	return p.live.NewestBeat(owner)
}

// lookAfter dials owner for a neighbour, unless there is no such member or too many ask.
func (p *process) lookAfter(l *link, owner wire.ID, now time.Time) bool {
	status := p.live.Status(owner)
	if owner == p.node.id || owner == l.owner || status == 0 || status == liveness.Left || !l.asked.take(now) {
		return false
	}
	beats := l.beats
	return p.dial(owner, true, waiter{now.Add(askedTimeout), func(answer liveness.Answer, _ time.Time) {
		if l.beats == beats {
			p.reply(l, owner, nil, answer == liveness.Reached)
		}
	}}, now)
}

// reply has the answer go out with the next frame.
func (p *process) reply(l *link, owner wire.ID, b *wire.Beat, reached bool) {
	switch {
	case len(l.beats.answers)+len(l.beats.replies) >= wire.MaxFrameProbes:
	case b != nil:
		l.beats.replies = append(l.beats.replies, *b)
	default:
		l.beats.answers = append(l.beats.answers, wire.BeatAnswer{Owner: owner, Reached: reached})
	}
	p.stirred = true
}

// takeAnswers gives a neighbour's answers to the failure detector, which ignores what it has not asked for.
func (p *process) takeAnswers(l *link, answers []wire.BeatAnswer, now time.Time) {
	for i := range answers {
		answer := liveness.Unreachable
		if answers[i].Reached {
			answer = liveness.Reached
		}
		p.transitions(p.live.Probed(answers[i].Owner, l.owner, answer, now))
	}
}

// hasten sends frames that should not wait for the next own beat. When there have been too many they wait for the next tick, or
// the beat.
func (p *process) hasten(now time.Time) {
	for _, l := range p.links {
		if l != nil && l.beats != nil && (l.beats.waits() || p.live.Urgent(l.owner)) && l.beats.extra.take(now) {
			p.sendBeat(l, now)
		}
	}
}

// waits says whether there is something to say to the neighbour at once.
func (b *beatLink) waits() bool { return len(b.probes)+len(b.answers)+len(b.replies) > 0 }
