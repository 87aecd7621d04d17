package discovery

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"
)

// cluster is some nodes on a simulated network in virtual time: QUIC, 10 ms each way.
type cluster struct {
	t     *testing.T
	net   *simnet.Simnet
	split atomic.Pointer[func(ip net.IP) int] // packets pass only within one part
	nodes []*node
}

// node is a host with discovery on it.
type node struct {
	host.Host
	found *Discovery
	stop  func()
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, net: &simnet.Simnet{Logger: slog.New(slog.DiscardHandler)}}
	c.net.LatencyFunc = func(p *simnet.Packet) time.Duration {
		if part := c.split.Load(); part != nil && (*part)(p.From.(*net.UDPAddr).IP) != (*part)(p.To.(*net.UDPAddr).IP) {
			return 1000 * time.Hour // as good as dropped
		}
		return 10 * time.Millisecond
	}
	c.net.Start()
	t.Cleanup(c.net.Close)
	return c
}

// host starts the i-th host of the cluster, without discovery.
func (c *cluster) host(i int, more ...libp2p.Option) host.Host {
	c.t.Helper()
	key, _ := newPeer(c.t)
	return c.hostOf(key, i, more...)
}

// hostOf is host for a node with this key.
func (c *cluster) hostOf(key crypto.PrivKey, i int, more ...libp2p.Option) host.Host {
	c.t.Helper()
	link := simnet.LinkSettings{BitsPerSecond: 20 * simlibp2p.OneMbps}
	opts := append([]libp2p.Option{
		libp2p.Identity(key),
		libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/1.0.0.%d/udp/8000/quic-v1", i+1)),
		simlibp2p.QUICSimnet(c.net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.UDPBlackHoleSuccessCounter(nil), // else enough dials in vain stop all later ones
	}, more...)
	h, err := libp2p.New(opts...)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { h.Close() })
	return h
}

func newPeer(t *testing.T) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(key)
	require.NoError(t, err)
	return key, id
}

// discover runs discovery for network on h until the node's stop.
func (c *cluster) discover(h host.Host, network string) *node {
	c.t.Helper()
	cfg := DefaultConfig()
	cfg.Network = network
	d, err := New(h, cfg)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	n := &node{Host: h, found: d, stop: func() {
		cancel()
		if done != nil {
			require.NoError(c.t, <-done)
			done = nil
		}
	}}
	c.t.Cleanup(n.stop)
	return n
}

// start adds n nodes that know only the first node of the cluster.
func (c *cluster) start(n int, more ...func() libp2p.Option) {
	c.t.Helper()
	for range n {
		var opts []libp2p.Option
		for _, option := range more {
			opts = append(opts, option())
		}
		h := c.host(len(c.nodes), opts...)
		c.nodes = append(c.nodes, c.discover(h, "test"))
		if first := c.nodes[0]; first.Host != h {
			require.NoError(c.t, h.Connect(context.Background(), peer.AddrInfo{ID: first.ID(), Addrs: first.Addrs()}))
		}
	}
}

func (n *node) close() { n.stop(); n.Host.Close() }

// degree is how many of nodes n is connected to.
func (n *node) degree(nodes []*node) int {
	degree := 0
	for _, o := range nodes {
		if n.Network().Connectedness(o.ID()) == network.Connected {
			degree++
		}
	}
	return degree
}

// connected reports whether nodes are one component and each has at least least neighbours among them.
func connected(nodes []*node, least int) bool {
	reached := map[peer.ID]bool{nodes[0].ID(): true}
	for queue := nodes[:1]; len(queue) > 0; queue = queue[1:] {
		for _, o := range nodes {
			if !reached[o.ID()] && queue[0].Network().Connectedness(o.ID()) == network.Connected {
				reached[o.ID()] = true
				queue = append(queue[:len(queue):len(queue)], o)
			}
		}
	}
	for _, n := range nodes {
		if n.degree(nodes) < least {
			return false
		}
	}
	return len(reached) == len(nodes)
}

// within waits in virtual time until cond holds.
func within(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for synctest.Wait(); !cond(); synctest.Wait() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestNodesFromOneAddressBecomeOneNetworkThatOutlivesIt(t *testing.T) {
	for _, size := range []int{2, 3, 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				started := time.Now()
				c.start(size)
				least := min(4, size-1)
				within(t, 15*time.Second, "one component with enough neighbours", func() bool { return connected(c.nodes, least) })
				t.Logf("formed after %v", time.Since(started))

				c.nodes[0].close()
				rest := c.nodes[1:]
				within(t, 15*time.Second, "one component without the first node", func() bool {
					return connected(rest, min(4, len(rest)-1))
				})
			})
		})
	}
}

func TestCountersTellWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		started := time.Now()
		c.start(4)
		within(t, 15*time.Second, "everyone found everyone", func() bool { return connected(c.nodes, 3) })
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, n := range c.nodes {
			got := n.found.Counters()
			require.Equal(t, 3, got.Neighbours)
			require.Equal(t, 3, got.RoutingTable)
			require.NotZero(t, got.Candidates)
			require.NotZero(t, got.Advertisements)
			require.NotZero(t, got.Lookups)
			require.NotZero(t, got.Found)
			require.True(t, got.LastAdvertise.After(started))
			require.Zero(t, got.AdvertiseFailures+got.LookupFailures)
			require.Zero(t, got.Dropped)
			require.Zero(t, got.DialsRefused+got.DialsTimeout+got.DialsOther)
		}
		c.nodes[0].stop()
		require.Zero(t, c.nodes[0].found.Counters().RoutingTable)
	})
}

func TestNetworksThatShareAHostDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		shared := c.host(0)
		c.discover(shared, "red")
		c.discover(shared, "blue")
		var red, blue []*node
		for i := 1; i <= 6; i++ {
			h := c.host(i)
			if i%2 == 0 {
				red = append(red, c.discover(h, "red"))
			} else {
				blue = append(blue, c.discover(h, "blue"))
			}
			require.NoError(t, h.Connect(context.Background(), peer.AddrInfo{ID: shared.ID(), Addrs: shared.Addrs()}))
		}
		within(t, 15*time.Second, "each network is complete", func() bool { return connected(red, 2) && connected(blue, 2) })
		time.Sleep(10 * time.Minute) // further look-ups and routing table refreshes
		for _, r := range red {
			require.Zero(t, r.degree(blue))
			for _, b := range blue {
				require.Empty(t, r.Peerstore().Addrs(b.ID()), "not even heard of")
			}
		}
	})
}

func TestNodesWaitForAPeerAndJoinWhenItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.start(1)
		time.Sleep(time.Hour)
		alone := c.nodes[0].found.Counters()
		require.Zero(t, alone.Advertisements+alone.AdvertiseFailures+alone.Lookups, "nobody to ask")
		c.start(1)
		within(t, 2*time.Second, "both advertise", func() bool {
			return c.nodes[0].found.Counters().Advertisements > 0 && c.nodes[1].found.Counters().Advertisements > 0
		})
	})
}

func TestAPartitionMends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.start(8)
		within(t, 15*time.Second, "one component", func() bool { return connected(c.nodes, 4) })

		half := func(ip net.IP) int { return int(ip.To4()[3]) % 2 }
		c.split.Store(&half)
		var even, odd []*node
		for i, n := range c.nodes {
			if i%2 == 0 {
				even = append(even, n)
			} else {
				odd = append(odd, n)
			}
		}
		apart := func() bool {
			for _, n := range even {
				if n.degree(odd) > 0 {
					return false
				}
			}
			return true
		}
		within(t, 2*time.Minute, "two components", apart)
		time.Sleep(20 * time.Minute) // longer than a peer store keeps the addresses of lost peers
		require.True(t, apart())
		require.True(t, connected(even, 3) && connected(odd, 3))

		c.split.Store(nil)
		within(t, time.Minute, "one component again", func() bool { return connected(c.nodes, 4) })
	})
}

func TestAddedPeersAreDialledWithoutTheDHT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.discover(c.host(0), "test"), c.discover(c.host(1), "test")
		a.found.Add(peer.AddrInfo{ID: a.ID(), Addrs: a.Addrs()}) // itself: ignored
		a.found.Add(peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()})
		within(t, 3*time.Second, "the dial succeeded", func() bool { return a.found.Counters().DialsOK == 1 })
		require.Equal(t, 1, a.degree([]*node{b}))
		got := a.found.Counters()
		require.Equal(t, uint64(1), got.Found)
		require.Equal(t, 1, got.Candidates)
	})
}

func TestTheSmallerPeerIDDialsAtOnceAndTheLargerLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		small, large := c.discover(c.host(0), "test"), c.discover(c.host(1), "test")
		if strings.Compare(string(small.ID()), string(large.ID())) > 0 {
			small, large = large, small
		}
		// Both find each other in the same moment: one connection, made by the smaller.
		small.found.Add(peer.AddrInfo{ID: large.ID(), Addrs: large.Addrs()})
		large.found.Add(peer.AddrInfo{ID: small.ID(), Addrs: small.Addrs()})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, uint64(1), small.found.Counters().DialsOK)
		require.Zero(t, large.found.Counters().DialsOK)
		require.Len(t, large.Network().ConnsToPeer(small.ID()), 1)

		// The smaller knows nothing: the larger dials after one to two seconds.
		other := c.discover(c.host(2), "test")
		d, o := other, small
		if strings.Compare(string(d.ID()), string(o.ID())) < 0 {
			d, o = o, d
		}
		d.found.Add(peer.AddrInfo{ID: o.ID(), Addrs: o.Addrs()})
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		require.Zero(t, d.degree([]*node{o}))
		within(t, 1500*time.Millisecond, "the larger dials too", func() bool { return d.degree([]*node{o}) == 1 })
	})
}
