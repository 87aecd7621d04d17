package sim

import (
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	dialTimeout  = time.Second           // for a dial at all addresses of a member
	dialAgain    = liveness.ProbeTimeout // what a dial showed is not looked up again for so long
	maxDials     = 64                    // members that are dialled at one time
	refusedGrace = 20 * time.Millisecond // for another path, beside twice what the refusal took
	probeSettle  = 250 * time.Millisecond
)

// dialSends is when the first packet of a handshake is sent: QUIC's probe time-out before a round trip was measured, doubling.
var dialSends = [...]time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond}

// dialing is a dial of one member: one for all who want to know.
type dialing struct {
	owner  wire.ID
	answer liveness.Answer // 0: it runs
	ended  time.Time
	asked  bool            // begun for a neighbour
	of     wire.Generation // that owner had: a later process is another matter
	wait   []waiter
}

// waiter is told what a dial has shown, at until the latest: Unreachable then.
type waiter struct {
	until time.Time
	tell  func(answer liveness.Answer, now time.Time)
}

// dial finds out whether owner can be reached, and tells w. One who has asked for it already, or was answered just now,
// causes no second dial. False when there are too many: nothing is told then.
func (p *process) dial(owner wire.ID, asked bool, w waiter, now time.Time) bool {
	i := slices.IndexFunc(p.dials, func(d *dialing) bool { return d.owner == owner })
	proof, _ := p.live.Proof(owner)
	switch {
	case i >= 0 && p.dials[i].answer == 0:
		p.dials[i].wait = append(p.dials[i].wait, w)
		return true
	case i >= 0 && now.Sub(p.dials[i].ended) < dialAgain && p.dials[i].of == proof.Generation:
		w.tell(p.dials[i].answer, now)
		return true
	case p.dialsRunning >= maxDials || asked && p.dialsAsked >= maxDialsAsked:
		return false
	case i >= 0:
		p.dials = slices.Delete(p.dials, i, i+1)
	}
	d := &dialing{owner: owner, asked: asked, of: proof.Generation, wait: []waiter{w}}
	p.dials = append(p.dials, d)
	p.dialsRunning++
	if asked {
		p.dialsAsked++
	}
	p.node.Dials++
	p.reach(p.s.byID[owner], func(answer liveness.Answer) { p.dialled(d, answer) })
	return true
}

func (p *process) dialled(d *dialing, answer liveness.Answer) {
	p.dialsRunning--
	if d.asked {
		p.dialsAsked--
	}
	d.answer, d.ended = answer, p.s.now()
	wait := d.wait
	d.wait = nil
	for _, w := range wait {
		w.tell(answer, d.ended)
	}
}

// overdueDials answers those who cannot wait any longer, and drops what ended dials have shown.
func (p *process) overdueDials(now time.Time) {
	if len(p.dials) == 0 {
		return
	}
	p.dials = slices.DeleteFunc(p.dials, func(d *dialing) bool { return d.answer != 0 && now.Sub(d.ended) >= dialAgain })
	for _, d := range slices.Clone(p.dials) {
		var late []waiter
		d.wait = slices.DeleteFunc(d.wait, func(w waiter) bool {
			over := !now.Before(w.until)
			if over {
				late = append(late, w)
			}
			return over
		})
		for _, w := range late {
			w.tell(liveness.Unreachable, now)
		}
	}
}

// reach tells what handshakes at all addresses of to show: its process answers, the host does without it, or nobody.
func (p *process) reach(to *node, tell func(answer liveness.Answer)) {
	s, told := p.s, false
	after := func(d time.Duration, answer liveness.Answer) {
		s.after(d, p, func() {
			if !told {
				told = true
				tell(answer)
			}
		})
	}
	after(dialTimeout, liveness.Unreachable)
	for i, sent := range dialSends {
		there, back, came := s.trip(i > 0)
		if !came {
			continue
		}
		s.after(sent+there, nil, func() {
			switch {
			case told || s.separated(p.node, to) || to.host == hostGone:
			case to.proc != nil:
				s.after(0, to.proc, func() { after(back, liveness.Reached) }) // once it is not frozen
			case to.host == hostAnothers:
				after(back, liveness.Unreachable)
			default:
				after(back+2*(there+back)+refusedGrace, liveness.PortRefused)
			}
		})
	}
}

// trip is how long a packet takes there and its answer back, between nodes that need not be linked, and whether neither is lost.
func (s *Sim) trip(again bool) (there, back time.Duration, came bool) {
	lost := s.lost(again)
	lost = s.lost(again) || lost
	return s.delay(), s.delay(), !lost
}

// delay is the time that one packet takes between nodes that need not be linked.
func (s *Sim) delay() time.Duration {
	return s.cfg.Latency/2 + s.within(s.cfg.Latency) + s.within(s.cfg.Jitter)
}

// knockLate looks after neighbours whose beat is overdue: a process that was killed leaves no sign on QUIC, but its TCP port
// refuses. A frozen one is let alone: its kernel answers.
func (p *process) knockLate(now time.Time) {
	for _, l := range p.links {
		if l == nil || l.beats == nil || now.Sub(l.beats.heard) < l.beats.interval*5/4 || now.Sub(l.knocked) < 2*l.beats.interval {
			continue
		}
		l.knocked = now
		s, beats := p.s, l.beats
		there, back, came := s.trip(false)
		s.after(there, nil, func() {
			if came && !s.separated(p.node, l.peer) && l.peer.proc == nil && l.peer.host == hostUp {
				s.after(back, p, func() { p.refused(l, beats) })
			}
		})
	}
}

// refused ends beats, which are late, unless another stream has taken their place: of a process that began since.
func (p *process) refused(l *link, beats *beatLink) {
	if l.beats == beats {
		p.endBeats(l, liveness.RedialRefused) // the connection has not noticed yet
	}
}

// neighbourLost tells the failure detector that beats can run no more, and finds out why: still connected, the neighbour has
// only given up the stream.
func (p *process) neighbourLost(l *link) {
	if l.beats == nil {
		return
	}
	p.endBeats(l, liveness.ConnectionLost)
	if !p.has(l) {
		p.redial(l)
		return
	}
	p.s.after(probeSettle, p, func() { // a stream may break a moment before its connection
		if p.has(l) {
			p.probed(l, liveness.Released)
		} else {
			p.redial(l)
		}
	})
}

// endBeats gives the beat stream up. why is what a redial showed, ConnectionLost while that is not known.
func (p *process) endBeats(l *link, why liveness.Loss) {
	b := l.beats
	l.beats = nil
	p.unsketch(l)
	b.stream.reset(l.side)
	p.transitions(p.live.NeighbourDown(l.owner, liveness.ConnectionLost, p.s.now()))
	if why != liveness.ConnectionLost {
		p.transitions(p.live.NeighbourDown(l.owner, why, p.s.now()))
	}
}

// losses are what the answers to a redial mean.
var losses = map[liveness.Answer]liveness.Loss{
	liveness.Reached: liveness.Released, liveness.PortRefused: liveness.RedialRefused, liveness.Unreachable: liveness.RedialUnanswered,
}

// redial finds out what became of a neighbour. When there are too many dials its silence will show it.
func (p *process) redial(l *link) {
	now := p.s.now()
	p.dial(l.owner, false, waiter{now.Add(2 * dialTimeout), func(answer liveness.Answer, _ time.Time) {
		p.probed(l, losses[answer])
	}}, now)
}

// probed tells the failure detector what became of a neighbour that was lost, unless it is back.
func (p *process) probed(l *link, verdict liveness.Loss) {
	if current := p.linkTo(l.owner); current == nil || current.beats == nil {
		p.transitions(p.live.NeighbourDown(l.owner, verdict, p.s.now()))
	}
}

// linkTo is the link to owner, nil when it is not connected.
func (p *process) linkTo(owner wire.ID) *link {
	for _, l := range p.links {
		if l != nil && l.owner == owner {
			return l
		}
	}
	return nil
}
