package discovery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// fakeRouter notes when it was asked. A test reads its fields while the bubble is at rest and changes them by set.
type fakeRouter struct {
	mu         sync.Mutex
	peers      int
	failing    error
	advertised []time.Time
	lookedUp   []time.Time
}

func (r *fakeRouter) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *fakeRouter) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers
}

func (r *fakeRouter) advertise(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advertised = append(r.advertised, time.Now())
	return r.failing
}

func (r *fakeRouter) find(_ context.Context, found func(peer.AddrInfo)) error {
	found(info("found", 1))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookedUp = append(r.lookedUp, time.Now())
	return r.failing
}

// loops runs both rendezvous loops over r in a bubble, with d for its configuration and counts.
func loops(t *testing.T, r *fakeRouter, test func(t *testing.T, d *Discovery, wake func())) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Network = "test"
		d := &Discovery{cfg: cfg, log: slog.New(slog.DiscardHandler), offers: make(chan peer.AddrInfo)}
		ctx, cancel := context.WithCancel(t.Context())
		advertise, lookup := make(chan struct{}, 1), make(chan struct{}, 1)
		ended := make(chan struct{}, 3)
		go func() { d.advertiseLoop(ctx, r, advertise); ended <- struct{}{} }()
		go func() { d.lookupLoop(ctx, r, lookup); ended <- struct{}{} }()
		go func() {
			for range d.offers {
			}
			ended <- struct{}{}
		}()
		test(t, d, func() { wake(advertise); wake(lookup) })
		cancel()
		<-ended
		<-ended
		close(d.offers)
		<-ended
	})
}

func after(d time.Duration) { time.Sleep(d); synctest.Wait() }

// longestGap returns the longest pause between two of times.
func longestGap(times []time.Time) time.Duration {
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

func TestTheRecordIsRenewedLongBeforeItExpiresForSevenDays(t *testing.T) {
	r := &fakeRouter{peers: 1}
	loops(t, r, func(t *testing.T, d *Discovery, _ func()) {
		started := time.Now()
		d.count.neighbours.Store(8)
		after(7 * 24 * time.Hour)
		require.Zero(t, r.advertised[0].Sub(started), "the first at once")
		require.LessOrEqual(t, r.advertised[1].Sub(started), firstRenewal, "the next soon, while the network settles")
		require.LessOrEqual(t, longestGap(append(r.advertised, time.Now())), RecordTTL/3)
		require.Less(t, len(r.advertised), 7*24*12+20, "no more often than every 5 min")
		require.Equal(t, uint64(len(r.advertised)), d.Counters().Advertisements)
		require.Equal(t, r.advertised[len(r.advertised)-1], d.Counters().LastAdvertise)
	})
}

func TestLookupsAreRepeatedWhileNeighboursAreMissingAndRareOtherwise(t *testing.T) {
	r := &fakeRouter{peers: 1}
	loops(t, r, func(t *testing.T, d *Discovery, wake func()) {
		after(7 * 24 * time.Hour)
		require.LessOrEqual(t, longestGap(r.lookedUp), maxRetry)
		require.LessOrEqual(t, r.lookedUp[1].Sub(r.lookedUp[0]), eagerRetry)
		require.Less(t, len(r.lookedUp), 7*24*240+20, "no more often than every 15 s")

		d.count.neighbours.Store(8)
		wake()
		after(maxRetry)
		r.set(func() { r.lookedUp = nil })
		after(time.Hour)
		require.GreaterOrEqual(t, len(r.lookedUp), 8, "none is of its own choice: it goes on")
		require.LessOrEqual(t, r.lookedUp[1].Sub(r.lookedUp[0]), 4*time.Minute)
		require.Less(t, len(r.lookedUp), 18, "less and less often, for there may be nobody else")

		d.count.chosen.Store(4)
		wake()
		r.set(func() { r.lookedUp = nil })
		after(24 * time.Hour)
		require.LessOrEqual(t, longestGap(r.lookedUp), d.cfg.LookupInterval)
		require.Less(t, len(r.lookedUp), 24*12+2)

		d.count.chosen.Store(2)
		wake()
		r.set(func() { r.lookedUp = nil })
		after(maxRetry)
		require.NotEmpty(t, r.lookedUp, "those of its own choice went: soon")
		d.count.chosen.Store(4)
		wake()
		after(time.Minute)

		r.set(func() { r.lookedUp = nil })
		d.count.neighbours.Store(1)
		wake()
		after(eagerRetry)
		require.NotEmpty(t, r.lookedUp, "neighbours went: at once, not at the end of a long pause")
	})
}

func TestBothLoopsWaitForARoutingTable(t *testing.T) {
	r := &fakeRouter{}
	loops(t, r, func(t *testing.T, _ *Discovery, wake func()) {
		after(time.Hour)
		require.Empty(t, r.advertised)
		require.Empty(t, r.lookedUp)
		wake() // a peer was identified; the table gets it a moment later
		after(tableRetry / 4)
		r.set(func() { r.peers = 1 })
		after(3 * tableRetry)
		require.Len(t, r.advertised, 1)
		require.NotEmpty(t, r.lookedUp)
	})
}

func TestAnEmptyRoutingTableIsNoticedWithoutAWake(t *testing.T) {
	r := &fakeRouter{}
	loops(t, r, func(t *testing.T, _ *Discovery, _ func()) {
		after(time.Hour)
		r.set(func() { r.peers = 1 })
		after(maxRetry)
		require.NotEmpty(t, r.advertised)
		require.NotEmpty(t, r.lookedUp)
	})
}

func TestAnAdvertisementThatFailsIsTriedAgainSoon(t *testing.T) {
	r := &fakeRouter{peers: 1, failing: errors.New("no")}
	loops(t, r, func(t *testing.T, d *Discovery, _ func()) {
		after(time.Hour)
		require.LessOrEqual(t, longestGap(r.advertised), maxRetry)
		got := d.Counters()
		require.Zero(t, got.Advertisements)
		require.True(t, got.LastAdvertise.IsZero())
		require.Equal(t, uint64(len(r.advertised)), got.AdvertiseFailures)
		require.Equal(t, got.Lookups, got.LookupFailures)

		r.set(func() { r.failing = nil })
		after(maxRetry)
		require.NotZero(t, d.Counters().Advertisements)
		require.False(t, d.Counters().LastAdvertise.IsZero())
	})
}

func TestWakesDoNotMakeALoopSpin(t *testing.T) {
	r := &fakeRouter{peers: 1}
	loops(t, r, func(t *testing.T, _ *Discovery, wake func()) {
		for range 10_000 {
			wake()
			after(time.Millisecond)
		}
		require.LessOrEqual(t, len(r.lookedUp), 22, "10 s of wakes: no two look-ups within half a second")
		require.GreaterOrEqual(t, len(r.lookedUp), 8, "and none is put off by them")
	})
}
