package replica

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

const probeSettle = 250 * time.Millisecond // a stream may break a moment before its connection

// neighbourLost tells the failure detector that beats can run no more, and finds out why: still connected, the neighbour has
// only given up the stream.
func (t *table) neighbourLost(l *link) {
	if l.beats == nil {
		return
	}
	t.endBeats(l, liveness.ConnectionLost)
	p, owner := l.peer, l.owner
	if t.r.host.Network().Connectedness(p) == network.NotConnected {
		t.redial(p, owner, time.Now())
		return
	}
	t.tasks.spawn(func(ctx context.Context) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeSettle):
		}
		t.r.do(ctx, func(t *table) {
			if t.r.host.Network().Connectedness(p) != network.NotConnected {
				t.probed(p, owner, liveness.Released)
			} else {
				t.redial(p, owner, time.Now())
			}
		})
	})
}

// endBeats gives the beat stream up. why is what a redial showed, ConnectionLost while that is not known.
func (t *table) endBeats(l *link, why liveness.Loss) {
	l.beats.stream.Reset()
	l.beats = nil
	t.transitions(t.live.NeighbourDown(l.owner, liveness.ConnectionLost, time.Now()))
	if why != liveness.ConnectionLost {
		t.transitions(t.live.NeighbourDown(l.owner, why, time.Now()))
	}
}

// knockLate looks after neighbours whose beat is overdue: a process that was killed leaves no sign on QUIC, but its TCP port
// refuses. Most are only late, so it takes no more than that: who listens shows when beats go on missing.
func (t *table) knockLate(now time.Time) {
	for _, l := range t.links {
		if l.beats == nil || now.Sub(l.beats.heard) < l.beats.interval*5/4 || now.Sub(l.knocked) < 2*l.beats.interval {
			continue
		}
		l.knocked = now
		p, owner := l.peer, l.owner
		addrs := slices.DeleteFunc(t.r.dialable(p, t.addrsOf(owner)), func(addr multiaddr.Multiaddr) bool {
			return !isTCP(addr) || !manet.IsThinWaist(addr)
		})
		if len(addrs) == 0 {
			continue
		}
		t.tasks.spawn(func(ctx context.Context) {
			if t.r.reach(ctx, p, addrs, knock) == liveness.PortRefused {
				t.r.do(ctx, func(t *table) { t.probed(p, owner, liveness.RedialRefused) })
			}
		})
	}
}

// losses are what the answers to a redial mean.
var losses = map[liveness.Answer]liveness.Loss{
	liveness.Reached: liveness.Released, liveness.PortRefused: liveness.RedialRefused, liveness.Unreachable: liveness.RedialUnanswered,
}

// redial finds out what became of a neighbour.
func (t *table) redial(p peer.ID, owner gossipstate.ID, now time.Time) {
	if !t.dial(owner, false, waiter{now.Add(dialTimeout + dialTimeout), func(answer liveness.Answer, _ time.Time) {
		t.probed(p, owner, losses[answer])
	}}, now) {
		t.r.counters.one(CountProbe, "busy") // its silence will show it
	}
}

func (t *table) probed(p peer.ID, owner gossipstate.ID, verdict liveness.Loss) {
	l := t.links[p]
	switch running := l != nil && l.beats != nil; {
	case !running:
		t.transitions(t.live.NeighbourDown(owner, verdict, time.Now()))
	case verdict == liveness.RedialRefused:
		t.endBeats(l, verdict) // its connection has not noticed yet
	}
}
