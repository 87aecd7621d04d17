package discovery

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/zeroconf/v2"
	"github.com/stretchr/testify/require"
)

func TestWhoHasEnoughNeighboursAsksTheLinkSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asking, asked atomic.Int32
		d := &Discovery{cfg: DefaultConfig(), log: slog.New(slog.DiscardHandler)}
		d.browse = func(ctx context.Context, _, _ string, entries chan<- *zeroconf.ServiceEntry, _ ...zeroconf.ClientOption) error {
			defer close(entries)
			asked.Add(1)
			asking.Add(1)
			defer asking.Add(-1)
			<-ctx.Done()
			return nil
		}
		wake := make(chan struct{}, 1)
		neighbours := func(n, chosen int) {
			d.count.neighbours.Store(int64(n))
			d.count.chosen.Store(int64(chosen))
			wake <- struct{}{}
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.mdnsLoop(ctx, wake)
		}()
		neighbours(1, 1)
		require.Equal(t, int32(1), asking.Load(), "neighbours are missing")
		time.Sleep(mdnsInterval / 4)
		neighbours(d.cfg.Low-1, d.cfg.Low-1)
		require.Equal(t, int32(1), asking.Load(), "they still are")
		neighbours(d.cfg.Low, d.cfg.Low/2)
		require.Zero(t, asking.Load(), "there are enough")
		time.Sleep(mdnsInterval/2 - time.Second)
		require.Equal(t, int32(1), asked.Load())

		time.Sleep(mdnsInterval/2 + time.Second)
		require.Equal(t, int32(2), asked.Load(), "networks that formed apart find each other")
		time.Sleep(mdnsAskFor)
		synctest.Wait()
		require.Zero(t, asking.Load())

		neighbours(64, d.cfg.Low/2-1)
		time.Sleep(mdnsRest)
		require.Equal(t, int32(3), asked.Load(), "those of its own choice are missing, however many others came")
		time.Sleep(24 * time.Hour)
		require.Less(t, asked.Load(), int32(3+8+48), "there may be nobody else, so it asks less and less")
		require.Greater(t, asked.Load(), int32(24))

		neighbours(0, 0)
		require.Equal(t, int32(1), asking.Load(), "they are gone")
		cancel()
		<-ended
		require.Zero(t, asking.Load())
	})
}
