package testnet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/replica"
)

// What sources write together, over and over, so that what nodes hold stays as large as it is. A source's share fits its rumors,
// 20 of them a second of less than 16 KiB, and it comes back to a key after a second: every change is an event everywhere.
const (
	loadSources = 5
	loadKeys    = 1000 // of each source
	loadBatch   = 50   // changes of one Write
	loadRate    = 5000 // changes a second
)

// load is some replicas in this process that write to a testnet.
type load struct {
	t       testing.TB
	topics  []*replica.Topic // of the sources
	changes int              // made so far
}

// newLoad starts sources that are connected to all nodes, and returns when these hold each key.
func (n testNet) newLoad() *load {
	n.t.Helper()
	l := &load{t: n.t}
	for range loadSources {
		l.topics = append(l.topics, n.newSource())
	}
	l.write(n.within(soon), loadSources*loadKeys)
	l.held(n.within(soon), n)
	return l
}

func (n testNet) newSource() *replica.Topic {
	n.t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"))
	require.NoError(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	gossip, err := pubsub.NewGossipSub(ctx, h)
	require.NoError(n.t, err)
	cfg := replica.DefaultConfig(n.l.network())
	cfg.FirstSync = 0
	r, err := replica.New(h, gossip, cfg)
	require.NoError(n.t, err)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		require.NoError(n.t, <-done)
		require.NoError(n.t, h.Close())
	})
	p, err := n.l.load()
	require.NoError(n.t, err)
	for _, pn := range p.Nodes {
		to, err := peer.AddrInfoFromString(pn.dialAddress())
		require.NoError(n.t, err)
		require.NoError(n.t, h.Connect(n.t.Context(), *to))
	}
	<-r.Ready()
	topic, err := r.Topic("main")
	require.NoError(n.t, err)
	return topic
}

// loadKey is what the i-th change is of, and who makes it: one batch after the other, each of the next source.
func loadKey(i int) (source int, key string) {
	source = i / loadBatch % loadSources
	n := i/(loadBatch*loadSources)*loadBatch + i%loadBatch
	return source, fmt.Sprintf("app/source-%d/key-%03d", source, n%loadKeys)
}

// loadValue is what the i-th change writes: 32 bytes.
func loadValue(i int) string { return fmt.Sprintf("%032d", i) }

// write makes n changes at loadRate.
func (l *load) write(ctx context.Context, n int) {
	l.t.Helper()
	tick := time.NewTicker(time.Second * loadBatch / loadRate)
	defer tick.Stop()
	for began, first := time.Now(), l.changes; l.changes < first+n; {
		for due := int(time.Since(began).Seconds() * loadRate); l.changes < first+min(n, due); {
			l.batch(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.t.Fatalf("%d of %d changes are made: %v", l.changes-first, n, ctx.Err())
		}
	}
}

func (l *load) batch(ctx context.Context) {
	l.t.Helper()
	source, _ := loadKey(l.changes)
	var writes []gossipstate.Mutation
	for range loadBatch {
		_, key := loadKey(l.changes)
		writes = append(writes, gossipstate.Mutation{Key: key, Value: []byte(loadValue(l.changes))})
		l.changes++
	}
	_, err := l.topics[source].Write(ctx, writes...)
	require.NoError(l.t, err)
}

// final is what every key holds now.
func (l *load) final() map[string]string {
	values := map[string]string{}
	for i := l.changes - loadSources*loadKeys; i < l.changes; i++ {
		_, key := loadKey(i)
		values[key] = loadValue(i)
	}
	return values
}

// held returns when the sources and all nodes hold the same.
func (l *load) held(ctx context.Context, n testNet) {
	l.t.Helper()
	for _, name := range n.names() {
		c := n.client(name)
		n.poll(ctx, name+" to hold what the sources do", func() (any, bool) {
			there, err := c.Digest(ctx)
			for _, topic := range l.topics {
				here, herr := topic.Digest(ctx)
				if err != nil || herr != nil || fmt.Sprintf("%x", here.Fingerprint) != there.Digest {
					return there, false
				}
			}
			return there, true
		})
	}
}
