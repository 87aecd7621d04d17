package gossipstate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// schedule is a random run of a few owners and readers over a network that drops, repeats and reorders everything.
type schedule struct {
	authors  []*author
	replicas []*State // of the authors, then of readers
	now      time.Time
	flying   []wire.Verified
	newest   []map[ID]Digest // per replica, the newest digest it had of each owner
}

func newSchedule(authors, readers int) *schedule {
	s := &schedule{now: testStart}
	for i := range authors {
		a := newAuthor(byte(i + 1))
		s.authors = append(s.authors, a)
		s.replicas = append(s.replicas, a.state)
	}
	for range readers {
		s.replicas = append(s.replicas, New(DefaultConfig(testDomain)))
	}
	for range s.replicas {
		s.newest = append(s.newest, map[ID]Digest{})
	}
	return s
}

func (s *schedule) anyAuthor(t *rapid.T) *author {
	return rapid.SampledFrom(s.authors).Draw(t, "author")
}

// actions are what may happen next; rapid picks.
func (s *schedule) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"write":   s.write,
		"rumor":   s.rumor,
		"delta":   s.delta,
		"deliver": s.deliver,
		"drop":    s.drop,
		"forget":  s.forget,
		"restart": func(t *rapid.T) { s.anyAuthor(t).self.Generation++ },
		"":        s.check,
	}
}

func (s *schedule) write(t *rapid.T) {
	a := s.anyAuthor(t)
	s.now = s.now.Add(time.Second)
	var mutations []Mutation
	for range rapid.IntRange(1, 3).Draw(t, "mutations") {
		key := keyName(rapid.IntRange(0, 4).Draw(t, "key"))
		if rapid.Bool().Draw(t, "owned") {
			key = OwnedPrefix + key
		}
		if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
			mutations = append(mutations, del(key))
		} else {
			mutations = append(mutations, set(key, rapid.StringN(0, 3, -1).Draw(t, "value")))
		}
	}
	if _, err := a.try(s.now, mutations...); err != nil {
		require.ErrorIs(t, err, ErrNotFound) // a delete of what is not there
	}
}

func (s *schedule) rumor(t *rapid.T) {
	a := s.anyAuthor(t)
	d, _, held := a.state.Digest(a.self.ID)
	if !held {
		return
	}
	published := Version(rapid.Uint64Range(0, uint64(d.Version)).Draw(t, "published"))
	u, ok := a.state.Rumor(a.self.ID, published)
	require.True(t, ok)
	s.flying = append(s.flying, overWire(t, u))
}

// delta sends what one replica holds of an owner, in small parts, to whoever may get it, as if it answered some want.
func (s *schedule) delta(t *rapid.T) {
	from := rapid.SampledFrom(s.replicas).Draw(t, "from")
	a := s.anyAuthor(t)
	want := wire.Want{Owner: a.self.ID, Version: Version(rapid.Uint64Range(0, 8).Draw(t, "version"))}
	for _, u := range from.Updates(want, rapid.SampledFrom([]int{updateOverhead + 60, wire.MaxFrame}).Draw(t, "frame")) {
		s.flying = append(s.flying, overWire(t, u))
	}
}

func (s *schedule) deliver(t *rapid.T) {
	if len(s.flying) == 0 {
		return
	}
	i := rapid.IntRange(0, len(s.flying)-1).Draw(t, "message")
	to := rapid.IntRange(0, len(s.replicas)-1).Draw(t, "to")
	s.apply(t, to, &s.flying[i])
	if rapid.Bool().Draw(t, "again") {
		s.apply(t, to, &s.flying[i])
	}
}

func (s *schedule) apply(t *rapid.T, to int, v *wire.Verified) {
	owner := v.Update().Digest.Owner
	if to < len(s.authors) && s.authors[to].self.ID == owner {
		return // its own node does not take its state from others
	}
	before, _, held := s.replicas[to].Digest(owner)
	r, err := s.replicas[to].Apply(v, ID{}, s.now)
	after, _, _ := s.replicas[to].Digest(owner)
	if err != nil || r.Outcome != Applied {
		require.Equal(t, before, after, "nothing changes unless it is applied")
		return
	}
	require.True(t, !held || before.Compare(&after) < 0, "a copy never goes back")
}

func (s *schedule) drop(t *rapid.T) {
	if len(s.flying) > 0 {
		i := rapid.IntRange(0, len(s.flying)-1).Draw(t, "message")
		s.flying = append(s.flying[:i], s.flying[i+1:]...)
	}
}

// forget has an owner drop the tombstones it may.
func (s *schedule) forget(t *rapid.T) {
	a := s.anyAuthor(t)
	s.now = s.now.Add(time.Second)
	_, err := a.tryForgetting(s.now, uint64(s.now.UnixMilli()))
	require.NoError(t, err)
}

func (s *schedule) check(t *rapid.T) {
	for _, a := range s.authors {
		for _, replica := range s.replicas {
			a.requireExact(t, replica)
		}
	}
}

// heal has every replica pull from every owner until nothing differs, as anti-entropy does.
func (s *schedule) heal(t *rapid.T) {
	for _, replica := range s.replicas {
		for _, a := range s.authors {
			s.pull(t, replica, a)
		}
	}
}

// pull asks for a delta first, and for the snapshot when that does not match.
func (s *schedule) pull(t *rapid.T, replica *State, a *author) {
	d, _, _ := replica.Digest(a.self.ID)
	want := wire.Want{Generation: d.Generation, Version: d.Version}
	for _, want := range []wire.Want{want, {}} {
		for _, v := range a.updates(t, want, wire.MaxFrame) {
			if _, err := replica.Apply(&v, ID{}, s.now); err != nil {
				require.ErrorIs(t, err, ErrRootMismatch)
			}
		}
	}
}

func TestReplicasAgreeAfterAnySchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(3, 2)
		t.Repeat(s.actions())
		s.heal(t)
		s.check(t)
		for _, replica := range s.replicas {
			require.Equal(t, s.replicas[0].Fingerprint(), replica.Fingerprint())
			require.Equal(t, s.replicas[0].Totals(), replica.Totals())
			s.requireMerged(t, replica)
		}
	})
}

// requireMerged checks the merged view against the rule, applied to every owner's own entries.
func (s *schedule) requireMerged(t *rapid.T, replica *State) {
	best := map[string]Record{}
	for _, a := range s.authors {
		for key, e := range entriesOf(a.state, a.self.ID) {
			if !Shared(testDomain.Topic, key) {
				continue
			}
			old := best[key]
			if old.Entry == nil || e.Clock > old.Entry.Clock || e.Clock == old.Entry.Clock && a.self.ID.Compare(old.Owner) > 0 {
				best[key] = Record{a.self.ID, &e}
			}
		}
	}
	for i := range 5 {
		got, want := replica.Get(keyName(i)), best[keyName(i)]
		require.Equal(t, want.Owner, got.Owner)
		if want.Entry != nil {
			require.True(t, sameEntry(want.Entry, got.Entry))
		}
	}
}

func TestReplayingTheEventsEqualsTheSnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(3, 0)
		reader := New(DefaultConfig(testDomain))
		seen := map[string]string{} // key, or owner and key, to value
		name := func(owner ID, key string) string {
			if Shared(testDomain.Topic, key) {
				return key
			}
			return owner.String() + key
		}
		replay := func(r Result) {
			for _, e := range r.Events {
				switch e.Kind {
				case EventPut:
					seen[name(e.New.Owner, e.Key)] = string(e.New.Entry.Value)
				case EventDelete:
					_, had := seen[name(e.Old.Owner, e.Key)]
					require.True(t, had, "a key is deleted once")
					delete(seen, name(e.Old.Owner, e.Key))
				}
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			s.write(t)
			a := s.anyAuthor(t)
			if rapid.IntRange(0, 5).Draw(t, "drop") == 0 {
				replay(reader.Drop(a.self.ID))
			} else {
				replay(a.snapshot(t, reader))
			}
		}
		want := map[string]string{}
		for _, rec := range reader.List("") {
			if rec.Live() {
				want[name(rec.Owner, rec.Entry.Key)] = string(rec.Entry.Value)
			}
		}
		require.Equal(t, want, seen)
	})
}

func TestADeletedKeyStaysDeletedHoweverLongAReplicaWasAway(t *testing.T) {
	a, away := newAuthor(1), New(DefaultConfig(testDomain))
	a.write(t, testStart, set("color", "teal"))
	old := a.updates(t, wire.Want{}, wire.MaxFrame)
	a.snapshot(t, away)
	require.Equal(t, "teal", read(away, "color"))

	a.write(t, testStart.Add(time.Second), del("color"))
	later := testStart.Add(1000 * time.Hour)
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

// FuzzSchedule lets the fuzzer choose the schedule.
func FuzzSchedule(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		s := newSchedule(3, 2)
		t.Repeat(s.actions())
		s.heal(t)
		s.check(t)
	}))
}
