package bootstrap

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"
)

// sparing runs a Dialer with one bootstrap peer, and gives the test what has to do with sparing it.
func sparing(t *testing.T, test func(t *testing.T, d *Dialer, enough *atomic.Bool, h, b host.Host)) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSimNet(t)
		key, id := newKey(t)
		own, _ := newKey(t)
		h, b := sim.host(t, "1.0.0.1", own), sim.host(t, "1.0.0.2", key)
		var enough atomic.Bool
		cfg := DefaultConfig()
		cfg.Addrs = []peer.AddrInfo{{ID: id, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/1.0.0.2/udp/8000/quic-v1")}}}
		cfg.Enough = enough.Load
		d, err := New(h, cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		within(t, time.Second, "joined", func() bool { return d.State().Connected == 1 })
		time.Sleep(time.Minute)
		test(t, d, &enough, h, b)
		cancel()
		require.NoError(t, <-done)
	})
}

// full has b close each connection after d, as a connection manager does that has too many.
func full(b host.Host, d time.Duration) {
	for _, c := range b.Network().Conns() {
		c.Close()
	}
	b.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		time.AfterFunc(d, func() { c.Close() })
	}})
}

func TestAPeerThatLetsConnectionsGoIsDialledSeldomWhileThereAreEnoughNeighbours(t *testing.T) {
	sparing(t, func(t *testing.T, d *Dialer, enough *atomic.Bool, _, b host.Host) {
		enough.Store(true)
		full(b, 90*time.Second)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		require.Equal(t, State{Wanted: 1, Spared: 1, Failures: map[string]string{}, Retry: d.State().Retry, Alone: d.State().Alone}, d.State())
		require.True(t, d.State().Retry.After(time.Now()))
		time.Sleep(time.Hour)
		synctest.Wait()
		first := d.Counters().OK
		require.Greater(t, first, uint64(5), "it is tried now and then")
		require.Less(t, first, uint64(16))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.Less(t, d.Counters().OK-first, uint64(24*6*2), "each 5 to 10 min, and what the connections last")
		require.Greater(t, d.Counters().OK-first, uint64(24*5-1))
	})
}

func TestAPeerIsNotSparedWhenNeighboursAreMissing(t *testing.T) {
	sparing(t, func(t *testing.T, d *Dialer, enough *atomic.Bool, _, b host.Host) {
		full(b, 20*time.Second)
		time.Sleep(10 * time.Minute)
		require.Zero(t, d.State().Spared)
		require.Greater(t, d.Counters().OK, uint64(20))

		enough.Store(true)
		time.Sleep(2 * time.Hour) // pauses are long now
		within(t, 15*time.Minute, "spared", func() bool { return d.State().Spared == 1 })
		before := d.Counters().OK
		enough.Store(false)
		within(t, spareLook+time.Second, "dialled", func() bool { return d.State().Connected == 1 })
		require.Equal(t, before+1, d.Counters().OK)
	})
}

func TestAPeerThatCannotBeReachedIsNotSpared(t *testing.T) {
	sparing(t, func(t *testing.T, d *Dialer, enough *atomic.Bool, _, b host.Host) {
		enough.Store(true)
		require.NoError(t, b.Close())
		within(t, time.Minute, "an attempt failed", func() bool { return d.Counters().Timeout > 0 })
		require.Zero(t, d.State().Spared)
		time.Sleep(time.Hour)
		require.Greater(t, d.Counters().Timeout, uint64(90), "as often as without neighbours")
	})
}

func TestAConnectionThatLastedStartsThePausesAnew(t *testing.T) {
	sparing(t, func(t *testing.T, d *Dialer, enough *atomic.Bool, h, b host.Host) {
		enough.Store(true)
		for range 8 {
			require.NoError(t, h.Network().ClosePeer(b.ID()))
			time.Sleep(11 * time.Minute)
			synctest.Wait()
			require.Equal(t, 1, d.State().Connected)
		}
		time.Sleep(d.cfg.SpareBackoff)
		require.NoError(t, h.Network().ClosePeer(b.ID()))
		within(t, d.cfg.MaxBackoff+4*time.Second, "back", func() bool { return d.State().Connected == 1 })
	})
}
