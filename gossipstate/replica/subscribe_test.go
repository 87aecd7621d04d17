package replica

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestAFollowerHearsAllAndSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b := c.start(), c.start()
		a.set(t, "before", "it came")
		follower := c.start(asFollower())
		c.line(a, b, follower)
		<-follower.Ready()
		within(t, 5*time.Second, "it has what was there", func() bool { return follower.get(t, "before") == "it came" })
		time.Sleep(3 * time.Second) // in the mesh
		a.set(t, "after", "by rumor")
		within(t, 200*time.Millisecond, "it has what is new", func() bool { return follower.get(t, "after") == "by rumor" })
		require.NotZero(t, follower.count(CountApplied, "rumor"))
		time.Sleep(10 * time.Minute)
		require.True(t, c.equal(a, b, follower))
		for _, n := range []*node{a, b} {
			members, err := n.Members(t.Context())
			require.NoError(t, err)
			require.Len(t, members, 2, "a follower is no member")
			for _, m := range members {
				require.Equal(t, "alive", m.Status)
			}
			require.Zero(t, n.digest(t, "members", follower.self))
			n.table(t, func(tb *table) { require.Zero(t, tb.beatsOpening) })
		}
		require.Zero(t, follower.count(CountPublish, "ok"))
		require.Zero(t, follower.count(CountBeatBytes, "out")+follower.count(CountBeat, "refused"))
		require.Zero(t, follower.count(CountTransition, "suspect")+follower.count(CountTransition, "dead"), "it judges nobody")
		_, err := follower.topic(t).Set(t.Context(), "k", nil, WriteOptions{})
		require.ErrorIs(t, err, ErrStopped, "not even from inside")
	})
}

// What rumors bring to nobody else, a follower has by anti-entropy and passes on by it.
func TestAFollowerCatchesUpWithoutRumorsAndTellsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start(withoutRumors())
		follower := c.start(withoutRumors(), asFollower())
		b := c.start(withoutRumors())
		c.line(a, follower, b)
		a.set(t, "color", "teal")
		within(t, 30*time.Second, "it comes through the follower", func() bool { return b.get(t, "color") == "teal" })
		a.set(t, "color", "red")
		within(t, 30*time.Second, "and so does what is new", func() bool { return b.get(t, "color") == "red" && c.equal(a, follower, b) })
	})
}

func TestAFollowerKeepsAnOwnerAsLongAsItSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const forgetAfter = 2 * time.Hour
		c := newCluster(t)
		p := c.raw()
		p.set(t, "gone", "soon")
		follower := c.start(asFollower(), withConfig(func(cfg *Config) { cfg.Liveness.ForgetAfter = forgetAfter }))
		follower.table(t, func(tb *table) {
			for _, topic := range []string{"members", "main"} {
				v, err := wire.Verify(tb.topics[topic].domain, p.update(topic))
				require.NoError(t, err)
				_, _, err = tb.receive(tb.topics[topic], &v, arrival{from: "test", path: "sync"}, time.Now())
				require.NoError(t, err)
			}
		})
		time.Sleep(forgetAfter - 2*time.Minute)
		require.Equal(t, "soon", follower.get(t, "gone"))
		p.write(t, "members")
		follower.table(t, func(tb *table) {
			v, err := wire.Verify(tb.members().domain, p.update("members"))
			require.NoError(t, err)
			_, _, err = tb.receive(tb.members(), &v, arrival{from: "test", path: "sync"}, time.Now())
			require.NoError(t, err)
		})
		time.Sleep(forgetAfter - 2*time.Minute)
		require.Equal(t, "soon", follower.get(t, "gone"), "it has signed since")
		time.Sleep(5 * time.Minute)
		require.Empty(t, follower.get(t, "gone"))
		require.Zero(t, follower.digest(t, "members", p.id))
	})
}

func TestAFollowerLeavesTheHostAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		writer := c.start(withConfig(func(cfg *Config) { cfg.Topics = []string{"main", "extra"} }))
		app := c.app()
		c.dial(app.host, writer.host)
		time.Sleep(time.Second) // identified
		protocols := app.host.Mux().Protocols()
		cfg := DefaultConfig("test")
		cfg.Topics = []string{"main", "extra"}
		for i := range 3 {
			f, err := Subscribe(app.host, app.pubsub, cfg)
			require.NoError(t, err)
			_, err = f.Topic("other")
			require.ErrorAs(t, err, new(*UnknownTopicError))
			topic, err := f.Topic("extra")
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- f.Run(context.Background()) }()
			written, err := writer.Topic("extra")
			require.NoError(t, err)
			_, err = written.Set(t.Context(), "round", fmt.Append(nil, i), WriteOptions{})
			require.NoError(t, err)
			for e, err := range topic.Watch(t.Context(), "") {
				require.NoError(t, err)
				if e.Kind == Put && string(e.New.Value) == fmt.Sprint(i) {
					break
				}
			}
			require.NotEmpty(t, f.Counts())
			require.NoError(t, f.Close())
			require.NoError(t, <-ended)
			_, err = topic.Get(t.Context(), "round", "")
			require.ErrorIs(t, err, ErrStopped)
			require.Empty(t, app.pubsub.GetTopics())
			require.ElementsMatch(t, protocols, app.host.Mux().Protocols())
		}
		require.NoError(t, writer.Close())
		synctest.Wait()
		require.Len(t, app.host.Network().Peers(), 1)
	})
}

// An application may leave a network and join it again, on several topics, with a replica or as a follower, on one host.
func TestAnAppJoinsAndLeavesAsOftenAsItLikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		topics := withConfig(func(cfg *Config) { cfg.Topics = []string{"main", "extra"} })
		a := c.start(topics)
		app := c.start(topics)
		c.connect(app, a)
		extra := func(n *node) *Topic {
			topic, err := n.Topic("extra")
			require.NoError(t, err)
			return topic
		}
		for i := range 3 {
			value := fmt.Sprint(i)
			_, err := extra(app).Set(t.Context(), "from the app", []byte(value), WriteOptions{})
			require.NoError(t, err)
			app.set(t, "main", value)
			has := func(n *node) bool {
				v, err := extra(n).Get(t.Context(), "from the app", "")
				return err == nil && string(v.Value) == value && n.get(t, "main") == value
			}
			within(t, 5*time.Second, "it is there", func() bool { return has(a) })
			require.NoError(t, app.Close())
			follower := c.start(topics, onHostOf(app), asFollower())
			within(t, 5*time.Second, "the app reads what it wrote", func() bool { return has(follower) })
			require.NoError(t, follower.Close())
			app = c.start(topics, onHostOf(app))
			<-app.Ready()
			within(t, 5*time.Second, "it has its state back", func() bool { return has(app) })
		}
	})
}

// What a later version adds must pass through this one: unknown fields of a digest, which its signature covers, and ext.
func TestWhatALaterVersionAddsPassesThroughUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a := c.start()
		dir := t.TempDir()
		key := newKey(t)
		st := openStore(t, dir)
		b := c.start(withStore(st), withKey(key))
		c.connect(b, a)
		within(t, 5*time.Second, "both agree", func() bool { return c.equal(a, b) })
		time.Sleep(3 * time.Second) // in the mesh
		p := c.raw()
		c.dial(p.host, a.host)
		p.join(a)
		within(t, 15*time.Second, "b knows the owner", func() bool { return b.digest(t, "members", p.id).Version > 0 })

		domain := wire.Domain{Network: "test", Topic: "main"}
		e := wire.Entry{Key: "~/new", Value: []byte("value"), Version: 1, Clock: 1, Ext: []byte("a later version's")}
		d := wire.Digest{Owner: p.id, Generation: p.self.Generation, Version: 1, Entries: 1, Bytes: uint64(e.Size())}
		d.Root = gossipstate.Root(wire.LeafHash(wire.KeyHash(e.Key), &e))
		// Fields 200 (varint) and 201 (bytes) of some later Digest.
		signed := wire.Sign(domain, &d, p.sign)
		signed.Digest = append(signed.Digest, 0xc0, 0x0c, 0x2a, 0xca, 0x0c, 0x03, 'n', 'e', 'w')
		signed.Signature = p.sign(domain.SigningBytes(signed.Digest))
		u := wire.Update{Signed: signed, Digest: d, Entries: []wire.Entry{e}}
		p.publish(a, "test", "main", wire.MarshalUpdate(&u))

		requireSame := func(n *node, how string) {
			t.Helper()
			within(t, 15*time.Second, how, func() bool { return n.digest(t, "main", p.id).Version == 1 })
			n.table(t, func(tb *table) {
				_, have, _ := tb.topics["main"].state.Digest(p.id)
				require.Equal(t, signed, have, how)
				require.Equal(t, e.Ext, tb.topics["main"].state.GetOwned(p.id, e.Key).Entry.Ext, how)
			})
			proof, err := n.topic(t).Prove(t.Context(), e.Key, p.host.ID())
			require.NoError(t, err)
			require.Equal(t, signed, proof.Signed)
			require.Equal(t, e.Ext, proof.Entry.Ext)
			_, err = proof.Verify(domain)
			require.NoError(t, err)
		}
		requireSame(a, "by rumor from its owner")
		requireSame(b, "by a rumor passed on")
		require.NotZero(t, b.count(CountApplied, "rumor"))
		time.Sleep(3 * time.Second) // it is on disk
		b.kill()
		a.kill()
		require.NoError(t, p.host.Close())
		b = c.start(withStore(st), withKey(key), withFirstSync(0))
		requireSame(b, "from disk")
		late := c.start(withoutRumors())
		c.connect(late, b)
		requireSame(late, "by sync, from a node that has it from disk")
	})
}
