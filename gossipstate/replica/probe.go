package replica

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

const (
	probeTimeout = time.Second
	probeSettle  = 250 * time.Millisecond // a stream may break a moment before its connection
)

// neighbourLost tells the failure detector that beats can run no more, and finds out why.
func (t *table) neighbourLost(l *link) {
	if l.beats == nil {
		return
	}
	t.endBeats(l, liveness.ConnectionLost)
	t.probe(l.peer, l.owner, t.r.probeLost)
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

// probeLate looks after neighbours whose beat is overdue: a process that was killed leaves no sign on QUIC, but its TCP port
// refuses.
func (t *table) probeLate(now time.Time) {
	for _, l := range t.links {
		if l.beats == nil || !l.beats.late(now) || now.Sub(l.probed) < 2*l.beats.interval {
			continue
		}
		l.probed = now
		t.probe(l.peer, l.owner, t.r.probe)
	}
}

// probe finds out in the background what became of p.
func (t *table) probe(p peer.ID, owner gossipstate.ID, how func(context.Context, peer.ID) liveness.Loss) {
	t.tasks.spawn(func(ctx context.Context) {
		verdict := how(ctx, p)
		t.r.do(ctx, func(t *table) { t.probed(p, owner, verdict) })
	})
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

// probeLost finds out what became of a neighbour whose beat stream ended. Still connected, it has only given up the stream:
// Released. Else as probe.
func (r *Replica) probeLost(ctx context.Context, p peer.ID) liveness.Loss {
	select {
	case <-ctx.Done():
		return liveness.RedialUnanswered
	case <-time.After(r.settle(p)):
	}
	if r.host.Network().Connectedness(p) != network.NotConnected {
		return liveness.Released
	}
	return r.probe(ctx, p)
}

func (r *Replica) settle(p peer.ID) time.Duration {
	if r.host.Network().Connectedness(p) == network.NotConnected {
		return 0
	}
	return probeSettle
}

// probe dials the TCP addresses of p, without a handshake. RedialRefused means that the host is up and nothing listens there,
// which a broken QUIC connection cannot tell; RedialUnanswered that none answers, Released that one does.
func (r *Replica) probe(ctx context.Context, p peer.ID) liveness.Loss {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	refused := false
	for _, addr := range r.host.Peerstore().Addrs(p) {
		if _, err := addr.ValueForProtocol(multiaddr.P_TCP); err != nil || !manet.IsThinWaist(addr) {
			continue
		}
		var d manet.Dialer
		conn, err := d.DialContext(ctx, addr)
		if err == nil {
			conn.Close()
			return liveness.Released
		}
		refused = refused || errors.Is(err, syscall.ECONNREFUSED)
	}
	if refused {
		return liveness.RedialRefused
	}
	return liveness.RedialUnanswered
}
