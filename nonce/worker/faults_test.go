package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/nonce"
)

func TestTwoPoolsKilledInTheMiddleLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 5)
		id := submit(t, peers[0], sleepJob(nonce.All, 3, 50, 99))
		settle(7500 * time.Millisecond)
		before, err := peers[0].Job(context.Background(), id)
		require.NoError(t, err)
		for _, p := range peers[3:] {
			p.kill()
			settle(2 * time.Second) // until liveness notices
			n.setLive(p.cfg.Self, false)
		}
		got := await(t, peers[0], id)
		require.Equal(t, nonce.Done, got.State)
		require.Equal(t, uint64(10_000), got.Done)
		require.Len(t, got.Found, 3)
		require.NotZero(t, before.Done)
		require.NotZero(t, before.Leased)
		// A cell finished but not yet published is done again, by a live worker: nothing but that.
		require.Zero(t, got.Duplicates)
		tried, taken := uint64(0), uint64(0)
		for _, p := range peers {
			tried += p.Counters().Tried
			taken += p.Counters().TakenOver
		}
		require.NotZero(t, taken)
		cadence := nonce.Cadence(5)
		require.LessOrEqual(t, tried, 10_000+2*uint64(2*cadence/(10*time.Millisecond)), "at most what two workers had not yet published is done again")
	})
}

func TestFailingWritesLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 2)
		id := submit(t, peers[0], sleepJob(nonce.All, 3, 50, 99))
		settle(time.Second)
		n.mu.Lock()
		peers[1].node.fail = 20
		peers[0].node.latency = 3 * time.Second
		n.mu.Unlock()
		got := await(t, peers[0], id)
		require.Equal(t, nonce.Done, got.State)
		require.Len(t, got.Found, 3)
		settle(time.Minute)
		require.Equal(t, uint64(20), peers[1].Counters().PutFailures)
	})
}

func TestStateThatCannotBeWrittenForNowDelaysOnlyTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := n.start(t, 1)
		id := submit(t, p, sleepJob(nonce.All, 3))
		settle(time.Second)
		n.mu.Lock()
		p.node.fail = -1
		n.mu.Unlock()
		require.Equal(t, nonce.Done, await(t, p, id).State)
		n.mu.Lock()
		p.node.fail = 0
		n.mu.Unlock()
		settle(10 * time.Second)
		watcher := n.start(t, 2)
		require.Equal(t, nonce.Done, await(t, watcher, id).State)
		require.Len(t, await(t, watcher, id).Found, 1)
	})
}

func TestRestartGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := n.start(t, 1)
		id := submit(t, p, sleepJob(nonce.All, 3, 99))
		settle(30*time.Second + 500*time.Millisecond)
		p.kill()
		held, _ := n.get(p.cfg.Self, nonce.Key{Job: id, Part: nonce.PartLease}.String())
		again := n.start(t, 1)
		settle(100 * time.Millisecond)
		lease, err := nonce.DecodeLease([]byte(held))
		require.NoError(t, err)
		text, _ := n.get(p.cfg.Self, nonce.Key{Job: id, Part: nonce.PartLease}.String())
		now, err := nonce.DecodeLease([]byte(text))
		require.NoError(t, err)
		require.True(t, now.Lost.Equal(lease.Cells), "what it held when it died, it died over")

		got := await(t, again, id)
		require.Equal(t, nonce.Done, got.State)
		require.Len(t, got.Found, 2)
		require.LessOrEqual(t, p.Counters().Tried+again.Counters().Tried, uint64(10_300))
	})
}

func TestReleaseFreesTheLeasesAndKeepsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := newNetwork()
		peers := n.startAll(t, 2)
		id := submit(t, peers[0], sleepJob(nonce.All))
		settle(10*time.Second + 500*time.Millisecond)
		require.NoError(t, peers[1].Release(ctx))
		done := peers[1].Counters().Cells
		require.Equal(t, []string{nonce.Key{Job: id, Part: nonce.PartDone}.String()}, n.keys(peers[1].cfg.Self))
		segment, _ := n.get(peers[1].cfg.Self, nonce.Key{Job: id, Part: nonce.PartDone}.String())
		cells, err := nonce.DecodeDone([]byte(segment))
		require.NoError(t, err)
		require.Equal(t, done, cells.Cells.Len(), "everything it did is written")
		settle(10 * time.Second)
		require.Equal(t, done, peers[1].Counters().Cells, "it takes no more")
		peers[1].kill()
		n.setLive(peers[1].cfg.Self, false)
		require.ErrorIs(t, peers[1].Release(ctx), ErrStopped)
		require.Zero(t, await(t, peers[0], id).Duplicates)
		require.Zero(t, peers[0].Counters().TakenOver, "nobody died over a cell")
	})
}

func TestBrokenStreamIsTakenUpAgainWithTheWholeTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 2)
		kept := submit(t, peers[0], sleepJob(nonce.First, 99))
		settle(time.Second)
		gone := submit(t, peers[0], sleepJob(nonce.All))
		settle(time.Second)
		n.breakStreams(func() { delete(n.entries, entry{peers[0].cfg.Self, definitionKey(gone)}) })
		settle(time.Second)
		for _, p := range peers {
			require.Equal(t, uint64(1), p.Counters().Rewatches)
			jobs, err := p.Jobs(context.Background())
			require.NoError(t, err)
			require.Len(t, jobs, 2)
			require.Equal(t, nonce.Running, jobs[0].State)
			require.Equal(t, kept, jobs[0].ID)
			require.Equal(t, nonce.Canceled, jobs[1].State)
		}
		require.Equal(t, nonce.Done, await(t, peers[1], kept).State)
	})
}

func TestPartitionIsMendedAndOnlyItsOwnWorkIsDoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 4)
		id := submit(t, peers[0], sleepJob(nonce.All, 3, 50, 99))
		settle(5 * time.Second)
		n.partition(map[nonce.ID]int{peers[2].cfg.Self: 1, peers[3].cfg.Self: 1})
		settle(5 * time.Second)
		n.partition(nil)
		got := await(t, peers[0], id)
		require.Equal(t, nonce.Done, got.State)
		require.Equal(t, uint64(10_000), got.Done, "no hole")
		require.Len(t, got.Found, 3)
		require.NotZero(t, got.Duplicates)
		require.LessOrEqual(t, got.Duplicates, uint64(2*500+2*200), "what one side did, and had leased")
		surrendered := peers[0].Counters().Surrendered
		for _, p := range peers[1:] {
			require.Equal(t, got.Duplicates, await(t, p, id).Duplicates, "all count the same")
			surrendered += p.Counters().Surrendered
		}
		require.NotZero(t, surrendered, "cells that both sides held when they met")
	})
}
