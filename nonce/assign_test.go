package nonce

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestAssignSharesTheWindowOut is the promise of assignment: in a stable view no cell has two workers, and every cell
// of the window that nobody holds has one.
func TestAssignSharesTheWindowOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newTable(nothing{}, func(j *Job) {
			j.Range.End, j.Cell = 1000, 5
		})
		n := byte(rapid.IntRange(1, 7).Draw(t, "workers"))
		var ids []byte
		held := make(map[uint64]bool)
		for w := byte(1); w <= n; w++ {
			ids = append(ids, w)
			cells := slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.Uint64Range(0, 60), 0, 6).Draw(t, "lease"))))
			cells = slices.DeleteFunc(cells, func(c uint64) bool { return held[c] })
			for _, c := range cells {
				held[c] = true
			}
			if rapid.Bool().Draw(t, "has leased") {
				x.lease(w, cells...)
			} else {
				for _, c := range cells {
					delete(held, c)
				}
			}
			done := setOf(rapid.SliceOfN(rapid.Uint64Range(0, 60), 0, 20).Draw(t, "done"))
			x.done(w, 0, done)
		}
		dead := setOf(rapid.SliceOfN(rapid.Uint64Range(0, 60), 0, 10).Draw(t, "lease of the dead"))
		x.say(100, Key{Part: PartLease}, EncodeLease(Lease{Cells: dead}))

		j := x.b.jobs[x.job]
		owner := make(map[uint64]byte)
		for _, w := range ids {
			for _, c := range x.assign(w, ids...) {
				require.Zero(t, owner[c], "cell %d has two workers", c)
				require.False(t, j.done.Contains(c), "cell %d is done", c)
				require.False(t, held[c], "cell %d is leased", c)
				owner[c] = w
			}
		}
		window := 0
		for c := uint64(0); window < 8*int(n) && c < j.cells.Count(); c++ {
			if j.done.Contains(c) {
				continue
			}
			window++
			if !held[c] {
				require.NotZero(t, owner[c], "nobody has cell %d", c)
			}
		}
	})
}

// nothing is a testing.TB for tables inside rapid properties, whose own T is none: a failure panics, and rapid shrinks it.
type nothing struct{ testing.TB }

func (nothing) Errorf(format string, args ...any) { panic(format) }
func (nothing) FailNow()                          { panic("failed") }
func (nothing) Helper()                           {}

func TestAssignIsStableWhenOneWorkerGoes(t *testing.T) {
	x := newTable(t, func(j *Job) { j.Range.End = 1000 })
	before := make(map[uint64]byte)
	for _, w := range []byte{1, 2, 3, 4} {
		for _, c := range x.assign(w, 1, 2, 3, 4) {
			before[c] = w
		}
	}
	for _, w := range []byte{1, 2, 3} {
		for _, c := range x.assign(w, 1, 2, 3) {
			if before[c] != 4 {
				require.Equal(t, before[c], w, "cell %d moved between two workers that both live", c)
			}
		}
	}
}

func TestLeaseOfTheDeadIsFreeAtOnceAndWhatTheyDidStaysDone(t *testing.T) {
	x := newTable(t)
	x.done(1, 0, cells(0, 10))
	x.lease(1, 10, 11, 12)
	require.NotContains(t, x.assign(2, 1, 2), uint64(10))
	taken := x.b.Assign(x.job, id(2), crew(2), x.now, 99)
	require.Equal(t, Cell{Index: 10, Range: Range{Start: 50, End: 55}, Losses: 1}, taken[0])
	require.Equal(t, uint64(50), x.progress(2).Done)
	require.Len(t, x.assign(2, 2), 8)
}

func TestIdleWorkersTakeTheUpperHalfOfABusyOnesShare(t *testing.T) {
	x := newTable(t)
	own := x.assign(1, 1, 2)
	x.lease(1, own[0])
	x.lease(2)
	kept, helped := x.assign(1, 1, 2), x.assign(2, 1, 2)
	require.Equal(t, own[1:1+(len(own)-1)/2], kept)
	require.Subset(t, helped, own[1+(len(own)-1)/2:])
}

func TestWorkerThatIgnoresTheJobHoldsItBackOnlyBriefly(t *testing.T) {
	x := newTable(t)
	require.Len(t, slices.Concat(x.assign(1, 1, 2), x.assign(2, 1, 2)), 16)
	require.Less(t, len(x.assign(1, 1, 2)), 16)
	x.now = x.now.Add(joinGrace + time.Second)
	x.lease(1)
	require.Len(t, x.assign(1, 1, 2), 8, "the whole window of a crew of one")
}

func TestLeaseThatBringsNoProgressIsFree(t *testing.T) {
	x := newTable(t)
	x.lease(1, 0, 1) // 10 nonces, assumed to take 0.1 s
	expected := Cadence(2) + 100*time.Millisecond
	x.now = x.now.Add(leasePatience * expected)
	require.NotContains(t, x.assign(2, 1, 2), uint64(0))
	require.Equal(t, 1, x.progress(1, 2).Workers)

	x.now = x.now.Add(time.Millisecond)
	require.Contains(t, x.assign(2, 1, 2), uint64(0))
	require.Zero(t, x.progress(1, 2).Workers)
	x.lease(1, 0, 1)
	require.Zero(t, x.progress(1, 2).Workers, "saying it again is no progress")
	x.done(1, 0, cells(2, 3))
	require.Equal(t, 1, x.progress(1, 2).Workers)
	x.now = x.now.Add(time.Minute)
	x.done(1, 0, cells(2, 3))
	require.Zero(t, x.progress(1, 2).Workers, "nor is this")
}

func TestTwoLeasesOfOneCellAreSettledByAFixedOrder(t *testing.T) {
	x := newTable(t)
	x.lease(1, 0, 1, 2, 3, 4, 5)
	x.lease(2, 2, 3, 4, 5, 6, 7)
	one := x.b.Surrender(x.job, id(1), crew(1, 2), x.now)
	two := x.b.Surrender(x.job, id(2), crew(1, 2), x.now)
	both := slices.Sorted(slices.Values(slices.Concat(one, two)))
	require.Equal(t, []uint64{2, 3, 4, 5}, both, "each shared cell is given up by exactly one")
	require.Empty(t, x.b.Surrender(x.job, id(1), crew(1), x.now), "the dead claim nothing")
	x.done(3, 0, cells(0, 1))
	require.Contains(t, x.b.Surrender(x.job, id(1), crew(1), x.now), uint64(0), "another has done it")
}

func TestCellThatLostThreeWorkersIsFailedAndTheRestFinishes(t *testing.T) {
	x := newTable(t)
	x.lease(1, 7)
	x.lease(2, 7)
	require.Contains(t, x.assign(4, 4), uint64(7), "two losses")
	x.say(3, Key{Part: PartLease}, EncodeLease(Lease{Lost: Single(7)})) // came back after it died
	require.NotContains(t, x.assign(4, 3, 4), uint64(7))
	require.Equal(t, Running, x.progress(3, 4).State)
	x.done(4, 0, NewRangeSet(Range{End: 7}, Range{Start: 8, End: 20}))
	p := x.progress(3, 4)
	require.Equal(t, Failed, p.State)
	require.Equal(t, []Range{{Start: 35, End: 40}}, p.Failed)
	require.Equal(t, uint64(95), p.Done)
	x.done(1, 0, cells(7, 8))
	require.Equal(t, Exhausted, x.progress(3, 4).State, "one of them had finished it after all")
}

func TestCellIsTriedByOthersBeforeOneThatDiedOverIt(t *testing.T) {
	x := newTable(t)
	victim := uint64(0)
	owner := byte(1)
	if slices.Contains(x.assign(2, 1, 2), victim) {
		owner = 2
	}
	require.Contains(t, x.assign(owner, 1, 2), victim)
	x.say(owner, Key{Part: PartLease}, EncodeLease(Lease{Lost: Single(victim)}))
	require.NotContains(t, x.assign(owner, 1, 2), victim)
	require.Contains(t, x.assign(3-owner, 1, 2), victim)
	require.Contains(t, x.assign(owner, owner), victim, "but it is, when there is nobody else")
}

func TestAssignNeedsALiveWorkerAndARunningJob(t *testing.T) {
	x := newTable(t)
	require.Empty(t, x.assign(1, 2, 3), "not live itself")
	require.Empty(t, x.b.Assign(JobID{}, id(1), crew(1), x.now, 9))
	require.Len(t, x.b.Assign(x.job, id(1), crew(1), x.now, 3), 3)
	x.done(2, 0, cells(0, 20))
	require.Empty(t, x.assign(1, 1))
}

func TestJobsAreWorkedOnInOrderOfSubmission(t *testing.T) {
	b := NewBoard(NewKinds(listKind{}))
	var want []JobID
	for i := range 5 {
		j := hundred(func(j *Job) { j.Submitted = t0.Add(time.Duration(5-i) * time.Second) })
		value := EncodeJob(&j)
		job := NewJobID(id(9), value)
		_, err := b.Apply(id(9), Key{Job: job, Part: PartDefinition}.String(), value, t0)
		require.NoError(t, err)
		want = append([]JobID{job}, want...)
	}
	require.Equal(t, want, b.Jobs())
}

func BenchmarkAssign(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			x := newTable(b, func(j *Job) { j.Range.End, j.Cell = 1<<20, 1 })
			var workers []Worker
			for i := range n {
				workers = append(workers, Worker{ID: ID{byte(i), byte(i >> 8), 1}})
			}
			b.ReportAllocs()
			for b.Loop() {
				x.b.Assign(x.job, workers[0].ID, workers, t0, 64)
			}
		})
	}
}
