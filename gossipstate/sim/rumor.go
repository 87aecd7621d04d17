package sim

import (
	"crypto/sha256"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	rumorRate    = 20  // rumors a second of one owner
	rumorBurst   = 100 // at one time
	publishEvery = 50 * time.Millisecond
)

// rumor is one message on the gossip topic, as its author made it.
type rumor struct {
	number   int
	topic    int
	author   *node
	data     []byte
	at       time.Duration
	verified *wire.Verified // nil: not yet, or not to be kept
}

// wakePublisher has this node's changes of t go out: the first at once, then what has gathered every publishEvery.
func (p *process) wakePublisher(t *topic) {
	if t.waking {
		return
	}
	t.waking = true
	p.s.after(max(0, t.quiet.Sub(p.s.now())), p, func() { p.publish(t) })
}

func (p *process) publish(t *topic) {
	t.waking = false
	t.quiet = p.s.now().Add(publishEvery)
	d, _, held := t.state.Digest(p.node.id)
	if !held || d.Version <= t.published || p.s.cfg.NoRumors {
		return
	}
	u, _ := t.state.Rumor(p.node.id, t.published)
	t.published = d.Version
	r := &rumor{number: p.s.rumors, topic: t.index, author: p.node, data: wire.MarshalUpdate(&u), at: p.s.clock}
	p.s.rumors++
	p.s.spread.Published++
	if p.s.capture {
		p.s.captured = append(p.s.captured, r)
	}
	if len(r.data) > wire.MaxRumor {
		p.s.fail("node %d published a rumor of %d bytes", p.node.index, len(r.data))
	}
	t.seen.add(r.number)
	p.forward(r, nil, 0)
}

// forward sends r over every link but the one it came by. hops is how far it has come.
func (p *process) forward(r *rumor, from *link, hops int) {
	for _, l := range p.links {
		if l != nil && l != from && l.peer != r.author {
			l.sendRumor(r, hops+1)
		}
	}
}

// sendRumor sends r once, or more or less by chance.
func (l *link) sendRumor(r *rumor, hops int) {
	p := l.conn.procs[l.side]
	s := p.s
	p.node.Rumors++
	p.node.RumorBytes += uint64(len(r.data))
	s.note(uint64(r.number))
	if s.separated(p.node, l.peer) || s.chance(s.cfg.Loss) {
		return
	}
	l.deliver(r, hops, false)
	if s.chance(s.cfg.Duplicate) {
		l.deliver(r, hops, true)
	}
}

// deliver has r arrive at the other side. again: past the memory of what was seen.
func (l *link) deliver(r *rumor, hops int, again bool) {
	to := l.conn.procs[l.other()]
	l.conn.edge.s.after(l.conn.edge.delay(), to, func() {
		if back := l.conn.links[l.other()]; l.conn.up[l.other()] {
			to.rumorCame(back, r, hops, again)
		}
	})
}

// Capture begins to keep every rumor that is published, for Replay.
func (s *Sim) Capture() { s.captured, s.capture = nil, true }

// Replay ends the capture and has the node, which must run, send each rumor of it to all its peers once more, in their order
// and at that many times their pace, past the memory of what was seen. It returns how many it will send, and how long that
// takes.
func (s *Sim) Replay(node int, speed float64) (sent int, takes time.Duration) {
	s.capture = false
	p := s.nodes[node].proc
	for _, r := range s.captured {
		takes = time.Duration(float64(r.at-s.captured[0].at) / speed)
		for _, l := range p.links {
			if l != nil {
				sent++
				s.after(takes, p, func() { l.deliver(r, 1, true) })
			}
		}
	}
	return sent, takes
}

// rumorCame takes in r and passes it on when its validator accepts it. again: past the memory of what was seen.
func (p *process) rumorCame(from *link, r *rumor, hops int, again bool) {
	t := p.topic[r.topic]
	if fresh := t.seen.add(r.number); !fresh && !again {
		p.s.spread.Redundant++
		return
	} else if fresh {
		p.s.spread.count(hops, p.s.clock-r.at)
	}
	v, err := p.s.verifyRumor(t, r)
	if err != nil || v.Update().Digest.Owner != r.author.id || v.Update().More {
		p.s.fail("node %d published a rumor that does not verify: %v", r.author.index, err)
		return
	}
	if p.takeRumor(t, v, from) {
		p.forward(r, from, hops)
	}
}

// takeRumor applies a rumor and says whether it is passed on.
func (p *process) takeRumor(t *topic, v *wire.Verified, from *link) bool {
	now := p.s.now()
	owner := v.Update().Digest.Owner
	if held, _, ok := t.state.Digest(owner); ok && v.Update().Digest.Compare(&held) <= 0 {
		p.node.Stale++
		return false
	}
	rate := t.rates[owner]
	if rate == nil {
		rate = newBucket(rumorRate, rumorBurst, now)
		if t.rates == nil {
			t.rates = map[wire.ID]*bucket{}
		}
		t.rates[owner] = rate
	}
	if !rate.take(now) {
		p.node.OverRate++
		return false
	}
	outcome, newer, err := p.receive(t, v, arrival{from: from, by: byRumor, heard: true}, now)
	return err == nil && (outcome == gossipstate.Applied || newer)
}

// verifyRumor decodes and verifies r, once for all nodes if Config.VerifyOnce says so.
func (s *Sim) verifyRumor(t *topic, r *rumor) (*wire.Verified, error) {
	if r.verified != nil {
		return r.verified, nil
	}
	v, err := verifyBytes(t, r.data)
	if err == nil && s.cfg.VerifyOnce {
		r.verified = v
	}
	return v, err
}

// maxVerified bounds how many verified updates are remembered. Beyond it all are forgotten.
const maxVerified = 1 << 16

// verify encodes, decodes and verifies u as every receiver does. With Config.VerifyOnce an update that was verified on its
// topic already, byte for byte, is not verified again.
func (s *Sim) verify(t *topic, u *wire.Update) (*wire.Verified, error) {
	data := wire.MarshalUpdate(u)
	return s.once(t, data, func() (*wire.Verified, error) { return verifyBytes(t, data) })
}

// verifyStored is verify for what did not come in a frame and may be larger than one.
func (s *Sim) verifyStored(t *topic, u *wire.Update) (*wire.Verified, error) {
	return s.once(t, wire.MarshalUpdate(u), func() (*wire.Verified, error) {
		v, err := wire.Verify(t.domain, *u)
		return &v, err
	})
}

func (s *Sim) once(t *topic, data []byte, verify func() (*wire.Verified, error)) (*wire.Verified, error) {
	if !s.cfg.VerifyOnce {
		return verify()
	}
	key := sha256.Sum256(append(data[:len(data):len(data)], byte(t.index)))
	if v := s.verified[key]; v != nil {
		return v, nil
	}
	v, err := verify()
	if err != nil {
		return nil, err
	}
	if len(s.verified) >= maxVerified {
		clear(s.verified)
	}
	s.verified[key] = v
	return v, nil
}

func verifyBytes(t *topic, data []byte) (*wire.Verified, error) {
	u, err := wire.UnmarshalUpdate(data)
	if err != nil {
		return nil, err
	}
	v, err := wire.Verify(t.domain, u)
	return &v, err
}
