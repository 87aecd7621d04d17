package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

const (
	dialTimeout  = time.Second           // for a dial at all addresses of a member
	dialAgain    = liveness.ProbeTimeout // what a dial showed is not looked up again for so long
	maxDials     = 64                    // members that are dialled at one time
	maxDialAddrs = 8                     // addresses of one member that are dialled
	refusedGrace = 20 * time.Millisecond // for another path, beside twice what the refusal took (guess)
)

// dialing is a dial of one member: one for all who want to know.
type dialing struct {
	answer liveness.Answer // 0: it runs
	ended  time.Time
	asked  bool // begun for a neighbour
	wait   []waiter
}

// waiter is told what a dial has shown, at until the latest: Unreachable then.
type waiter struct {
	until time.Time
	tell  func(answer liveness.Answer, now time.Time)
}

// dial finds out whether owner can be reached, and tells w. One who has asked for it already, or was answered just now,
// causes no second dial. False when there are too many: nothing is told then.
func (t *table) dial(owner gossipstate.ID, asked bool, w waiter, now time.Time) bool {
	d := t.dials[owner]
	switch {
	case d != nil && d.answer == 0:
		d.wait = append(d.wait, w)
		return true
	case d != nil && now.Sub(d.ended) < dialAgain:
		w.tell(d.answer, now)
		return true
	case t.dialsRunning >= maxDials || asked && t.dialsAsked >= maxDialsAsked:
		return false
	}
	t.dials[owner] = &dialing{asked: asked, wait: []waiter{w}}
	t.dialsRunning++
	if asked {
		t.dialsAsked++
	}
	p, signed := PeerOf(owner), t.addrsOf(owner)
	return t.tasks.spawn(func(ctx context.Context) {
		answer := t.r.reach(ctx, p, t.r.dialable(p, signed), t.r.handshake)
		t.r.do(ctx, func(t *table) { t.dialled(owner, answer, time.Now()) })
	})
}

func (t *table) dialled(owner gossipstate.ID, answer liveness.Answer, now time.Time) {
	d := t.dials[owner]
	t.dialsRunning--
	if d.asked {
		t.dialsAsked--
	}
	d.answer, d.ended = answer, now
	t.r.counters.one(CountProbe, dialLabels[answer])
	wait := d.wait
	d.wait = nil
	for _, w := range wait {
		w.tell(answer, now)
	}
}

var dialLabels = map[liveness.Answer]string{
	liveness.Reached: "reached", liveness.PortRefused: "port_refused", liveness.Unreachable: "unreachable",
}

// overdueDials answers those who cannot wait any longer.
func (t *table) overdueDials(now time.Time) {
	for _, d := range t.dials {
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

// forgetDials drops what ended dials have shown.
func (t *table) forgetDials(now time.Time) {
	for owner, d := range t.dials {
		if d.answer != 0 && now.Sub(d.ended) >= dialAgain {
			delete(t.dials, owner)
		}
	}
}

// addrsOf are the addresses that owner has signed; nil when it has told none.
func (t *table) addrsOf(owner gossipstate.ID) []multiaddr.Multiaddr {
	envelope := t.describedAs(owner, keyAddrs)
	if envelope == nil {
		return nil
	}
	_, untyped, err := record.ConsumeEnvelope(envelope, peer.PeerRecordEnvelopeDomain)
	if err != nil {
		return nil
	}
	if rec, ok := untyped.(*peer.PeerRecord); ok && rec.PeerID == PeerOf(owner) {
		return rec.Addrs
	}
	return nil
}

// attempt is how one path to a peer ended.
type attempt struct {
	tcp bool
	err error // nil: the peer answered under its key
}

// reach has how try every one of addrs, past the swarm: that may think that it is still connected, or back off. A connection
// that there is, is pinged besides: some can be reached in no other way. PortRefused: nothing listens on the TCP ports of p,
// which a broken QUIC connection cannot tell.
func (r *Replica) reach(ctx context.Context, p peer.ID, addrs []multiaddr.Multiaddr,
	how func(context.Context, peer.ID, multiaddr.Multiaddr) error,
) liveness.Answer {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	results := make(chan attempt, len(addrs)+1)
	var attempts sync.WaitGroup
	defer attempts.Wait()
	defer cancel()
	open, tcps := len(addrs), 0
	for _, addr := range addrs {
		tcp := isTCP(addr)
		if tcp {
			tcps++
		}
		attempts.Go(func() { results <- attempt{tcp, how(ctx, p, addr)} })
	}
	if r.host.Network().Connectedness(p) != network.NotConnected {
		open++
		attempts.Go(func() { results <- attempt{err: r.ping(ctx, p)} })
	}
	return judgeAttempts(ctx, results, open, tcps)
}

// judgeAttempts draws the answer from open attempts, tcps of them by TCP.
func judgeAttempts(ctx context.Context, results <-chan attempt, open, tcps int) liveness.Answer {
	begun := time.Now()
	verdict := liveness.Unreachable
	var grace <-chan time.Time
	for ; open > 0; open-- {
		select {
		case a := <-results:
			if a.err == nil {
				return liveness.Reached
			}
			if a.tcp {
				tcps--
			}
			if errors.Is(a.err, syscall.ECONNREFUSED) {
				verdict = liveness.PortRefused
			}
			if verdict == liveness.PortRefused && tcps == 0 && grace == nil {
				grace = time.After(2*time.Since(begun) + refusedGrace)
			}
		case <-grace:
			return verdict
		case <-ctx.Done():
			return verdict
		}
	}
	return verdict
}

func isTCP(addr multiaddr.Multiaddr) bool {
	_, err := addr.ValueForProtocol(multiaddr.P_TCP)
	return err == nil
}

// dialable are those of signed, and of what the host knows besides, that lead to p directly and that the host's gater allows: at
// most maxDialAddrs.
func (r *Replica) dialable(p peer.ID, signed []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	var fit []multiaddr.Multiaddr
	for _, addr := range append(slices.Clone(signed), r.host.Peerstore().Addrs(p)...) {
		addr, id := peer.SplitAddr(addr)
		if addr == nil || id != "" && id != p || len(fit) == maxDialAddrs {
			continue
		}
		if _, err := addr.ValueForProtocol(multiaddr.P_CIRCUIT); err == nil {
			continue // it would tie this node to a relay of a stranger's choice
		}
		if r.cfg.Gater != nil && !(r.cfg.Gater.InterceptPeerDial(p) && r.cfg.Gater.InterceptAddrDial(p, addr)) {
			continue
		}
		if !slices.ContainsFunc(fit, addr.Equal) {
			fit = append(fit, addr)
		}
	}
	return fit
}

var errNoTransport = errors.New("no transport for the address")

// handshake connects to p at addr and closes the connection, of which the swarm learns nothing.
func (r *Replica) handshake(ctx context.Context, p peer.ID, addr multiaddr.Multiaddr) error {
	swarm, ok := r.host.Network().(interface {
		TransportForDialing(multiaddr.Multiaddr) transport.Transport
	})
	if !ok {
		return errNoTransport
	}
	by := swarm.TransportForDialing(addr)
	if by == nil || !by.CanDial(addr) {
		return errNoTransport
	}
	conn, err := by.Dial(ctx, addr, p)
	if err != nil {
		return err
	}
	_ = conn.Close() // it has answered
	return nil
}

// knock only sees whether something listens at addr.
func knock(ctx context.Context, _ peer.ID, addr multiaddr.Multiaddr) error {
	var d manet.Dialer
	conn, err := d.DialContext(ctx, addr)
	if err != nil {
		return err
	}
	_ = conn.Close()
	return nil
}

// ping has p answer on the connection that there is.
func (r *Replica) ping(ctx context.Context, p peer.ID) error {
	ctx, cancel := context.WithCancel(network.WithNoDial(ctx, "liveness"))
	defer cancel()
	result, ok := <-ping.Ping(ctx, r.host, p)
	if !ok {
		return ctx.Err()
	}
	return result.Error
}
