package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/nonce"
)

// bench is a loop that a test drives by hand: no goroutine runs, nothing is scanned or written.
func bench(t *testing.T) *loop {
	p, err := New(Config{Self: nonce.ID{1}, Enabled: true, Threads: 1, Kinds: nonce.NewKinds(sleepKind{})}, nil)
	require.NoError(t, err)
	l := newLoop(p)
	l.onFeed(feed{begin: true}, time.Now())
	l.onFeed(feed{change: Change{Synced: true}}, time.Now())
	return l
}

// define submits a job by hand and gives its id and the change that comes back from the state.
func (l *loop) define(t *testing.T, job nonce.Job, submitted time.Time) (nonce.JobID, Change) {
	job.Submitted = submitted
	require.NoError(t, l.complete(&job, submitted))
	value := nonce.EncodeJob(&job)
	id := nonce.NewJobID(l.cfg.Self, value)
	c := Change{Owner: l.cfg.Self, Key: definitionKey(id), Value: value}
	l.applyOwn([]Write{{Key: c.Key, Value: value}})
	return id, c
}

func (l *loop) stateOf(id nonce.JobID) nonce.State {
	return l.board.State(id, l.cfg.Workers(), time.Now())
}

func TestOwnWordsThatComeBackLateChangeNothing(t *testing.T) {
	now := time.Now()
	l := bench(t)
	id, definition := l.define(t, sleepJob(nonce.All), now)
	l.plan(now)
	lease, _, _, _ := l.board.Said(id, l.cfg.Self)
	require.False(t, lease.Cells.Empty())
	old := Change{Owner: l.cfg.Self, Key: nonce.Key{Job: id, Part: nonce.PartLease}.String(), Value: nonce.EncodeLease(nonce.Lease{})}
	l.onFeed(feed{change: old}, now)
	again, _, _, _ := l.board.Said(id, l.cfg.Self)
	require.Equal(t, lease, again)

	l.applyOwn([]Write{{Key: definition.Key, Delete: true}})
	require.Equal(t, nonce.Canceled, l.stateOf(id))
	l.onFeed(feed{change: definition}, now)
	require.Equal(t, nonce.Canceled, l.stateOf(id), "the definition comes back after it was canceled")
	l.onFeed(feed{change: Change{Owner: l.cfg.Self, Key: definition.Key, Deleted: true}}, now)
	require.Equal(t, nonce.Canceled, l.stateOf(id))
	l.onFeed(feed{change: definition}, now)
	require.Equal(t, nonce.Running, l.stateOf(id), "somebody has really written it again")
}

func TestCellGivenUpIsNotDoneWhenItsLastSliceEndsAfterwards(t *testing.T) {
	now := time.Now()
	l := bench(t)
	id, _ := l.define(t, sleepJob(nonce.All), now)
	l.plan(now)
	cell := l.scanner.tasks[0].cell
	task := l.scanner.tasks[0]
	l.drop(id, []uint64{cell}, now)
	l.onEvent(event{task: task, end: true})
	require.Zero(t, l.Counters().Cells)
	require.Empty(t, l.own[id].segments)
	l.onEvent(event{task: task, hit: nonce.Result{Nonce: 7}})
	require.Len(t, l.own[id].found, 1, "but a result is never lost")
}

func TestTakingCellsOfOneJobEndsTakingPartInOthers(t *testing.T) {
	now := time.Now()
	l := bench(t)
	idle, _ := l.define(t, sleepJob(nonce.All), now)
	l.own[idle] = &own{}
	l.writeLease(idle, l.own[idle], false, now)
	earlier, _ := l.define(t, sleepJob(nonce.All), now.Add(-time.Hour))
	l.plan(now)
	require.False(t, l.own[earlier].lease.Cells.Empty())
	require.True(t, l.pending[nonce.Key{Job: idle, Part: nonce.PartLease}.String()].write.Delete)
}

func TestWriteThatIsOvertakenStaysPending(t *testing.T) {
	now := time.Now()
	l := bench(t)
	id, _ := l.define(t, sleepJob(nonce.All), now)
	l.plan(now)
	l.flush(now)
	first := <-l.batches
	require.Len(t, first, 1)
	l.finish(id, l.own[id], 0, now)
	l.onPut(nil, now)
	l.flush(now.Add(nonce.Cadence(1)))
	second := <-l.batches
	require.Len(t, second, 2, "what is done, and the lease without it, in one commit")
	require.Equal(t, `{"cells":"0"}`, string(second[0].Value))
	require.NotEqual(t, first[0].Value, second[1].Value)
	l.onPut(nil, now)
	require.Empty(t, l.pending)
}

func TestDoneCellsSayHowManyResultsTheyNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p := n.start(t, 1)
		id := submit(t, p, sleepJob(nonce.All, 0, 3))
		await(t, p, id)
		require.NoError(t, p.Release(context.Background()))
		value, _ := n.get(p.cfg.Self, nonce.Key{Job: id, Part: nonce.PartDone}.String())
		require.Equal(t, `{"cells":"0:100","results":"2"}`, value)
	})
}

func TestCellEndsWithItsLastSliceWhicheverThatIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScanner(&meter{})
		ctx, cancel := context.WithCancel(context.Background())
		for range 4 {
			go s.work(ctx)
		}
		defer cancel()
		defer s.close()
		// Slices take 50, 40, 30, 20 and 10 s.
		s.add(nonce.JobID{}, nonce.Cell{Range: nonce.Range{End: 5}}, nonce.All, downhill{}, &meter{})
		start := time.Now()
		e := <-s.events
		require.True(t, e.end)
		require.Equal(t, 50*time.Second, time.Since(start))
		settle(time.Minute)
		select {
		case <-s.events:
			t.Fatal("a cell ends once")
		default:
		}
	})
}

// downhill is work whose later nonces take less time.
type downhill struct{ hits }

func (downhill) Scan(r nonce.Range) (nonce.Result, bool) {
	time.Sleep(time.Duration(50-10*r.Start) * time.Second)
	return nonce.Result{}, false
}

func TestMeterForgetsAfterItsWindow(t *testing.T) {
	var m meter
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	require.Zero(t, m.rate(at(0)))
	m.sample(at(0))
	require.Zero(t, m.rate(at(0)), "no time has passed")
	for s := range 20 {
		m.tried.Add(100)
		m.sample(at(float64(s) + 1))
		m.sample(at(float64(s) + 1.01)) // too soon to count
	}
	require.InDelta(t, 100, m.rate(at(20)), 1e-9)
	require.LessOrEqual(t, len(m.samples), 12)
	require.InDelta(t, 50, m.rate(at(25)), 10, "half of the window without work")
	require.Zero(t, m.rate(at(31)))
}
