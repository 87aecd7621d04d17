package replica

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// flip damages one bit of every occurrence of text in the store's file.
func flip(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, "state.db")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(b), text)
	damaged := append([]byte(text[:len(text)-1]), text[len(text)-1]^1)
	require.NoError(t, os.WriteFile(path, bytes.ReplaceAll(b, []byte(text), damaged), 0o600))
}

func TestANodeHasItsStateBackBeforeAnyPeerIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		n.set(t, "color", "teal")
		other.set(t, "shape", "round")
		other.set(t, "~/own", "other's")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		n.kill()
		require.NoError(t, st.Close())

		alone := c.start(withKey(n.key), withStore(openStore(t, dir)), withFirstSync(0))
		require.Equal(t, "teal", alone.get(t, "color"))
		require.Equal(t, "round", alone.get(t, "shape"), "what others said is back too")
		v, err := alone.topic(t).Get(t.Context(), "~/own", other.host.ID())
		require.NoError(t, err)
		require.Equal(t, "other's", string(v.Value))
		<-alone.Ready()
		w := alone.set(t, "color", "red")
		require.EqualValues(t, 3, w.Value.Version, "the version went on: 1 by the first life, 2 by the start of the second")
		require.EqualValues(t, 2, w.Value.Clock)
	})
}

// A restart tells others one digest, not everything again.
func TestARestartPublishesADigestAndNotTheNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st))
		for i := range 20 {
			n.set(t, fmt.Sprint("k", i), strings.Repeat("x", 2_000))
		}
		n.kill()
		listener := c.app()
		topic, err := listener.pubsub.Join(GossipTopic("test", "main"), pubsub.WithTopicMessageIdFn(MessageID))
		require.NoError(t, err)
		rumors, err := topic.Subscribe()
		require.NoError(t, err)
		again := c.start(withKey(n.key), withStore(st), withFirstSync(3*time.Second)) // in vain: the listener has nothing to sync
		c.connect(again, listener)
		m, err := rumors.Next(t.Context())
		require.NoError(t, err)
		u, err := wire.UnmarshalUpdate(m.GetData())
		require.NoError(t, err)
		require.Equal(t, again.me(t).generation, u.Digest.Generation)
		require.EqualValues(t, 21, u.Digest.Version)
		require.Less(t, len(m.GetData()), 4_000)
	})
}

func (n *node) me(t *testing.T) (me identity) {
	n.table(t, func(tb *table) { me = tb.me })
	return me
}

func TestADamagedCopyOfAnotherOwnerIsFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		other.set(t, "shape", "round-and-round-it-goes")
		n.set(t, "color", "teal")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		n.kill()
		require.NoError(t, st.Close())
		flip(t, dir, "round-and-round-it-goes")

		st = openStore(t, dir)
		again := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		require.Equal(t, "teal", again.get(t, "color"))
		require.Empty(t, again.get(t, "shape"))
		require.EqualValues(t, 1, again.count(CountDropped, "stored_damaged"))
		c.connect(again, other)
		within(t, 5*time.Second, "it is back", func() bool { return again.get(t, "shape") == "round-and-round-it-goes" && c.equal(again, other) })
		again.kill()
		third := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		require.Equal(t, "round-and-round-it-goes", third.get(t, "shape"), "on disk as well")
		require.Zero(t, third.count(CountDropped, "stored_damaged"))
	})
}

func TestADamagedOwnCopyIsTakenBackFromPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		n.set(t, "a", "first-value-of-this-node")
		n.set(t, "b", "second")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		n.kill()
		require.NoError(t, st.Close())
		flip(t, dir, "first-value-of-this-node")

		st = openStore(t, dir)
		again := c.start(withKey(n.key), withStore(st), withFirstSync(5*time.Second))
		require.Empty(t, again.get(t, "a"))
		require.EqualValues(t, 1, again.count(CountDropped, "stored_damaged"))
		c.connect(again, other)
		within(t, 5*time.Second, "it is back", func() bool {
			return again.get(t, "a") == "first-value-of-this-node" && again.get(t, "b") == "second" && c.equal(again, other)
		})
		again.set(t, "c", "third")
		again.kill()
		third := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		require.Equal(t, "first-value-of-this-node", third.get(t, "a"))
		require.Equal(t, "third", third.get(t, "c"))
		require.Zero(t, third.count(CountDropped, "stored_damaged"), "what is on disk is whole")
	})
}

func TestANodeAloneWithADamagedCopyWritesAWholeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dir := t.TempDir()
		st := openStore(t, dir)
		n := c.start(withStore(st))
		n.set(t, "a", "first-value-of-this-node")
		n.set(t, "b", "second")
		n.kill()
		require.NoError(t, st.Close())
		flip(t, dir, "first-value-of-this-node")

		st = openStore(t, dir)
		again := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		again.set(t, "c", "third")
		again.kill()
		third := c.start(withKey(n.key), withStore(st), withFirstSync(0))
		require.Equal(t, "third", third.get(t, "c"))
		require.Zero(t, third.count(CountDropped, "stored_damaged"))
	})
}

// A node that lost its store, found nobody at the start and published: its old self comes back with the first peer.
func TestANodeThatPublishedBeforeItGotItsStateBackTakesItThen(t *testing.T) {
	for _, clock := range []string{"right", "ten years back"} {
		t.Run("clock "+clock, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := openStore(t, t.TempDir())
				if clock != "right" {
					raise(t, first, 10*365*24*time.Hour)
				}
				c := newCluster(t)
				other, n := c.start(), c.start(withStore(first))
				c.connect(other, n)
				n.set(t, "mine", "from the first life")
				within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
				n.kill()
				time.Sleep(time.Second)
				again := c.start(withKey(n.key), withStore(openStore(t, t.TempDir())), withFirstSync(0))
				<-again.Ready()
				time.Sleep(time.Second)
				require.Empty(t, again.get(t, "mine"))
				c.connect(again, other)
				within(t, 5*time.Second, "it has its state back", func() bool {
					return again.get(t, "mine") == "from the first life" && c.equal(again, other)
				})
				time.Sleep(20 * time.Second)
				again.set(t, "mine", "from the second life") // no conflict with itself
				within(t, time.Second, "and is heard", func() bool { return other.get(t, "mine") == "from the second life" })
				for _, topic := range []string{"members", "main"} {
					require.Equal(t, again.me(t).generation, other.digest(t, topic, n.self).Generation)
				}
			})
		})
	}
}

func TestAWriteThatCannotBeStoredHasNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n := c.start(withStore(st))
		n.set(t, "color", "teal")
		before := n.digest(t, "main", n.self)
		require.NoError(t, st.Close())
		_, err := n.topic(t).Set(t.Context(), "color", []byte("red"), WriteOptions{})
		require.ErrorIs(t, err, store.ErrClosed)
		require.Equal(t, "teal", n.get(t, "color"))
		require.Equal(t, before, n.digest(t, "main", n.self))
		require.EqualValues(t, 1, n.count(CountStoreFailed, "own"))
	})
}

// What was beaten while a node was away it withdraws when it is back, before the winner can be forgotten.
func TestARestartedNodeWithdrawsWhatWasBeatenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		st := openStore(t, t.TempDir())
		n, other := c.start(withStore(st)), c.start()
		c.connect(other, n)
		n.set(t, "color", "teal")
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(n, other) })
		n.kill()
		other.set(t, "color", "red")
		again := c.start(withKey(n.key), withStore(st), withFirstSync(5*time.Second))
		c.connect(again, other)
		within(t, 5*time.Second, "the old value is withdrawn", func() bool {
			v, err := other.topic(t).List(t.Context(), ListOptions{Owner: n.host.ID(), Tombstones: true})
			require.NoError(t, err)
			return len(v) == 1 && v[0].Deleted && v[0].Clock == 1
		})
		require.Equal(t, "red", again.get(t, "color"))
		require.Equal(t, wire.Clock(2), mustGet(t, other, "color").Clock)
	})
}

func mustGet(t *testing.T, n *node, key string) Value {
	t.Helper()
	v, err := n.topic(t).Get(t.Context(), key, "")
	require.NoError(t, err)
	return v
}
