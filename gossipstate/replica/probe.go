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

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

const (
	probeTimeout = time.Second
	probeSettle  = 250 * time.Millisecond // a stream may break a moment before its connection
)

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
