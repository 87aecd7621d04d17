package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// dialTimeout bounds one dial of a candidate, all its addresses: the transports give each 5 s, one after the other.
const dialTimeout = 15 * time.Second

// protectTag keeps the connection manager from trimming neighbours of this node's own choice.
const protectTag = "p2pnode/chosen"

// connector owns the candidates, dials them while there are too few neighbours, and exchanges peers with neighbours.
type connector struct {
	*Discovery
	table      *candidates
	dialing    int
	exchanging bool
	eager      backoff // between exchanges while neighbours are missing
	kept       []peer.ID
	results    chan dialed
	exchanges  chan exchanged
	calls      chan func()         // run by the goroutine that owns the table
	streams    chan network.Stream // opened by others, to exchange
	ended      chan struct{}       // closed when run has ended
	wg         sync.WaitGroup      // dials and exchanges
	serves     atomic.Int32        // exchanges that others opened and that run
}

type dialed struct {
	id peer.ID
	ok bool
}

func newConnector(d *Discovery) *connector {
	return &connector{
		Discovery: d,
		table:     newCandidates(d.host.ID(), d.cfg, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		eager:     backoff{first: eagerExchange, most: d.cfg.ExchangeInterval},
		results:   make(chan dialed),
		exchanges: make(chan exchanged),
		calls:     make(chan func()),
		streams:   make(chan network.Stream),
		ended:     make(chan struct{}),
	}
}

// do has f run by the goroutine that owns the table, and waits for it. false: ctx or run ended first, and f does not run.
func (c *connector) do(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	select {
	case c.calls <- func() { f(); close(done) }:
		<-done // the owner took it, so it runs
		return true
	case <-ctx.Done():
	case <-c.ended:
	}
	return false
}

// run is the connector's one goroutine besides its dials and exchanges. It wakes others when a neighbour came or went, and when
// what is lacking of neighbours has changed.
func (c *connector) run(ctx context.Context, events <-chan any, wakes ...chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer close(c.ended)
	defer c.release()
	defer c.wg.Wait()
	defer cancel()
	if last := c.remembered.Load(); last != nil {
		for _, r := range *last {
			r.Info.Addrs = c.allowed(r.Info.Addrs)
			c.table.restore(r, time.Now())
		}
	}
	for _, id := range c.host.Network().Peers() {
		c.meet(id)
	}
	mend := time.NewTimer(jitter(c.cfg.MendInterval))
	defer mend.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	exchange := time.NewTimer(c.exchangePause())
	defer exchange.Stop()
	lacked := c.lacks()
	for {
		var changed, news bool
		select {
		case <-ctx.Done():
			return
		case info := <-c.offers:
			c.take(info)
		case f := <-c.calls:
			f()
		case s := <-c.streams:
			admitted := c.admit(s.Conn())
			c.wg.Go(func() { c.serve(ctx, s, admitted) })
		case e, open := <-events:
			if !open {
				events = nil // the host closes
				continue
			}
			changed = c.handle(e)
			news = changed && c.news(e)
		case r := <-c.results:
			c.dialing--
			c.table.dialed(r.id, r.ok, c.speaks(r.id), time.Now())
		case e := <-c.exchanges:
			exchange.Reset(c.exchangeDone(e))
		case <-exchange.C:
			if !c.exchange(ctx) {
				exchange.Reset(c.exchangePause())
			}
		case <-mend.C:
			c.table.forget(time.Now(), c.link)
			c.dial(ctx, c.table.mend(time.Now(), c.link))
			mend.Reset(jitter(c.cfg.MendInterval))
		case <-due.C:
		}
		c.updateGauges()
		c.fill(ctx, due)
		c.protect()
		if news {
			exchange.Reset(0)
		}
		if lacks := c.lacks(); changed || lacks != lacked {
			lacked = lacks
			for _, w := range wakes {
				wake(w)
			}
		}
	}
}

// fill dials as many candidates as neighbours are missing and sets due to when the next one may be dialled.
func (c *connector) fill(ctx context.Context, due *time.Timer) {
	missing := c.cfg.Target - int(c.count.neighbours.Load()) - c.dialing
	taken := c.table.choose(missing, time.Now(), c.link)
	c.dial(ctx, taken)
	if c.table.satisfied() && len(taken) >= missing {
		due.Stop() // a result or an event comes first
	} else if at, ok := c.table.wake(c.link); ok {
		due.Reset(time.Until(at))
	} else {
		due.Stop()
	}
}

// protect tells the connection manager which neighbours are of this node's own choice. Those in a gossipsub mesh are
// protected by gossipsub, bootstrap peers by who dials them.
func (c *connector) protect() {
	keep := c.table.keep()
	for _, id := range keep {
		if !slices.Contains(c.kept, id) {
			c.host.ConnManager().Protect(id, protectTag)
		}
	}
	for _, id := range c.kept {
		if !slices.Contains(keep, id) {
			c.host.ConnManager().Unprotect(id, protectTag)
		}
	}
	c.kept = keep
	c.count.chosen.Store(int64(len(keep)))
}

// release lets go of what protect took, and leaves what is worth remembering.
func (c *connector) release() {
	c.remembered.Store(new(c.table.remembered(time.Now(), c.link)))
	for _, id := range c.kept {
		c.host.ConnManager().Unprotect(id, protectTag)
	}
}

// take puts an offered peer into the table, with the addresses that this profile may dial.
func (c *connector) take(info peer.AddrInfo) {
	if info.ID == c.host.ID() || info.ID.Validate() != nil {
		return
	}
	if len(info.Addrs) == 0 {
		info.Addrs = c.host.Peerstore().Addrs(info.ID)
	}
	if info.Addrs = c.allowed(info.Addrs); len(info.Addrs) == 0 {
		c.count.droppedAddress.Add(1)
		return
	}
	c.count.found.Add(1)
	c.table.offer(info, time.Now())
}

// allowed returns the addresses that this profile may dial.
func (c *connector) allowed(addrs []ma.Multiaddr) []ma.Multiaddr {
	if c.cfg.Profile == Local {
		return loopback(addrs)
	}
	return addrs
}

// handle takes note of a change and reports whether it may matter to the rendezvous loops.
func (c *connector) handle(e any) bool {
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		changed := c.meet(e.Peer)
		if e.SignedPeerRecord != nil && c.speaks(e.Peer) && c.link(e.Peer) != apart {
			c.learn(e.Conn, e.SignedPeerRecord)
		}
		return changed
	case event.EvtPeerProtocolsUpdated:
		return c.meet(e.Peer)
	case event.EvtPeerConnectednessChanged:
		if e.Connectedness != network.NotConnected || c.link(e.Peer) != apart {
			return false
		}
		if !c.speaks(e.Peer) {
			return c.table.left(e.Peer, time.Now())
		}
		info := c.host.Peerstore().PeerInfo(e.Peer)
		info.Addrs = c.allowed(info.Addrs)
		c.table.lost(info, time.Now())
		return true
	}
	return false
}

// meet notes that a peer is connected and of this network, or of it no longer, and reports whether that may matter to others.
func (c *connector) meet(id peer.ID) bool {
	conns := c.host.Network().ConnsToPeer(id)
	if len(conns) == 0 {
		return false
	}
	if !c.speaks(id) {
		return c.table.left(id, time.Now())
	}
	c.table.met(id, groupOf(conns[0].RemoteMultiaddr()), time.Now())
	return true
}

// news reports whether e brings somebody to ask at once: the view has room, or neighbours are missing.
func (c *connector) news(e any) bool {
	short := len(c.table.view.members) < viewSize && c.count.neighbours.Load() <= int64(c.cfg.Low)
	var id peer.ID
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		id = e.Peer
	case event.EvtPeerProtocolsUpdated:
		id = e.Peer
	}
	return short && id != "" && !c.exchanging && c.answers(id)
}

// dial starts to dial each of infos; the outcome arrives on results.
func (c *connector) dial(ctx context.Context, infos []peer.AddrInfo) {
	for _, info := range infos {
		c.dialing++
		c.wg.Go(func() {
			err := c.connect(ctx, info)
			if ctx.Err() != nil {
				return
			}
			c.count.dialed(err)
			select {
			case c.results <- dialed{info.ID, err == nil}:
			case <-ctx.Done():
			}
		})
	}
}

func (c *connector) connect(ctx context.Context, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if c.cfg.Profile == Local {
		// The swarm dials whatever else the peer store holds; what others said of this peer must not lead off the machine.
		for _, a := range c.host.Peerstore().Addrs(info.ID) {
			if !manet.IsIPLoopback(a) {
				c.host.Peerstore().SetAddr(info.ID, a, 0)
			}
		}
	}
	if s, ok := c.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(info.ID) // the table has its own
	}
	return c.host.Connect(ctx, info)
}

// link is how id is connected.
func (c *connector) link(id peer.ID) link {
	if c.host.Network().Connectedness(id) == network.NotConnected {
		return apart
	}
	for _, conn := range c.host.Network().ConnsToPeer(id) {
		if conn.Stat().Direction == network.DirOutbound {
			return outbound
		}
	}
	return inbound
}

// speaks reports whether id speaks any protocol of this network.
func (c *connector) speaks(id peer.ID) bool {
	protocols, err := c.host.Peerstore().GetProtocols(id)
	if err != nil {
		return false
	}
	prefix := Rendezvous(c.cfg.Network) + "/"
	for _, p := range protocols {
		if strings.HasPrefix(string(p), prefix) {
			return true
		}
	}
	return false
}

// updateGauges counts the neighbours: directly connected peers that speak a protocol of this network, or have not yet been
// asked what they speak.
func (c *connector) updateGauges() {
	neighbours := 0
	for _, id := range c.host.Network().Peers() {
		if c.host.Network().Connectedness(id) != network.Connected {
			continue
		}
		if protocols, err := c.host.Peerstore().GetProtocols(id); err == nil && len(protocols) == 0 || c.speaks(id) {
			neighbours++
		}
	}
	c.count.neighbours.Store(int64(neighbours))
	c.count.candidates.Store(int64(len(c.table.byPeer)))
	c.count.view.Store(int64(len(c.table.view.members)))
	c.count.droppedRoom.Store(c.table.evicted)
	c.count.droppedPushes.Store(c.table.view.blocked)
}

// wake fills a channel that holds one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake already
	}
}

// dialed counts the outcome of a dial.
func (n *counts) dialed(err error) {
	var timeout net.Error
	switch {
	case err == nil:
		n.dialsOK.Add(1)
	case errors.Is(err, syscall.ECONNREFUSED):
		n.dialsRefused.Add(1)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		n.dialsTimeout.Add(1)
	default:
		n.dialsOther.Add(1)
	}
}
