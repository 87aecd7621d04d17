package replica

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

// A process that was killed leaves no sign on QUIC, but its TCP port refuses. That is believed only of a port at which the
// neighbour was seen to listen: many addresses that a member signs mean another host here, or none, and refuse from the start.

const (
	learnFirst = 2 * time.Second  // after beats began: when many nodes start at once they have more to do
	learnAgain = 30 * time.Second // when there was no port
)

// learnPorts looks, of neighbours that beat, for a TCP port at which they listen.
func (t *table) learnPorts(now time.Time) {
	for _, l := range t.links {
		b := l.beats
		if b == nil || b.port != nil || now.Before(b.learnAt) || b.late(now) {
			continue
		}
		b.learnAt = now.Add(learnAgain)
		p, signed := l.peer, t.addrsOf(l.owner)
		t.tasks.spawn(func(ctx context.Context) {
			if port := t.r.listens(ctx, p, t.r.dialable(p, signed)); port != nil {
				t.r.do(ctx, func(*table) { b.port = port })
			}
		})
	}
}

// listens is one of addrs at which p itself listens by TCP, the first to answer; nil when none does.
func (r *Replica) listens(ctx context.Context, p peer.ID, addrs []multiaddr.Multiaddr) multiaddr.Multiaddr {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	addrs = slices.DeleteFunc(addrs, func(addr multiaddr.Multiaddr) bool { return !isTCP(addr) || !manet.IsThinWaist(addr) })
	answered := make(chan multiaddr.Multiaddr, len(addrs))
	for _, addr := range addrs {
		go func() {
			if r.handshake(ctx, p, addr) != nil {
				addr = nil
			}
			answered <- addr
		}()
	}
	var first multiaddr.Multiaddr
	for range addrs { // all of them, so that no goroutine outlives this
		if addr := <-answered; addr != nil && first == nil {
			first = addr
			cancel()
		}
	}
	return first
}

// portOf is where owner, a neighbour, is known to listen by TCP; nil when that is not known.
func (t *table) portOf(owner gossipstate.ID) multiaddr.Multiaddr {
	if l := t.links[PeerOf(owner)]; l != nil && l.beats != nil {
		return l.beats.port
	}
	return nil
}

// knockLate looks after neighbours whose beat is overdue. Most are only late, so it takes no more than a knock: who listens
// shows when beats go on missing.
func (t *table) knockLate(now time.Time) {
	for _, l := range t.links {
		b := l.beats
		if b == nil || b.port == nil || now.Sub(b.heard) < b.knockAfter() || now.Sub(b.knocked) < 2*b.interval {
			continue
		}
		b.knocked = now
		port, heard := b.port, b.heard
		t.tasks.spawn(func(ctx context.Context) {
			if refuses(ctx, port) {
				t.r.do(ctx, func(t *table) { t.refused(l, b, heard) })
			}
		})
	}
}

// refused ends beats, which are late, unless they have gone on since the last was heard, or another stream has taken their place: of
// a process that began since.
func (t *table) refused(l *link, b *beatLink, heard time.Time) {
	if l.beats == b && b.heard.Equal(heard) {
		t.r.counters.one(CountProbe, "knock_refused")
		t.endBeats(l, liveness.RedialRefused) // the connection has not noticed yet
	}
}

// refuses says whether nothing listens at port.
func refuses(ctx context.Context, port multiaddr.Multiaddr) bool {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d manet.Dialer
	conn, err := d.DialContext(ctx, port)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.Close()
	return false
}

// knockAfter is how long after its last frame a neighbour's beats are so late that its port is looked after.
func (b *beatLink) knockAfter() time.Duration { return b.interval * 5 / 4 }

// reset ends a stream from within the table's goroutine, which must not wait for it: a peer that reads nothing can hold up even
// that.
func (t *table) reset(s network.Stream) {
	t.tasks.spawn(func(context.Context) { s.Reset() })
}
