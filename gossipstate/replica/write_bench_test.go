package replica

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// BenchmarkSet is a write of one key on a node with a disk, fsync included, for writers that wait for one another's fsync.
func BenchmarkSet(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			topic := writable(b)
			work := make(chan int)
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for n := range work {
						if _, err := topic.Set(context.Background(), fmt.Sprintf("app/key-%03d", n%500), []byte(fmt.Sprint(n)), WriteOptions{}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			n := 0
			for b.Loop() {
				work <- n
				n++
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// writable is the topic of a replica that is alone, with a store.
func writable(b *testing.B) *Topic {
	b.Helper()
	st, _, err := store.Open(filepath.Join(b.TempDir(), "state.db"), time.Now())
	require.NoError(b, err)
	h, err := libp2p.New(libp2p.NoListenAddrs)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	gossip, err := pubsub.NewGossipSub(ctx, h)
	require.NoError(b, err)
	cfg := DefaultConfig("bench")
	cfg.FirstSync, cfg.Store = 0, st
	r, err := New(h, gossip, cfg)
	require.NoError(b, err)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-done)
		require.NoError(b, h.Close())
		require.NoError(b, st.Close())
	})
	<-r.Ready()
	topic, err := r.Topic("main")
	require.NoError(b, err)
	return topic
}
