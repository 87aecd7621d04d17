package replica

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestAStoredCopyOfAnOwnerLongSilentIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		n.set(t, "color", "teal")
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		last := other.updates(t, "members")
		other.crash()
		n.kill()
		require.NoError(t, st.Close())
		time.Sleep(25 * time.Hour) // longer than an owner is remembered

		alone := c.start(withKey(n.key), withStore(openStore(t, dir)), withFirstSync(0))
		require.Equal(t, "teal", alone.get(t, "color"), "its own state does not age")
		require.Empty(t, alone.get(t, "shape"))
		require.Empty(t, alone.status(t, other))
		alone.requireRefused(t, last, "quarantined")
	})
}

func TestAReplicaThatRemembersLongerDoesNotTeachAForgottenOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withConfig(func(c *Config) { c.Liveness.ForgetAfter = 100 * time.Hour }))
		other := c.start()
		c.connect(other, n)
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "n has it", func() bool { return n.get(t, "shape") == "round" })
		other.crash()
		time.Sleep(25 * time.Hour)

		newcomer := c.start()
		c.connect(newcomer, n)
		n.set(t, "color", "teal")
		within(t, 5*time.Second, "the newcomer has what n says", func() bool { return newcomer.get(t, "color") == "teal" })
		time.Sleep(time.Minute)
		require.Equal(t, "round", n.get(t, "shape"))
		require.Empty(t, newcomer.get(t, "shape"))
		require.Empty(t, newcomer.status(t, other))
		require.NotZero(t, newcomer.count(CountDropped, "forgotten"))
	})
}

// briefly has owners forgotten after 20 minutes: a day of virtual time costs seconds of a real one.
func briefly() nodeOption {
	return withConfig(func(c *Config) { c.Liveness.ForgetAfter = 20 * time.Minute })
}

// updates is the node's own copy of topic as it goes over the wire.
func (n *node) updates(t *testing.T, topic string) (all []wire.Verified) {
	t.Helper()
	var updates []gossipstate.Update
	n.table(t, func(tb *table) { updates = tb.topics[topic].state.Updates(wire.Want{Owner: n.self}, wire.MaxFrame) })
	for _, u := range updates {
		v, err := wire.Verify(wire.Domain{Network: n.cfg.Network, Topic: topic}, u)
		require.NoError(t, err)
		all = append(all, v)
	}
	return all
}

// requireRefused gives the node updates as if a peer had just heard their owner: it drops them for that reason.
func (n *node) requireRefused(t *testing.T, updates []wire.Verified, why string) {
	t.Helper()
	for i := range updates {
		before := n.count(CountDropped, why)
		n.table(t, func(tb *table) {
			_, _, err := tb.receive(tb.members(), &updates[i], arrival{from: n.host.ID(), path: "sync"}, time.Now())
			require.NoError(t, err)
			_, _, held := tb.members().state.Digest(updates[i].Update().Digest.Owner)
			require.False(t, held)
		})
		require.Equal(t, before+1, n.count(CountDropped, why))
	}
}

func TestAForgottenOwnerIsNotTaughtAgainUntilItsQuarantineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n, other := c.start(withStore(st), briefly()), c.start()
		c.connect(other, n)
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "n has it", func() bool { return n.get(t, "shape") == "round" })
		last := other.updates(t, "members")
		other.crash()
		time.Sleep(21 * time.Minute)
		require.Empty(t, n.get(t, "shape"))
		require.Empty(t, n.status(t, other))
		require.EqualValues(t, 1, n.count(CountForget, "forgotten"))
		n.requireRefused(t, last, "quarantined")

		n.kill()
		require.NoError(t, st.Close())
		time.Sleep(29 * 24 * time.Hour)
		st = openStore(t, dir)
		again := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		again.requireRefused(t, last, "quarantined")
		again.kill()
		time.Sleep(24 * time.Hour)
		again = c.start(withKey(n.key), withStore(st), withFirstSync(0))
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 1, again.count(CountForget, "expired"))
		again.table(t, func(tb *table) {
			outcome, _, err := tb.receive(tb.members(), &last[0], arrival{from: again.host.ID(), path: "sync"}, time.Now())
			require.NoError(t, err)
			require.Equal(t, gossipstate.Applied, outcome, "that is the limit which the documentation names")
		})
	})
}

func TestAnOwnerThatWasForgottenComesBackWithoutItsSharedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n, other := c.start(briefly()), c.start(withStore(st), briefly())
		c.connect(other, n)
		other.set(t, "shape", "round")
		other.set(t, "~/own", "mine")
		other.set(t, "work/x", "job")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		other.crash()
		time.Sleep(25 * time.Minute)
		require.Empty(t, n.status(t, other))

		back := c.start(withKey(other.key), withStore(st), withFirstSync(5*time.Second), briefly())
		c.connect(back, n)
		within(t, 10*time.Second, "it is back", func() bool { return n.status(t, other) == "alive" && c.equal(n, back) })
		for _, x := range []*node{n, back} {
			require.Empty(t, x.get(t, "shape"), "it may have been deleted meanwhile")
			for key, want := range map[string]string{"~/own": "mine", "work/x": "job"} {
				v, err := x.topic(t).Get(t.Context(), key, other.host.ID())
				require.NoError(t, err)
				require.Equal(t, want, string(v.Value))
			}
		}
		require.EqualValues(t, 1, n.count(CountForget, "returned"))
		require.EqualValues(t, 1, back.count(CountForget, "withdrawn"))
		identity, err := back.Identity(t.Context())
		require.NoError(t, err)
		require.Equal(t, Identity{Withdrawn: 1}, identity)
		back.set(t, "shape", "square")
		within(t, 5*time.Second, "what it writes now is heard", func() bool { return n.get(t, "shape") == "square" })
	})
}

func TestANodeThatWasNotAwayForLongKeepsItsKeysWhateverPeersSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n, other := c.start(), c.start(withStore(st))
		c.connect(other, n)
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		other.crash()
		n.table(t, func(tb *table) { tb.forget(other.self, time.Now()) })
		back := c.start(withKey(other.key), withStore(st), withFirstSync(5*time.Second))
		c.connect(back, n)
		within(t, 10*time.Second, "it is back", func() bool { return n.get(t, "shape") == "round" })
		require.NotZero(t, back.count(CountForget, "disbelieved"))
	})
}

func TestABeatEndsTheQuarantineOfAnOwnerThatHasSignedNothingSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		c.connect(a, b)
		a.set(t, "color", "teal")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		time.Sleep(5 * time.Second)
		signed := a.digest(t, "members", a.self)
		b.table(t, func(tb *table) { tb.forget(a.self, time.Now()) })
		require.Empty(t, b.status(t, a))
		require.Empty(t, b.get(t, "color"))
		within(t, 20*time.Second, "b knows a again", func() bool { return c.equal(a, b) && b.status(t, a) == "alive" })
		require.Equal(t, signed, a.digest(t, "members", a.self), "it has signed nothing new")
		require.Equal(t, "teal", b.get(t, "color"))
		require.EqualValues(t, 1, b.count(CountForget, "returned"))
	})
}

// silent is a node that was down while its store held another owner, which is down too.
func silent(t *testing.T, c *cluster, away time.Duration) (n, other *node, st *store.Store) {
	st = openStore(t, t.TempDir())
	otherStore := openStore(t, t.TempDir())
	n, other = c.start(withStore(st), briefly()), c.start(withStore(otherStore))
	c.connect(other, n)
	n.set(t, "color", "teal")
	other.set(t, "shape", "round")
	within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
	time.Sleep(3 * time.Second)
	other.crash()
	n.kill()
	time.Sleep(away)
	n = c.start(withKey(n.key), withStore(st), withFirstSync(0), briefly())
	<-n.Ready()
	other.cfg.Store = otherStore
	return n, other, st
}

func (n *node) requireAwake(t *testing.T, other *node, awake bool) {
	t.Helper()
	require.Equal(t, awake, n.get(t, "shape") == "round", "readable")
	require.Equal(t, awake, n.status(t, other) != "", "a member")
	values, err := n.topic(t).List(t.Context(), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, awake, slices.ContainsFunc(values, func(v Value) bool { return v.Key == "shape" }), "listed")
	for _, topic := range []string{"members", "main"} {
		require.Equal(t, awake, n.digest(t, topic, other.self).Version > 0, "offered on %s", topic)
	}
}

func TestAStoredCopySilentForHalfTheTimeIsReadableAgainOnceItsOwnerIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, other, _ := silent(t, c, 13*time.Minute)
		require.EqualValues(t, 2, n.count(CountForget, "dormant"), "on members and main")
		n.requireAwake(t, other, false)
		time.Sleep(time.Minute)
		n.requireAwake(t, other, false)
		back := c.start(withKey(other.key), withStore(other.cfg.Store), withFirstSync(5*time.Second))
		c.connect(back, n)
		within(t, 10*time.Second, "both agree", func() bool { return c.equal(n, back) })
		n.requireAwake(t, other, true)
		require.EqualValues(t, 2, n.count(CountForget, "woken"))
		require.Zero(t, back.count(CountForget, "told"), "nobody had forgotten it")
	})
}

func TestAStoredCopySilentForHalfTheTimeIsReadableAgainOnceAPeerOffersIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, other, _ := silent(t, c, 13*time.Minute)
		holder := c.start(withConfig(func(c *Config) { c.Liveness.ForgetAfter = 100 * time.Hour }), withFirstSync(0))
		for _, topic := range []string{"members", "main"} { // as it had it all the time
			var copies []gossipstate.Update
			n.table(t, func(tb *table) {
				for _, d := range tb.sleepers.copies[other.self] {
					if d.topic == topic {
						copies = append(copies, *d.copy.Update())
					}
				}
			})
			require.Len(t, copies, 1)
			v, err := wire.Verify(wire.Domain{Network: "test", Topic: topic}, copies[0])
			require.NoError(t, err)
			holder.table(t, func(tb *table) {
				_, _, err := tb.receive(tb.topics[topic], &v, arrival{from: n.host.ID(), path: "sync", age: 13 * time.Minute}, time.Now())
				require.NoError(t, err)
			})
		}
		c.connect(n, holder)
		within(t, 10*time.Second, "both agree", func() bool { return c.equal(n, holder) })
		n.requireAwake(t, other, true)
		time.Sleep(6 * time.Minute)
		n.requireAwake(t, other, true)
		time.Sleep(90 * time.Second)
		n.requireAwake(t, other, false) // its time has run on since it was heard
	})
}

func TestAStoredCopySilentForHalfTheTimeIsForgottenWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, other, st := silent(t, c, 13*time.Minute)
		time.Sleep(7*time.Minute + 5*time.Second)
		require.EqualValues(t, 1, n.count(CountForget, "forgotten"))
		n.kill()
		for _, topic := range []string{"members", "main"} {
			require.NoError(t, st.Load(topic, func(c store.Copy) error {
				require.NotEqual(t, other.self, c.Owner)
				return nil
			}))
		}
		notes, damaged, err := st.Notes("")
		require.NoError(t, err)
		require.Empty(t, damaged)
		require.Len(t, notes, 1)
		require.Equal(t, other.self, notes[0].Owner)
	})
}

func TestAStoredCopyWithAStampInTheFutureIsNotReadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, other, st := silent(t, c, time.Minute)
		n.requireAwake(t, other, true)
		n.kill()
		var ahead []store.Write
		require.NoError(t, st.Load("members", func(c store.Copy) error {
			if c.Owner == other.self {
				ahead = append(ahead, store.Write{Topic: "members", Owner: c.Owner, Signed: c.Signed, LastLife: time.Now().Add(time.Hour)})
			}
			return nil
		}))
		require.NoError(t, st.Commit(ahead))
		n = c.start(withKey(n.key), withStore(st), withFirstSync(0), briefly())
		n.requireAwake(t, other, false)
		time.Sleep(10*time.Minute + 5*time.Second)
		require.EqualValues(t, 1, n.count(CountForget, "forgotten"))
	})
}

func TestTheLastLifeOnDiskKeepsUpWithAnOwnerThatOnlyBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		short := withConfig(func(c *Config) { c.Liveness.ForgetAfter = 10 * time.Minute })
		st := openStore(t, t.TempDir())
		n, other := c.start(short, withStore(st)), c.start(short)
		c.connect(other, n)
		other.set(t, "shape", "round")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		time.Sleep(12 * time.Minute) // it beats, and signs nothing
		n.crash()                    // writes what is left, but an ordinary second of work would do
		again := c.start(short, withKey(n.key), withStore(st), withFirstSync(0))
		again.requireAwake(t, other, true)
		require.Zero(t, again.count(CountForget, "dormant"))
	})
}

func TestOldTombstonesGoThoughTheirOwnerWritesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		short := withConfig(func(c *Config) { c.TombstoneTTL = 3 * time.Minute })
		n, other := c.start(short), c.start(short)
		c.connect(other, n)
		n.set(t, "color", "teal")
		_, err := n.topic(t).Delete(t.Context(), "color", WriteOptions{})
		require.NoError(t, err)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		time.Sleep(2 * time.Minute)
		require.EqualValues(t, 1, other.digest(t, "main", n.self).Entries)
		time.Sleep(3 * time.Minute)
		require.True(t, c.equal(n, other))
		d := other.digest(t, "main", n.self)
		require.Zero(t, d.Entries)
		require.EqualValues(t, 2, d.Floor)
		version := d.Version
		time.Sleep(5 * time.Minute)
		require.Equal(t, version, other.digest(t, "main", n.self).Version, "it is done once")
	})
}

func TestADormantCopyThatIsNotWhatItsOwnerSignedIsDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start(withStore(openStore(t, t.TempDir())))
		a := newAuthor(t)
		a.write(t, "members", gossipstate.Mutation{Key: "node.name", Value: []byte("a")})
		u := a.updates("members", 0)[0]
		u.Entries = nil
		v, err := wire.Verify(wire.Domain{Network: "test", Topic: "members"}, u)
		require.NoError(t, err)
		n.table(t, func(tb *table) {
			tb.sleepers.add("members", v, time.Now().Add(time.Hour))
			tb.wake(a.id, 0, time.Now())
			require.Contains(t, tb.disk.changed, diskKey{"members", a.id}, "it goes from disk")
		})
		require.EqualValues(t, 1, n.count(CountDropped, "stored_damaged"))
		require.Zero(t, n.count(CountForget, "woken"))
		require.Zero(t, n.digest(t, "members", a.id))
	})
}
