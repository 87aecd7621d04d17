package gossipstate

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestApplyFollowsItsTable(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, set("a", "1"))                           // version 1
	a.write(t, testStart, set("b", "1"))                           // version 2
	two := a.updates(t, wire.Want{}, wire.MaxFrame)[0]             // 0 to 2
	a.write(t, testStart, set("c", "1"))                           // version 3
	three := a.updates(t, wire.Want{Version: 2}, wire.MaxFrame)[0] // 2 to 3
	a.write(t, testStart, set("d", "1"))                           // version 4
	four := a.updates(t, wire.Want{Version: 3}, wire.MaxFrame)[0]  // 3 to 4

	replica := New(DefaultConfig(testDomain))
	steps := []struct {
		name   string
		update wire.Verified
		want   Outcome
	}{
		{"a delta of an owner that is not held is a gap", three, Gap},
		{"a snapshot is applied", two, Applied},
		{"the same again is stale", two, Stale},
		{"a delta above what is held is a gap", four, Gap},
		{"a delta on what is held is applied", three, Applied},
		{"the one that was a gap now fits", four, Applied},
		{"an older delta is stale", three, Stale},
	}
	for _, s := range steps {
		r, err := replica.Apply(&s.update, ID{}, testStart)
		require.NoError(t, err, s.name)
		require.Equal(t, s.want, r.Outcome, s.name)
		a.requireExact(t, replica)
	}
}

func TestAForkEndsWithTheLargerRootEverywhere(t *testing.T) {
	one, two := newAuthor(1), newAuthor(1) // the same key, twice
	one.write(t, testStart, set("a", "one"))
	two.write(t, testStart, set("a", "two"))
	x, y := New(DefaultConfig(testDomain)), New(DefaultConfig(testDomain))
	one.snapshot(t, x)
	two.snapshot(t, x)
	two.snapshot(t, y)
	one.snapshot(t, y)
	require.Equal(t, x.Fingerprint(), y.Fingerprint())
}

func TestAFollowUpOfAForkIsRefusedUntilASnapshotComes(t *testing.T) {
	one, two := newAuthor(1), newAuthor(1)
	one.write(t, testStart, set("a", "one"))
	two.write(t, testStart, set("a", "two"))
	two.write(t, testStart, set("b", "two"))
	replica := New(DefaultConfig(testDomain))
	one.snapshot(t, replica)
	delta := two.updates(t, wire.Want{Version: 1}, wire.MaxFrame)[0]
	_, err := replica.Apply(&delta, ID{}, testStart)
	require.ErrorIs(t, err, ErrRootMismatch)
	one.requireExact(t, replica)
	two.snapshot(t, replica)
	two.requireExact(t, replica)
}

func TestAnOwnerThatBeganAnewIsSentWhole(t *testing.T) {
	before, anew := newAuthor(1), newAuthor(1)
	anew.self.Generation = 2
	before.write(t, testStart, set("key", "before"))
	anew.write(t, testStart, set("key", "anew"))
	replica := New(DefaultConfig(testDomain))
	before.snapshot(t, replica)

	for _, v := range anew.updates(t, wire.Want{Generation: 1, Version: 1}, wire.MaxFrame) {
		r, err := replica.Apply(&v, ID{}, testStart)
		require.NoError(t, err, "a delta from the same version of another generation cannot match")
		require.True(t, r.Reset)
	}
	require.Equal(t, "anew", read(replica, "key"))
}

func TestAnUpdateThatLiesAboutItsStateChangesNothing(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, set("a", "1"), set("b", "2"))
	honest := a.updates(t, wire.Want{}, wire.MaxFrame)[0]
	for name, change := range map[string]func(*wire.Update){
		"an entry is missing":  func(u *wire.Update) { u.Entries = u.Entries[:1] },
		"a value is another":   func(u *wire.Update) { u.Entries[0].Value = []byte("x") },
		"a key is another":     func(u *wire.Update) { u.Entries[1].Key = "c" },
		"a clock is another":   func(u *wire.Update) { u.Entries[0].Clock++ },
		"a type was added":     func(u *wire.Update) { u.Entries[0].ContentType = "x" },
		"a life was added":     func(u *wire.Update) { u.Entries[0].Expires = 1 },
		"an extension is lost": func(u *wire.Update) { u.Entries[0].Ext = []byte{1} },
	} {
		t.Run(name, func(t *testing.T) {
			u, err := wire.UnmarshalUpdate(wire.MarshalUpdate(honest.Update()))
			require.NoError(t, err)
			change(&u)
			v := overWire(t, u)
			replica := New(DefaultConfig(testDomain))
			_, err = replica.Apply(&v, ID{}, testStart)
			require.ErrorIs(t, err, ErrRootMismatch)
			require.Zero(t, replica.Totals())
		})
	}
}

func TestPartsBecomeVisibleTogetherAndInAnyFrameSize(t *testing.T) {
	a := newAuthor(1)
	var mutations []Mutation
	for i := range 100 {
		mutations = append(mutations, set(keyName(i), strings.Repeat("x", 100)))
	}
	a.write(t, testStart, mutations...)
	parts := a.updates(t, wire.Want{}, 2000)
	require.Greater(t, len(parts), 5)
	replica := New(DefaultConfig(testDomain))
	for i, v := range parts {
		r, err := replica.Apply(&v, ID{}, testStart)
		require.NoError(t, err)
		if i < len(parts)-1 {
			require.Equal(t, Staged, r.Outcome)
			require.Zero(t, replica.Totals(), "nothing is visible before the last part")
		} else {
			require.Equal(t, Applied, r.Outcome)
			require.Len(t, r.Changed, 100)
		}
	}
	a.requireExact(t, replica)
}

func TestPartsGoOnWhenTheOwnerMovesOnMeanwhile(t *testing.T) {
	a := newAuthor(1)
	for i := range 50 {
		a.write(t, testStart, set(keyName(i), strings.Repeat("x", 100)))
	}
	first := a.updates(t, wire.Want{}, 2000)
	a.write(t, testStart, set(keyName(0), "changed"), set("new", "x"))
	second := a.updates(t, wire.Want{}, 2000)
	replica := New(DefaultConfig(testDomain))
	half := len(first) / 2
	for _, v := range first[:half] {
		_, err := replica.Apply(&v, ID{}, testStart)
		require.NoError(t, err)
	}
	cursor := first[half-1].Update().Entries
	last := cursor[len(cursor)-1]
	for _, v := range second { // the answer of a peer that goes on behind the cursor
		u := *v.Update()
		for len(u.Entries) > 0 && u.Entries[0].Compare(&last) <= 0 {
			u.Entries = u.Entries[1:]
		}
		if len(u.Entries) == 0 && u.More {
			continue
		}
		rest := overWire(t, u)
		_, err := replica.Apply(&rest, ID{}, testStart)
		require.NoError(t, err)
	}
	a.requireExact(t, replica)
	require.Equal(t, "changed", read(replica, keyName(0)))
}

func TestStagedPartsAreBoundedAndExpire(t *testing.T) {
	replica := New(DefaultConfig(testDomain))
	for seed := range 12 {
		a := newAuthor(byte(seed + 1))
		a.write(t, testStart, bigMutations()...)
		parts := a.updates(t, wire.Want{}, wire.MaxFrame-1024)
		for _, v := range parts[:len(parts)-1] {
			r, err := replica.Apply(&v, a.self.ID, testStart.Add(time.Duration(seed)*time.Second))
			require.NoError(t, err)
			require.Equal(t, Staged, r.Outcome)
			require.LessOrEqual(t, replica.stages.bytes, stageBytes)
		}
	}
	first, last := newAuthor(1).self.ID, newAuthor(12).self.ID
	require.NotContains(t, replica.stages.open, stageKey{first, first}, "the longest idle went first")
	require.Contains(t, replica.stages.open, stageKey{last, last})
	replica.stages.expire(last, testStart.Add(stageIdle+time.Hour))
	require.Zero(t, replica.stages.bytes)
	require.Empty(t, replica.stages.open)
}

func TestOnePeerCannotFillTheStageOfOthers(t *testing.T) {
	replica, hostile := New(DefaultConfig(testDomain)), newAuthor(99).self.ID
	honest := newAuthor(1)
	honest.write(t, testStart, bigMutations()...)
	parts := honest.updates(t, wire.Want{}, wire.MaxFrame-1024)
	_, err := replica.Apply(&parts[0], honest.self.ID, testStart)
	require.NoError(t, err)
	for seed := range 12 {
		a := newAuthor(byte(seed + 2))
		a.write(t, testStart, bigMutations()...)
		flood := a.updates(t, wire.Want{}, wire.MaxFrame-1024)
		for _, v := range flood[:len(flood)-1] {
			_, err := replica.Apply(&v, hostile, testStart.Add(time.Second))
			require.NoError(t, err)
		}
	}
	require.LessOrEqual(t, replica.stages.bytes, stagePeerBytes+wire.MaxBytes)
	require.Contains(t, replica.stages.open, stageKey{honest.self.ID, honest.self.ID})
}

func TestAForeignPartDoesNotSpoilAnotherPeersUpdate(t *testing.T) {
	replica, hostile := New(DefaultConfig(testDomain)), newAuthor(99).self.ID
	a := newAuthor(1)
	a.write(t, testStart, bigMutations()...)
	parts := a.updates(t, wire.Want{}, wire.MaxFrame-1024)
	for i, v := range parts {
		bogus := *v.Update()
		bogus.More = true
		bogus.Entries = []Entry{{Key: "zzz", Value: []byte("made up"), Version: 1, Clock: 1}}
		b := overWire(t, bogus)
		_, err := replica.Apply(&b, hostile, testStart)
		require.NoError(t, err)
		r, err := replica.Apply(&v, a.self.ID, testStart)
		require.NoError(t, err)
		require.Equal(t, i == len(parts)-1, r.Outcome == Applied)
	}
	a.requireExact(t, replica)
}

// bigMutations fill an owner nearly to its limit of bytes.
func bigMutations() []Mutation {
	var big []Mutation
	for i := range 15 {
		big = append(big, set(keyName(i), strings.Repeat("x", wire.MaxValue)))
	}
	return big
}

func TestAFullReplicaRefusesNewOwnersAndTakesNewsOfOld(t *testing.T) {
	cfg := DefaultConfig(testDomain)
	cfg.MaxOwners = 1
	replica := New(cfg)
	a, b := newAuthor(1), newAuthor(2)
	a.write(t, testStart, set("a", "1"))
	b.write(t, testStart, set("b", "1"))
	a.snapshot(t, replica)
	v := b.updates(t, wire.Want{}, wire.MaxFrame)[0]
	_, err := replica.Apply(&v, ID{}, testStart)
	require.ErrorIs(t, err, ErrLimit)
	a.write(t, testStart, set("a", "2"))
	a.snapshot(t, replica)
	require.Equal(t, "2", read(replica, "a"))

	cfg = DefaultConfig(testDomain)
	cfg.MaxBytes = 10
	small := New(cfg)
	a.write(t, testStart, set("a", "12345678901"))
	v = a.updates(t, wire.Want{}, wire.MaxFrame)[0]
	_, err = small.Apply(&v, ID{}, testStart)
	require.ErrorIs(t, err, ErrLimit)
	require.Zero(t, small.Totals())
}

func TestWritesAreRefusedBeforeAnyEffect(t *testing.T) {
	for name, c := range map[string]struct {
		mutation Mutation
		want     string
	}{
		"an empty key":              {set("", "x"), `key "": it is empty`},
		"a key that is too long":    {set(strings.Repeat("k", 257), "x"), "it has 257 bytes, the limit is 256"},
		"a key that is not UTF-8":   {set("a\xff", "x"), "it is not UTF-8"},
		"a value that is too large": {set("a", strings.Repeat("x", wire.MaxValue+1)), "is 65537 bytes, the limit is 65536"},
		"a delete of nothing":       {del("nothing"), `no such key: "nothing"`},
		"a withdrawal of nothing":   {Mutation{Key: "nothing", Withdraw: true}, `no such key: "nothing"`},
		"a type that is too long":   {Mutation{Key: "a", ContentType: strings.Repeat("t", 1025)}, "content type"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthor(1)
			a.write(t, testStart, set("before", "x"))
			before := a.state.Fingerprint()
			_, err := a.try(testStart, set("good", "x"), c.mutation)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, before, a.state.Fingerprint())
		})
	}
}

func TestAnOwnersQuotaIsRefusedBeforeAnyEffect(t *testing.T) {
	a := newAuthor(1)
	var mutations []Mutation
	for i := range wire.MaxEntries {
		mutations = append(mutations, set(keyName(i), "x"))
	}
	a.write(t, testStart, mutations...)
	_, err := a.try(testStart, set("one more", "x"))
	var quota *QuotaError
	require.ErrorAs(t, err, &quota)
	require.Equal(t, QuotaError{"entries", wire.MaxEntries + 1, wire.MaxEntries}, *quota)
	a.write(t, testStart, set(keyName(0), "still writable"))

	b := newAuthor(2)
	var big []Mutation
	for i := range 17 {
		big = append(big, set(keyName(i), strings.Repeat("x", wire.MaxValue)))
	}
	_, err = b.try(testStart, big...)
	require.ErrorAs(t, err, &quota)
	require.Equal(t, "bytes", quota.What)
	require.Zero(t, b.state.Totals())
}

func TestAnExhaustedClockIsAnErrorNeverAWrap(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	a.write(t, testStart, set("key", "x"))
	p, err := a.state.Prepare(a.self, []Mutation{set("key", "y")}, a.sign, testStart, 0)
	require.NoError(t, err)
	e := p.changed[0]
	e.Clock = math.MaxUint64
	p.put(e)
	p.next.digest.Root = p.next.tree.seal()
	p.next.signed = wire.Sign(testDomain, &p.next.digest, a.sign)
	a.state.Install(p)
	for _, v := range a.updates(t, wire.Want{}, wire.MaxFrame) {
		_, err := b.state.Apply(&v, ID{}, testStart)
		require.NoError(t, err)
	}
	_, err = b.try(testStart, set("key", "z"))
	require.ErrorIs(t, err, ErrClockExhausted)
	require.Equal(t, "y", read(b.state, "key"))
}

func TestTheHighestClockWinsThenTheHighestOwner(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	low, high := a, b
	if a.self.ID.Compare(b.self.ID) > 0 {
		low, high = b, a
	}
	low.write(t, testStart, set("key", "low"))
	high.write(t, testStart, set("key", "high"))
	reader := New(DefaultConfig(testDomain))
	high.snapshot(t, reader)
	r := low.snapshot(t, reader)
	require.Equal(t, "high", read(reader, "key"))
	require.Len(t, r.Events, 1)
	require.Equal(t, EventLost, r.Events[0].Kind)
	require.Equal(t, low.self.ID, r.Events[0].Old.Owner)

	high.snapshot(t, low.state)
	low.write(t, testStart, set("key", "now low"))
	low.snapshot(t, reader)
	require.Equal(t, "now low", read(reader, "key"), "who has seen the winner goes above it")

	low.snapshot(t, high.state)
	require.Equal(t, []string{"key"}, high.state.Beaten(high.self.ID, []string{"key"}))
	high.write(t, testStart, Mutation{Key: "key", Withdraw: true})
	high.snapshot(t, reader)
	require.Equal(t, "now low", read(reader, "key"), "a withdrawal beats nobody")
}

func TestOwnedKeysHaveNoMergedView(t *testing.T) {
	a, b := newAuthor(1), newAuthor(2)
	reader := New(DefaultConfig(testDomain))
	for _, key := range []string{"~/mine", "work/job/lease"} {
		a.write(t, testStart, set(key, "a"))
		b.write(t, testStart, set(key, "b"))
		a.snapshot(t, reader)
		b.snapshot(t, reader)
		require.Nil(t, reader.Get(key).Entry)
		require.Equal(t, "a", string(reader.GetOwned(a.self.ID, key).Entry.Value))
		require.Len(t, reader.List(key), 2)
	}
}

func TestARumorReachesBackAndAnnouncesWhatIsTooLarge(t *testing.T) {
	a := newAuthor(1)
	for i := range 5 {
		a.write(t, testStart, set(keyName(i), "small"))
	}
	u, ok := a.state.Rumor(a.self.ID, 4)
	require.True(t, ok)
	require.Zero(t, u.Previous)
	require.Len(t, u.Entries, 5, "what came before fits as well")

	a.write(t, testStart, set("large", strings.Repeat("x", wire.MaxValue)))
	u, _ = a.state.Rumor(a.self.ID, 5)
	require.Equal(t, u.Digest.Version, u.Previous)
	require.Empty(t, u.Entries)

	a.write(t, testStart, set("after", "small"))
	u, _ = a.state.Rumor(a.self.ID, 6)
	require.Equal(t, Version(6), u.Previous)
	require.Len(t, u.Entries, 1)
	require.Less(t, len(wire.MarshalUpdate(&u)), wire.MaxRumor)
}

func TestExpiredKeysAreListedForTheirOwner(t *testing.T) {
	a := newAuthor(1)
	soon := testStart.Add(time.Minute)
	a.write(t, testStart, Mutation{Key: "soon", Expires: uint64(soon.UnixMilli())}, set("never", "x"))
	require.Empty(t, a.state.Expired(a.self.ID, soon.Add(-time.Millisecond)))
	require.Equal(t, []string{"soon"}, a.state.Expired(a.self.ID, soon))
}

func TestManyTombstonesRaiseTheFloorEarly(t *testing.T) {
	a := newAuthor(1)
	for i := range maxTombstones + 10 {
		key := keyName(i)
		a.write(t, testStart, set(key, "x"))
		a.write(t, testStart, del(key))
	}
	require.Equal(t, maxTombstones, a.state.Totals().Tombstones)
	d, _, _ := a.state.Digest(a.self.ID)
	require.NotZero(t, d.Floor)
	replica := New(DefaultConfig(testDomain))
	a.snapshot(t, replica)
	a.requireExact(t, replica)
}
