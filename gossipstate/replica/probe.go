package replica

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

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
	p, owner, port := l.peer, l.owner, l.beats.port
	t.endBeats(l, liveness.ConnectionLost)
	if t.r.host.Network().Connectedness(p) == network.NotConnected {
		t.redial(p, owner, port, time.Now())
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
				t.redial(p, owner, port, time.Now())
			}
		})
	})
}

// endBeats gives the beat stream up. why is what a redial showed, ConnectionLost while that is not known.
func (t *table) endBeats(l *link, why liveness.Loss) {
	t.reset(l.beats.stream)
	l.beats = nil
	t.r.host.ConnManager().Unprotect(l.peer, beatService)
	t.transitions(t.live.NeighbourDown(l.owner, liveness.ConnectionLost, time.Now()))
	if why != liveness.ConnectionLost {
		t.transitions(t.live.NeighbourDown(l.owner, why, time.Now()))
	}
}

// losses are what the answers to a redial mean.
var losses = map[liveness.Answer]liveness.Loss{
	liveness.Reached: liveness.Released, liveness.PortRefused: liveness.RedialRefused, liveness.Unreachable: liveness.RedialUnanswered,
}

// redial finds out what became of a neighbour that listened on port, nil when that is not known.
func (t *table) redial(p peer.ID, owner gossipstate.ID, port multiaddr.Multiaddr, now time.Time) {
	if !t.dial(owner, port, false, waiter{now.Add(dialTimeout + dialTimeout), func(answer liveness.Answer, _ time.Time) {
		t.probed(p, owner, losses[answer])
	}}, now) {
		t.r.counters.one(CountProbe, "busy") // its silence will show it
	}
}

// probed tells the failure detector what became of a neighbour that was lost, unless it is back.
func (t *table) probed(p peer.ID, owner gossipstate.ID, verdict liveness.Loss) {
	if l := t.links[p]; l == nil || l.beats == nil {
		t.transitions(t.live.NeighbourDown(owner, verdict, time.Now()))
	}
}
