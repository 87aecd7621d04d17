package nonce

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// table is a board with one job, submitted by 9, and short ways to talk to it.
type table struct {
	t   testing.TB
	b   *Board
	job JobID
	now time.Time
}

func newTable(t testing.TB, change ...func(*Job)) *table {
	x := &table{t: t, b: NewBoard(NewKinds(listKind{})), now: t0}
	j := hundred(change...)
	value := EncodeJob(&j)
	x.job = NewJobID(id(9), value)
	x.say(9, Key{Part: PartDefinition}, value)
	return x
}

func (x *table) apply(owner byte, k Key, value []byte) error {
	k.Job = x.job
	_, err := x.b.Apply(id(owner), k.String(), value, x.now)
	return err
}

func (x *table) say(owner byte, k Key, value []byte) {
	require.NoError(x.t, x.apply(owner, k, value))
}

func (x *table) lease(owner byte, cells ...uint64) {
	x.say(owner, Key{Part: PartLease}, EncodeLease(Lease{Cells: setOf(cells)}))
}

func (x *table) done(owner byte, segment int, cells RangeSet) {
	x.say(owner, Key{Part: PartDone, Segment: segment}, EncodeDone(Segment{Cells: cells}))
}

func (x *table) progress(workers ...byte) Progress {
	p, ok := x.b.Progress(x.job, crew(workers...), x.now)
	require.True(x.t, ok)
	return p
}

func (x *table) assign(self byte, workers ...byte) []uint64 {
	var cells []uint64
	for _, c := range x.b.Assign(x.job, id(self), crew(workers...), x.now, 1000) {
		cells = append(cells, c.Index)
	}
	return cells
}

func setOf(cells []uint64) RangeSet {
	var s RangeSet
	for _, c := range cells {
		s = s.Union(Single(c))
	}
	return s
}

func cells(a, b uint64) RangeSet { return NewRangeSet(Range{Start: a, End: b}) }

func results(nonces ...uint64) []byte {
	var r []Result
	for _, n := range nonces {
		r = append(r, Result{Nonce: n, Hash: hashOf(n)})
	}
	return EncodeFound(r)
}

func TestFirstVerifiedResultEndsAJobThatStopsFirst(t *testing.T) {
	x := newTable(t)
	require.Equal(t, Running, x.progress().State)
	x.say(1, Key{Part: PartFound}, results(77))
	p := x.progress()
	require.Equal(t, Done, p.State)
	require.Equal(t, []Result{{Nonce: 77, Hash: hashOf(77), Worker: id(1)}}, p.Found)
	require.Empty(t, x.assign(1, 1, 2))
}

func TestRangeSearchedInVainIsExhausted(t *testing.T) {
	x := newTable(t)
	x.done(1, 0, cells(0, 12))
	x.done(2, 0, cells(13, 20))
	require.Equal(t, Running, x.progress().State)
	require.Equal(t, uint64(95), x.progress().Done)
	x.done(2, 1, cells(12, 13))
	require.Equal(t, Exhausted, x.progress().State)
	require.Equal(t, uint64(100), x.progress().Done)
}

func TestAllResultsOfTheRangeAreWantedWithStopAll(t *testing.T) {
	x := newTable(t, all)
	x.say(1, Key{Part: PartFound}, results(77))
	require.Equal(t, Running, x.progress().State)
	x.done(1, 0, cells(0, 20))
	x.say(2, Key{Part: PartFound}, results(42, 77))
	p := x.progress()
	require.Equal(t, Done, p.State)
	require.Equal(t, []Result{{42, hashOf(42), id(2)}, {77, hashOf(77), id(1)}}, p.Found)
}

func TestCellsCountOnlyWithTheResultsFoundInThem(t *testing.T) {
	x := newTable(t, all)
	x.say(1, Key{Part: PartDone}, EncodeDone(Segment{Cells: cells(0, 20), Results: 2}))
	x.say(1, Key{Part: PartFound}, results(42))
	require.Equal(t, Running, x.progress().State)
	require.Zero(t, x.progress().Done)
	x.say(1, Key{Part: PartFound}, results(42, 77))
	require.Equal(t, Done, x.progress().State)
	require.Len(t, x.progress().Found, 2)
}

func TestFalseResultsAreCountedAndTheTrueOnesBesideThemKept(t *testing.T) {
	x := newTable(t, all)
	var refused *RefusedError
	require.ErrorAs(t, x.apply(1, Key{Part: PartFound}, results(41, 77, 43)), &refused)
	require.Equal(t, FalseResult, refused.Reason)
	require.ErrorAs(t, x.apply(2, Key{Part: PartFound}, results(142)), &refused)
	require.Equal(t, OutsideJob, refused.Reason)
	wrong := EncodeFound([]Result{{Nonce: 42, Hash: Hash{5: 5}}})
	require.ErrorAs(t, x.apply(3, Key{Part: PartFound}, wrong), &refused)
	require.Len(t, x.progress().Found, 1)
	require.Equal(t, map[Reason]uint64{FalseResult: 3, OutsideJob: 1}, x.b.Refused())
}

func TestOnlyTheSubmitterDefinesAndCancels(t *testing.T) {
	x := newTable(t)
	x.done(1, 0, cells(0, 4))
	x.say(2, Key{Part: PartDefinition}, nil)
	require.Equal(t, Running, x.progress().State, "a foreign tombstone says nothing")

	j := hundred()
	err := x.apply(2, Key{Part: PartDefinition}, EncodeJob(&j))
	require.ErrorContains(t, err, string(WrongID))

	x.say(9, Key{Part: PartDefinition}, nil)
	p := x.progress(1)
	require.Equal(t, Canceled, p.State)
	require.Equal(t, uint64(20), p.Done, "what was done by then is still shown")
	require.Empty(t, x.assign(1, 1))

	x.done(1, 0, RangeSet{})
	require.Equal(t, uint64(20), x.progress().Done)
	x.say(1, Key{Part: PartDone}, nil)
	x.say(9, Key{Part: PartDefinition}, EncodeJob(&j))
	require.Equal(t, Running, x.progress().State, "state says so again")
	require.Zero(t, x.progress().Done)
}

func TestJobThatIsOverStaysWhatItWasWhenWithdrawn(t *testing.T) {
	x := newTable(t)
	x.say(1, Key{Part: PartFound}, results(42))
	x.say(9, Key{Part: PartDefinition}, nil)
	require.Equal(t, Done, x.progress().State)
	require.Len(t, x.progress().Found, 1)
}

func TestDefinitionOverwrittenWithGarbageIsWithdrawn(t *testing.T) {
	x := newTable(t)
	require.Error(t, x.apply(9, Key{Part: PartDefinition}, []byte("{}")))
	require.Equal(t, Canceled, x.progress().State)
}

func TestDuplicateWorkIsCounted(t *testing.T) {
	x := newTable(t)
	x.done(1, 0, cells(0, 4))
	x.done(1, 1, cells(3, 6)) // its own segments may overlap
	require.Zero(t, x.progress().Duplicates)
	x.done(2, 0, cells(2, 8))
	require.Equal(t, uint64(4*5), x.progress().Duplicates)
	require.Equal(t, uint64(8*5), x.progress().Done)
	x.say(1, Key{Part: PartDone}, nil)
	require.Equal(t, uint64(3*5), x.progress().Duplicates, "cells 3, 4 and 5 remain")
	require.Equal(t, uint64(6*5), x.progress().Done, "0 and 1 are open again")
}

func TestValuesMayComeBeforeTheirDefinition(t *testing.T) {
	j := hundred(all)
	value := EncodeJob(&j)
	x := &table{t: t, b: NewBoard(NewKinds(listKind{})), now: t0, job: NewJobID(id(9), value)}
	x.done(1, 0, cells(0, 4))
	x.lease(1, 5)
	x.say(1, Key{Part: PartFound}, results(42, 43))
	x.done(2, 0, cells(0, 21)) // the job has only 20
	x.lease(2, 20)
	require.Empty(t, x.b.Jobs())

	x.say(9, Key{Part: PartDefinition}, value)
	p := x.progress(1, 2)
	require.Equal(t, uint64(20), p.Done)
	require.Equal(t, uint64(5), p.Leased)
	require.Equal(t, 1, p.Workers)
	require.Len(t, p.Found, 1)
	require.Equal(t, map[Reason]uint64{OutsideJob: 2, FalseResult: 1}, x.b.Refused())
}

func TestRefusedValueWithdrawsWhatWasThere(t *testing.T) {
	x := newTable(t)
	x.lease(1, 3)
	x.done(1, 0, cells(0, 2))
	require.Error(t, x.apply(1, Key{Part: PartLease}, []byte("[]")))
	require.Error(t, x.apply(1, Key{Part: PartDone}, EncodeDone(Segment{Cells: cells(0, 99)})))
	require.Zero(t, x.progress(1).Leased)
	require.Zero(t, x.progress(1).Done)
	x.now = x.now.Add(time.Hour)
	require.NotContains(t, x.b.WorksOn(id(2)), x.job)
}

func TestRefusalsNameTheirReason(t *testing.T) {
	x := newTable(t)
	define := func(owner byte, change func(*Job)) error {
		j := hundred(change)
		value := EncodeJob(&j)
		_, err := x.b.Apply(id(owner), Key{Job: NewJobID(id(owner), value), Part: PartDefinition}.String(), value, t0)
		return err
	}
	require.ErrorContains(t, define(1, func(j *Job) { j.Kind = "exec" }), `kind "exec" is not known; known: list`)
	require.ErrorContains(t, define(1, func(j *Job) { j.Payload = []byte{255} }), "255 is not searched")
	require.ErrorContains(t, x.apply(1, Key{Part: PartLease}, EncodeLease(Lease{Lost: Single(20)})), "lease reaches cell 20, the job has 20")
	for i := range MaxJobs {
		require.NoError(t, define(2, func(j *Job) { j.Submitted = t0.Add(time.Duration(i) * time.Second) }))
	}
	require.ErrorContains(t, define(2, func(j *Job) { j.Name = "one more" }), string(TooManyJobs))
	require.NoError(t, define(3, func(j *Job) { j.Name = "another's" }))
	for i := range MaxWorkerJobs + 1 {
		_, err := x.b.Apply(id(4), Key{Job: JobID{0: byte(i), 1: byte(i >> 8), 2: 1}, Part: PartLease}.String(), EncodeLease(Lease{}), t0)
		require.Equal(t, i == MaxWorkerJobs, err != nil)
	}
	_, err := x.b.Apply(id(5), "work/nonsense", []byte("{}"), t0)
	require.Error(t, err)
	require.Equal(t, map[Reason]uint64{UnknownKind: 1, BadDefinition: 1, OutsideJob: 1, TooManyJobs: 2, Malformed: 1}, x.b.Refused())
}

func TestWithdrawnJobsAreForgottenInTheEnd(t *testing.T) {
	b := NewBoard(NewKinds(listKind{}))
	for i := range 3 * maxWithdrawn {
		j := hundred(func(j *Job) { j.Submitted = t0.Add(time.Duration(i) * time.Second) })
		value := EncodeJob(&j)
		key := Key{Job: NewJobID(id(9), value), Part: PartDefinition}.String()
		for _, v := range [][]byte{value, nil} {
			_, err := b.Apply(id(9), key, v, t0)
			require.NoError(t, err)
		}
	}
	require.Len(t, b.jobs, maxWithdrawn)
	require.Len(t, b.Jobs(), maxWithdrawn)
	require.Empty(t, b.defines)
}

func TestSnapshotIsTheWholeTruth(t *testing.T) {
	x := newTable(t)
	x.lease(1, 3)
	x.done(1, 0, cells(0, 2))
	x.done(1, 1, cells(5, 6))
	x.done(2, 0, cells(7, 8))
	x.say(2, Key{Part: PartFound}, results(42))
	x.b.BeginSnapshot()
	j := hundred()
	x.say(9, Key{Part: PartDefinition}, EncodeJob(&j))
	x.done(1, 0, cells(0, 2))
	x.b.EndSnapshot(id(3), x.now)
	p := x.progress(1, 2)
	require.Equal(t, Running, p.State)
	require.Equal(t, uint64(10), p.Done)
	require.Zero(t, p.Leased)
	require.Empty(t, x.b.WorksOn(id(2)))

	x.b.BeginSnapshot()
	x.b.EndSnapshot(id(1), x.now)
	require.Equal(t, Canceled, x.progress().State)
	require.NotEmpty(t, x.b.WorksOn(id(1)), "self's own words don't come from snapshots")
}

// said is one thing in the state: what an owner has under a key.
type said struct {
	owner byte
	key   Key
	value []byte
}

// drawState draws what up to four owners say about one job, some of it false.
func drawState(t *rapid.T) []said {
	var state []said
	cell := rapid.Uint64Range(0, 22)
	for w := byte(1); w <= 4; w++ {
		if rapid.Bool().Draw(t, "leases") {
			l := Lease{Cells: setOf(rapid.SliceOfN(cell, 0, 4).Draw(t, "cells")), Lost: setOf(rapid.SliceOfN(cell, 0, 2).Draw(t, "lost"))}
			state = append(state, said{w, Key{Part: PartLease}, EncodeLease(l)})
		}
		for n := range rapid.IntRange(0, 2).Draw(t, "segments") {
			s := setOf(rapid.SliceOfN(cell, 0, 12).Draw(t, "done"))
			state = append(state, said{w, Key{Part: PartDone, Segment: n}, EncodeDone(Segment{Cells: s, Results: rapid.IntRange(0, 2).Draw(t, "results")})})
		}
		if rapid.IntRange(0, 3).Draw(t, "finds") == 0 {
			nonces := rapid.SliceOfNDistinct(rapid.SampledFrom([]uint64{42, 77, 43, 400}), 1, 3, rapid.ID).Draw(t, "nonces")
			state = append(state, said{w, Key{Part: PartFound}, results(nonces...)})
		}
	}
	return state
}

// TestBoardIsAFunctionOfState applies one state in two orders, the second one over and through other values, and compares
// every answer.
func TestBoardIsAFunctionOfState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := hundred()
		if rapid.Bool().Draw(t, "all") {
			j.Stop = All
		}
		value := EncodeJob(&j)
		job := NewJobID(id(9), value)
		state := append(drawState(t), said{9, Key{Part: PartDefinition}, value})
		noise := append(drawState(t), said{9, Key{Part: PartDefinition}, value})

		apply := func(b *Board, s said, value []byte) {
			s.key.Job = job
			b.Apply(id(s.owner), s.key.String(), value, t0) // refusals are part of the state drawn
		}
		plain, other := NewBoard(NewKinds(listKind{})), NewBoard(NewKinds(listKind{}))
		for _, s := range state {
			apply(plain, s, s.value)
		}
		for _, s := range rapid.Permutation(noise).Draw(t, "noise") {
			apply(other, s, s.value)
		}
		if rapid.Bool().Draw(t, "by snapshot") {
			other.BeginSnapshot()
			for _, s := range rapid.Permutation(state).Draw(t, "order") {
				apply(other, s, s.value)
			}
			other.EndSnapshot(id(8), t0)
		} else {
			for _, s := range rapid.Permutation(noise).Draw(t, "removed") {
				apply(other, s, nil)
			}
			for _, s := range rapid.Permutation(state).Draw(t, "order") {
				apply(other, s, s.value)
			}
		}
		workers := crew(1, 2, 3)
		want, _ := plain.Progress(job, workers, t0)
		got, _ := other.Progress(job, workers, t0)
		require.Equal(t, want, got)
		for _, w := range workers {
			require.Equal(t, plain.Assign(job, w.ID, workers, t0, 99), other.Assign(job, w.ID, workers, t0, 99))
			require.Equal(t, plain.Surrender(job, w.ID, workers, t0), other.Surrender(job, w.ID, workers, t0))
		}
		for w := byte(1); w <= 4; w++ {
			require.Equal(t, plain.works[id(w)], other.works[id(w)])
		}
		require.Equal(t, plain.defines, other.defines)
	})
}

func FuzzApply(f *testing.F) {
	j := hundred()
	value := EncodeJob(&j)
	job := NewJobID(id(9), value)
	for k, v := range map[Key][]byte{
		{Job: job, Part: PartLease}: EncodeLease(Lease{Cells: Single(3)}),
		{Job: job, Part: PartDone}:  EncodeDone(Segment{Cells: cells(0, 9)}),
		{Job: job, Part: PartFound}: results(42, 43),
	} {
		f.Add(k.String(), v, true)
		f.Add(k.String(), v, false)
	}
	f.Add(fmt.Sprintf("work/%v", job), value, false)
	f.Fuzz(func(t *testing.T, key string, v []byte, early bool) {
		b := NewBoard(NewKinds(listKind{}))
		apply := func(owner byte, key string, value []byte) { b.Apply(id(owner), key, value, t0) }
		define := func() { apply(9, Key{Job: job, Part: PartDefinition}.String(), value) }
		if !early {
			define()
		}
		apply(1, key, v)
		define()
		p, ok := b.Progress(job, crew(1, 2), t0)
		require.True(t, ok)
		require.LessOrEqual(t, p.Done, p.Total)
		require.LessOrEqual(t, p.Leased, p.Total)
		b.Assign(job, id(2), crew(1, 2), t0, 99)
		b.Surrender(job, id(1), crew(1, 2), t0)
		apply(1, key, nil)
		apply(9, Key{Job: job, Part: PartDefinition}.String(), nil)
		require.Empty(t, slices.Collect(maps.Keys(b.works)))
	})
}
