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
	asked  bool                   // begun for a neighbour
	of     gossipstate.Generation // that the member had: a later process of it is another matter
	wait   []waiter
}

// waiter is told what a dial has shown, at until the latest: Unreachable then.
type waiter struct {
	until time.Time
	tell  func(answer liveness.Answer, now time.Time)
}

// dial finds out whether owner can be reached, and tells w. One who has asked for it already, or was answered just now,
// causes no second dial. False when there are too many: nothing is told then. port is where owner is known to listen, nil when
// that is not known.
func (t *table) dial(owner gossipstate.ID, port multiaddr.Multiaddr, asked bool, w waiter, now time.Time) bool {
	d := t.dials[owner]
	proof, _ := t.live.Proof(owner)
	switch {
	case d != nil && d.answer == 0:
		d.wait = append(d.wait, w)
		return true
	case d != nil && now.Sub(d.ended) < dialAgain && d.of == proof.Generation:
		w.tell(d.answer, now)
		return true
	case t.dialsRunning >= maxDials || asked && (t.dialsAsked >= maxDialsAsked || !t.dialsForOthers.take(now)):
		return false
	}
	t.dials[owner] = &dialing{asked: asked, of: proof.Generation, wait: []waiter{w}}
	t.dialsRunning++
	if asked {
		t.dialsAsked++
	}
	p, signed := PeerOf(owner), t.addrsOf(owner)
	return t.tasks.spawn(func(ctx context.Context) {
		answer := t.r.reach(ctx, p, t.r.dialable(p, signed), port)
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
	described := t.describedAs(owner, keyAddrs)
	if described == nil {
		return nil
	}
	_, untyped, err := record.ConsumeEnvelope(described, peer.PeerRecordEnvelopeDomain)
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
	tells bool  // that its port refuses says something
	err   error // nil: the peer answered under its key
}

// reach tries every one of addrs, past the swarm: that may think that it is still connected, or back off. A connection that
// there is, is pinged besides: some can be reached in no other way. PortRefused: nothing listens any more where p did, which a
// broken QUIC connection cannot tell; that is port, or when it is nil every address of p: see telling.
func (r *Replica) reach(ctx context.Context, p peer.ID, addrs []multiaddr.Multiaddr, port multiaddr.Multiaddr) liveness.Answer {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	if port != nil && !slices.ContainsFunc(addrs, port.Equal) {
		addrs = append(addrs, port)
	}
	results := make(chan attempt, len(addrs)+1)
	var attempts sync.WaitGroup
	defer attempts.Wait()
	defer cancel()
	open, tell := len(addrs), telling(addrs, port)
	for _, addr := range addrs {
		tells := slices.ContainsFunc(tell, addr.Equal)
		attempts.Go(func() { results <- attempt{tells, r.handshake(ctx, p, addr)} })
	}
	if r.host.Network().Connectedness(p) != network.NotConnected {
		open++
		attempts.Go(func() { results <- attempt{err: r.ping(ctx, p)} })
	}
	return judgeAttempts(ctx, results, open, len(tell))
}

// telling are those of addrs at which a refusal says that nothing listens any more: port, when it is known. Otherwise it takes one
// from every host that the addresses name: an address of the peer's private network, or of its container bridge, may be this
// node's own or a neighbour's here, and that refuses whatever becomes of the peer.
func telling(addrs []multiaddr.Multiaddr, port multiaddr.Multiaddr) []multiaddr.Multiaddr {
	if port != nil {
		return []multiaddr.Multiaddr{port}
	}
	var tell []multiaddr.Multiaddr
	refusing, hosts := map[string]bool{}, map[string]bool{}
	for _, addr := range addrs {
		hosts[hostOf(addr)] = true
		if isTCP(addr) {
			tell = append(tell, addr)
			refusing[hostOf(addr)] = true
		}
	}
	if len(refusing) < len(hosts) {
		return nil // one that cannot refuse may be where it is
	}
	return tell
}

// judgeAttempts draws the answer from open attempts, of which tells would tell by a refusal, all of them together.
func judgeAttempts(ctx context.Context, results <-chan attempt, open, tells int) liveness.Answer {
	begun := time.Now()
	verdict := liveness.Unreachable
	var grace <-chan time.Time
	for refused := tells > 0; open > 0; open-- {
		select {
		case a := <-results:
			if a.err == nil {
				return liveness.Reached
			}
			if a.tells {
				tells--
				refused = refused && errors.Is(a.err, syscall.ECONNREFUSED)
			}
			if refused && tells == 0 && grace == nil {
				verdict = liveness.PortRefused
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

// hostOf is the first component of addr: an IP address or a name.
func hostOf(addr multiaddr.Multiaddr) string {
	host, _ := multiaddr.SplitFirst(addr)
	return host.String()
}

// dialable are those of signed, and of what the host knows besides, that lead to p directly and that the host's gater allows: at
// most maxDialAddrs, and of one host one by TCP and one by UDP. Whoever signs addresses chooses whom others dial.
//
// None of them is this host's own: a peer that listens on the same port tells its loopback address too, and that leads from here
// to this host.
func (r *Replica) dialable(p peer.ID, signed []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	own, err := r.host.Network().InterfaceListenAddresses()
	if err != nil {
		own = nil // then no refusal tells of such a peer, and its silence has to
	}
	var fit []multiaddr.Multiaddr
	type port struct {
		host string
		tcp  bool
	}
	taken := map[port]bool{}
	for _, addr := range append(slices.Clone(signed), r.host.Peerstore().Addrs(p)...) {
		addr, id := peer.SplitAddr(addr)
		if addr == nil || id != "" && id != p || len(fit) == maxDialAddrs {
			continue
		}
		if _, err := addr.ValueForProtocol(multiaddr.P_CIRCUIT); err == nil {
			continue // it would tie this node to a relay of a stranger's choice
		}
		if slices.ContainsFunc(own, addr.Equal) {
			continue
		}
		if r.cfg.Gater != nil && !(r.cfg.Gater.InterceptPeerDial(p) && r.cfg.Gater.InterceptAddrDial(p, addr)) {
			continue
		}
		if at := (port{hostOf(addr), isTCP(addr)}); !taken[at] {
			taken[at] = true
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

// ping has p answer on the connection that there is.
func (r *Replica) ping(ctx context.Context, p peer.ID) error {
	ctx, cancel := context.WithCancel(network.WithNoDial(ctx, "liveness"))
	results := ping.Ping(ctx, r.host, p)
	result, ok := <-results
	cancel()
	for range results { // until its goroutine has ended
	}
	if !ok {
		return ctx.Err()
	}
	return result.Error
}
