package replica

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// latency is how long a packet takes from one node to another.
const latency = 10 * time.Millisecond

// cluster is some replicas on a simulated network in virtual time.
type cluster struct {
	t     *testing.T
	net   *simnet.Simnet
	split atomic.Pointer[func(ip net.IP) int] // packets pass only within one part
	nodes []*node
}

// node is a replica on a host of its own.
type node struct {
	*Replica
	host  host.Host
	index int
	done  chan error
	kill  func() // as kill -9 would: nothing is said to anybody
}

type nodeOption func(*nodeSetup)

type nodeSetup struct {
	key      crypto.PrivKey
	cfg      Config
	noPubsub bool
	options  []pubsub.Option
}

func withKey(key crypto.PrivKey) nodeOption { return func(s *nodeSetup) { s.key = key } }

func withStore(st *store.Store) nodeOption { return func(s *nodeSetup) { s.cfg.Store = st } }

func withConfig(change func(*Config)) nodeOption { return func(s *nodeSetup) { change(&s.cfg) } }

// withoutRumors gives the node a pubsub that hears nobody: all it learns comes by anti-entropy.
func withoutRumors() nodeOption {
	return func(s *nodeSetup) {
		s.options = append(s.options, pubsub.WithPeerFilter(func(peer.ID, string) bool { return false }))
	}
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, net: &simnet.Simnet{Logger: slog.New(slog.DiscardHandler)}}
	c.net.LatencyFunc = func(p *simnet.Packet) time.Duration {
		if part := c.split.Load(); part != nil && (*part)(p.From.(*net.UDPAddr).IP) != (*part)(p.To.(*net.UDPAddr).IP) {
			return 1000 * time.Hour // as good as dropped
		}
		return latency
	}
	c.net.Start()
	t.Cleanup(c.net.Close)
	return c
}

// start adds a running node.
func (c *cluster) start(options ...nodeOption) *node {
	c.t.Helper()
	setup := nodeSetup{cfg: DefaultConfig("test")}
	setup.cfg.FirstSync = 500 * time.Millisecond
	if len(c.nodes) == 0 {
		setup.cfg.FirstSync = 0
	}
	for _, o := range options {
		o(&setup)
	}
	if setup.key == nil {
		setup.key = newKey(c.t)
	}
	index := len(c.nodes)
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	h, err := libp2p.New(
		libp2p.Identity(setup.key),
		libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/1.0.%d.%d/udp/8000/quic-v1", index/250, index%250+1)),
		simlibp2p.QUICSimnet(c.net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ps, err := pubsub.NewGossipSub(ctx, h, setup.options...)
	require.NoError(c.t, err)
	r, err := New(h, ps, setup.cfg)
	require.NoError(c.t, err)
	n := &node{Replica: r, host: h, index: index, done: make(chan error, 1)}
	go func() { n.done <- r.Run(ctx) }()
	n.kill = func() {
		cancel()
		if n.done != nil {
			require.NoError(c.t, <-n.done)
			n.done = nil
		}
		h.Close()
	}
	c.t.Cleanup(n.kill)
	c.nodes = append(c.nodes, n)
	return n
}

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

// connect dials from a to b.
func (c *cluster) connect(a, b *node) {
	c.t.Helper()
	require.NoError(c.t, a.host.Connect(context.Background(), peer.AddrInfo{ID: b.host.ID(), Addrs: b.host.Addrs()}))
}

// partition lets packets pass only between nodes of one part; nil heals.
func (c *cluster) partition(part func(index int) int) {
	if part == nil {
		c.split.Store(nil)
		return
	}
	f := func(ip net.IP) int {
		ip = ip.To4()
		return part(int(ip[2])*250 + int(ip[3]) - 1)
	}
	c.split.Store(&f)
}

func (n *node) topic(t *testing.T) *Topic {
	t.Helper()
	topic, err := n.Topic("main")
	require.NoError(t, err)
	return topic
}

func (n *node) set(t *testing.T, key, value string) Written {
	t.Helper()
	w, err := n.topic(t).Set(context.Background(), key, []byte(value), WriteOptions{})
	require.NoError(t, err)
	return w
}

// get is the value of key, "" when there is none.
func (n *node) get(t *testing.T, key string) string {
	t.Helper()
	v, err := n.topic(t).Get(context.Background(), key, "")
	if err != nil {
		require.ErrorIs(t, err, ErrNotFound)
		return ""
	}
	return string(v.Value)
}

func (n *node) status(t *testing.T, of *node) string {
	t.Helper()
	members, err := n.Members(context.Background())
	require.NoError(t, err)
	for _, m := range members {
		if m.ID == of.host.ID() {
			return m.Status
		}
	}
	return ""
}

// equal says whether all nodes hold the same of every topic.
func (c *cluster) equal(nodes ...*node) bool {
	c.t.Helper()
	for _, name := range []string{"members", "main"} {
		var first Digest
		for i, n := range nodes {
			topic, err := n.Topic(name)
			require.NoError(c.t, err)
			d, err := topic.Digest(context.Background())
			require.NoError(c.t, err)
			if i == 0 {
				first = d
			} else if d != first {
				return false
			}
		}
	}
	return true
}

// within waits in virtual time until cond holds.
func within(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
