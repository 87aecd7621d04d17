package replica

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
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

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// cluster is some replicas on a simulated network in virtual time.
type cluster struct {
	t       *testing.T
	net     *simnet.Simnet
	latency time.Duration                       // of a packet from one node to another; set before the first node starts
	split   atomic.Pointer[func(ip net.IP) int] // packets pass only within one part
	cut     sync.Map                            // IP addresses whose packets are lost both ways
	frozen  sync.Map                            // IP address -> until when nothing from or to it gets on
	hosts   int
	nodes   []*node
}

// node is a replica on a host of its own.
type node struct {
	*Replica
	t      *testing.T
	host   host.Host
	key    crypto.PrivKey
	pubsub *pubsub.PubSub
	index  int
	done   chan error
	stop   context.CancelFunc
	lose   func() // lets every packet from and to it be lost
}

type nodeOption func(*nodeSetup)

type nodeSetup struct {
	key     crypto.PrivKey
	cfg     Config
	options []pubsub.Option
	on      *node
	follows bool
}

func withKey(key crypto.PrivKey) nodeOption { return func(s *nodeSetup) { s.key = key } }

func withStore(st *store.Store) nodeOption {
	return func(s *nodeSetup) { s.cfg.Store = st }
}

func withConfig(change func(*Config)) nodeOption { return func(s *nodeSetup) { change(&s.cfg) } }

func withNetwork(name string) nodeOption { return func(s *nodeSetup) { s.cfg.Network = name } }

func withFirstSync(d time.Duration) nodeOption {
	return func(s *nodeSetup) { s.cfg.FirstSync = d }
}

// asFollower starts a Follower: what the node then has is the replica inside.
func asFollower() nodeOption { return func(s *nodeSetup) { s.follows = true } }

// onHostOf gives the node the host and pubsub of another.
func onHostOf(n *node) nodeOption { return func(s *nodeSetup) { s.on = n } }

// withoutRumors gives the node a pubsub that hears nobody: all it learns comes by anti-entropy.
func withoutRumors() nodeOption {
	return func(s *nodeSetup) {
		s.options = append(s.options, pubsub.WithPeerFilter(func(peer.ID, string) bool { return false }))
	}
}

// forgetfulPubsub gives the node a pubsub that takes a message for new again after a few seconds, not after two minutes.
func forgetfulPubsub() nodeOption {
	return func(s *nodeSetup) { s.options = append(s.options, pubsub.WithSeenMessagesTTL(2*time.Second)) }
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, latency: 10 * time.Millisecond, net: &simnet.Simnet{Logger: slog.New(slog.DiscardHandler)}}
	c.net.LatencyFunc = func(p *simnet.Packet) time.Duration {
		from, to := p.From.(*net.UDPAddr).IP, p.To.(*net.UDPAddr).IP
		part := c.split.Load()
		if c.isCut(from) || c.isCut(to) || part != nil && (*part)(from) != (*part)(to) {
			return 1000 * time.Hour // as good as dropped
		}
		return c.latency + max(c.thaw(from), c.thaw(to))
	}
	c.net.Start()
	t.Cleanup(c.net.Close)
	return c
}

func (c *cluster) isCut(ip net.IP) bool {
	_, cut := c.cut.Load(ip.String())
	return cut
}

// thaw is how long the host at ip stays frozen.
func (c *cluster) thaw(ip net.IP) time.Duration {
	until, frozen := c.frozen.Load(ip.String())
	if !frozen {
		return 0
	}
	return max(0, time.Until(until.(time.Time)))
}

// freeze stops the node's process for d, as SIGSTOP does: what is sent to it waits.
func (c *cluster) freeze(n *node, d time.Duration) {
	ip := fmt.Sprintf("1.0.%d.%d", n.index/250, n.index%250+1)
	c.frozen.Store(ip, time.Now().Add(d))
	go n.do(context.Background(), func(*table) { time.Sleep(d) })
}

// newHost makes a host at the next address of the network; lose cuts it off.
func (c *cluster) newHost(key crypto.PrivKey) (h host.Host, lose func()) {
	c.t.Helper()
	ip := fmt.Sprintf("1.0.%d.%d", c.hosts/250, c.hosts%250+1)
	c.hosts++
	link := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.ListenAddrStrings("/ip4/"+ip+"/udp/8000/quic-v1"),
		simlibp2p.QUICSimnet(c.net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	require.NoError(c.t, err)
	return h, func() { c.cut.Store(ip, true) }
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
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{t: c.t, index: c.hosts, done: make(chan error, 1)}
	if on := setup.on; on != nil {
		n.host, n.key, n.pubsub, n.index, n.lose = on.host, on.key, on.pubsub, on.index, on.lose
		n.stop = cancel
	} else {
		if n.key = setup.key; n.key == nil {
			n.key = newKey(c.t)
		}
		n.host, n.lose = c.newHost(n.key)
		var err error
		n.pubsub, err = pubsub.NewGossipSub(ctx, n.host, setup.options...)
		require.NoError(c.t, err)
		n.stop = func() { cancel(); n.host.Close() }
	}
	if setup.follows {
		f, err := Subscribe(n.host, n.pubsub, setup.cfg)
		require.NoError(c.t, err)
		n.Replica = f.r
	} else {
		var err error
		n.Replica, err = New(n.host, n.pubsub, setup.cfg)
		require.NoError(c.t, err)
	}
	go func() { n.done <- n.Run(ctx) }()
	c.t.Cleanup(n.kill)
	c.nodes = append(c.nodes, n)
	return n
}

// kill ends the node without a word about it, but its connections are closed.
func (n *node) kill() {
	if n.done == nil {
		return
	}
	n.stop()
	require.NoError(n.t, <-n.done)
	n.done = nil
}

// crash ends the node as a power cut would: no connection is closed.
func (n *node) crash() {
	n.lose()
	n.kill()
}

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	require.NoError(t, err)
	return key
}

// openStore opens a store that is closed when the test ends, after the nodes that were started later.
func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	st, damaged, err := store.Open(filepath.Join(dir, "state.db"), time.Now())
	require.NoError(t, err)
	require.Nil(t, damaged)
	t.Cleanup(func() { st.Close() })
	return st
}

// connect dials from a to b.
func (c *cluster) connect(a, b *node) {
	c.t.Helper()
	c.dial(a.host, b.host)
}

func (c *cluster) dial(a, b host.Host) {
	c.t.Helper()
	require.NoError(c.t, a.Connect(context.Background(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))
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

// member is what the node thinks of another; the zero Member when it does not know it.
func (n *node) member(t *testing.T, of *node) Member {
	t.Helper()
	members, err := n.Members(context.Background())
	require.NoError(t, err)
	for _, m := range members {
		if m.ID == of.host.ID() {
			return m
		}
	}
	return Member{}
}

func (n *node) status(t *testing.T, of *node) string {
	t.Helper()
	return n.member(t, of).Status
}

// table runs f where the node's table may be read and written.
func (n *node) table(t *testing.T, f func(*table)) {
	t.Helper()
	require.NoError(t, n.do(context.Background(), f))
}

// count is one of the node's counters.
func (n *node) count(name, label string) uint64 {
	for _, c := range n.Counts() {
		if c.Name == name && c.Label == label {
			return c.N
		}
	}
	return 0
}

// digest is what the node holds of an owner on a topic; the zero Digest when it holds nothing.
func (n *node) digest(t *testing.T, topic string, owner gossipstate.ID) (d gossipstate.Digest) {
	t.Helper()
	n.table(t, func(tb *table) { d, _, _ = tb.topics[topic].state.Digest(owner) })
	return d
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
