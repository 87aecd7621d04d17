package gossipstate

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// schedules is how many schedules each run of the tests plays: with them, each of the broken cores that it was tried on is
// found. -rapid.checks on the command line still counts.
const schedules = 10_000

// checkMany is rapid.Check with that many checks, or as many as the command line says.
func checkMany(t *testing.T, checks int, prop func(*rapid.T)) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if before := f.Value.String(); before == f.DefValue {
		require.NoError(t, f.Value.Set(strconv.Itoa(checks)))
		defer func() { require.NoError(t, f.Value.Set(before)) }()
	}
	rapid.Check(t, prop)
}

func TestAnyScheduleObeysTheLaws(t *testing.T) {
	checkMany(t, schedules, func(t *rapid.T) { anySchedule(t) })
}

// FuzzSchedule lets the fuzzer choose the schedule.
func FuzzSchedule(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anySchedule)) }

func anySchedule(t *rapid.T) {
	s := newSchedule(t)
	t.Repeat(s.actions())
	s.requireMergeLaws(t)
	s.requireConverges(t)
}

// requireMergeLaws checks that taking in all of another replica's copies is a merge: in any order, in any grouping, and
// any number of times the same.
func (s *schedule) requireMergeLaws(t *rapid.T) {
	a, b, c := s.any(t).state, s.any(t).state, s.any(t).state
	ab := merge(t, a, b)
	requireMerged(t, ab, merge(t, b, a), "commutative")
	requireMerged(t, merge(t, ab, c), merge(t, a, merge(t, b, c)), "associative")
	requireMerged(t, merge(t, ab, b), ab, "idempotent")
	requireMerged(t, merge(t, a, a), a, "idempotent")
}

// merge is a new replica that has taken in all of the others' copies, one replica after the other.
func merge(t tester, states ...*State) *State {
	t.Helper()
	merged := New(DefaultConfig(testDomain))
	for _, state := range states {
		for _, item := range state.Items() {
			for _, u := range state.Updates(wire.Want{Owner: item.Owner}, 1<<30) {
				v := overWire(t, u)
				_, err := merged.Apply(&v, ID{}, testStart)
				require.NoError(t, err)
			}
		}
	}
	return merged
}

func requireMerged(t tester, a, b *State, law string) {
	requireSame(t, true, slices.Equal(a.Items(), b.Items()), law)
	requireSame(t, a.Totals(), b.Totals(), law)
	requireRecords(t, a.List(""), b.List(""))
}

// requireConverges heals the network and has all replicas sync once with all: the largest digest of each owner is then
// everywhere, nothing that it deleted can be read, and nothing is left to send.
func (s *schedule) requireConverges(t *rapid.T) {
	largest := map[ID]Digest{}
	for _, r := range s.replicas {
		for owner, c := range r.model.copies {
			if held := largest[owner]; slowOrder(&c.digest, &held) > 0 {
				largest[owner] = c.digest
			}
		}
	}
	s.heal()
	size := s.frame(t)
	for range 2 { // all to the first, and back
		for _, r := range s.replicas[1:] {
			s.sync(t, s.replicas[0], r, 1<<20, size)
		}
	}
	s.check(t)
	for _, r := range s.replicas {
		requireSame(t, len(largest), len(r.state.Items()))
		for owner, want := range largest {
			d, _, _ := r.state.Digest(owner)
			requireSame(t, momentOf(&want), momentOf(&d), "not the largest digest")
			s.requireDeleted(t, r, owner, &want)
		}
		requireNothingToSay(t, s.replicas[0].state, r.state)
	}
}

// requireDeleted checks that no key can be read of owner which it has not live at digest d.
func (s *schedule) requireDeleted(t *rapid.T, r *replica, owner ID, d *Digest) {
	signed := s.historyOf(owner)[momentOf(d)]
	for _, state := range s.historyOf(owner) {
		for key := range state {
			if e, has := signed[key]; !has || e.Tombstone {
				requireSame(t, false, r.state.GetOwned(owner, key).Live(), key)
			}
		}
	}
}

// A rumor need not repeat what came before the tombstone that it does not carry.
func TestADeltaAboveAForgottenTombstoneIsAGap(t *testing.T) {
	a, away := newAuthor(1), New(DefaultConfig(testDomain))
	a.write(t, testStart, set("large", strings.Repeat("x", reach))) // version 1
	a.write(t, testStart, set("color", "teal"))                     // version 2
	a.snapshot(t, away)
	a.write(t, testStart, del("color")) // version 3
	later := testStart.Add(100 * grace)
	_, err := a.tryForgetting(later, uint64(later.UnixMilli()), set("other", "x"))
	require.NoError(t, err)
	u, _ := a.state.Rumor(a.self.ID, 3)
	require.Equal(t, Version(1), u.Previous, "it has all that is left above version 1")
	v := overWire(t, u)
	r, err := away.Apply(&v, ID{}, later)
	require.NoError(t, err)
	require.Equal(t, Gap, r.Outcome)
	a.requireExact(t, away)
}

func requireNothingToSay(t tester, a, b *State) {
	requireSame(t, a.Fingerprint(), b.Fingerprint())
	d := reconcile.Compare(a.Items(), b.Items())
	requireSame(t, 0, len(d.Ask)+len(d.Send))
	for _, item := range a.Items() {
		want := wire.Want{Owner: item.Owner, Generation: item.Generation, Version: item.Version}
		requireSame(t, 0, len(b.Updates(want, wire.MaxFrame)))
	}
}

func TestADeletedKeyStaysDeletedHoweverLongAReplicaWasAway(t *testing.T) {
	a, away := newAuthor(1), New(DefaultConfig(testDomain))
	a.write(t, testStart, set("color", "teal"))
	old := a.updates(t, wire.Want{}, wire.MaxFrame)
	a.snapshot(t, away)
	require.Equal(t, "teal", read(away, "color"))

	a.write(t, testStart.Add(time.Second), del("color"))
	later := testStart.Add(100 * grace)
	_, err := a.tryForgetting(later, uint64(later.UnixMilli()), set("other", "x"))
	require.NoError(t, err)
	require.Empty(t, a.state.List("color"), "the tombstone is forgotten")

	d, _, _ := away.Digest(a.self.ID)
	updates := a.updates(t, wire.Want{Generation: d.Generation, Version: d.Version}, wire.MaxFrame)
	require.Zero(t, updates[0].Update().Previous, "below the floor only a snapshot will do")
	for _, v := range updates {
		_, err := away.Apply(&v, ID{}, later)
		require.NoError(t, err)
	}
	require.Empty(t, read(away, "color"))

	r, err := a.state.Apply(&old[0], ID{}, later)
	require.NoError(t, err)
	require.Equal(t, Stale, r.Outcome, "the old state does not come back")
}
