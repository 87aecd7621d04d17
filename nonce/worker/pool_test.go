package worker

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/p2pnode/p2pnode/nonce"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const genesis = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d"

func genesisJob(t testing.TB, around uint64) nonce.Job {
	header, err := hex.DecodeString(genesis)
	require.NoError(t, err)
	return nonce.Job{
		Kind: "sha256d", Payload: header, Name: "genesis",
		Range: nonce.Range{Start: 2083236893 - around, End: 2083236893 + around},
	}
}

func TestGenesisNonceIsFoundByFivePools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 5)
		id := submit(t, peers[0], genesisJob(t, 30_000))
		for _, p := range peers {
			got := await(t, p, id)
			require.Equal(t, nonce.Done, got.State)
			require.Len(t, got.Found, 1)
			require.Equal(t, uint64(2083236893), got.Found[0].Nonce)
			require.Equal(t, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f", got.Found[0].Hash.String())
			require.Equal(t, uint64(80), got.Cells, "16 for each worker")
			require.Equal(t, "genesis", got.Name)
			require.Equal(t, peers[0].cfg.Self, got.Submitter)
		}
	})
}

func TestWholeRangeSearchedInVainIsExhausted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 3)
		job := genesisJob(t, 1000)
		job.Range.End = 2083236893
		got := await(t, peers[2], submit(t, peers[0], job))
		require.Equal(t, nonce.Exhausted, got.State)
		require.Equal(t, uint64(1000), got.Done)
		require.Empty(t, got.Found)
	})
}

func TestWorkIsSharedEvenlyAndNoneIsDoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 5)
		start := time.Now()
		id := submit(t, peers[0], sleepJob(nonce.All, 3, 50, 99))
		got := await(t, peers[0], id)
		require.Equal(t, nonce.Done, got.State)
		require.Equal(t, uint64(10_000), got.Done)
		require.Zero(t, got.Duplicates)
		require.Len(t, got.Found, 3)
		require.Less(t, time.Since(start), 25*time.Second, "20 s were perfect")
		for _, p := range peers {
			require.Zero(t, p.Counters().Surrendered)
			require.NotZero(t, p.Counters().Cells)
		}
		settle(10 * time.Second)
		for _, p := range peers {
			_, leases := n.get(p.cfg.Self, nonce.Key{Job: id, Part: nonce.PartLease}.String())
			require.False(t, leases, "a job that is over has no leases")
		}
	})
}

func TestSlowWorkersDoNotHoldFastOnesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.setLive(nonce.ID{0: 1, 31: 1}, true)
		slow := n.start(t, 1)
		fast := n.start(t, 2, func(c *Config) { c.Threads = 9 })
		start := time.Now()
		id := submit(t, slow, sleepJob(nonce.All))
		got := await(t, slow, id)
		require.Zero(t, got.Duplicates)
		require.Less(t, time.Since(start), 14*time.Second, "10 s were perfect, 50 s an even split")
		require.Greater(t, fast.Counters().Cells, 7*slow.Counters().Cells)
	})
}

func TestFirstResultStopsAllPoolsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 4)
		id := submit(t, peers[0], sleepJob(nonce.First, 5))
		got := await(t, peers[3], id)
		require.Equal(t, nonce.Done, got.State)
		settle(0)
		var tried []uint64
		for _, p := range peers {
			tried = append(tried, p.Counters().Tried)
		}
		settle(10 * time.Second)
		for i, p := range peers {
			require.LessOrEqual(t, p.Counters().Tried-tried[i], uint64(1), "the slice that was under way")
			require.Zero(t, p.Rate())
		}
	})
}

func TestCancelStopsAllPoolsAndCleansUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := newNetwork()
		peers := n.startAll(t, 3)
		id := submit(t, peers[0], sleepJob(nonce.All, 1))
		settle(5 * time.Second)
		require.ErrorIs(t, peers[1].Cancel(ctx, id), ErrNotSubmitter)
		require.ErrorIs(t, peers[1].Cancel(ctx, nonce.JobID{1}), ErrNotFound)
		require.NoError(t, peers[0].Cancel(ctx, id))
		for _, p := range peers {
			got := await(t, p, id)
			require.Equal(t, nonce.Canceled, got.State)
			require.NotZero(t, got.Done)
		}
		require.ErrorIs(t, peers[0].Cancel(ctx, id), ErrOver)
		settle(5 * time.Second)
		for _, p := range peers {
			require.Empty(t, n.keys(p.cfg.Self))
		}
	})
}

func TestForeignCancelDoesNotCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 2)
		id := submit(t, peers[0], sleepJob(nonce.All))
		key := definitionKey(id)
		definition, _ := n.get(peers[0].cfg.Self, key)
		mallory := &node{network: n, self: nonce.ID{0: 66}}
		ctx := context.Background()
		require.NoError(t, mallory.Put(ctx, Write{Key: key, Value: []byte(definition)}))
		require.NoError(t, mallory.Put(ctx, Write{Key: key, Delete: true}))
		settle(time.Second)
		got, err := peers[1].Job(ctx, id)
		require.NoError(t, err)
		require.Equal(t, nonce.Running, got.State)
		require.Equal(t, map[nonce.Reason]uint64{nonce.WrongID: 1}, peers[1].Counters().Refused)
		require.NoError(t, peers[0].Cancel(ctx, id))
	})
}

func TestFalseResultIsIgnoredAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 2)
		id := submit(t, peers[0], sleepJob(nonce.First, 99))
		liar := &node{network: n, self: nonce.ID{0: 66}}
		require.NoError(t, liar.Put(context.Background(), Write{
			Key: nonce.Key{Job: id, Part: nonce.PartFound}.String(), Value: nonce.EncodeFound([]nonce.Result{{Nonce: 7}}),
		}))
		got := await(t, peers[1], id)
		require.Equal(t, nonce.Done, got.State)
		require.Len(t, got.Found, 1)
		require.Equal(t, uint64(9_900), got.Found[0].Nonce)
		require.Equal(t, map[nonce.Reason]uint64{nonce.FalseResult: 1}, peers[0].Counters().Refused)
	})
}

func TestNodeWorksOnlyForItselfAndThoseItTrusts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		wary := n.start(t, 1, func(c *Config) { c.Trusted = nil })
		open := n.start(t, 2)
		id := submit(t, open, sleepJob(nonce.All))
		start := time.Now()
		require.Equal(t, nonce.Done, await(t, wary, id).State, "it sees the job all the same")
		require.Zero(t, wary.Counters().Tried)
		require.Less(t, time.Since(start), 110*time.Second, "and does not hold it back")
		await(t, wary, submit(t, wary, sleepJob(nonce.All)))
		require.NotZero(t, wary.Counters().Tried)
	})
}

func TestPoolThatIsNotEnabledSubmitsAndWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		client := n.start(t, 1, func(c *Config) { c.Enabled = false })
		n.start(t, 2)
		got := await(t, client, submit(t, client, sleepJob(nonce.First, 10)))
		require.Equal(t, nonce.Done, got.State)
		require.Zero(t, client.Counters().Tried)
	})
}

func TestLeasesAreWrittenAtOnceAndProgressAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := n.start(t, 1)
		settle(time.Second)
		start := time.Now()
		id := submit(t, p, sleepJob(nonce.First, 99))
		synctest.Wait()
		puts := p.node.puts
		require.Len(t, puts, 2, "definition and lease")
		require.Equal(t, start, puts[1].at)
		require.Equal(t, nonce.Key{Job: id, Part: nonce.PartLease}.String(), puts[1].writes[0].Key)

		got := await(t, p, id)
		end := time.Now()
		settle(time.Minute)
		puts = p.node.puts
		last := puts[len(puts)-1]
		require.LessOrEqual(t, last.at.Sub(end), flushPause, "a result is written at once, and then nothing more")
		require.LessOrEqual(t, len(puts), int(end.Sub(start)/time.Second)+5, "about one commit a lease")
		require.Equal(t, uint64(9_900), got.Found[0].Nonce)
	})
}

func TestEarlierJobsAreWorkedOnFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 3)
		first := submit(t, peers[0], sleepJob(nonce.All))
		settle(time.Second)
		second := submit(t, peers[1], sleepJob(nonce.All))
		require.Equal(t, nonce.Done, await(t, peers[2], first).State)
		got, err := peers[2].Job(context.Background(), second)
		require.NoError(t, err)
		require.Less(t, got.Done, uint64(1_000))
		got = await(t, peers[2], second)
		require.Equal(t, uint64(10_000), got.Done)
		require.Zero(t, got.Duplicates)
	})
}

func TestManyScatteredCellsFillSealedSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		peers := n.startAll(t, 2)
		job := sleepJob(nonce.All)
		job.Range.End, job.Cell = 4000, 1
		got := await(t, peers[1], submit(t, peers[0], job))
		require.Equal(t, nonce.Done, got.State)
		require.Equal(t, uint64(4000), got.Done)
		settle(5 * time.Second)
		for _, p := range peers {
			segments := 0
			for _, key := range n.keys(p.cfg.Self) {
				if k, err := nonce.ParseKey(key); err == nil && k.Part == nonce.PartDone {
					value, _ := n.get(p.cfg.Self, key)
					require.LessOrEqual(t, len(value), nonce.MaxSegment)
					segments++
				}
			}
			require.Greater(t, segments, 1)
		}
	})
}

func TestSubmitRefusesWhatMakesNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := n.start(t, 1)
		for want, change := range map[string]func(*nonce.Job){
			`kind "exec" is not known; known: sha256d, sleep`:              func(j *nonce.Job) { j.Kind = "exec" },
			`block header has 40 bytes, want 76 (without the nonce) or 80`: func(j *nonce.Job) { j.Payload = j.Payload[:40] },
			`range 5:5 is empty: its end is not part of it`:                func(j *nonce.Job) { j.Range = nonce.Range{Start: 5, End: 5} },
			`range 5:2 is reversed: it ends before it starts`:              func(j *nonce.Job) { j.Range = nonce.Range{Start: 5, End: 2} },
			`name has 65 bytes, at most 64`:                                func(j *nonce.Job) { j.Name = strings.Repeat("n", 65) },
			`range 0:18446744073709551615 goes beyond the 32-bit nonce of a block header: its end is at most 4294967296`: func(j *nonce.Job) {
				j.Range = nonce.Range{End: 1<<64 - 1}
			},
			`cell size 1 cuts range 0:4294967296 into 4294967296 cells, at most 1048576: use 4096 or more`: func(j *nonce.Job) {
				j.Range, j.Cell = nonce.Range{End: 1 << 32}, 1
			},
		} {
			job := genesisJob(t, 100)
			change(&job)
			_, err := p.Submit(context.Background(), job)
			var bad *JobError
			require.ErrorAs(t, err, &bad)
			require.EqualError(t, err, want)
		}
		require.Empty(t, p.node.puts)
	})
}

func TestOldFinishedJobsMakeRoomForNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := newNetwork()
		p := n.start(t, 1)
		small := nonce.Job{Kind: "sleep", Range: nonce.Range{End: 10}, Cell: 10}
		for range 3 * keepFinished {
			await(t, p, submit(t, p, small))
			settle(time.Second)
		}
		settle(10 * time.Second)
		require.Len(t, n.keys(p.cfg.Self), 2*keepFinished, "a definition and what was done, of each")

		n.setLive(p.cfg.Self, false) // nobody works any more
		for range nonce.MaxJobs - keepFinished + 1 {
			submit(t, p, sleepJob(nonce.First))
			settle(time.Second)
		}
		_, err := p.Submit(ctx, sleepJob(nonce.First))
		require.ErrorIs(t, err, ErrTooManyJobs)
	})
}

func TestMoreResultsThanAWorkerMayListAreLeftToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		every := func(c *Config) { c.Kinds = nonce.NewKinds(everyKind{}) }
		peers := n.startAll(t, 2, every)
		id := submit(t, peers[0], nonce.Job{Kind: "every", Range: nonce.Range{End: nonce.MaxResults + 100}, Stop: nonce.All, Cell: 10})
		got := await(t, peers[0], id)
		require.Equal(t, nonce.Done, got.State)
		require.Equal(t, nonce.MaxResults+100, len(got.Found), "none is lost")
	})
}

// everyKind is work of which every nonce is a hit.
type everyKind struct{ sleepKind }

func (everyKind) Name() string { return "every" }

func (everyKind) Open(*nonce.Job) (nonce.Problem, error) { return every{}, nil }

type every struct{ hits }

func (every) Scan(r nonce.Range) (nonce.Result, bool) {
	time.Sleep(time.Millisecond)
	return nonce.Result{Nonce: r.Start, Hash: nonce.Hash{}}, true
}

func (every) Verify(uint64) (nonce.Hash, bool) { return nonce.Hash{}, true }

func TestConfigFaultsAreAllNamed(t *testing.T) {
	_, err := New(Config{Threads: -1}, nil)
	require.EqualError(t, err, "worker.Config.Self is not set\nworker.Config.Threads is -1, want 0 to 1024")
	p, err := New(Config{Self: nonce.ID{1}}, nil)
	require.NoError(t, err)
	require.Positive(t, p.cfg.Threads)
}

func TestCallsEndWithTheirContextAndWithThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		pool, err := New(Config{Self: nonce.ID{1}}, &node{network: n})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = pool.Jobs(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "Run has not begun")

		p := n.start(t, 2)
		_, err = p.Job(context.Background(), nonce.JobID{1})
		require.ErrorIs(t, err, ErrNotFound)
		require.EqualError(t, err, "job 01000000000000000000000000000000: no such job")
		p.kill()
		_, err = p.Jobs(context.Background())
		require.ErrorIs(t, err, ErrStopped)
		require.Error(t, p.Run(context.Background()), "twice")
	})
}

func TestRateIsTakenOverTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := n.start(t, 1)
		id := submit(t, p, sleepJob(nonce.First, 99))
		settle(20 * time.Second)
		require.InDelta(t, 100, p.Rate(), 2)
		got, err := p.Job(context.Background(), id)
		require.NoError(t, err)
		require.InDelta(t, 100, got.Rate, 2)
		require.Equal(t, 1, got.Workers)
		require.Positive(t, got.Leased)
	})
}
