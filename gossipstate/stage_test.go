package gossipstate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func (a *author) digest() Digest {
	d, _, _ := a.state.Digest(a.self.ID)
	return d
}

// receiver is a replica that gets an owner's updates in parts from several peers.
type receiver struct {
	*State
	owner ID
	bytes int // of the entries that it was sent
}

func receiverOf(a *author) *receiver {
	return &receiver{State: New(DefaultConfig(testDomain)), owner: a.self.ID}
}

// want is what it asks a peer for.
func (r *receiver) want(from ID) wire.Want {
	w := wire.Want{Owner: r.owner, Staged: r.Staged(r.owner, from)}
	if d, _, held := r.Digest(r.owner); held {
		w.Generation, w.Version = d.Generation, d.Version
	}
	return w
}

// session gives it the first n parts, all for n < 0, of what server, a replica, answers in the name of from. It says whether
// the owner's copy was replaced.
func (r *receiver) session(t tester, server *State, from ID, n, maxBytes int) (applied bool, err error) {
	t.Helper()
	for i, u := range server.Updates(r.want(from), maxBytes) {
		if i == n {
			break
		}
		for _, e := range u.Entries {
			r.bytes += e.Size()
		}
		v := overWire(t, u)
		result, err := r.Apply(&v, from, testStart)
		if err != nil {
			return applied, err
		}
		applied = applied || result.Outcome == Applied
	}
	return applied, nil
}

// lie stages entries that the owner never wrote, in the name of from, under what the owner has signed last.
func (r *receiver) lie(t tester, a *author, from ID, last bool, entries ...Entry) error {
	t.Helper()
	u := a.state.Updates(wire.Want{Owner: a.self.ID}, wire.MaxFrame)[0]
	u.Entries, u.More = entries, !last
	v := overWire(t, u)
	_, err := r.Apply(&v, from, testStart)
	return err
}

var bob, carol, liar = newAuthor(50).self.ID, newAuthor(51).self.ID, newAuthor(99).self.ID

func TestACutUpdateGoesOnAtEveryPartFromWhoeverHasIt(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, bigMutations()...)
	whole := int(a.digest().Bytes)
	parts := len(a.updates(t, wire.Want{}, wire.MaxFrame-1024))
	require.Greater(t, parts, 4)
	for cut := 1; cut < parts; cut++ {
		for name, second := range map[string]ID{"the same peer": bob, "another peer": carol} {
			r := receiverOf(a)
			_, err := r.session(t, a.state, bob, cut, wire.MaxFrame-1024)
			require.NoError(t, err)
			require.Zero(t, r.Totals(), "nothing is visible before the last part")
			applied, err := r.session(t, a.state, second, -1, wire.MaxFrame-1024)
			require.NoError(t, err, "%s after %d parts", name, cut)
			require.True(t, applied)
			require.Equal(t, whole, r.bytes, "%s after %d parts", name, cut)
			a.requireExact(t, r.State)
			require.Zero(t, r.stages.bytes)
			require.Empty(t, r.StagedOwners())
		}
	}
}

func TestACutUpdateGoesOnBesideWhatTheOwnerChangesMeanwhile(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, bigMutations()...)
	r := receiverOf(a)
	_, err := r.session(t, a.state, bob, 2, wire.MaxFrame-1024)
	require.NoError(t, err)
	sent, whole := r.bytes, int(a.digest().Bytes)
	a.write(t, testStart, set(keyName(0), "changed"), set("new", "x"))
	applied, err := r.session(t, a.state, carol, -1, wire.MaxFrame-1024)
	require.NoError(t, err)
	require.True(t, applied)
	require.Less(t, r.bytes-sent, whole-sent+100, "no more than was missing, and what is new")
	a.requireExact(t, r.State)
}

// A floor above the cursor hides tombstones that were still to come, of keys that are staged: the update starts over.
func TestACutUpdateStartsOverWhenTheFloorHasPassedIt(t *testing.T) {
	a := newAuthor(1)
	for i := range 20 {
		a.write(t, testStart, set(keyName(i), strings.Repeat("x", 500)))
	}
	r := receiverOf(a)
	_, err := r.session(t, a.state, bob, 2, 2000)
	require.NoError(t, err)
	a.write(t, testStart, Mutation{Key: keyName(0), Delete: true})
	_, err = a.tryForgetting(testStart.Add(time.Hour), uint64(testStart.Add(time.Minute).UnixMilli()), set("last", "x"))
	require.NoError(t, err)
	require.Greater(t, a.digest().Floor, r.Staged(a.self.ID, bob).Version)
	applied, err := r.session(t, a.state, bob, -1, 2000)
	require.NoError(t, err)
	require.True(t, applied)
	a.requireExact(t, r.State)
}

func TestAForkLeavesWhatItBeganWith(t *testing.T) {
	a := newAuthor(1)
	for i := range 20 {
		a.write(t, testStart, set(keyName(i), strings.Repeat("x", 500)))
	}
	parts := a.updates(t, wire.Want{}, 2000)
	r := receiverOf(a)
	_, err := r.session(t, a.state, bob, 3, 2000)
	require.NoError(t, err)
	require.NoError(t, r.lie(t, a, liar, false, Entry{Key: "zzz", Version: 20, Clock: 1}))
	for _, v := range parts[3:] {
		result, err := r.Apply(&v, bob, testStart)
		require.NoError(t, err)
		require.Equal(t, v.Update().More, result.Outcome == Staged)
		if v.Update().More {
			require.Equal(t, "zzz", r.stages.open[stageKey{a.self.ID, liar}].cursor().Key)
		}
	}
	a.requireExact(t, r.State)
}

// What lags behind the parts cannot go on with them: their owner had overwritten entries that it would take for sent.
func TestAPeerThatLagsStartsOver(t *testing.T) {
	a := newAuthor(1)
	for i := range 20 {
		a.write(t, testStart, set(keyName(i), strings.Repeat("x", 500)))
	}
	old := receiverOf(a)
	_, err := old.session(t, a.state, bob, -1, wire.MaxFrame)
	require.NoError(t, err)
	a.write(t, testStart, set(keyName(0), "changed"))
	r := receiverOf(a)
	_, err = r.session(t, a.state, bob, 2, 2000)
	require.NoError(t, err)
	applied, err := r.session(t, old.State, carol, -1, 2000)
	require.NoError(t, err)
	require.True(t, applied)
	require.Equal(t, old.Items(), r.Items())
}

func TestMixedPartsThatDoNotMatchStartOverFromOnePeer(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, bigMutations()...)
	v := a.digest().Version
	r := receiverOf(a)
	_, err := r.session(t, a.state, bob, 2, wire.MaxFrame-1024)
	require.NoError(t, err)
	madeUp := Entry{Key: "zzz", Value: []byte("made up"), Version: v, Clock: 1}
	require.NoError(t, r.lie(t, a, liar, false, madeUp), "it goes on for bob")
	require.Equal(t, "zzz", r.Staged(a.self.ID, carol).Key, "and has come furthest")
	_, err = r.session(t, a.state, carol, -1, wire.MaxFrame-1024)
	require.ErrorIs(t, err, ErrMixedParts)
	require.ErrorIs(t, err, ErrRootMismatch)
	require.Zero(t, r.stages.bytes, "whoever's fault it was")

	require.NoError(t, r.lie(t, a, liar, false, madeUp))
	require.Nil(t, r.Staged(a.self.ID, carol), "each on its own from now on")
	_, err = r.session(t, a.state, carol, 2, wire.MaxFrame-1024)
	require.NoError(t, err)
	require.NoError(t, r.lie(t, a, liar, false, Entry{Key: "zzzz", Version: v, Clock: 1}))
	sent := r.bytes
	applied, err := r.session(t, a.state, carol, -1, wire.MaxFrame-1024)
	require.NoError(t, err)
	require.True(t, applied)
	require.Less(t, r.bytes-sent, int(a.digest().Bytes)*3/4, "its own parts were not sent again")
	a.requireExact(t, r.State)
	require.Empty(t, r.stages.apart)
}

// An update may look like the rest of one that is staged, and be whole.
func TestAWholeUpdateIsAppliedWhateverIsStaged(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, set("a", "1"))
	for _, key := range []string{"A", "b"} { // before and behind what it holds
		r := receiverOf(a)
		require.NoError(t, r.lie(t, a, liar, false, Entry{Key: key, Value: []byte("made up"), Version: 1, Clock: 1}))
		for _, v := range a.updates(t, wire.Want{}, wire.MaxFrame) {
			result, err := r.Apply(&v, bob, testStart)
			require.NoError(t, err)
			require.Equal(t, Applied, result.Outcome)
		}
		a.requireExact(t, r.State)
	}
}

func TestManySmallStagesAreBounded(t *testing.T) {
	r := New(DefaultConfig(testDomain))
	for seed := range 20 {
		a := newAuthor(byte(seed + 1))
		a.write(t, testStart, set("a", strings.Repeat("x", 60)), set("b", "2"))
		parts := a.updates(t, wire.Want{}, updateOverhead+70)
		require.Greater(t, len(parts), 1)
		for from := range 20 {
			_, err := r.Apply(&parts[0], newAuthor(byte(from+100)).self.ID, testStart.Add(time.Duration(seed)*time.Second))
			require.NoError(t, err)
			require.LessOrEqual(t, len(r.stages.open), maxStages)
		}
	}
	require.Len(t, r.stages.open, maxStages)
	require.Equal(t, maxStages*(1+60+stageEntry), r.stages.bytes)
}

// Whatever is cut and wherever, from whom the parts come, and whoever lies: an honest session brings the copy at last, and
// what is held is always what the owner signed.
func TestCutSessionsConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAuthor(1)
		now := testStart
		for i := range rapid.IntRange(1, 30).Draw(t, "keys") {
			a.write(t, now, set(keyName(i), "first"))
		}
		lagging := receiverOf(a)
		r := receiverOf(a)
		servers := map[ID]*State{bob: a.state, carol: lagging.State}
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			now = now.Add(time.Minute)
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				key := keyName(rapid.IntRange(0, 30).Draw(t, "key"))
				if rapid.Bool().Draw(t, "delete") {
					_, _ = a.try(now, Mutation{Key: key, Delete: true}) // it may not be there
				} else {
					a.write(t, now, set(key, rapid.StringN(0, 20, 20).Draw(t, "value")))
				}
			case 1:
				_, err := a.tryForgetting(now, uint64(now.Add(-5*time.Minute).UnixMilli()), set(keyName(0), now.String()))
				require.NoError(t, err)
			case 2:
				_, err := lagging.session(t, a.state, bob, -1, wire.MaxFrame)
				require.NoError(t, err)
			case 3:
				v := Version(rapid.Uint64Range(1, uint64(a.digest().Version)).Draw(t, "made up"))
				if v > a.digest().Floor {
					_ = r.lie(t, a, liar, rapid.Bool().Draw(t, "last"), Entry{Key: keyName(rapid.IntRange(0, 30).Draw(t, "lie")), Version: v, Clock: 1})
				}
			default:
				from := rapid.SampledFrom([]ID{bob, carol}).Draw(t, "from")
				_, _ = r.session(t, servers[from], from, rapid.IntRange(1, 4).Draw(t, "parts"), updateOverhead+80)
			}
			if d, _, held := r.Digest(a.self.ID); held {
				require.Equal(t, a.history[momentOf(&d)], entriesOf(r.State, a.self.ID))
			}
		}
		for range 2 { // the first may end a mixed update
			_, _ = r.session(t, a.state, bob, -1, updateOverhead+80)
		}
		a.requireExact(t, r.State)
	})
}
