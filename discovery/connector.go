package discovery

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
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

// connector owns the candidates and dials them while there are too few neighbours.
type connector struct {
	*Discovery
	table   *candidates
	dialing int
	results chan dialed
	wg      sync.WaitGroup // dials
}

type dialed struct {
	id peer.ID
	ok bool
}

// run is the connector's one goroutine besides its dials.
func (c *connector) run(ctx context.Context, events <-chan any, wakes ...chan struct{}) {
	defer c.wg.Wait()
	mend := time.NewTimer(jitter(c.cfg.MendInterval))
	defer mend.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case info := <-c.offers:
			c.take(info)
		case e, open := <-events:
			if !open {
				return
			}
			if c.handle(e) {
				c.updateGauges()
				for _, w := range wakes {
					wake(w)
				}
			}
		case r := <-c.results:
			c.dialing--
			c.table.dialed(r.id, r.ok, time.Now())
		case <-mend.C:
			c.table.forget(time.Now(), c.connected)
			c.dial(ctx, c.table.mend(time.Now(), c.connected))
			mend.Reset(jitter(c.cfg.MendInterval))
		case <-due.C:
		}
		c.updateGauges()
		c.fill(ctx, due)
	}
}

// fill dials as many candidates as neighbours are missing and sets due to when the next one may be dialled.
func (c *connector) fill(ctx context.Context, due *time.Timer) {
	missing := c.cfg.Target - int(c.count.neighbours.Load()) - c.dialing
	if missing <= 0 {
		due.Stop() // a result or an event comes first
		return
	}
	taken := c.table.next(missing, time.Now(), c.connected)
	c.dial(ctx, taken)
	if at, ok := c.table.wake(c.connected); ok && len(taken) < missing {
		due.Reset(time.Until(at))
	} else {
		due.Stop()
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
		return c.speaks(e.Peer)
	case event.EvtPeerConnectednessChanged:
		if e.Connectedness != network.NotConnected || c.connected(e.Peer) || !c.speaks(e.Peer) {
			return false
		}
		info := c.host.Peerstore().PeerInfo(e.Peer)
		if info.Addrs = c.allowed(info.Addrs); len(info.Addrs) > 0 {
			c.table.lost(info, time.Now())
		}
		return true
	}
	return false
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

func (c *connector) connected(id peer.ID) bool {
	return c.host.Network().Connectedness(id) != network.NotConnected
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
