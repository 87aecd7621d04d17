package testnet

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// These benchmarks are of libp2p hosts over TCP on loopback, all in this process: the joiner shares two or more cores with
// those that it joins.

const (
	benchNodes = 50
	benchKeys  = 10_000 // of all nodes together, with values of 32 bytes
)

// meshed is some replicas that are connected at random and hold the same.
type meshed struct {
	nodes   []*benchNode
	changes int
}

// benchNode is one replica on a host of its own.
type benchNode struct {
	*replica.Replica
	host   host.Host
	rumors atomic.Int64 // bytes that pubsub delivered
	stop   func()
}

// benchSetup is how a benchNode differs from others.
type benchSetup struct {
	key    crypto.PrivKey
	store  *store.Store
	rumors bool // else pubsub hears nobody: all state goes by sync streams
	first  time.Duration
}

func startBench(b *testing.B, s benchSetup) *benchNode {
	b.Helper()
	n := &benchNode{}
	var err error
	if s.key == nil {
		s.key, _, err = crypto.GenerateEd25519Key(rand.Reader)
		require.NoError(b, err)
	}
	n.host, err = libp2p.New(libp2p.Identity(s.key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	options := []pubsub.Option{pubsub.WithDefaultValidator(func(_ context.Context, from peer.ID, m *pubsub.Message) bool {
		if from != n.host.ID() {
			n.rumors.Add(int64(len(m.GetData())))
		}
		return true
	})}
	if !s.rumors {
		options = append(options, pubsub.WithPeerFilter(func(peer.ID, string) bool { return false }))
	}
	gossip, err := pubsub.NewGossipSub(ctx, n.host, options...)
	require.NoError(b, err)
	cfg := replica.DefaultConfig("bench")
	cfg.FirstSync, cfg.Store = s.first, s.store
	cfg.Liveness.Trusting = true
	n.Replica, err = replica.New(n.host, gossip, cfg)
	require.NoError(b, err)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = func() {
		cancel()
		require.NoError(b, <-done)
		require.NoError(b, n.host.Close())
	}
	return n
}

// newMeshed starts benchNodes replicas with benchKeys keys, each connected to eight before it, and returns when all agree.
func newMeshed(b *testing.B, rumors bool) *meshed {
	b.Helper()
	m := &meshed{}
	b.Cleanup(func() {
		for _, n := range m.nodes {
			n.stop()
		}
	})
	for i := range benchNodes {
		n := startBench(b, benchSetup{rumors: rumors})
		m.nodes = append(m.nodes, n)
		for d := 1; d <= 8 && i-d*d >= 0; d++ { // near and far
			connect(b, n, m.nodes[i-d*d])
		}
		<-n.Ready()
		var writes []gossipstate.Mutation
		for k := range benchKeys / benchNodes {
			writes = append(writes, gossipstate.Mutation{Key: fmt.Sprintf("app/node-%02d/key-%03d", i, k), Value: []byte(strings.Repeat("v", 32))})
		}
		_, err := benchTopic(b, n, "main").Write(b.Context(), writes...)
		require.NoError(b, err)
	}
	for _, n := range m.nodes {
		agree(b, n, m.nodes[0])
	}
	require.Equal(b, benchKeys, held(b, m.nodes[0], "main").Keys)
	return m
}

func connect(b *testing.B, from, to *benchNode) {
	b.Helper()
	require.NoError(b, from.host.Connect(b.Context(), peer.AddrInfo{ID: to.host.ID(), Addrs: to.host.Addrs()}))
}

func benchTopic(b *testing.B, n *benchNode, name string) *replica.Topic {
	b.Helper()
	topic, err := n.Topic(name)
	require.NoError(b, err)
	return topic
}

func held(b *testing.B, n *benchNode, topic string) replica.Digest {
	b.Helper()
	d, err := benchTopic(b, n, topic).Digest(b.Context())
	require.NoError(b, err)
	return d
}

// agree returns when n holds what other does of the users' topic, and of members every node that other knows.
func agree(b *testing.B, n, other *benchNode) {
	b.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for held(b, n, "main").Fingerprint != held(b, other, "main").Fingerprint || held(b, n, "members").Owners < held(b, other, "members").Owners {
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("no agreement: %+v and %+v", held(b, n, "main"), held(b, other, "main"))
		}
	}
}

// syncBytes are those on n's sync streams and in rumors that it got.
func (n *benchNode) syncBytes() (sum int64) {
	for _, c := range n.Counts() {
		if c.Name == replica.CountSyncBytes {
			sum += int64(c.N)
		}
	}
	return sum + n.rumors.Load()
}

// BenchmarkJoin is the time from nothing, not even a host, until a node holds all 10,000 keys of 50 nodes, while pubsub carries
// none of them.
func BenchmarkJoin(b *testing.B) {
	m := newMeshed(b, false)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		n := startBench(b, benchSetup{first: 5 * time.Second})
		for _, i := range []int{7, 23, 41} {
			connect(b, n, m.nodes[i])
		}
		agree(b, n, m.nodes[0])
		took = append(took, time.Since(began))
		b.StopTimer()
		require.Equal(b, benchKeys, held(b, n, "main").Keys)
		n.stop()
		b.StartTimer()
	}
	reportMedian(b, took)
}

// settle is how long bytes are counted after a node has what the others have. A guess: two rounds of whatever is left to say.
const settle = 3 * time.Second

// BenchmarkRestart is what a node gets and sends on sync streams and in rumors until it agrees with 50 nodes about 10,000 keys:
// with its store, while so many keys changed when it was away, against a first start without one.
func BenchmarkRestart(b *testing.B) {
	for _, changed := range []int{0, 20} {
		b.Run(fmt.Sprintf("changed=%d", changed), func(b *testing.B) {
			m := newMeshed(b, true)
			key, _, err := crypto.GenerateEd25519Key(rand.Reader)
			require.NoError(b, err)
			var cold, warm []int64
			for b.Loop() {
				path := filepath.Join(b.TempDir(), "state.db")
				cold = append(cold, m.life(b, key, path))
				m.change(b, changed)
				warm = append(warm, m.life(b, key, path))
			}
			slices.Sort(cold)
			slices.Sort(warm)
			c, w := float64(cold[len(cold)/2]), float64(warm[len(warm)/2])
			b.ReportMetric(c, "cold-B")
			b.ReportMetric(w, "restart-B")
			b.ReportMetric(100*w/c, "%-of-cold")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// change sets n keys, each of another node, and returns when all nodes agree.
func (m *meshed) change(b *testing.B, n int) {
	b.Helper()
	for range n {
		m.changes++
		i := m.changes % benchNodes
		_, err := benchTopic(b, m.nodes[i], "main").Set(b.Context(), fmt.Sprintf("app/node-%02d/key-000", i),
			fmt.Append(nil, m.changes), replica.WriteOptions{})
		require.NoError(b, err)
	}
	for _, n := range m.nodes {
		agree(b, n, m.nodes[0])
	}
}

// life runs a node with the store at path until it agrees with all and has settled, and returns the bytes it cost.
func (m *meshed) life(b *testing.B, key crypto.PrivKey, path string) int64 {
	b.Helper()
	st, damaged, err := store.Open(path, time.Now())
	require.NoError(b, err)
	require.Nil(b, damaged)
	n := startBench(b, benchSetup{key: key, store: st, rumors: true, first: 5 * time.Second})
	for _, i := range []int{7, 23, 41} {
		connect(b, n, m.nodes[i])
	}
	<-n.Ready()
	agree(b, n, m.nodes[0])
	<-time.After(settle)
	agree(b, n, m.nodes[0])
	bytes := n.syncBytes()
	n.stop()
	require.NoError(b, st.Close())
	return bytes
}
