package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// forks are two states of one owner under one version of main, the smaller root first, beside its one state on members.
func forks(t *testing.T) (smaller, larger *author) {
	t.Helper()
	one := newAuthor(t)
	two := authorOf(t, one.key, "test")
	one.set(t, "color", "teal")
	two.set(t, "color", "crimson")
	d1, _, _ := one.states["main"].Digest(one.id)
	d2, _, _ := two.states["main"].Digest(two.id)
	if d1.Compare(&d2) > 0 {
		one, two = two, one
	}
	two.states["members"] = one.states["members"]
	return one, two
}

// take has n take in an update as from a peer, by sync.
func (n *node) take(t *testing.T, topic string, u wire.Update) (outcome gossipstate.Outcome, err error) {
	t.Helper()
	v, err := wire.Verify(wire.Domain{Network: n.cfg.Network, Topic: topic}, u)
	require.NoError(t, err)
	n.table(t, func(tb *table) {
		outcome, _, err = tb.receive(tb.topics[topic], &v, arrival{from: n.host.ID(), path: "sync"}, time.Now())
	})
	return outcome, err
}

func (n *node) equivocated(t *testing.T, owner gossipstate.ID) bool {
	t.Helper()
	members, err := n.Members(t.Context())
	require.NoError(t, err)
	for _, m := range members {
		if m.ID == PeerOf(owner) {
			return m.Equivocated
		}
	}
	return false
}

func TestAnEquivocationIsProvedShownAndSettledByTheLargerRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		x, y := c.start(withStore(st)), c.start()
		smaller, larger := forks(t)
		for n, a := range map[*node]*author{x: smaller, y: larger} {
			for _, topic := range []string{"members", "main"} {
				outcome, err := n.take(t, topic, a.update(topic))
				require.NoError(t, err)
				require.Equal(t, gossipstate.Applied, outcome)
			}
		}
		require.False(t, x.equivocated(t, larger.id))
		_, err := x.topic(t).Equivocation(t.Context(), PeerOf(larger.id))
		require.ErrorIs(t, err, ErrNotFound)

		c.connect(x, y)
		within(t, 10*time.Second, "the larger root is on both", func() bool { return c.equal(x, y) })
		want, _, _ := larger.states["main"].Digest(larger.id)
		require.Equal(t, want, x.digest(t, "main", larger.id))
		outcome, err := y.take(t, "main", smaller.update("main"))
		require.NoError(t, err)
		require.Equal(t, gossipstate.Stale, outcome)
		for _, n := range []*node{x, y} {
			require.True(t, n.equivocated(t, larger.id))
			require.False(t, n.equivocated(t, x.self))
			require.EqualValues(t, 1, n.count(CountEquivocation, "proved"), "once, however often it shows")
			e, err := n.topic(t).Equivocation(t.Context(), PeerOf(larger.id))
			require.NoError(t, err)
			loser, winner, err := e.Verify(wire.Domain{Network: "test", Topic: "main"})
			require.NoError(t, err)
			require.Equal(t, want, winner)
			require.Equal(t, want.Version, loser.Version)
		}

		// It is pulled by the backstop alone.
		larger.set(t, "size", "1")
		larger.set(t, "size", "2")
		outcome, err = x.take(t, "main", larger.updates("main", want.Version+1)[0])
		require.NoError(t, err)
		require.Equal(t, gossipstate.Gap, outcome)
		require.EqualValues(t, 1, x.count(CountPull, "flagged"))

		time.Sleep(2 * time.Second) // to disk
		x.kill()
		again := c.start(withKey(x.key), withStore(st), withFirstSync(0))
		require.True(t, again.equivocated(t, larger.id), "it is kept through a restart")
	})
}

func TestAForkedRumorIsProofThoughItIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		smaller, larger := forks(t)
		for _, topic := range []string{"members", "main"} {
			_, err := n.take(t, topic, larger.update(topic))
			require.NoError(t, err)
		}
		v, err := wire.Verify(wire.Domain{Network: "test", Topic: "main"}, smaller.update("main"))
		require.NoError(t, err)
		n.table(t, func(tb *table) { tb.takeRumor(tb.topics["main"], &v, n.host.ID()) })
		require.True(t, n.equivocated(t, larger.id))
		want, _, _ := larger.states["main"].Digest(larger.id)
		require.Equal(t, want, n.digest(t, "main", larger.id))
	})
}

func TestAProofGoesWithTheQuarantineOfItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st), briefly())
		smaller, larger := forks(t)
		for _, a := range []*author{smaller, larger} {
			for _, topic := range []string{"members", "main"} {
				_, err := n.take(t, topic, a.update(topic))
				require.NoError(t, err)
			}
		}
		require.True(t, n.equivocated(t, larger.id))
		time.Sleep(25 * time.Minute)
		require.EqualValues(t, 1, n.count(CountForget, "forgotten"))
		stored := func() int {
			notes, damaged, err := st.Notes("main")
			require.NoError(t, err)
			require.Empty(t, damaged)
			return len(notes)
		}
		require.Equal(t, 1, stored(), "who comes back is still known for it")
		n.kill()
		time.Sleep(30 * 24 * time.Hour)
		c.start(withKey(n.key), withStore(st), withFirstSync(0), briefly())
		time.Sleep(5 * time.Second)
		require.Zero(t, stored())
	})
}

func TestAForkOfThisNodesOwnStateIsNoEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		n.set(t, "color", "teal")
		twin := authorOf(t, n.key, "test")
		twin.self.Generation = n.digest(t, "main", n.self).Generation
		for range 1000 { // until its root is the smaller one: stale, by the order of digests
			twin.states["main"] = gossipstate.New(gossipstate.DefaultConfig(wire.Domain{Network: "test", Topic: "main"}))
			twin.set(t, "color", time.Now().String())
			forked, held := twin.update("main").Signed, n.digest(t, "main", n.self)
			d, err := wire.UnmarshalDigest(forked.Digest)
			require.NoError(t, err)
			if d.Compare(&held) < 0 {
				break
			}
			time.Sleep(time.Second)
		}
		_, err := n.take(t, "main", twin.update("main"))
		require.NoError(t, err)
		require.True(t, n.equivocated(t, n.self))
		require.EqualValues(t, 1, n.count(CountIdentity, "moved"))
		n.set(t, "color", "still writing")
	})
}

func TestAnOwnerOfSmallOrderIsNoIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		weak := gossipstate.ID{1} // the identity: with R the identity and s = 0 every message verifies
		d := wire.Digest{Owner: weak, Generation: 1, Version: 1, BeatAnchor: wire.Anchor{1}, BeatInterval: time.Second, BeatLength: 1}
		signature := make([]byte, 64)
		signature[0] = 1
		u := wire.Update{Digest: d, Signed: wire.SignedDigest{Digest: wire.MarshalDigest(&d), Signature: signature}}
		outcome, err := n.take(t, "members", u)
		require.NoError(t, err)
		require.Equal(t, gossipstate.Stale, outcome)
		require.EqualValues(t, 1, n.count(CountDropped, "bad_identity"))
		require.Zero(t, n.digest(t, "members", weak))
		_, err = OwnerOf(PeerOf(weak))
		require.ErrorContains(t, err, "small order")
	})
}
