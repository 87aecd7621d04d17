package gossipstate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// twins are two processes with one key, each at version 1 of generation 1 with a state of its own.
func twins(t *testing.T) (smaller, larger *author) {
	t.Helper()
	one, two := newAuthor(1), newAuthor(1)
	one.write(t, testStart, set("a", "one"))
	two.write(t, testStart, set("a", "two"))
	d1, _, _ := one.state.Digest(one.self.ID)
	d2, _, _ := two.state.Digest(two.self.ID)
	if d1.Compare(&d2) > 0 {
		return two, one
	}
	return one, two
}

func TestApplyProvesAnEquivocationWhicheverSideItHolds(t *testing.T) {
	smaller, larger := twins(t)
	for _, c := range []struct {
		what        string
		first, then *author
		previous    Version // of the update that brings the second
		want        Outcome
	}{
		{"the larger root comes second", smaller, larger, 0, Applied},
		{"the smaller root comes second, stale", larger, smaller, 0, Stale},
		{"an announcement of the larger root, which fits nothing", smaller, larger, 1, Stale},
		{"an announcement of the smaller root", larger, smaller, 1, Stale},
	} {
		replica := New(DefaultConfig(testDomain))
		require.Nil(t, c.first.snapshot(t, replica).Equivocation, c.what)
		u := c.then.state.Updates(wire.Want{Owner: c.then.self.ID}, wire.MaxFrame)[0]
		if u.Previous = c.previous; c.previous > 0 {
			u.Entries = nil
		}
		v := overWire(t, u)
		r, err := replica.Apply(&v, ID{}, testStart)
		if c.previous > 0 && c.then == larger {
			require.ErrorIs(t, err, ErrRootMismatch, c.what)
		} else {
			require.NoError(t, err, c.what)
			require.Equal(t, c.want, r.Outcome, c.what)
		}
		require.NotNil(t, r.Equivocation, c.what)
		loser, winner, err := r.Equivocation.Verify(testDomain)
		require.NoError(t, err, c.what)
		require.Negative(t, loser.Compare(&winner), c.what)
		require.Equal(t, smaller.self.ID, loser.Owner, c.what)
	}
}

// Replicas keep the one they saw first, so they may never agree in what it says beside its root: that is worth a proof.
func TestTwoDigestsOfOneRootContradictEachOtherInWhateverTheySay(t *testing.T) {
	stays, leaves := newAuthor(1), newAuthor(1)
	leaves.self.Status = wire.Leaving
	for _, a := range []*author{stays, leaves} {
		a.write(t, testStart, set("a", "1"))
	}
	for _, c := range [][2]*author{{stays, leaves}, {leaves, stays}} {
		replica := New(DefaultConfig(testDomain))
		c[0].snapshot(t, replica)
		first, _, _ := replica.Digest(c[0].self.ID)
		r := c[1].snapshot(t, replica)
		require.Equal(t, Stale, r.Outcome, "the order of digests is by the root alone")
		require.NotNil(t, r.Equivocation)
		held, _, _ := replica.Digest(c[0].self.ID)
		require.Equal(t, first, held)
		loser, winner, err := r.Equivocation.Verify(testDomain)
		require.NoError(t, err)
		require.Equal(t, loser.Root, winner.Root)
		require.ElementsMatch(t, []wire.Status{wire.Running, wire.Leaving}, []wire.Status{loser.Status, winner.Status})
		require.Equal(t, NewEquivocation(r.Equivocation.Winner, r.Equivocation.Loser, winner.Root, loser.Root), *r.Equivocation,
			"one form, whichever came first")
	}
}

func TestAnHonestHistoryProvesNothing(t *testing.T) {
	a := newAuthor(1)
	replica := New(DefaultConfig(testDomain))
	for _, value := range []string{"1", "2"} {
		a.write(t, testStart, set("a", value))
		require.Nil(t, a.snapshot(t, replica).Equivocation)
		require.Nil(t, a.snapshot(t, replica).Equivocation, "an echo")
	}
	a.self.Generation++
	a.write(t, testStart)
	require.Nil(t, a.snapshot(t, replica).Equivocation)
}

func TestAFalseAccusationDoesNotVerify(t *testing.T) {
	smaller, larger := twins(t)
	lost, lostSigned, _ := smaller.state.Digest(smaller.self.ID)
	won, wonSigned, _ := larger.state.Digest(larger.self.ID)
	honest := newAuthor(2)
	honest.write(t, testStart, set("a", "1"))
	_, honestSigned, _ := honest.state.Digest(honest.self.ID)
	honest.write(t, testStart, set("a", "2"))
	_, laterSigned, _ := honest.state.Digest(honest.self.ID)

	e := NewEquivocation(wonSigned, lostSigned, won.Root, lost.Root)
	_, _, err := e.Verify(testDomain)
	require.NoError(t, err, "in whatever order")
	_, _, err = e.Verify(wire.Domain{Network: "test", Topic: "other"})
	require.ErrorIs(t, err, wire.ErrBadSignature)
	forged := wonSigned
	forged.Signature = honestSigned.Signature
	for what, c := range map[string]struct {
		e    Equivocation
		want error
	}{
		"one digest twice":            {Equivocation{wonSigned, wonSigned}, ErrNoEquivocation},
		"the wrong way round":         {Equivocation{wonSigned, lostSigned}, ErrNoEquivocation},
		"two versions":                {Equivocation{honestSigned, laterSigned}, ErrNoEquivocation},
		"two owners":                  {Equivocation{honestSigned, wonSigned}, ErrNoEquivocation},
		"a signature of another":      {Equivocation{lostSigned, forged}, wire.ErrBadSignature},
		"another first signature":     {Equivocation{forged, wonSigned}, wire.ErrBadSignature},
		"a digest that does not open": {Equivocation{SignedDigest{Digest: []byte{0xff}}, wonSigned}, wire.ErrMalformed},
		"nothing":                     {Equivocation{}, wire.ErrMalformed},
	} {
		_, _, err := c.e.Verify(testDomain)
		require.ErrorIs(t, err, c.want, what)
	}
}

func TestEvidenceKeepsTheFirstProofOfEachOwnerAndIsBounded(t *testing.T) {
	var v Evidence
	first, second := Equivocation{Winner: SignedDigest{Digest: []byte{1}}}, Equivocation{Winner: SignedDigest{Digest: []byte{2}}}
	id := func(n int) ID { return ID{byte(n), byte(n >> 8)} }
	for n := range MaxEvidence {
		isNew, evicted := v.Add(id(n), first)
		require.True(t, isNew)
		require.Zero(t, evicted)
	}
	isNew, evicted := v.Add(id(5), second)
	require.False(t, isNew)
	require.Zero(t, evicted)
	got, ok := v.Get(id(5))
	require.True(t, ok)
	require.Equal(t, first, got)

	isNew, evicted = v.Add(id(MaxEvidence), second)
	require.True(t, isNew)
	require.Equal(t, id(0), evicted)
	require.False(t, v.Has(id(0)))
	require.True(t, v.Remove(id(5)))
	require.False(t, v.Remove(id(5)))
	require.Len(t, v.Owners(), MaxEvidence-1)
	require.Equal(t, id(1), v.Owners()[0])
}

func TestATombstoneIsKeptWhileItBeatsALiveEntryOfAnother(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	b.write(t, testStart, set("k", "of b"))
	b.snapshot(t, a.state)
	a.write(t, testStart, del("k")) // beats b's entry, which b does not withdraw
	a.write(t, testStart, set("mine", "1"))
	a.write(t, testStart, del("mine"))
	later := uint64(testStart.UnixMilli()) + 1
	require.False(t, a.state.CanForget(a.self.ID, later), "the oldest must stay, and a floor takes all below it")
	_, err := a.tryForgetting(testStart, later)
	require.NoError(t, err)
	require.Len(t, entriesOf(a.state, a.self.ID), 2)

	_, err = b.try(testStart, Mutation{Key: "k", Withdraw: true})
	require.NoError(t, err)
	b.snapshot(t, a.state)
	require.False(t, a.state.CanForget(a.self.ID, uint64(testStart.UnixMilli())), "too young")
	require.True(t, a.state.CanForget(a.self.ID, later))
	_, err = a.tryForgetting(testStart, later)
	require.NoError(t, err)
	require.Empty(t, entriesOf(a.state, a.self.ID))
	require.False(t, a.state.CanForget(a.self.ID, later))
	d, _, _ := a.state.Digest(a.self.ID)
	require.Equal(t, Version(3), d.Floor)
}
